"""ALLaVA: ten zips with a deep path inside, and four instruction files, two of them on Vision-Flan's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from cvl.demo.miniature.packing import Member, ZipStyle
from cvl.demo.miniature.photos import Photo, numbers, packed
from cvl.demo.miniature.pictures import Encoding
from cvl.demo.miniature.publish import Instructions, Publisher
from cvl.demo.miniature.questions import caption
from cvl.demo.miniature.records import Exchange, Record, asked, described, record
from cvl.demo.miniature.scenes import Scene, training_scenes
from cvl.demo.miniature.sources.sizes import ALLAVA_CHUNKS

ALLAVA = "allava/allava_laion/images"
REPOSITORY = "datasets/FreedomIntelligence/ALLaVA-4V"
INSIDE = "mntcephfs/data/med/allava/download/allava_laion/images/"
"""The chunks were zipped through links, from the root of some machine's disk down."""

VFLAN_INSIDE = "allava_vflan/images/images_191task_1k/"
"""How two of the instruction files name Vision-Flan's pictures."""

UNNAMED_EVERY = 14
"""The picture of every fourteenth record was left out of the instruction files by a later release."""

VFLAN_SHARE = 0.9


def _instructions(kind: str, source: str) -> Instructions:
    path = f"allava_{source.lower()}/ALLaVA-{kind}-{source}-4V.json"
    return Instructions(f"hf://{REPOSITORY}/{path}", f"data/allava/{path}", "data/allava", indent=4)


LAION_CAPTION, LAION_INSTRUCT = _instructions("Caption", "LAION"), _instructions("Instruct", "LAION")
VFLAN_CAPTION, VFLAN_INSTRUCT = _instructions("Caption", "VFLAN"), _instructions("Instruct", "VFLAN")


@dataclass(frozen=True)
class Named:
    """A scene, and the name that ALLaVA's instruction files have for its picture, below `data/allava/`."""

    image: str
    scene: Scene


def allava_photos(per_chunk: int) -> tuple[tuple[Photo, ...], ...]:
    """The pictures of every chunk: a number, and as suffix the format's name, in most cases `jpeg`."""
    count = per_chunk * ALLAVA_CHUNKS
    ids, scenes = numbers("allava", count, 999_999_999), training_scenes("allava", count)
    pictures = [_photo(index, id_, scene) for index, (id_, scene) in enumerate(zip(ids, scenes, strict=True))]
    return tuple(tuple(pictures[number::ALLAVA_CHUNKS]) for number in range(ALLAVA_CHUNKS))


def publish_allava(site: Publisher, chunks: Sequence[Sequence[Photo]], vflan: Sequence[Photo]) -> None:
    """The chunks, each with the headers of an archive beyond 4 GiB, and the instruction files."""
    for number, pictures in enumerate(chunks):
        url = f"hf://{REPOSITORY}/allava_laion/image_chunks/images_{number}.zip"
        site.zip(url, (*_folders(), *packed(pictures, INSIDE)), ZipStyle(zip64=True))
    every = [photo for pictures in chunks for photo in pictures]
    site.folder_of(every)
    _publish_laion(site, [photo for index, photo in enumerate(every) if index % UNNAMED_EVERY])
    _publish_vflan(site, vflan[: round(len(vflan) * VFLAN_SHARE)])


def _publish_laion(site: Publisher, pictures: Sequence[Photo]) -> None:
    laion = [Named(f"allava_laion/images/{photo.name}", photo.scene) for photo in pictures]
    site.instructions(LAION_CAPTION, _laion_records("cap", laion))
    site.instructions(LAION_INSTRUCT, _laion_records("inst", laion))


def _publish_vflan(site: Publisher, pictures: Sequence[Photo]) -> None:
    flan = [Named(VFLAN_INSIDE + photo.name, photo.scene) for photo in pictures]
    site.instructions(VFLAN_CAPTION, _records("allava_vflan_cap", flan))
    site.instructions(VFLAN_INSTRUCT, _records("allava_vflan_inst", flan))


def _photo(index: int, id_: int, scene: Scene) -> Photo:
    encoding = _ENCODINGS.get(index % 20, "jpeg")
    suffix = "png" if encoding == "rgba" else encoding
    return Photo(ALLAVA, f"{id_}.{suffix}", scene, encoding)


_ENCODINGS: dict[int, Encoding] = {5: "png", 11: "webp", 17: "rgba"}


def _folders() -> list[Member]:
    parts = INSIDE.rstrip("/").split("/")
    return [Member("/".join(parts[:depth]) + "/") for depth in range(1, len(parts) + 1)]


def _laion_records(kind: str, pictures: Sequence[Named]) -> list[Record]:
    rng = Random(f"allava {kind} web")
    records = _records(f"allava_laion_{kind}", pictures)
    return [
        {**made, "original_caption": caption(named.scene, rng), "url": f"https://example.com/{index}.jpg"}
        for index, (made, named) in enumerate(zip(records, pictures, strict=True))
    ]


def _records(id_: str, pictures: Sequence[Named]) -> list[Record]:
    rng = Random(id_)
    exchange = _describe if id_.endswith("_cap") else _ask
    return [record(f"{id_}_{index}", named.image, [exchange(named.scene, rng)]) for index, named in enumerate(pictures)]


def _describe(scene: Scene, rng: Random) -> Exchange:
    return described(scene, rng)


def _ask(scene: Scene, rng: Random) -> Exchange:
    return asked(scene, rng, 1)[0].full

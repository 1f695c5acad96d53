"""LLaVA's instruction file: 665,298 records on five sources' pictures and on none, here in the same proportions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random

from cvl.demo.miniature.photos import Photo
from cvl.demo.miniature.publish import Instructions, Publisher
from cvl.demo.miniature.questions import caption, choice, grounding, reading, region, relations
from cvl.demo.miniature.records import Exchange, Record, asked, conversation, described, record, some

REPOSITORY = "datasets/liuhaotian/LLaVA-Instruct-150K"
REVISION = "011f884bcf152693aca1d531d067f31e748bea02"
MIX665K = Instructions(
    url=f"hf://{REPOSITORY}/llava_v1_5_mix665k.json",
    path="data/llava/llava_v1_5_mix665k.json",
    image_root="data",
)

PROPORTIONS = {"coco": 364_100, "vg": 86_417, "ocr_vqa": 80_000, "gqa": 72_140, "textvqa": 21_953, "text": 40_688}
"""Records of the published file by source; `text` has no image."""

LEADING_ANSWERS = 3
LONG_EXCHANGES = 400
"""Exchanges in the one conversation that is longer than a model's context."""

TEXTCAPS = "Provide a one-sentence caption for the provided image.\nReference OCR token: "


@dataclass(frozen=True)
class Instructed:
    """The pictures which the records are about."""

    coco: Sequence[Photo]
    vg: Sequence[Photo]
    ocr_vqa: Sequence[Photo]
    gqa: Sequence[Photo]
    textvqa: Sequence[Photo]


def publish_llava(site: Publisher, pictures: Instructed, count: int) -> None:
    """`llava_v1_5_mix665k.json` with about `count` records."""
    site.instructions(MIX665K, mix665k_records(pictures, count))
    site.pin(REPOSITORY, REVISION)


def mix665k_records(pictures: Instructed, count: int) -> list[Record]:
    """About `count` records: those on pictures in random order, then those of text alone."""
    rng, total = Random("mix665k"), sum(PROPORTIONS.values())
    numbers = {source: max(4, round(count * share / total)) for source, share in PROPORTIONS.items()}
    about: list[tuple[Photo, Dialog]] = []
    for source, dialog in _DIALOGS.items():
        photos: Sequence[Photo] = getattr(pictures, source)
        about += [(photo, dialog) for photo in islice(cycle(_shuffled(photos, rng)), numbers[source])]
    rng.shuffle(about)
    records = [record(photo.stem, photo.path, dialog(photo, rng)) for photo, dialog in about]
    return [*records, *_text_records(numbers["text"])]


Dialog = Callable[[Photo, Random], list[Exchange]]


def _coco(photo: Photo, rng: Random) -> list[Exchange]:
    """Conversation, description, short answers, options or boxes, about as often as in the published file."""
    kind = rng.choices(("conversation", "detail", "short", "choice", "box"), (24, 20, 25, 18, 13))[0]
    match kind:
        case "conversation":
            return [turn.full for turn in asked(photo.scene, rng, 5)]
        case "detail":
            return [described(photo.scene, rng)]
        case "short":
            return [turn.short for turn in asked(photo.scene, rng, 8)]
        case "choice":
            return [choice(photo.scene, rng)]
    return [grounding(photo.scene, figure) for figure in photo.scene.figures]


def _vg(photo: Photo, rng: Random) -> list[Exchange]:
    return [rng.choice((region, grounding))(photo.scene, figure) for figure in photo.scene.figures]


def _ocr_vqa(photo: Photo, rng: Random) -> list[Exchange]:
    return [turn.short for turn in some(reading(photo.scene), rng, 4)]


def _gqa(photo: Photo, rng: Random) -> list[Exchange]:
    turns = [*some(relations(photo.scene), rng, 2), *asked(photo.scene, rng, 6)]
    return [turn.short for turn in dict.fromkeys(turns)]


def _textvqa(photo: Photo, rng: Random) -> list[Exchange]:
    return [(f"{TEXTCAPS}{photo.scene.sign}", caption(photo.scene, rng))]


_DIALOGS: dict[str, Dialog] = {"coco": _coco, "vg": _vg, "ocr_vqa": _ocr_vqa, "gqa": _gqa, "textvqa": _textvqa}


def _shuffled(photos: Sequence[Photo], rng: Random) -> list[Photo]:
    return rng.sample(photos, len(photos))


def _text_records(count: int) -> list[Record]:
    """Talk about sums, without an image and with a `model` key; one is very long, a few begin with an answer."""
    rng = Random("sharegpt")
    lengths = [LONG_EXCHANGES, *(rng.randint(1, 4) for _ in range(count - 1))]
    records = [_text_record(index, list(islice(sums(rng), length)), rng) for index, length in enumerate(lengths)]
    for made in records[-LEADING_ANSWERS:]:
        made["conversations"].insert(0, {"from": "gpt", "value": "Ask me about numbers."})
    return records


def _text_record(index: int, exchanges: list[Exchange], rng: Random) -> Record:
    letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=7))
    return {"id": f"{letters}_{index % 3}", "model": "", "conversations": conversation(exchanges)}


def sums(rng: Random) -> Iterator[Exchange]:
    """Questions for the sum of two numbers up to 20, with their answers, without end."""
    while True:
        first, second = rng.randint(0, 20), rng.randint(0, 20)
        yield f"What is {first} plus {second}?", f"{first} plus {second} is {first + second}."

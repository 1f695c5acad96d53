"""SA-1B: 51 gzipped tars under the name `.tar`, each with its pictures and as many mask files.

Four of the published containers are broken, though every picture in them can be read. How they are broken is not
known; here each is broken in another way, and in all of them a stream that keeps what it has at the error, and goes on
after empty blocks, gets every picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from cvl.demo.miniature.packing import Member, compress, tar
from cvl.demo.miniature.photos import Photo, photos
from cvl.demo.miniature.publish import Publisher
from cvl.demo.miniature.scenes import training_scenes
from cvl.demo.miniature.sources.sizes import SAM_SHARDS

SAM = "sam/images"
MIRROR = "datasets/Aber-r/SA-1B_backup"
MIRROR_REVISION = "140d15308aff47dae3b00214083838d56a4319c6"
BLOCK = 512

ID_STRIDE = 8
"""Every eighth id is missing: ids are not contiguous."""


def sam_photos(per_shard: int) -> tuple[tuple[Photo, ...], ...]:
    """The pictures of every shard; ids rise from 1 through all shards, with gaps."""
    count = per_shard * SAM_SHARDS
    ids = [index + 1 + index // (ID_STRIDE - 1) for index in range(count)]
    pictures = photos(SAM, [f"sa_{id_}.jpg" for id_ in ids], training_scenes("sam", count))
    return tuple(pictures[start : start + per_shard] for start in range(0, count, per_shard))


def publish_sam(site: Publisher, shards: Sequence[Sequence[Photo]]) -> None:
    """The shards as signed links and as a hub repository of the same bytes, with its list of md5 digests."""
    for number, pictures in enumerate(shards):
        name, members = shard_name(number), tuple(_members(pictures))
        data = _BROKEN.get(number, _whole)(members)
        site.archive(f"links:{name}", data, members, broken=number in _BROKEN)
        site.mirror(f"links:{name}", f"hf://{MIRROR}/{name}")
    site.pin(MIRROR, MIRROR_REVISION)
    links = [facts for facts in site.facts.files if facts.url.startswith("links:")]
    checklist = "".join(f"{facts.md5}  {facts.url.removeprefix('links:')}\n" for facts in links)
    site.put(f"hf://{MIRROR}/checklist.chk", checklist.encode())
    site.folder_of([photo for pictures in shards for photo in pictures])


def shard_name(number: int) -> str:
    """`sa_000014.tar` for 14."""
    return f"sa_{number:06d}.tar"


def _members(pictures: Sequence[Photo]) -> Iterator[Member]:
    for photo in pictures:
        yield Member(f"./{photo.name}", photo.data())
        yield Member(f"./{photo.stem}.json", _masks(photo))


def _masks(photo: Photo) -> bytes:
    """A mask file: nothing in the tree reads it. A figure's mask is given by its box in pixels, x, y, width, height."""
    scene, id_ = photo.scene, int(photo.stem.removeprefix("sa_"))
    boxes = []
    for figure in scene.figures:
        (x, y), radius = scene.middle(figure), scene.radius(figure)
        boxes.append([round(x - radius, 2), round(y - radius, 2), round(2 * radius, 2), round(2 * radius, 2)])
    image = {"image_id": id_, "width": scene.width, "height": scene.height, "file_name": photo.name}
    annotations = [{"id": number, "bbox": box, "area": round(box[2] * box[3], 2)} for number, box in enumerate(boxes)]
    return json.dumps({"image": image, "annotations": annotations}).encode()


def _whole(members: Sequence[Member]) -> bytes:
    return compress(tar(members))


def _wrong_checksum(members: Sequence[Member]) -> bytes:
    """The stream's checksum, in its last eight bytes, is not that of its contents."""
    data = _whole(members)
    return data[:-8] + bytes(byte ^ 0xFF for byte in data[-8:-4]) + data[-4:]


def _cut_in_the_last_masks(members: Sequence[Member]) -> bytes:
    """Neither the end of the last mask file nor that of the tar nor that of the stream is there."""
    *before, last = members
    whole = tar(before).rstrip(b"\0")
    filled = whole + bytes(-len(whole) % BLOCK)
    stump = tar([last])[: BLOCK + len(last.data) // 2]
    return compress(filled + stump)[:-8]


def _empty_blocks_between(members: Sequence[Member]) -> bytes:
    """Two tars in one stream: a reader that takes the first empty blocks for the end loses half of the pictures."""
    middle = len(members) // 4 * 2
    return compress(tar(members[:middle]) + tar(members[middle:]))


def _rubbish_behind(members: Sequence[Member]) -> bytes:
    """Bytes after the stream's end that are no gzip."""
    return _whole(members) + b"\x01rubbish" * 64


_BROKEN: dict[int, Callable[[Sequence[Member]], bytes]] = {
    14: _wrong_checksum,
    16: _cut_in_the_last_masks,
    17: _empty_blocks_between,
    19: _rubbish_behind,
}

"""COCO, GQA, TextVQA and Visual Genome: one or two zips of JPEGs each, on a plain web server."""

from __future__ import annotations

from random import Random

from cvl.demo.miniature.packing import Member, ZipStyle
from cvl.demo.miniature.photos import Photo, numbers, packed, photos
from cvl.demo.miniature.publish import Publisher
from cvl.demo.miniature.scenes import sign_scene, training_scenes

COCO_URL = "http://images.cocodataset.org/zips/train2017.zip"
COCO_MIRROR = "https://s3.amazonaws.com/images.cocodataset.org/zips/train2017.zip"
GQA_URL = "https://downloads.cs.stanford.edu/nlp/data/gqa/images.zip"
TEXTVQA_URL = "https://dl.fbaipublicfiles.com/textvqa/images/train_val_images.zip"
VG_PART1_URL = "https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip"
VG_PART2_URL = "https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip"

COCO = "coco/train2017"
GQA = "gqa/images"
TEXTVQA = "textvqa/train_images"
VG_PART1 = "vg/VG_100K"
VG_PART2 = "vg/VG_100K_2"

VG_EMPTY = ("2400001.jpg", "2400002.jpg", "2400003.jpg")
"""Files of Visual Genome's second part which have no bytes; no instruction file names them."""


def coco_photos(count: int) -> tuple[Photo, ...]:
    """COCO's pictures: names of twelve digits."""
    names = [f"{number:012d}.jpg" for number in numbers("coco", count, 581_929)]
    return photos(COCO, names, training_scenes("coco", count))


def publish_coco(site: Publisher, pictures: tuple[Photo, ...]) -> None:
    """`train2017.zip`: stored, with an entry for its folder."""
    site.zip(COCO_URL, (Member("train2017/"), *packed(pictures, "train2017/")))
    site.mirror(COCO_URL, COCO_MIRROR)
    site.folder_of(pictures)


def gqa_photos(count: int) -> tuple[Photo, ...]:
    """GQA's pictures: plain numbers."""
    names = [f"{number}.jpg" for number in numbers("gqa", count, 2_417_997)]
    return photos(GQA, names, training_scenes("gqa", count))


def publish_gqa(site: Publisher, pictures: tuple[Photo, ...]) -> None:
    """`images.zip`: stored, no entry for its folder."""
    site.zip(GQA_URL, packed(pictures, "images/"))
    site.folder_of(pictures)


def textvqa_photos(count: int) -> tuple[Photo, ...]:
    """TextVQA's pictures: names of sixteen hexadecimal digits."""
    rng = Random("textvqa names")
    names = sorted(f"{rng.getrandbits(64):016x}.jpg" for _ in range(count))
    return photos(TEXTVQA, names, training_scenes("textvqa", count, sign_scene))


def publish_textvqa(site: Publisher, pictures: tuple[Photo, ...]) -> None:
    """`train_val_images.zip`: stored, with a note at its top that does not belong into the tree."""
    note = Member("README.txt", b"Pictures of the training and validation sets.\n")
    site.zip(TEXTVQA_URL, (note, Member("train_images/"), *packed(pictures, "train_images/")))
    site.folder_of(pictures)


def vg_photos(part1: int, part2: int) -> tuple[tuple[Photo, ...], tuple[Photo, ...]]:
    """The pictures of Visual Genome's two parts: plain numbers, none in both."""
    names = [f"{number}.jpg" for number in numbers("vg", part1 + part2, 2_399_999)]
    scenes = training_scenes("vg", part1 + part2)
    first = photos(VG_PART1, names[:part1], scenes[:part1])
    return first, photos(VG_PART2, names[part1:], scenes[part1:])


def publish_vg(site: Publisher, part1: tuple[Photo, ...], part2: tuple[Photo, ...]) -> None:
    """`images.zip`, deflated, and `images2.zip`, stored and with a few files of no bytes."""
    site.zip(VG_PART1_URL, (Member("VG_100K/"), *packed(part1, "VG_100K/")), ZipStyle(deflated=True))
    empty = [Member(f"VG_100K_2/{name}") for name in VG_EMPTY]
    site.zip(VG_PART2_URL, (Member("VG_100K_2/"), *packed(part2, "VG_100K_2/"), *empty))
    site.folder_of(part1)
    site.folder_of(part2, empty=VG_EMPTY)

"""LLaVA-Pretrain (LCS-558K): pictures in numbered folders with no folder round them, and one caption each."""

from __future__ import annotations

from random import Random

from cvl.demo.miniature.packing import Member
from cvl.demo.miniature.photos import Photo, numbers, packed, photos
from cvl.demo.miniature.publish import Instructions, Publisher
from cvl.demo.miniature.questions import caption
from cvl.demo.miniature.records import record
from cvl.demo.miniature.scenes import training_scenes

LCS = "llava/llava_pretrain/images"
REPOSITORY = "datasets/liuhaotian/LLaVA-Pretrain"
REVISION = "70f9d1e5e1a697fe35830875cfc7de1dd590d727"
IMAGES_URL = f"hf://{REPOSITORY}/images.zip"
MIRROR = "datasets/332F/LLaVA-Pretrain"
MIRROR_REVISION = "698a737896f11f8cd9548d2989d2c2875405e955"
CAPTIONS = Instructions(
    url=f"hf://{REPOSITORY}/blip_laion_cc_sbu_558k.json",
    path="data/llava/llava_pretrain/blip_laion_cc_sbu_558k.json",
    image_root=f"data/{LCS}",
)

WISHES = (
    "Render a clear and concise summary of the photo.",
    "Write a terse but informative summary of the picture.",
    "What is this?",
    "Give a brief description of the image.",
)


def lcs_photos(count: int) -> tuple[Photo, ...]:
    """The pictures: nine digits, in a folder named after the first five."""
    digits = [f"{number:09d}" for number in numbers("lcs", count, 6_000_000)]
    return photos(LCS, [f"{name[:5]}/{name}.jpg" for name in digits], training_scenes("lcs", count))


def publish_lcs(site: Publisher, pictures: tuple[Photo, ...]) -> None:
    """`images.zip`, with an entry for each numbered folder, and the captions of the first LLaVA."""
    folders = sorted({photo.name.partition("/")[0] for photo in pictures})
    site.zip(IMAGES_URL, (*(Member(f"{folder}/") for folder in folders), *packed(pictures, "")))
    site.instructions(CAPTIONS, [_captioned(photo) for photo in pictures])
    site.mirror(IMAGES_URL, f"hf://{MIRROR}/images.zip")
    site.pin(REPOSITORY, REVISION)
    site.pin(MIRROR, MIRROR_REVISION)
    site.folder_of(pictures)


def _captioned(photo: Photo) -> dict[str, object]:
    rng = Random(f"lcs caption {photo.name}")
    exchange = rng.choice(WISHES), caption(photo.scene, rng)
    return record(photo.stem, photo.name, [exchange], placeholder_last=rng.random() < 0.5)

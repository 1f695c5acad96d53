"""ShareGPT4V's two instruction files: a caption for every picture of SAM, LCS and COCO, and 100,000 better ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from cvl.demo.miniature.photos import Photo
from cvl.demo.miniature.publish import Instructions, Publisher
from cvl.demo.miniature.records import Record, described, record
from cvl.demo.miniature.sources.webdata import named_by_instructions

REPOSITORY = "datasets/Lin-Chen/ShareGPT4V"
CAPTIONER = Instructions(
    url=f"hf://{REPOSITORY}/share-captioner_coco_lcs_sam_1246k_1107.json",
    path="data/sharegpt4v/share-captioner_coco_lcs_sam_1246k_1107.json",
    image_root="data",
    indent=2,
)
CAP100K = Instructions(
    url=f"hf://{REPOSITORY}/sharegpt4v_instruct_gpt4-vision_cap100k.json",
    path="data/sharegpt4v/sharegpt4v_instruct_gpt4-vision_cap100k.json",
    image_root="data",
    indent=2,
)

CAP100K_SAM_SHARDS = 3
"""The pictures of SAM in the smaller file come from its first shards alone."""
COCO_SHARE = 0.35
LCS_SHARE = 0.25


@dataclass(frozen=True)
class Captioned:
    """The pictures that the two files speak of: SAM by shard, WebData by set."""

    sam: Sequence[Sequence[Photo]]
    lcs: Sequence[Photo]
    coco: Sequence[Photo]
    web: Mapping[str, Sequence[Photo]]


def publish_sharegpt4v(site: Publisher, pictures: Captioned) -> None:
    """Both instruction files."""
    site.instructions(CAPTIONER, captioner_records(pictures))
    site.instructions(CAP100K, cap100k_records(pictures))


def captioner_records(pictures: Captioned) -> list[Record]:
    """Every picture of SAM, LCS and COCO once, SAM first."""
    rng = Random("share-captioner")
    sam = [photo for shard in pictures.sam for photo in shard]
    rest = [*pictures.lcs, *pictures.coco]
    rng.shuffle(sam)
    rng.shuffle(rest)
    return [_described(photo, rng) for photo in (*sam, *rest)]


def cap100k_records(pictures: Captioned) -> list[Record]:
    """All of WebData, under the names that this file has for it, a part of COCO and LCS, and SAM's first shards."""
    rng = Random("cap100k")
    sam = [photo for shard in pictures.sam[:CAP100K_SAM_SHARDS] for photo in shard]
    web = [named_by_instructions(photo) for photos in pictures.web.values() for photo in photos]
    chosen = [*sam, *web, *_part(pictures.coco, COCO_SHARE, rng), *_part(pictures.lcs, LCS_SHARE, rng)]
    rng.shuffle(chosen)
    return [_described(photo, rng) for photo in chosen]


def _part(photos: Sequence[Photo], share: float, rng: Random) -> list[Photo]:
    return rng.sample(photos, max(1, round(len(photos) * share)))


def _described(photo: Photo, rng: Random) -> Record:
    return record(photo.stem, photo.path, [described(photo.scene, rng)], placeholder_last=rng.random() < 0.2)

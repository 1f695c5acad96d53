"""How large a miniature world is."""

from __future__ import annotations

from dataclasses import dataclass, fields

SAM_SHARDS = 51
ALLAVA_CHUNKS = 10


@dataclass(frozen=True)
class Sizes:
    """How many pictures each source has, and how many records LLaVA's instruction file.

    Args:
        sam: pictures a shard.
        allava: pictures a chunk.
        webdata: pictures in each of its four zips.
        instruct: records in `llava_v1_5_mix665k.json`.
    """

    coco: int = 400
    sam: int = 6
    allava: int = 30
    lcs: int = 340
    webdata: int = 20
    gqa: int = 320
    ocrvqa: int = 380
    textvqa: int = 110
    vg_part1: int = 210
    vg_part2: int = 170
    vflan: int = 300
    instruct: int = 5320

    @classmethod
    def scaled(cls, scale: float) -> Sizes:
        """Every number times `scale`, but never fewer than it takes for each oddity of a source to occur."""
        counts = {
            field.name: max(_LEAST.get(field.name, 12), round(getattr(cls, field.name) * scale))
            for field in fields(cls)
        }
        return cls(**counts)


_LEAST = {"sam": 2, "allava": 3, "webdata": 4, "ocrvqa": 30, "instruct": 60}

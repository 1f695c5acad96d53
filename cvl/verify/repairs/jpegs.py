"""The JPEGs of a repair, made before anything is renamed, so that what then happens is renaming alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cvl.errors import ImageError
from cvl.parallel import run_shards, shards_of
from cvl.verify.repairs.values import Left, Picture

Encode = Callable[[Path], bytes]
"""Makes a JPEG's bytes of a picture's file; picklable; raises ImageError."""

_SHARD = 50


def make_jpegs(
    folder: Path, pictures: Sequence[Picture], encode: Encode, jobs: int | None
) -> tuple[dict[Picture, Path], tuple[Left, ...]]:
    """A JPEG in `folder`, which is made, for each picture that can be read; and those that cannot, with the reason."""
    if not pictures:
        return {}, ()
    folder.mkdir()
    work = [(folder / f"{number}.jpg", picture) for number, picture in enumerate(pictures)]
    done = run_shards(partial(_encode_all, encode), shards_of(work, _SHARD), jobs=jobs)
    reasons = [reason for shard in done for reason in shard]
    made = {picture: path for (path, picture), reason in zip(work, reasons, strict=True) if not reason}
    left = [Left(picture.path, reason) for (_, picture), reason in zip(work, reasons, strict=True) if reason]
    return made, tuple(left)


def sweep_jpegs(folder: Path) -> None:
    """Remove JPEGs of a run that was killed before it had a journal: nothing was done with them."""
    for made in folder.glob("*.jpegs"):
        if not made.with_suffix(".jsonl").exists():
            shutil.rmtree(made)


def _encode_all(encode: Encode, work: Sequence[tuple[Path, Picture]]) -> list[str]:
    return [_encode(encode, *item) for item in work]


def _encode(encode: Encode, path: Path, picture: Picture) -> str:
    """Why there is no JPEG; empty if there is one."""
    try:
        path.write_bytes(encode(Path(picture.at)))
    except ImageError as error:
        return str(error)
    return ""

"""Pictures that are named as JPEGs and are none: which of them a repair would convert."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path

from cvl.images import PICTURE_SUFFIXES, ImageKind, kind_of
from cvl.verify.repairs.sketch import Missing, Sketch
from cvl.verify.repairs.values import Picture

_JPEG_SUFFIXES = (".jpg", ".jpeg")
ORIGINALS = "data/.cvl/originals"
"""Where `cvl convert` keeps pictures whose name their JPEG takes, and a repair does."""


def convert_pictures(sketch: Sketch, missing: Missing, folder: str, named: Callable[[], Iterable[str]]) -> None:
    """Plan a JPEG for every picture of a folder that records name as a JPEG and that is another kind."""
    beside = list(_beside(sketch, missing, folder))
    in_place = list(_in_place(sketch, folder, named))
    if not beside and not in_place:
        return
    if not sketch.same_disk(folder, "data"):
        reason = f"{len(beside) + len(in_place):,} pictures are to be converted, and lie on another disk than data/.cvl"
        sketch.leave(folder, f"{reason}: `cvl convert` does that")
        return
    if in_place:
        sketch.convert(in_place, "another kind of picture under a JPEG's name")
    if beside:
        sketch.convert(beside, "the picture is there as another kind")


def _beside(sketch: Sketch, missing: Missing, folder: str) -> Iterator[Picture]:
    """`X.gif` where `X.jpg` is named and not there."""
    for name in missing.below(folder):
        path = f"{folder}/{name}"
        stem, dot, suffix = path.rpartition(".")
        if sketch.draft.entry(path) is not None or dot + suffix.lower() not in _JPEG_SUFFIXES:
            continue
        spelt = (stem + form for end in sorted(PICTURE_SUFFIXES) for form in (end, end.upper()))
        pictures = [real for other in spelt if (real := sketch.draft.real(other)) and _other_kind(real)]
        if len(pictures) > 1:
            sketch.leave(path, f"its picture may be that of {' or '.join(Path(real).name for real in pictures)}")
        elif pictures:
            yield Picture(pictures[0], path)


def _in_place(sketch: Sketch, folder: str, named: Callable[[], Iterable[str]]) -> Iterator[Picture]:
    """`X.jpg` that is a GIF."""
    below = folder + "/"
    for path in sorted({path for path in named() if path.startswith(below)}):
        real = sketch.draft.real(path)
        if real is not None and _other_kind(real):
            yield Picture(real, path, _keep(sketch, path))


def _other_kind(path: str) -> bool:
    return kind_of(path) not in (None, ImageKind.JPEG)


def _keep(sketch: Sketch, path: str) -> str:
    """A free name among the originals."""
    kept = f"{ORIGINALS}/{path.removeprefix('data/')}"
    names = (f"{kept}.{number}" if number else kept for number in count())
    return next(name for name in names if sketch.draft.entry(name) is None)

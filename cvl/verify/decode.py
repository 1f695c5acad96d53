"""What is wrong with one picture: from a look at its first bytes to the last bit of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from cvl.errors import ImageError
from cvl.images import HEAD_BYTES, ImageKind, decode_reduced, decode_strictly, read, sniff

EMPTY = "empty-image"
NO_PICTURE = "no-picture"
CUT_SHORT = "cut-short-image"
DAMAGED = "damaged-image"
UNREADABLE = "unreadable-image"

_DRAFT_SIDE = 64
"""Pixels that a draft's longer side keeps at the least. Smaller would be no quicker: every bit is read all the same."""

_END, _SCAN = b"\xff\xd9", b"\xff\xda"


class Depth(IntEnum):
    """How closely a picture is looked at; each finds what those before it find."""

    HEADER = 0
    """The first bytes: which kind of picture it is."""
    QUICK = 1
    """The header, the trailer, and a decoding of every bit, in an eighth of the size. Finds what was cut short."""
    FULL = 2
    """All pixels, and no bit that a strict decoder would object to. Finds damage in the middle of a JPEG too."""


@dataclass(frozen=True)
class Verdict:
    """What was found of one picture.

    Args:
        kind: what it is by its content; None if it is no picture.
        reason: why its records are left out, as the skip list writes it; empty for a sound picture.
        text: the same in words.
    """

    kind: ImageKind | None
    reason: str = ""
    text: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.reason


def look(path: Path, depth: Depth) -> Verdict:
    """What is wrong with the picture at `path`, as far as `depth` tells.

    A file that cannot be read is a verdict too: its records cannot be trained on.
    """
    try:
        data = _head(path) if depth is Depth.HEADER else read(path)
    except (ImageError, OSError) as error:
        return Verdict(None, UNREADABLE, getattr(error, "strerror", None) or str(error))
    kind = sniff(data[:HEAD_BYTES])
    if not data:
        return Verdict(None, EMPTY, "it has no byte")
    if kind is None:
        return Verdict(None, NO_PICTURE, f"no picture: it begins with {data[:16]!r}")
    text = "" if depth is Depth.HEADER else _flaw(data, kind, depth)
    return Verdict(kind, _reason(text) if text else "", text)


def _head(path: Path) -> bytes:
    # One open, one read, one close: this runs over hundreds of thousands of files that are as they should be.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, HEAD_BYTES)
    finally:
        os.close(descriptor)


def _flaw(data: bytes, kind: ImageKind, depth: Depth) -> str:
    """What is wrong with a picture's bytes, empty if nothing is."""
    try:
        if depth is Depth.FULL:
            decode_strictly(data)
        else:
            decode_reduced(data, _DRAFT_SIDE)
    except ImageError as error:
        return str(error)
    if kind is not ImageKind.JPEG:
        return ""
    # What a picture holds before its last scan may have an end of its own: a thumbnail.
    if data.rfind(_END) < data.rfind(_SCAN) and _END not in data[data.rfind(_SCAN) :]:
        return "JPEG without its end marker: image file is truncated"
    return ""


def _reason(text: str) -> str:
    return CUT_SHORT if "truncated" in text or "Premature end of JPEG" in text else DAMAGED

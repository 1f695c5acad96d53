"""Pictures for the page: their sizes by their headers, and small copies, of damaged ones too.

Paths come from instruction files, so they may lead anywhere: only ordinary files below the tree are opened.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFile

from cvl.errors import ImageError
from cvl.images import decode_reduced, identify, kind_of
from cvl.root import Root

THUMBNAIL_SIDE = 176
"""Pixels of a small copy's longer side."""

_QUALITY = 68
# A page must not take the memory that a decoder of anything legitimate would: posters and scans are only named.
_MAX_PIXELS = 2**26
_MAX_FILE = 2**26


@dataclass(frozen=True)
class Size:
    """A picture's width and height in pixels, and its file's bytes."""

    width: int
    height: int
    bytes: int


@dataclass(frozen=True)
class Thumbnail:
    """A small copy.

    Args:
        jpeg: its bytes.
        width, height: of the copy.
        original: of the file, as its header says.
        flaw: why the file could not be decoded wholly; empty for a sound one.
    """

    jpeg: bytes
    width: int
    height: int
    original: tuple[int, int]
    flaw: str = ""


def size_of(root: Root, path: str) -> Size | None:
    """What a picture's header says; None where there is no such picture."""
    try:
        place = _place(root, path)
        length = _ordinary(place).st_size
        kind = kind_of(place)
        if kind is None:
            return None
        with _lenient(), Image.open(place, formats=(kind.name,)) as picture:
            return Size(*picture.size, length)
    except Exception:
        # Absent, unreadable, or a header that a decoder stumbles over in whatever way: all are counted as one.
        return None


def thumbnail(root: Root, path: str) -> Thumbnail:
    """A small copy of a picture, with as much of a damaged one as can be decoded.

    Raises:
        ImageError: nothing of it can be shown; the message says why, without the path.
    """
    data = _content(root, path)
    try:
        picture, original = decode_reduced(data, THUMBNAIL_SIDE)
        return _small(picture, original, "")
    except ImageError as error:
        picture, original = _rescue(data, error)
        return _small(picture, original, str(error))


def _place(root: Root, path: str) -> Path:
    if ".." in path.split("/") or path.startswith("/"):
        raise ImageError("leads out of the tree")
    return root.at(path)


def _ordinary(place: Path) -> os.stat_result:
    """What the system knows of a file, before it is opened: opening a pipe would wait for ever."""
    try:
        status = place.stat()
    except FileNotFoundError:
        raise ImageError("not there") from None
    except (OSError, ValueError) as error:
        raise ImageError(getattr(error, "strerror", None) or "not a name that a file can have") from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not an ordinary file")
    return status


def _content(root: Root, path: str) -> bytes:
    place = _place(root, path)
    length = _ordinary(place).st_size
    if length > _MAX_FILE:
        raise ImageError(f"{length:,} bytes, too many for a small copy")
    try:
        data = place.read_bytes()
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error
    _refuse_huge(data)
    return data


def _refuse_huge(data: bytes) -> None:
    kind = identify(data)
    try:
        with _lenient(), Image.open(io.BytesIO(data), formats=(kind.name,)) as picture:
            width, height = picture.size
    except Exception as error:
        raise ImageError(f"no header of a {kind.name} can be read") from error
    if width * height > _MAX_PIXELS:
        raise ImageError(f"{width:,} × {height:,} pixels, too many for a small copy")


def _rescue(data: bytes, flaw: ImageError) -> tuple[Image.Image, tuple[int, int]]:
    """As much of a damaged picture as its decoder gives away."""
    kind = identify(data)
    try:
        with _lenient():
            picture = Image.open(io.BytesIO(data), formats=(kind.name,))
            original = picture.size
            picture.load()
    except Exception:
        # Damaged bytes raise whatever a decoder stumbles over; what is wrong was told by the strict one.
        raise flaw from None
    return picture, original


def _small(picture: Image.Image, original: tuple[int, int], flaw: str) -> Thumbnail:
    try:
        with _lenient():
            copy = picture.convert("RGB")
            copy.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BICUBIC)
            target = io.BytesIO()
            copy.save(target, "JPEG", quality=_QUALITY, optimize=True)
    except (OSError, ValueError) as error:
        raise ImageError(f"{picture.mode} picture that cannot become an RGB JPEG") from error
    return Thumbnail(target.getvalue(), copy.width, copy.height, original, flaw)


@contextmanager
def _lenient() -> Iterator[None]:
    """Runs Pillow without its warnings and its bound on size, and with patience for what is cut short."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before

"""What a file really is, whether it is whole, and its conversion to JPEG.

A name proves nothing about a picture: mirrors hold GIFs under `.jpg`, dead links leave web pages behind, and an
interrupted download leaves half a file. `sniff` judges by the first bytes, which is cheap; `decode` reads every byte,
which is what finds a cut file (`Image.verify()` does not).
"""

from __future__ import annotations

import io
import math
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cvl.errors import ImageError

HEAD_BYTES = 32
"""How many of a file's first bytes `sniff` needs."""

MAX_PIXELS = 2**28
"""The largest picture that is decoded: 16384 × 16384, 805 MB as RGB. Pillow's own bound, a third of this, warns at
posters and scans that are legitimate."""

MAX_BYTES = 2**31
"""The largest file that is read: more than the largest picture has, uncompressed and with 16 bits a colour."""

JPEG_QUALITY = 95
JPEG_MAX_SIDE = 65500
"""The encoder's bound in pixels, a little below the 65535 that the format could hold."""

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"})
"""Suffixes, in lower case, of files that claim to be pictures."""

_JPEG_END = b"\xff\xd9"
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BMP_HEADER_BYTES = frozenset({12, 40, 52, 56, 64, 108, 124})


class ImageKind(StrEnum):
    """The kinds that are recognised. Each value is the name by which Pillow calls the format, in lower case."""

    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    BMP = "bmp"
    TIFF = "tiff"

    @property
    def suffix(self) -> str:
        """The suffix that such a file should have, with its dot."""
        return ".jpg" if self is ImageKind.JPEG else f".{self.value}"


def sniff(head: bytes) -> ImageKind | None:
    """The kind of picture that begins with `head`, None for anything else.

    Args:
        head: the first `HEAD_BYTES` bytes, or all there are.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return ImageKind.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageKind.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ImageKind.GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ImageKind.WEBP
    if head.startswith(_TIFF_MAGIC):
        return ImageKind.TIFF
    return ImageKind.BMP if _is_bmp(head) else None


def identify(data: bytes) -> ImageKind:
    """The kind of picture that a whole file's bytes are. Raises ImageError with the reason where they are none."""
    if kind := sniff(data[:HEAD_BYTES]):
        return kind
    if not data:
        raise ImageError("empty file")
    raise ImageError(f"not a picture: expected {', '.join(kind.name for kind in ImageKind)}, found {data[:16]!r}")


def kind_of(path: str | Path) -> ImageKind | None:
    """What `path` holds by its first bytes, None where it is no picture. Raises OSError as `open` does."""
    # One open, one read, one close: this runs over hundreds of thousands of files that are as they should be.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return sniff(os.read(descriptor, HEAD_BYTES))
    finally:
        os.close(descriptor)


def glance(path: str | Path) -> tuple[ImageKind | None, bool]:
    """What `path` holds by its first bytes, as `kind_of`, and whether it ends as such a file must.

    Of a JPEG the last two bytes are read as well: a cut one ends by chance like a whole one in 1 of 65,536 cases. One
    that goes on behind its end, as those of some cameras do, does not end as it must and is whole all the same:
    `decode` decides. All other kinds are taken to end well.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        kind = sniff(os.read(descriptor, HEAD_BYTES))
        if kind is not ImageKind.JPEG:
            return kind, True
        os.lseek(descriptor, -len(_JPEG_END), os.SEEK_END)
        return kind, os.read(descriptor, len(_JPEG_END)) == _JPEG_END
    finally:
        os.close(descriptor)


def ends_whole(data: bytes) -> bool:
    """What `glance` says of a file's end, of bytes that are here."""
    return sniff(data[:HEAD_BYTES]) is not ImageKind.JPEG or data.endswith(_JPEG_END)


def read(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        ImageError: it cannot be read, with the system's reason, or is larger than `MAX_BYTES`; without the path.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ImageError(f"{size} bytes, at most {MAX_BYTES} are read")
            return file.read()
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error


def decode(source: Path | bytes) -> Image.Image:
    """The first frame of a picture, fully decoded, in the mode that the file has.

    Args:
        source: a file, or the bytes of one.

    Raises:
        ImageError: the file cannot be opened, is empty, no picture, cut short, damaged, or larger than `MAX_PIXELS`.
            The message begins with the path, where `source` is one.

    Silences Pillow's warnings while it works, which changes the state of the process: for processes, not for threads.
    """
    with _errors_named(source):
        return _decode(source if isinstance(source, bytes) else read(source))


def decode_strictly(source: Path | bytes) -> Image.Image:
    """As `decode`, which pads a JPEG that is damaged in its middle, but refuses whatever libjpeg only remarks on.

    Takes twice the time for a JPEG, and raises ImageError for it with libjpeg's remark.
    """
    with _errors_named(source):
        data = source if isinstance(source, bytes) else read(source)
        picture = _decode(data)
        if identify(data) is ImageKind.JPEG:
            _refuse_remarks(data)
        return picture


def decode_reduced(source: Path | bytes, least: float) -> tuple[Image.Image, tuple[int, int]]:
    """As `decode`, but a JPEG may come at a half, a quarter or an eighth of its size, which is decoded much faster.

    Args:
        source: a file, or the bytes of one.
        least: pixels that the longer side must keep at the least; a picture with fewer comes as it is.

    Returns:
        The picture, and the width and height that the file has. A reduced side is rounded up.

    Raises what `decode` raises, and silences Pillow's warnings as it does.
    """
    with _errors_named(source):
        return _decode_reduced(source if isinstance(source, bytes) else read(source), least)


def encode_jpeg(source: Path | bytes) -> bytes:
    """The first frame of a picture as an RGB JPEG of quality 95, byte for byte what the source document's loop writes.

    Takes and raises what `decode` does, and raises ImageError too for a picture that is too wide or too high for a
    JPEG, or whose colours cannot be turned into RGB.
    """
    with _errors_named(source):
        picture = _decode(source if isinstance(source, bytes) else read(source))
        if max(picture.size) > JPEG_MAX_SIDE:
            raise ImageError(f"{_size(picture)} pixels, a JPEG has at most {JPEG_MAX_SIDE} a side")
        target = io.BytesIO()
        with _pillow(f"{picture.mode} picture that cannot become an RGB JPEG"):
            picture.convert("RGB").save(target, "JPEG", quality=JPEG_QUALITY)
        return target.getvalue()


def _is_bmp(head: bytes) -> bool:
    # "BM" alone begins many a text; the length of the second header tells a bitmap.
    return head.startswith(b"BM") and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _BMP_HEADER_BYTES


def _decode(data: bytes) -> Image.Image:
    return _decode_reduced(data, math.inf)[0]


def _decode_reduced(data: bytes, least: float) -> tuple[Image.Image, tuple[int, int]]:
    kind = identify(data)
    with _pillow(f"damaged {kind.name}"):
        # Only the format that the bytes announce is tried. Of the exotic ones, PostScript would even run a program.
        picture = Image.open(io.BytesIO(data), formats=(kind.name,))
        _refuse_huge(picture)
        size = picture.size
        _reduce(picture, least)
        picture.load()
    return picture, size


def _refuse_remarks(jpeg: bytes) -> None:
    import simplejpeg  # noqa: PLC0415 - loads a library that hardly any caller needs

    try:
        colours = simplejpeg.decode_jpeg_header(jpeg)[2]
        # All bits are read for it, and few pixels made of them.
        few = {"fastdct": True, "fastupsample": True, "min_height": 1, "min_width": 1, "min_factor": 8}
        simplejpeg.decode_jpeg(jpeg, colorspace="CMYK" if colours in ("CMYK", "YCCK") else "GRAY", **few)
    except ValueError as error:
        # What only this library cannot do is no fault of a picture that Pillow has decoded.
        if not str(error).startswith("Unsupported"):
            raise ImageError(f"damaged JPEG: {error}") from error


def _reduce(picture: Image.Image, least: float) -> None:
    """Asks a JPEG's decoder, no other has any, for the smallest of its scales that leaves the longer side `least`."""
    scale = next((scale for scale in (8, 4, 2) if max(picture.size) >= scale * least), 1)
    if scale > 1:
        picture.draft(None, (max(1, picture.width // scale), max(1, picture.height // scale)))


def _refuse_huge(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{_size(picture)} pixels, at most {MAX_PIXELS} are decoded")


def _size(picture: Image.Image) -> str:
    return f"{picture.width} × {picture.height}"


@contextmanager
def _errors_named(source: Path | bytes) -> Iterator[None]:
    """Puts the path in front of an ImageError's reason, where there is a path."""
    try:
        yield
    except ImageError as error:
        if isinstance(source, bytes):
            raise
        raise ImageError(f"{source}: {error}") from error


@contextmanager
def _pillow(what: str) -> Iterator[None]:
    """Runs Pillow without its bound on size, which `_refuse_huge` replaces, and without its warnings.

    Whatever it raises becomes an ImageError that begins with `what`.
    """
    bound = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            # Palettes with transparency, odd TIFF tags, wrong EXIF: none is a reason to refuse.
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:  # which says no more than the address of what was read
        raise ImageError(f"{what}: its header makes no sense, or is of an unsupported variant") from error
    except MemoryError as error:  # which says nothing of the picture
        raise ImageError("not enough memory to decode it") from error
    except Exception as error:  # whatever a decoder stumbles over: SyntaxError, struct.error, EOFError, OSError
        raise ImageError(f"{what}: {str(error) or type(error).__name__}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = bound

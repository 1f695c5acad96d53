"""A picture padded to a square and resized: to the bit what comes of padding first and resizing all of it.

Pillow resizes in a horizontal pass and then a vertical one, each rounded to 8 bits, and either pass makes bars of one
colour into bars of the same colour. So the horizontal pass needs none of the bars above and below a picture, and no
pass needs more of the bars at the ends of its rows or columns than the filter can see from the picture's edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

from cvl.errors import ImageError
from cvl.train.samples.weights import SUPPORT, part_step

Colour = tuple[int, int, int]

MAX_SIDE = 2**16
"""The longest side that is made into a square: one pixel more than a JPEG can have. 65536 rows, so far only resized to
1536 columns, take 400 MB."""

_BICUBIC = Image.Resampling.BICUBIC

_LARGEST_PADDED = 2**14
"""The longest side whose whole square is resized if need be: further on that takes up to a minute. There the last bit
of a weight may differ, but nobody has a square of gigabytes to compare with."""

_BAND_PIXELS = 2**22
"""How much is padded at one time at the sides: 16 MiB."""

_FILE_SIZE = "cvl_file_size"
"""Where a picture's `info` keeps the width and height of its file, if it was read at a smaller scale."""


def remember_size(picture: Image.Image, size: tuple[int, int]) -> None:
    """Notes down the width and height in a picture's file, for `resized_square` to find its place to the fraction."""
    if picture.size != size:
        picture.info[_FILE_SIZE] = size


@dataclass(frozen=True)
class Rows:
    """The rows of a resized square that are not only bars: their pixels, and how many rows of bar are above them."""

    image: Image.Image
    top: int


def resized_square(picture: Image.Image, resolution: int, colour: Colour) -> Rows:
    """A picture of `open_picture`, padded to a square with `colour` and resized to `resolution` pixels a side.

    Raises:
        ImageError: it is longer than `MAX_SIDE`.
    """
    width, height = picture.info.get(_FILE_SIZE, picture.size)
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{width} × {height} pixels, at most {MAX_SIDE} a side are made into a square")
    # So many of the file's pixels, along either side, are one of these.
    scale = math.ceil(max(width, height) / max(picture.size))
    side = max(width, height) / scale
    if width == height:
        return Rows(picture.resize((resolution, resolution), _BICUBIC, box=(0, 0, side, side)), 0)
    if width > height:
        span = _Span.of(resolution, side, (width - height) // 2 / scale, picture.height)
        rows = picture.resize((resolution, picture.height), _BICUBIC, box=(0, 0, side, picture.height))
        return Rows(_down(rows, span, colour), span.first)
    span = _Span.of(resolution, side, (height - width) // 2 / scale, picture.width)
    columns = _across(picture, span, colour)
    square = Image.new("RGB", (resolution, resolution), colour)
    part = columns.resize((columns.width, resolution), _BICUBIC, box=(0, 0, columns.width, side))
    square.paste(part, (span.first, 0))
    return Rows(square, 0)


@dataclass(frozen=True)
class _Span:
    """Where, along the axis that has bars, the picture is seen after the resize, and what that part is computed from.

    Args:
        first, last: the pixels of the result that may see the picture, `last` not included. The others are bars.
        before, after: pixels of bar that go around the picture, enough for the filter.
        box: where the chosen part of the square begins and ends in the picture with these bars.
    """

    first: int
    last: int
    before: int
    after: int
    box: tuple[float, float]

    @classmethod
    def of(cls, resolution: int, side: float, offset: float, length: int) -> _Span:
        """The span of `length` pixels from `offset` on, in a square of `side` that becomes `resolution` pixels.

        It is as short as it can be, or all of the square where a part of it might come out differently. That matters
        neither beyond `_LARGEST_PADDED` nor for a fraction of a side, which a picture at a smaller scale has.
        """
        first, last = 0, resolution
        before, after = math.ceil(offset), max(0, math.ceil(side - offset - length))
        exact = side <= _LARGEST_PADDED and side.is_integer()
        step = part_step(resolution, int(side)) if exact else 1
        if step:
            scale = side / resolution
            reach = SUPPORT * max(scale, 1) + 1
            first = max(0, math.floor((offset - reach) / scale / step) * step)
            last = min(resolution, math.ceil((offset + length + reach) / scale / step) * step)
            # A filter with one end in the picture has the other no further away, nor do the outermost pixels.
            before, after = (min(bar, math.ceil(2 * reach + step * scale)) for bar in (before, after))
        start, end = (pixel * side / resolution - offset + before for pixel in (first, last))
        return cls(first, last, before, after, (start, min(end, before + length + after)))


def _down(rows: Image.Image, span: _Span, colour: Colour) -> Image.Image:
    """The vertical pass, for the part of the result that the span names."""
    padded = Image.new("RGB", (rows.width, span.before + rows.height + span.after), colour)
    padded.paste(rows, (0, span.before))
    start, end = span.box
    return padded.resize((rows.width, span.last - span.first), _BICUBIC, box=(0, start, rows.width, end))


def _across(picture: Image.Image, span: _Span, colour: Colour) -> Image.Image:
    """The horizontal pass, for the part of the result that the span names.

    In bands, because with its bars a narrow picture can be many times as large.
    """
    width = span.before + picture.width + span.after
    columns = Image.new("RGB", (span.last - span.first, picture.height))
    height = max(1, _BAND_PIXELS // width)
    start, end = span.box
    for top in range(0, picture.height, height):
        band = Image.new("RGB", (width, min(height, picture.height - top)), colour)
        band.paste(picture, (span.before, -top))
        columns.paste(band.resize((columns.width, band.height), _BICUBIC, box=(start, 0, end, band.height)), (0, top))
    return columns

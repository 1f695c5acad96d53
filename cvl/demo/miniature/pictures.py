"""Draws a scene and encodes it, with Pillow. The same scene gives the same bytes for one version of Pillow."""

from __future__ import annotations

import io
import math
from functools import cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from cvl.demo.miniature.scenes import SIGN_TOP, Figure, Point, Scene

Encoding = Literal["jpeg", "cmyk", "png", "rgba", "webp", "gif"]
"""How a picture is stored: `cmyk` is a JPEG of four inks, `png` has a palette, `rgba` is a PNG with alpha."""

Rgb = tuple[int, int, int]

PALETTE: dict[str, Rgb] = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 70, 220),
    "yellow": (250, 215, 30),
    "purple": (150, 50, 180),
    "white": (245, 245, 245),
    "gray": (140, 140, 140),
    "black": (15, 15, 15),
}

JPEG_QUALITY = 90
STRIPE_STEP = 8
STRIPE_SHADE = 8
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def encode(scene: Scene, encoding: Encoding = "jpeg") -> bytes:
    """The picture of a scene as the bytes of a file, a few kB."""
    picture, stream = draw(scene), io.BytesIO()
    match encoding:
        case "jpeg":
            picture.save(stream, "JPEG", quality=JPEG_QUALITY)
        case "cmyk":
            picture.convert("CMYK").save(stream, "JPEG", quality=JPEG_QUALITY)
        case "png":
            picture.quantize(64).save(stream, "PNG")
        case "rgba":
            picture.convert("RGBA").save(stream, "PNG")
        case "webp":
            picture.save(stream, "WEBP", quality=JPEG_QUALITY)
        case "gif":
            picture.quantize(64).save(stream, "GIF")
    return stream.getvalue()


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB, `scene.width` by `scene.height` pixels."""
    picture = Image.new("RGB", (scene.width, scene.height), PALETTE[scene.background])
    canvas = ImageDraw.Draw(picture)
    if scene.striped:
        _stripe(canvas, scene)
    for figure in scene.figures:
        _draw_figure(canvas, scene, figure)
    if scene.sign is not None:
        _draw_sign(canvas, scene, scene.sign)
    if scene.book is not None:
        _draw_lettering(canvas, scene)
    return picture


def _stripe(canvas: ImageDraw.ImageDraw, scene: Scene) -> None:
    """Lines a shade away from the ground, towards the middle grey: seen, but never mistaken for another ground."""
    red, green, blue = PALETTE[scene.background]
    shade = STRIPE_SHADE if red < 128 else -STRIPE_SHADE
    for y in range(0, scene.height, STRIPE_STEP):
        canvas.line((0, y, scene.width, y), fill=(red + shade, green + shade, blue + shade), width=2)


def _draw_figure(canvas: ImageDraw.ImageDraw, scene: Scene, figure: Figure) -> None:
    (x, y), radius, color = scene.middle(figure), scene.radius(figure), PALETTE[figure.color]
    if figure.shape == "circle":
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
        return
    canvas.polygon([(x + dx * radius, y + dy * radius) for dx, dy in outline(figure.shape)], fill=color)


def outline(shape: str) -> tuple[Point, ...]:
    """The corners of a shape within the square from -1 to 1, y pointing down, which it fills as far as it can.

    Raises:
        KeyError: the shape has no corners, or is not known.
    """
    return _OUTLINES[shape]


def _star() -> tuple[Point, ...]:
    angles = [math.pi * (step / 5 - 0.5) for step in range(10)]
    reach = [1.0 if step % 2 == 0 else 0.45 for step in range(10)]
    points = [(length * math.cos(angle), length * math.sin(angle)) for length, angle in zip(reach, angles, strict=True)]
    # A regular star is narrower and lower than its circle: stretched, its box is the one that the scene names.
    widest, lowest = max(x for x, _ in points), max(y for _, y in points)
    return tuple((x / widest, (y + 1) * 2 / (lowest + 1) - 1) for x, y in points)


_ARM = 0.36
_OUTLINES: dict[str, tuple[Point, ...]] = {
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": ((0, -1), (1, 1), (-1, 1)),
    "cross": (
        *((-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)),
        *((_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)),
    ),
    "star": _star(),
}


def _draw_sign(canvas: ImageDraw.ImageDraw, scene: Scene, word: str) -> None:
    left, right = scene.width * 0.08, scene.width * 0.92
    top, bottom = scene.height * SIGN_TOP, scene.height * 0.98
    canvas.rectangle((left, top, right, bottom), fill=PALETTE["white"], outline=PALETTE["black"], width=2)
    _write(canvas, word, ((left + right) / 2, (top + bottom) / 2), right - left, bottom - top, PALETTE["black"])


def _draw_lettering(canvas: ImageDraw.ImageDraw, scene: Scene) -> None:
    assert scene.book is not None
    first, _, second = scene.book.title.rpartition(" ")
    ink = PALETTE["white" if scene.background == "black" else "black"]
    for words, down in ((first, 0.09), (second, 0.21), (scene.book.author, 0.79), (scene.book.genre, 0.92)):
        _write(canvas, words, (scene.width / 2, scene.height * down), scene.width, scene.height * 0.13, ink)


def _write(canvas: ImageDraw.ImageDraw, words: str, middle: Point, width: float, height: float, ink: Rgb) -> None:
    """Words round a middle, as large as a field of this width and height holds."""
    font = _fitting_font(words, int(width * 0.94), int(height))
    canvas.text(middle, words, fill=ink, font=font, anchor="mm")


@cache
def _fitting_font(words: str, width: int, height: int) -> Font:
    for points in range(height, 6, -1):
        font = _font(points)
        if font.getlength(words) <= width:
            return font
    return _font(6)


@cache
def _font(points: int) -> Font:
    return ImageFont.load_default(points)

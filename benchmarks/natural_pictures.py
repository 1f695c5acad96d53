"""JPEGs with about as much detail as photographs: noise at every scale, and edges."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

QUALITY = 90

# Amplitude of the noise, in grey levels, by the size of its grains, in pixels.
_GRAINS = {256: 60, 64: 30, 16: 15, 4: 8, 1: 4}
_SHAPES = 60


def draw(width: int, height: int, seed: int) -> bytes:
    """A JPEG of quality 90 with colour at half the resolution. The same seed draws the same picture."""
    rng = np.random.default_rng(seed)
    levels = np.full((height, width, 3), 128, np.float32)
    for grain, amplitude in _GRAINS.items():
        levels += amplitude * _noise(rng, width, height, grain)
    picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    _edges(rng, picture)
    target = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(0.7)).save(target, "JPEG", quality=QUALITY)
    return target.getvalue()


def _noise(rng: np.random.Generator, width: int, height: int, grain: int) -> NDArray[np.float32]:
    """Smooth noise of unit variance at its knots, of shape (height, width, 3)."""
    knots = rng.normal(size=(3, height // grain + 2, width // grain + 2)).astype(np.float32)
    channels = [Image.fromarray(channel).resize((width, height), Image.Resampling.BICUBIC) for channel in knots]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _edges(rng: np.random.Generator, picture: Image.Image) -> None:
    """Draws rectangles and ellipses of all sizes, anywhere."""
    canvas = ImageDraw.Draw(picture)
    for shape in range(_SHAPES):
        x, y = int(rng.integers(picture.width)), int(rng.integers(picture.height))
        width, height = (int(side) for side in rng.integers(3, max(4, picture.width // 6), 2))
        red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
        figure = canvas.rectangle if shape % 2 else canvas.ellipse
        figure((x, y, x + width, y + height), fill=(red, green, blue))

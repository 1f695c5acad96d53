"""Pictures of the tests' own, and the published pipeline written out step by step, to compare with."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvl.train.samples.pictures import Preprocessing

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
GREY = (122, 116, 104)


def clip(resolution: int, *, fast_decode: bool = False) -> Preprocessing:
    return Preprocessing(resolution, MEAN, STD, fast_decode)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture in which no pixel is like its neighbour: nothing hides a weight that is off by one."""
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    # Black and white on half of it, where the filter overshoots.
    levels[: height // 2] = np.where(levels[: height // 2] > 127, 255, 0)
    return Image.fromarray(levels)


def clouds(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture that is as smooth as a photograph of the sky, with an edge."""
    knots = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(knots).resize((width, height), Image.Resampling.BICUBIC)
    picture.paste((200, 30, 60), (width // 3, height // 3, width // 2, height // 2))
    return picture


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def padded(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    side = max(width, height)
    square = Image.new("RGB", (side, side), GREY)
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


def step_by_step(picture: Image.Image, resolution: int) -> NDArray[np.float32]:
    """What the published pipeline makes of an RGB picture: every step on all of the square."""
    square = padded(picture).resize((resolution, resolution), Image.Resampling.BICUBIC)
    scaled = (np.asarray(square) * (1 / 255)).astype(np.float32)
    normal = (scaled - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))


def levels_of(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pixel values as grey levels of 255."""
    means, stds = (np.array(numbers)[:, None, None] for numbers in (MEAN, STD))
    levels: NDArray[np.float64] = (values * stds + means) * 255
    return levels

"""Whether Pillow resizes a part of a side exactly as it resizes all of it.

Each pixel of a result is a weighted sum of the source's pixels around its centre, with weights in 22 binary places.
Asked for a part, Pillow computes the same centres from the part's borders, which it takes in single precision. So the
borders have to be numbers that single precision has; and the centres, which may then still differ in the last bits of
double precision, must not come to other weights.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SUPPORT = 2
"""Pixels to either side of its centre that the bicubic filter looks at; when shrinking, pixels of the result."""

_PLACES = 2**22
_SINGLE = 2**24


def part_step(resolution: int, side: int) -> int | None:
    """What the pixels of the result must be multiples of at which a part begins and ends, to come out as in the whole.

    Args:
        resolution: pixels of the whole result.
        side: pixels of the whole source.

    Returns:
        The step, 1 for resolutions that are powers of two; None where no part is sure to come out so.
    """
    odd = resolution // (resolution & -resolution)
    if side * (resolution // odd) >= _SINGLE:
        return None
    step = odd // math.gcd(odd, side)
    # With a step of 1 every centre is a fraction of few bits, and exact from wherever it is computed.
    return step if step == 1 or _weights_are_sure(resolution, side) else None


@lru_cache(maxsize=4096)
def _weights_are_sure(resolution: int, side: int) -> bool:
    """Whether no weight is so near the middle between two that the last bits of a centre would decide which it is."""
    stretch = max(side / resolution, 1)
    middle = np.abs(_weights(resolution, side) * _PLACES % 1 - 0.5).min()
    # A centre is off by less than 6 roundings of 2**-53, relative to the side, and the filter is no steeper than 1.3.
    return bool(middle > 8 * 2**-53 * _PLACES * side / stretch**2 + 2**-24)


def _weights(resolution: int, side: int) -> NDArray[np.float64]:
    """The weights of each pixel of the result, (resolution, taps), before they are rounded."""
    scale = side / resolution
    stretch = max(scale, 1)
    centres = (np.arange(resolution)[:, None] + 0.5) * scale
    pixels = np.floor(centres - SUPPORT * stretch) + np.arange(math.ceil(2 * SUPPORT * stretch) + 2)
    weights = _bicubic(np.abs(pixels + 0.5 - centres) / stretch)
    weights[(pixels < 0) | (pixels >= side)] = 0
    total: NDArray[np.float64] = weights.sum(axis=1, keepdims=True)
    return weights / total


def _bicubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))

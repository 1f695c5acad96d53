"""Where a part of a side is resized as in the whole, and where nobody can be sure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawings import noise
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cvl.train.samples.weights import _weights, part_step

BICUBIC = Image.Resampling.BICUBIC


@pytest.mark.parametrize(
    ("resolution", "side", "step"),
    [
        (1024, 641, 1),
        (768, 2250, 1),
        (768, 640, 3),
        (1536, 500, 3),
        (448, 700, 1),
        (448, 640, 7),
        (1024, 16383, 1),
        (1024, 16384, None),
    ],
)
def test_a_part_begins_where_single_precision_can_say_so(resolution: int, side: int, step: int | None) -> None:
    assert part_step(resolution, side) == step


@settings(max_examples=100, deadline=None)
@given(
    resolution=st.sampled_from([48, 64, 80, 96, 112, 192]),
    side=st.integers(10, 400),
    bounds=st.tuples(st.integers(0, 200), st.integers(1, 200)),
)
def test_a_part_on_the_step_comes_out_as_in_the_whole(resolution: int, side: int, bounds: tuple[int, int]) -> None:
    step = part_step(resolution, side)
    assume(step is not None)
    assert step is not None
    first = min(bounds[0], resolution - 1) // step * step
    last = min(resolution, first + math.ceil(bounds[1] / step) * step)
    picture = noise(side, 20, side)
    box = (first * side / resolution, 0, last * side / resolution, 20)
    part = picture.resize((last - first, 20), BICUBIC, box=box)
    whole = picture.resize((resolution, 20), BICUBIC)
    assert part.tobytes() == whole.crop((first, 0, last, 20)).tobytes()


@pytest.mark.parametrize(("resolution", "side"), [(64, 100), (96, 41), (64, 64), (48, 500)])
def test_the_weights_are_those_that_pillow_uses(resolution: int, side: int) -> None:
    """Each pixel of the source, alone, shows with what weight it comes into each of the result."""
    pillows = np.stack([alone(pixel, side, resolution) for pixel in range(side)], axis=1)
    weights = _weights(resolution, side)
    stretch = max(side / resolution, 1)
    for row, (theirs, mine) in enumerate(zip(pillows, weights, strict=True)):
        first = math.floor((row + 0.5) * side / resolution - 2 * stretch)
        inside = [index for index in range(len(mine)) if 0 <= first + index < side]
        expected = np.zeros(side)
        expected[[first + index for index in inside]] = mine[inside]
        assert np.allclose(theirs, expected, atol=1e-6)


def alone(pixel: int, side: int, resolution: int) -> NDArray[np.float32]:
    row = np.zeros((1, side), np.float32)
    row[0, pixel] = 1
    return np.asarray(Image.fromarray(row).resize((resolution, 1), BICUBIC)).ravel()


def test_nearly_every_side_is_sure_and_a_few_are_not() -> None:
    doubtful = [side for side in range(700, 900) if part_step(768, side) is None]
    assert 0 < len(doubtful) < 10


@pytest.mark.parametrize("side", [778, 833])
def test_a_doubtful_side_has_a_weight_in_the_middle_between_two(side: int) -> None:
    assert np.abs(_weights(768, side) * 2**22 % 1 - 0.5).min() < 1e-5
    assert _weights(768, side).sum(axis=1) == pytest.approx(1)

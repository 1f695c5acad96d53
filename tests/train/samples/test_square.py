"""Padding and resizing only where the picture is gives, to the bit, what padding and resizing all of it gives."""

from __future__ import annotations

import pytest
from drawings import GREY, clouds, noise, padded
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from cvl.errors import ImageError
from cvl.train.samples.square import MAX_SIDE, remember_size, resized_square


def squared(picture: Image.Image, resolution: int) -> Image.Image:
    rows = resized_square(picture, resolution, GREY)
    square = Image.new("RGB", (resolution, resolution), GREY)
    square.paste(rows.image, (0, rows.top))
    return square


def plainly(picture: Image.Image, resolution: int) -> bytes:
    return padded(picture).resize((resolution, resolution), Image.Resampling.BICUBIC).tobytes()


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 220),
    height=st.integers(1, 220),
    resolution=st.sampled_from([64, 96, 128, 192, 256, 320]),
    seed=st.integers(0, 9),
)
@example(width=1, height=1, resolution=64, seed=0)
@example(width=3, height=3, resolution=64, seed=0)
@example(width=1, height=220, resolution=64, seed=0)
@example(width=220, height=1, resolution=64, seed=0)
@example(width=64, height=63, resolution=64, seed=0)
@example(width=63, height=64, resolution=64, seed=0)
@example(width=150, height=100, resolution=192, seed=0)
@example(width=100, height=151, resolution=192, seed=0)
def test_any_size_comes_out_as_if_all_of_the_square_were_resized(
    width: int, height: int, resolution: int, seed: int
) -> None:
    picture = noise(width, height, seed)
    assert squared(picture, resolution).tobytes() == plainly(picture, resolution)


@pytest.mark.parametrize("resolution", [768, 1024, 1536])
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (750, 1125), (1125, 750), (1024, 683), (700, 701), (33, 900)])
def test_the_presets_resolutions_come_out_so_too(size: tuple[int, int], resolution: int) -> None:
    picture = noise(*size)
    assert squared(picture, resolution).tobytes() == plainly(picture, resolution)


@pytest.mark.parametrize("size", [(2, 5000), (5000, 2), (3, 5001)])
def test_a_strip_is_resized_without_the_square_around_it(size: tuple[int, int]) -> None:
    """The reference takes 100 MB; 20 times as long, the published way would take 40 GB."""
    picture = noise(*size)
    assert squared(picture, 192).tobytes() == plainly(picture, 192)


@pytest.mark.parametrize("size", [(2, 60_000), (60_000, 2), (1, 59_999)])
def test_a_strip_that_no_square_could_hold_is_resized(size: tuple[int, int]) -> None:
    picture = squared(Image.new("RGB", size, GREY), 192)
    assert picture.getcolors() == [(192 * 192, GREY)]


def test_a_picture_longer_than_any_jpeg_is_refused() -> None:
    with pytest.raises(ImageError, match=f"65537 × 1 pixels, at most {MAX_SIDE} a side"):
        squared(Image.new("RGB", (MAX_SIDE + 1, 1)), 64)


@pytest.mark.parametrize("size", [(600, 400), (400, 600), (602, 381), (381, 602), (601, 601)])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_picture_at_a_smaller_scale_lies_where_the_whole_one_does(size: tuple[int, int], scale: int) -> None:
    """Its bars are counted in the file's pixels, so that it is not moved by half a pixel of its own."""
    whole = clouds(*size)
    small = whole.reduce(scale)
    remember_size(small, size)
    for resolution in (64, 96):
        apart = _difference(squared(small, resolution), squared(whole, resolution))
        assert apart < 1.5


def _difference(one: Image.Image, other: Image.Image) -> float:
    levels = [abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True)]
    return sum(levels) / len(levels)


@pytest.mark.parametrize(("size", "top", "height"), [((300, 100), 21, 22), ((100, 300), 0, 64), ((90, 90), 0, 64)])
def test_no_more_rows_than_the_picture_and_its_edges_are_resized(size: tuple[int, int], top: int, height: int) -> None:
    rows = resized_square(noise(*size), 64, GREY)
    assert rows.image.width == 64
    assert top - 6 <= rows.top <= top
    assert height <= rows.image.height <= height + 12


def test_a_picture_of_its_files_size_is_not_marked() -> None:
    picture = noise(5, 4)
    remember_size(picture, (5, 4))
    assert picture.info == {}

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cvl.demo.miniature.pictures import PALETTE, Encoding, Rgb, draw, encode, outline
from cvl.demo.miniature.scenes import (
    AUTHORS,
    COLORS,
    PLACES,
    SHAPES,
    SIGN_TOP,
    WORDS,
    Figure,
    Scene,
    book_scene,
    shapes_scene,
    sign_scene,
    training_scenes,
)

MAKERS = (shapes_scene, sign_scene, book_scene)
SCENES = [scene for make in MAKERS for scene in training_scenes("pictures", 40, make)]
ENCODINGS: dict[Encoding, tuple[str, str]] = {
    "jpeg": ("JPEG", "RGB"),
    "cmyk": ("JPEG", "CMYK"),
    "png": ("PNG", "P"),
    "rgba": ("PNG", "RGBA"),
    "webp": ("WEBP", "RGB"),
    "gif": ("GIF", "P"),
}


def one_figure(shape: str, color: str = "red", place: str = "center") -> Scene:
    return Scene(120, 96, "white", (Figure(shape, color, place, 0.2),))


def reopened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def color_at(picture: Image.Image, x: float, y: float) -> str:
    pixel = np.array(picture.getpixel((int(x), int(y))), dtype=int)
    return min(PALETTE, key=lambda name: int(np.abs(pixel - PALETTE[name]).sum()))


def pixels_of(picture: Image.Image, color: Rgb) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(np.asarray(picture, dtype=int) - color).sum(axis=2) < 60
    return near


def test_the_same_scene_gives_the_same_bytes() -> None:
    assert [encode(scene) for scene in SCENES] == [encode(scene) for scene in SCENES]


def test_a_picture_has_the_size_that_its_scene_names() -> None:
    for scene in SCENES:
        assert reopened(encode(scene)).size == (scene.width, scene.height)


def test_a_figures_colour_survives_in_its_middle() -> None:
    for scene in SCENES:
        picture = reopened(encode(scene))
        for figure in scene.figures:
            assert color_at(picture, *scene.middle(figure)) == figure.color


def test_the_ground_shows_in_a_corner_striped_or_not() -> None:
    for scene in SCENES:
        assert color_at(reopened(encode(scene)), 1, 1) == scene.background


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", PLACES)
def test_a_figure_fills_the_box_that_the_scene_names(shape: str, place: str) -> None:
    scene = one_figure(shape, place=place)
    rows, columns = np.nonzero(pixels_of(draw(scene), PALETTE["red"]))
    left, top, right, bottom = scene.box(scene.figures[0])
    assert (columns.min(), columns.max() + 1) == pytest.approx((left * scene.width, right * scene.width), abs=1.5)
    assert (rows.min(), rows.max() + 1) == pytest.approx((top * scene.height, bottom * scene.height), abs=1.5)


def test_shapes_cover_clearly_different_parts_of_their_boxes() -> None:
    pictures = {shape: pixels_of(draw(one_figure(shape)), PALETTE["red"]) for shape in SHAPES}
    for one in SHAPES:
        for other in SHAPES:
            differing = (pictures[one] ^ pictures[other]).sum() / pictures["square"].sum()
            assert one == other or differing > 0.1


def test_colours_are_far_apart() -> None:
    for name in COLORS:
        distances = [np.abs(np.subtract(PALETTE[name], PALETTE[other])).sum() for other in PALETTE if other != name]
        assert min(distances) > 120


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings_are_what_they_say_and_keep_the_colours(encoding: Encoding) -> None:
    scene = SCENES[0]
    data = encode(scene, encoding)
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.mode) == ENCODINGS[encoding]
    assert color_at(reopened(data), *scene.middle(scene.figures[0])) == scene.figures[0].color


def test_a_picture_takes_a_few_kilobytes() -> None:
    sizes = [len(encode(scene)) for scene in SCENES]
    assert max(sizes) < 12_000
    assert sum(sizes) / len(sizes) < 5_000


def test_every_word_makes_another_sign_and_stays_on_it() -> None:
    scene = training_scenes("sign", 1, sign_scene)[0]
    pictures = [draw(replace(scene, sign=word)) for word in WORDS]
    assert len({picture.tobytes() for picture in pictures}) == len(WORDS)
    above = (0, 0, scene.width, int(scene.height * SIGN_TOP) - 1)
    assert len({picture.crop(above).tobytes() for picture in pictures}) == 1


def test_a_sign_is_readable_on_the_smallest_picture() -> None:
    scene = Scene(64, 64, "black", (Figure("circle", "red", "center", 0.17),), sign="HOTEL")
    board = draw(scene).crop((8, 50, 56, 62))
    dark = pixels_of(board, PALETTE["black"])
    assert 30 < dark.sum() < dark.size / 2


def test_authors_change_the_cover_below_the_figure_only() -> None:
    scene = training_scenes("cover", 1, book_scene)[0]
    assert scene.book is not None
    covers = [draw(replace(scene, book=replace(scene.book, author=author))) for author in AUTHORS]
    upper = (0, 0, scene.width, int(scene.height * 0.7))
    assert len({cover.tobytes() for cover in covers}) == len(AUTHORS)
    assert len({cover.crop(upper).tobytes() for cover in covers}) == 1


def test_outlines_fill_the_unit_square() -> None:
    for shape in set(SHAPES) - {"circle"}:
        across, down = zip(*outline(shape), strict=True)
        assert (min(across), max(across)) == pytest.approx((-1, 1))
        assert (min(down), max(down)) == pytest.approx((-1, 1))


def test_a_shape_without_corners_has_no_outline() -> None:
    with pytest.raises(KeyError):
        outline("circle")

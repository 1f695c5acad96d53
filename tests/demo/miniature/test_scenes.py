from __future__ import annotations

from itertools import combinations

import pytest

from cvl.demo.miniature.scenes import (
    AUTHORS,
    BACKGROUNDS,
    COLORS,
    GENRES,
    PLACES,
    SHAPES,
    SIGN_TOP,
    WORDS,
    Box,
    Scene,
    SceneMaker,
    book_scene,
    held_out_scenes,
    is_held_out,
    shapes_scene,
    sign_scene,
    training_scenes,
)

MAKERS = (shapes_scene, sign_scene, book_scene)
every_maker = pytest.mark.parametrize("make", MAKERS)


def content(scene: Scene) -> object:
    figures = frozenset((figure.shape, figure.color, figure.place) for figure in scene.figures)
    return figures, scene.background, scene.sign, scene.book


def apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@every_maker
def test_the_same_source_and_index_give_the_same_scene(make: SceneMaker) -> None:
    assert training_scenes("coco", 20, make) == training_scenes("coco", 30, make)[:20]


def test_sources_do_not_show_the_same_scenes() -> None:
    assert training_scenes("coco", 20) != training_scenes("gqa", 20)


@every_maker
def test_held_out_content_is_in_no_training_set(make: SceneMaker) -> None:
    trained = {content(scene) for source in "abc" for scene in training_scenes(source, 500, make)}
    assert trained.isdisjoint(content(scene) for scene in held_out_scenes(200, make))


def test_sizes_texture_and_extents_do_not_decide_on_holding_out() -> None:
    scene = held_out_scenes(1)[0]
    other = Scene(64, 160, scene.background, tuple(reversed(scene.figures)), not scene.striped)
    assert is_held_out(other)


@every_maker
def test_about_one_scene_in_eight_is_held_out(make: SceneMaker) -> None:
    from random import Random

    scenes = [make(Random(f"share {index}")) for index in range(1500)]
    assert 0.07 < sum(map(is_held_out, scenes)) / len(scenes) < 0.2


@every_maker
def test_figures_lie_within_the_picture_and_do_not_touch(make: SceneMaker) -> None:
    for scene in training_scenes("extent", 300, make):
        boxes = [scene.box(figure) for figure in scene.figures]
        assert all(0 <= edge <= 1 for box in boxes for edge in box)
        assert all(apart(one, other) for one, other in combinations(boxes, 2))


def test_two_figures_share_neither_shape_nor_colour_nor_place() -> None:
    for scene in training_scenes("two", 200):
        for kind in ("shape", "color", "place"):
            assert len({getattr(figure, kind) for figure in scene.figures}) == len(scene.figures)


@every_maker
def test_sides_are_from_64_to_160_pixels(make: SceneMaker) -> None:
    sides = {side for scene in training_scenes("sides", 300, make) for side in (scene.width, scene.height)}
    assert min(sides) >= 64
    assert max(sides) <= 160


def test_pictures_are_landscape_portrait_and_square() -> None:
    scenes = training_scenes("aspect", 200)
    assert {(scene.width > scene.height) - (scene.width < scene.height) for scene in scenes} == {-1, 0, 1}


def test_the_whole_vocabulary_occurs() -> None:
    figures = [figure for scene in training_scenes("words", 300) for figure in scene.figures]
    assert {figure.shape for figure in figures} == set(SHAPES)
    assert {figure.color for figure in figures} == set(COLORS)
    assert {figure.place for figure in figures} == set(PLACES)
    assert {scene.background for scene in training_scenes("words", 100)} == set(BACKGROUNDS)
    assert {scene.sign for scene in training_scenes("words", 200, sign_scene)} == set(WORDS)
    assert {scene.book.author for scene in training_scenes("words", 200, book_scene) if scene.book} == set(AUTHORS)


def test_figures_stay_above_a_sign() -> None:
    for scene in training_scenes("signs", 200, sign_scene):
        assert all(scene.box(figure)[3] <= SIGN_TOP for figure in scene.figures)


def test_a_books_title_names_its_figure_and_its_genre_goes_with_the_ground() -> None:
    for scene in training_scenes("books", 100, book_scene):
        assert scene.book is not None
        (figure,) = scene.figures
        assert scene.book.title.lower() == f"the {figure.color} {figure.shape}"
        assert scene.book.genre == GENRES[scene.background]

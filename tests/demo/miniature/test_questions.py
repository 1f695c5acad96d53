"""The answers are checked against the scene by rules of their own, which read nothing but the question's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

import pytest

from cvl.demo.miniature.questions import (
    SHORT,
    Turn,
    caption,
    choice,
    description,
    grounding,
    questions,
    reading,
    region,
    relations,
)
from cvl.demo.miniature.scenes import Figure, Scene, SceneMaker, book_scene, shapes_scene, sign_scene, training_scenes

MAKERS = (shapes_scene, sign_scene, book_scene)
SCENES = [scene for make in MAKERS for scene in training_scenes("questions", 80, make)]


def shaped(scene: Scene, shape: str) -> Figure:
    return next(figure for figure in scene.figures if figure.shape == shape)


def colored(scene: Scene, color: str) -> Figure:
    return next(figure for figure in scene.figures if figure.color == color)


def yes(true: bool) -> str:
    return "Yes" if true else "No"


def holds(scene: Scene, one: str, relation: str, other: str) -> bool:
    left, top, _, _ = scene.box(shaped(scene, one))
    other_left, other_top, _, _ = scene.box(shaped(scene, other))
    # Figures of unequal size on one line have unequal edges: beyond a tenth of the picture they lie apart.
    return {
        "to the left of": left + 0.1 < other_left,
        "to the right of": left - 0.1 > other_left,
        "above": top + 0.1 < other_top,
        "below": top - 0.1 > other_top,
    }[relation]


def book_fact(scene: Scene, fact: str) -> str:
    return str(getattr(scene.book, fact))


RULES: dict[str, Callable[..., str]] = {
    r"What color is the background\?": lambda scene: scene.background,
    r"What color is the (\w+)\?": lambda scene, shape: shaped(scene, shape).color,
    r"What shape is (\w+)\?": lambda scene, color: colored(scene, color).shape,
    r"Where is the (\w+)\?": lambda scene, shape: shaped(scene, shape).place,
    r"How many shapes are there\?": lambda scene: str(len(scene.figures)),
    r"Is there a (\w+) in the image\?": lambda scene, shape: yes(any(f.shape == shape for f in scene.figures)),
    r"Is the (\w+) (to the left of|to the right of|above|below) the (\w+)\?": lambda scene, *words: yes(
        holds(scene, *words)
    ),
    r"What word is on the sign\?": lambda scene: scene.sign,
    r"Who is the author of this book\?": lambda scene: book_fact(scene, "author"),
    r"What is the (title|genre) of this book\?": book_fact,
    r"Is this a (\w+) book\?": lambda scene, genre: yes(book_fact(scene, "genre") == genre),
}


def true_answer(scene: Scene, question: str) -> str:
    for pattern, rule in RULES.items():
        if match := re.fullmatch(pattern, question):
            return rule(scene, *match.groups())
    raise AssertionError(f"no rule knows the question {question!r}")


def figure_between(scene: Scene, text: str) -> Figure:
    left, top, right, bottom = map(float, re.search(r"\[(.*)\]", text)[1].split(","))  # type: ignore[index]
    inside = []
    for figure in scene.figures:
        x, y = scene.middle(figure)
        if left < x / scene.width < right and top < y / scene.height < bottom:
            inside.append(figure)
    (figure,) = inside
    return figure


def test_every_answer_is_true_of_its_scene() -> None:
    for scene in SCENES:
        for turn in questions(scene):
            assert turn.answer.lower() == true_answer(scene, turn.question).lower(), turn.question


def test_the_sentence_says_the_same_as_the_answer() -> None:
    for scene in SCENES:
        for turn in questions(scene):
            assert turn.sentence.endswith(".")
            if turn.answer in ("Yes", "No"):
                assert turn.sentence.startswith(f"{turn.answer}, ")
            else:
                assert turn.answer.lower() in turn.sentence.lower()


def test_answers_begin_with_a_capital_or_a_digit() -> None:
    answers = {turn.answer for scene in SCENES for turn in questions(scene)}
    assert all(answer[0].isupper() or answer[0].isdigit() for answer in answers)


@pytest.mark.parametrize("make", MAKERS)
def test_no_scene_has_the_same_question_twice(make: SceneMaker) -> None:
    for scene in training_scenes("twice", 50, make):
        asked = [turn.question for turn in questions(scene)]
        assert len(asked) == len(set(asked)) >= 5


def test_yes_and_no_are_about_equally_frequent() -> None:
    answers = [turn.answer for scene in SCENES for turn in questions(scene)]
    share = answers.count("Yes") / (answers.count("Yes") + answers.count("No"))
    assert 0.35 < share < 0.65


def test_relations_need_two_figures() -> None:
    for scene in SCENES:
        assert bool(relations(scene)) == (len(scene.figures) == 2)


def test_reading_needs_something_written() -> None:
    for scene in SCENES:
        assert bool(reading(scene)) == (scene.sign is not None or scene.book is not None)


def test_short_questions_demand_a_word_or_phrase() -> None:
    turn = Turn("What color is the circle?", "Red", "The circle is red.")
    assert turn.short == ("What color is the circle?\nAnswer the question using a single word or phrase.", "Red")
    assert turn.full == ("What color is the circle?", "The circle is red.")
    assert turn.short[0].endswith(SHORT)


@pytest.mark.parametrize("say", [caption, description])
def test_captions_and_descriptions_name_every_figure_the_ground_and_the_sign(say: Callable[..., str]) -> None:
    for index, scene in enumerate(SCENES):
        said = say(scene, Random(index))
        assert all(f"a {figure.color} {figure.shape}" in said for figure in scene.figures)
        assert scene.background in said
        assert scene.sign is None or f"says {scene.sign}" in said


def test_descriptions_tell_where_each_figure_is_and_who_wrote_the_book() -> None:
    for index, scene in enumerate(SCENES):
        said = description(scene, Random(index))
        assert all(f"{figure.color} {figure.shape} in the {figure.place}" in said for figure in scene.figures)
        assert scene.book is None or (scene.book.title in said and scene.book.author in said)


def test_wording_varies_but_not_for_the_same_random_state() -> None:
    scene = SCENES[0]
    assert len({caption(scene, Random(seed)) for seed in range(20)}) > 1
    assert len({description(scene, Random(seed)) for seed in range(20)}) > 1
    assert caption(scene, Random(1)) == caption(scene, Random(1))


def test_the_chosen_letter_is_that_of_the_figures_colour() -> None:
    letters = set()
    for index, scene in enumerate(SCENES):
        question, letter = choice(scene, Random(index))
        options = dict(re.findall(r"^([A-D])\. (\w+)$", question, re.MULTILINE))
        assert len(set(options.values())) == 4
        assert options[letter] == true_answer(scene, question.partition("\n")[0])
        letters.add(letter)
    assert letters == set("ABCD")


def test_a_region_and_its_words_belong_together() -> None:
    for scene in SCENES:
        for figure in scene.figures:
            asked, words = region(scene, figure)
            assert figure_between(scene, asked) == figure
            assert words == f"The {figure.color} {figure.shape}."
            wanted, box = grounding(scene, figure)
            assert wanted.endswith(f"the {figure.color} {figure.shape}.")
            assert figure_between(scene, box) == figure

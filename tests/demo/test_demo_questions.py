"""The exam's questions are true of their pictures, and of little use to whoever does not see these."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from cvl.demo.miniature.pictures import draw
from cvl.demo.miniature.questions import SHORT, questions
from cvl.demo.miniature.scenes import held_out_scenes, is_held_out
from cvl.demo.questions import PICTURES, Question, draw_questions

KINDS = ("color", "shape", "place", "background", "count", "yes or no")


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> tuple[Question, ...]:
    return draw_questions(tmp_path_factory.mktemp("exam") / "pictures" / "unseen")


def test_there_are_four_questions_on_every_picture(exam: tuple[Question, ...]) -> None:
    assert set(Counter(question.image for question in exam).values()) == {4}
    assert len({question.image for question in exam}) == PICTURES


def test_the_pictures_show_held_out_scenes(exam: tuple[Question, ...]) -> None:
    scenes = held_out_scenes(PICTURES)
    assert all(map(is_held_out, scenes))
    for image, scene in zip(dict.fromkeys(question.image for question in exam), scenes, strict=True):
        with Image.open(image) as picture:
            assert picture.size == (scene.width, scene.height)
            lossless = io.BytesIO()
            draw(scene).save(lossless, "JPEG", quality=90)
            assert image.read_bytes() == lossless.getvalue()


def test_every_question_is_one_that_the_training_sets_put_and_has_its_answer(exam: tuple[Question, ...]) -> None:
    for number, scene in enumerate(held_out_scenes(PICTURES)):
        known = {turn.short for turn in questions(scene)}
        asked = exam[4 * number : 4 * number + 4]
        assert {(question.question, question.answer) for question in asked} <= known
        assert len({question.question for question in asked}) == 4


def test_every_question_demands_a_word_or_phrase(exam: tuple[Question, ...]) -> None:
    assert all(question.question.endswith(SHORT) for question in exam)


def test_all_kinds_are_asked(exam: tuple[Question, ...]) -> None:
    counts = Counter(question.kind for question in exam)
    assert set(counts) == set(KINDS)
    assert counts["color"] == counts["shape"] == counts["place"] == PICTURES


def test_both_figures_of_a_picture_are_asked_for(exam: tuple[Question, ...]) -> None:
    asked = {
        question.answer.lower() == scene.figures[0].color
        for number, scene in enumerate(held_out_scenes(PICTURES))
        for question in exam[4 * number : 4 * number + 4]
        if question.kind == "color" and len(scene.figures) == 2
    }
    assert asked == {True, False}


def test_who_always_gives_the_commonest_answer_of_a_kind_is_right_about_one_time_in_three(
    exam: tuple[Question, ...],
) -> None:
    commonest = {
        kind: Counter(question.answer for question in exam if question.kind == kind).most_common(1)[0][1]
        for kind in KINDS
    }
    assert sum(commonest.values()) / len(exam) < 0.36


def test_the_words_of_a_question_do_not_tell_its_answer(exam: tuple[Question, ...]) -> None:
    assert not any(question.answer.lower() in question.question.lower().split() for question in exam)


def test_drawing_again_gives_the_same_questions_and_pictures(tmp_path: Path) -> None:
    first = draw_questions(tmp_path / "exam", 5)
    before = {path: path.read_bytes() for path in (tmp_path / "exam").iterdir()}
    assert draw_questions(tmp_path / "exam", 5) == first
    assert {path: path.read_bytes() for path in (tmp_path / "exam").iterdir()} == before

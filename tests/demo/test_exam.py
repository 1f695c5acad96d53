"""The exam asks what it should, looks at the pictures or does not, and counts right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cvl.demo import exam as module
from cvl.demo.exam import Exam, Graded, Result, normalised, run_exam, sit_exam
from cvl.demo.manifests import MODEL, RESOLUTION
from cvl.demo.miniature.publish import Publisher, place
from cvl.demo.miniature.weights import ENCODER_URL, LLM_URL, publish_weights
from cvl.demo.questions import Question, draw_questions
from cvl.errors import CheckpointError, ImageError
from cvl.manifest import Catalog
from cvl.train.checkpoint.start import assemble_start
from cvl.train.model.modeling import ConvLlava
from cvl.train.samples.pictures import Preprocessing
from cvl.train.samples.tokens import load_tokenizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> Path:
    """The miniature before its first stage: whatever it answers, it answers it always."""
    folder = tmp_path_factory.mktemp("exam")
    publish_weights(Publisher(folder))
    assemble_start(
        folder / place(LLM_URL),
        folder / place(ENCODER_URL),
        folder / "start",
        catalog.models[MODEL],
        max_length=160,
        seed=0,
    )
    return folder / "start"


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Question, ...]:
    return draw_questions(tmp_path_factory.mktemp("unseen"), 3)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> ConvLlava:
    return ConvLlava.from_pretrained(checkpoint)


@pytest.fixture(scope="module")
def preprocessing(checkpoint: Path) -> Preprocessing:
    return Preprocessing.from_folder(checkpoint)


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> PreTrainedTokenizerFast:
    return load_tokenizer(checkpoint)


@contextmanager
def pixels_seen(model: ConvLlava) -> Iterator[list[torch.Tensor]]:
    """Collects what the vision tower is shown."""
    seen: list[torch.Tensor] = []
    hook = model.vision_tower.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


def graded(answer: str, expected: str, kind: str = "color") -> Graded:
    return Graded(Question(Path("1.jpg"), "What color is the star?", expected, kind), answer)


class TestGrading:
    @pytest.mark.parametrize("answer", ["Upper left", "upper left", " Upper  left.", "Upper\nleft"])
    def test_capitals_white_space_and_a_full_stop_do_not_matter(self, answer: str) -> None:
        assert graded(answer, "Upper left").right

    @pytest.mark.parametrize("answer", ["", "Upper", "left", "Upper right", "Upper left corner", "Upper left.."])
    def test_everything_else_does(self, answer: str) -> None:
        assert not graded(answer, "Upper left").right

    def test_an_answer_that_was_compared_before_is_the_same(self) -> None:
        assert normalised(normalised("  The RED. ")) == normalised("  The RED. ") == "the red"

    def test_accuracy_is_the_share_of_right_answers(self) -> None:
        result = Result((graded("Red", "Red"), graded("Red", "Blue"), graded("", "Blue"), graded("blue", "Blue")))
        assert result.accuracy == 0.5

    def test_a_kind_has_its_own_accuracy(self) -> None:
        result = Result((graded("Red", "Red"), graded("1", "2", "count"), graded("2", "2", "count")))
        assert result.of("count").accuracy == 0.5
        assert result.of("color").accuracy == 1

    def test_rows_tell_of_every_kind_and_of_all(self) -> None:
        seen = Result((graded("Red", "Red"), graded("2", "2", "count"), graded("1", "2", "count")))
        blanked = Result((graded("Blue", "Red"), graded("1", "2", "count"), graded("1", "2", "count")))
        assert Exam(seen, blanked).rows() == [
            ("color", "1", "100%", "0%"),
            ("count", "2", "50%", "0%"),
            ("all", "3", "67%", "0%"),
        ]


def test_every_question_is_answered_in_its_order(
    model: ConvLlava,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    questions: tuple[Question, ...],
) -> None:
    result = run_exam(model, tokenizer, preprocessing, questions, blanked=False)
    assert tuple(graded.question for graded in result.graded) == questions


@pytest.mark.parametrize("blanked", [False, True])
def test_the_model_sees_the_picture_or_nothing_but_the_mean_colour(
    model: ConvLlava,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    questions: tuple[Question, ...],
    blanked: bool,
) -> None:
    with pixels_seen(model) as seen:
        run_exam(model, tokenizer, preprocessing, questions, blanked=blanked)
    pixels = torch.cat(seen)
    assert pixels.shape == (len(questions), 3, RESOLUTION, RESOLUTION)
    assert bool((pixels == 0).all()) is blanked


@pytest.mark.parametrize("batch_size", [1, 5])
def test_answers_do_not_depend_on_what_else_is_asked(
    model: ConvLlava,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    questions: tuple[Question, ...],
    batch_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answers() -> list[str]:
        result = run_exam(model, tokenizer, preprocessing, questions, blanked=False)
        return [graded.answer for graded in result.graded]

    together = answers()
    monkeypatch.setattr(module, "BATCH_SIZE", batch_size)
    assert answers() == together


def test_a_checkpoint_sits_the_exam_twice(checkpoint: Path, questions: tuple[Question, ...]) -> None:
    exam = sit_exam(checkpoint, questions)
    assert len(exam.with_picture.graded) == len(exam.without.graded) == len(questions)
    assert (exam.seen, exam.blanked) == (exam.with_picture.accuracy, exam.without.accuracy)


def test_a_picture_that_is_gone_is_an_error(
    model: ConvLlava, tokenizer: PreTrainedTokenizerFast, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    gone: Any = [Question(tmp_path / "gone.jpg", "Where is it?", "Nowhere", "place")]
    with pytest.raises(ImageError):
        run_exam(model, tokenizer, preprocessing, gone, blanked=False)


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path: Path, questions: tuple[Question, ...]) -> None:
    with pytest.raises((CheckpointError, OSError)):
        sit_exam(tmp_path, questions)

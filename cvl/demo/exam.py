"""The exam: the same questions to a trained model twice, with the picture and with the picture blanked out.

Blanked out means that every pixel has the mean colour: after normalisation a tensor of zeros, as text-only records
bring it. An answer is right if it is the expected one, but for capitals, white space and a full stop at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from cvl.demo.questions import Question
from cvl.train.model.modeling import ConvLlava
from cvl.train.samples.collate import expand
from cvl.train.samples.conversation import question as prompt_for
from cvl.train.samples.pictures import Preprocessing, open_picture, pixel_values
from cvl.train.samples.tokens import encode, load_tokenizer

BATCH_SIZE = 50
LONGEST_ANSWER = 8
"""Tokens; the right answers have at most three and their end."""


@dataclass(frozen=True)
class Graded:
    """A question and what the model answered."""

    question: Question
    answer: str

    @property
    def right(self) -> bool:
        """Whether that is the expected answer."""
        return normalised(self.answer) == normalised(self.question.answer)


@dataclass(frozen=True)
class Result:
    """All answers of one sitting, in the order of the questions, of which there is at least one."""

    graded: tuple[Graded, ...]

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return sum(graded.right for graded in self.graded) / len(self.graded)

    def of(self, kind: str) -> Result:
        """The answers to the questions of one kind."""
        return Result(tuple(graded for graded in self.graded if graded.question.kind == kind))


@dataclass(frozen=True)
class Exam:
    """Both sittings.

    Args:
        with_picture: the answers of the model that sees.
        without: the answers to the same questions with the picture blanked out.
    """

    with_picture: Result
    without: Result

    @property
    def seen(self) -> float:
        """The share of right answers with the picture."""
        return self.with_picture.accuracy

    @property
    def blanked(self) -> float:
        """The share of right answers without it."""
        return self.without.accuracy

    def rows(self) -> list[tuple[str, str, str, str]]:
        """A line for each kind of question and one for all: how many, and the share right with and without picture."""
        kinds = dict.fromkeys(graded.question.kind for graded in self.with_picture.graded)
        lines = [_row(kind, self.with_picture.of(kind), self.without.of(kind)) for kind in kinds]
        return [*lines, _row("all", self.with_picture, self.without)]


def _row(name: str, seen: Result, blanked: Result) -> tuple[str, str, str, str]:
    return name, str(len(seen.graded)), f"{seen.accuracy:.0%}", f"{blanked.accuracy:.0%}"


def sit_exam(checkpoint: Path, questions: Sequence[Question]) -> Exam:
    """Asks the model of a checkpoint of ours all questions, with the pictures and without.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ImageError: a picture cannot be read.
    """
    transformers_logging.disable_progress_bar()
    model = ConvLlava.from_pretrained(checkpoint, dtype=torch.float32)  # and in evaluation mode
    tokenizer = load_tokenizer(checkpoint, model.config.max_length)
    preprocessing = Preprocessing.from_folder(checkpoint)
    seen, blanked = (run_exam(model, tokenizer, preprocessing, questions, blanked=blanked) for blanked in (False, True))
    return Exam(seen, blanked)


def run_exam(
    model: ConvLlava,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    questions: Sequence[Question],
    *,
    blanked: bool,
) -> Result:
    """The model's answers: always the likeliest word, many questions at once.

    Raises:
        ImageError: a picture cannot be read.
    """
    answers: list[str] = []
    for start in range(0, len(questions), BATCH_SIZE):
        asked = questions[start : start + BATCH_SIZE]
        pixels = torch.stack([_pixels(question.image, preprocessing) for question in asked])
        prompts = _padded([_prompt(question, tokenizer, model.config.visual_tokens) for question in asked])
        answers += _answers(model, tokenizer, prompts, torch.zeros_like(pixels) if blanked else pixels)
    return Result(tuple(Graded(question, answer) for question, answer in zip(questions, answers, strict=True)))


def normalised(answer: str) -> str:
    """An answer as it is compared."""
    return " ".join(answer.lower().split()).removesuffix(".")


def _pixels(image: Path, preprocessing: Preprocessing) -> torch.Tensor:
    return torch.from_numpy(pixel_values(open_picture(image, preprocessing), preprocessing))


def _prompt(question: Question, tokenizer: PreTrainedTokenizerFast, visual_tokens: int) -> torch.Tensor:
    tokens = encode(tokenizer, prompt_for(question.question, picture=True))
    return torch.from_numpy(expand(tokens, visual_tokens, tokenizer.model_max_length).input_ids)


def _padded(prompts: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The prompts as one batch, padded on the left: every answer begins at the same place."""
    length = max(map(len, prompts))
    return {
        "input_ids": torch.stack([torch.nn.functional.pad(ids, (length - len(ids), 0)) for ids in prompts]),
        "attention_mask": torch.stack([torch.arange(length) >= length - len(ids) for ids in prompts]),
    }


def _answers(
    model: ConvLlava, tokenizer: PreTrainedTokenizerFast, prompts: dict[str, torch.Tensor], pixels: torch.Tensor
) -> list[str]:
    # transformers writes the model as a second `self` in its annotations.
    generate = cast(Any, model).generate
    with torch.inference_mode():
        output = generate(**prompts, pixel_values=pixels, do_sample=False, max_new_tokens=LONGEST_ANSWER)
    answers: list[str] = tokenizer.batch_decode(output[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers

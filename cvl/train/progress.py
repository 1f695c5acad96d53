"""What a run tells about itself: values only. `cvl.output` knows how they look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cvl.train.batch import Batching


@dataclass(frozen=True)
class PartCount:
    """How many parameters a part of the model has, and how many of them learn."""

    name: str
    parameters: int
    trainable: int


@dataclass(frozen=True)
class DataRow:
    """What a run takes of one instruction file.

    Args:
        name: of the instruction file.
        records: trained on.
        pictures: of these, how many have one.
        skipped: records left out, by reason.
        remarks: records read in a stated way, by reason.
    """

    name: str
    records: int
    pictures: int
    skipped: Mapping[str, int]
    remarks: Mapping[str, int]


@dataclass(frozen=True)
class Difference:
    """A setting of this run that is not the shipped stage's."""

    key: str
    value: Any
    shipped: Any


@dataclass(frozen=True)
class Briefing:
    """Everything that a user wants to see before the first step.

    Args:
        stage: 1, 2 or 3.
        title: as the document calls the stage.
        model: the model manifest's title.
        start: where the weights come from, and what was mended on the way.
        parts: what learns.
        data: a row an instruction file.
        batching: how the global batch comes about.
        steps: optimizer steps in all.
        warmup: of them, in which the learning rate rises.
        rates: the learning rate of each group of parameters.
        precision: of weights and activations.
        zero: the ZeRO stage, or none.
        device: what it runs on.
        resumed: the step that the run goes on after, 0 for a beginning.
        differences: settings that are not the shipped stage's.
        notes: whatever else a user should know before hours are spent.
    """

    stage: int
    title: str
    model: str
    start: str
    parts: tuple[PartCount, ...]
    data: tuple[DataRow, ...]
    batching: Batching
    steps: int
    warmup: int
    rates: Mapping[str, float]
    precision: str
    zero: str
    device: str
    resumed: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One logged optimizer step. `loss` is the mean over the labelled tokens of the global batches since the last one.

    `grad_norm` is None where nobody measured it. `records_per_second` counts over all processes.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float | None
    records_per_second: float


@dataclass(frozen=True)
class Trained:
    """What became of a stage.

    Args:
        folder: the trained model.
        steps: optimizer steps in all.
        loss: at the last logged step, None where nothing was left to do.
        damaged: pictures that could not be read: their records were left out.
        already: whether the stage was done before.
    """

    folder: Path
    steps: int
    loss: float | None
    damaged: int
    already: bool = False


@dataclass(frozen=True)
class Piece:
    """Tokens of one kind next to each other.

    Args:
        text: what they say.
        tokens: how many.
        labelled: whether the model learns to say them.
        picture: whether they are a picture's.
    """

    text: str
    tokens: int
    labelled: bool
    picture: bool


@dataclass(frozen=True)
class Inspected:
    """One sample as the model will see it.

    Args:
        annotation: the instruction file that it is from.
        record: its number there, from 0.
        picture: the picture's path; None for a sample without.
        pieces: its tokens in their order, those of one kind together.
        dropped: tokens that were cut off at the maximum length.
        remarks: what is odd about it, that its tokens do not show.
        damaged: why the picture cannot be read, if it cannot: the sample is then left out.
    """

    annotation: str
    record: int
    picture: Path | None
    pieces: tuple[Piece, ...]
    dropped: int
    remarks: tuple[str, ...] = ()
    damaged: str | None = None


class Listener(Protocol):
    """Is told of a run as it goes. Only the process that leads tells anything."""

    def note(self, text: str) -> None:
        """Says what is being done before the first step."""

    def briefing(self, briefing: Briefing) -> None:
        """Shows what is about to be trained."""

    def step(self, step: Step) -> None:
        """Shows a logged step."""


class Silent:
    """A listener that says nothing: of the processes that do not lead."""

    def note(self, text: str) -> None:
        """Says nothing."""

    def briefing(self, briefing: Briefing) -> None:
        """Shows nothing."""

    def step(self, step: Step) -> None:
        """Shows nothing."""

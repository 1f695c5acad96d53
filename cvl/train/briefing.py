"""The briefing before the first step: what learns, from what, on what."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cvl.manifest import Model, Stage, load_catalog, settings
from cvl.train.batch import Batching
from cvl.train.job import Job
from cvl.train.parts import count_parts
from cvl.train.progress import Briefing, DataRow, Difference
from cvl.train.samples.mix import Mix
from cvl.train.trainer import rates


def data_rows(mix: Mix) -> tuple[DataRow, ...]:
    """What a run takes of each instruction file."""
    return tuple(
        DataRow(part.name, len(part.numbers), part.pictures, dict(part.skipped), dict(part.remarks))
        for part in mix.parts
    )


def differences(stage: Stage, number: int) -> tuple[Difference, ...]:
    """The settings that are not those of the stage that ships with cvl, which are the document's."""
    ours, theirs = settings(load_catalog().stages[number]), settings(stage)
    return tuple(Difference(key, value, ours[key]) for key, value in theirs.items() if value != ours[key])


@dataclass(frozen=True)
class Beginning:
    """Where a run begins.

    Args:
        start: where the weights come from.
        resumed: the step that it goes on after, 0 for a beginning.
        steps: optimizer steps in all.
        notes: whatever else a user should know before hours are spent.
    """

    start: str
    resumed: int
    steps: int
    notes: tuple[str, ...]


def briefing(
    model: torch.nn.Module, manifest: Model, mix: Mix, job: Job, batch: Batching, beginning: Beginning
) -> Briefing:
    """Everything that a user wants to see before the first step."""
    stage = job.stage
    learning = {prefix.rstrip("."): rate for prefix, rate in rates(stage).items()}
    parts = count_parts(model)
    trained = {part.name.partition(".")[0] for part in parts if part.trainable}
    trained |= {"language_model"} if "lm_head" in trained else set()
    return Briefing(
        stage=job.number,
        title=stage.title,
        model=manifest.title,
        start=beginning.start,
        parts=parts,
        data=data_rows(mix),
        batching=batch,
        steps=beginning.steps,
        warmup=math.ceil(beginning.steps * stage.document.warmup_ratio),
        rates={name: rate for name, rate in learning.items() if name in trained},
        precision=stage.scripts.precision,
        zero=stage.scripts.deepspeed,
        device=_device(),
        resumed=beginning.resumed,
        differences=differences(stage, job.number),
        notes=beginning.notes,
    )


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"

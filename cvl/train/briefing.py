"""The briefing before the first step: what learns, from what, on what."""

from __future__ import annotations

import math

import torch

from cvl.manifest import Stage, load_catalog, settings
from cvl.train.batch import Batching
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


def briefing(
    model: torch.nn.Module,
    mix: Mix,
    stage: Stage,
    batch: Batching,
    *,
    number: int,
    title: str,
    start: str,
    resumed: int,
    steps: int,
    notes: tuple[str, ...],
) -> Briefing:
    """Everything that a user wants to see before the first step."""
    learning = {prefix.rstrip("."): rate for prefix, rate in rates(stage).items()}
    parts = count_parts(model)
    trained = {part.name.partition(".")[0] for part in parts if part.trainable}
    trained |= {"language_model"} if "lm_head" in trained else set()
    return Briefing(
        stage=number,
        title=stage.title,
        model=title,
        start=start,
        parts=parts,
        data=data_rows(mix),
        batching=batch,
        steps=steps,
        warmup=math.ceil(steps * stage.document.warmup_ratio),
        rates={name: rate for name, rate in learning.items() if name in trained},
        precision=stage.scripts.precision,
        zero=stage.scripts.deepspeed,
        device=_device(),
        resumed=resumed,
        differences=differences(stage, number),
        notes=notes,
    )


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"

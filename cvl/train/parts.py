"""Which parameters a stage trains: the names in a stage manifest, and what they mean in the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from cvl.manifest import Trainable
from cvl.train.progress import PartCount

STAGES = "vision_tower.encoder.stages"
PREFIXES: dict[Trainable, str] = {
    "vision_tower": "vision_tower.",
    "vision_tower.embeddings": "vision_tower.embeddings.",
    "vision_tower.stage1": f"{STAGES}.0.",
    "vision_tower.stage2": f"{STAGES}.1.",
    "vision_tower.stage3": f"{STAGES}.2.",
    "vision_tower.stage4": f"{STAGES}.3.",
    "vision_tower.stage5": f"{STAGES}.4.",
    "projector": "projector.",
    "language_model": "language_model.",
    "lm_head": "language_model.lm_head.",
}
"""Each part's parameters are those whose names begin so. A stage of the tower has its downsampling layer with it."""

REPORTED: tuple[Trainable, ...] = tuple(part for part in PREFIXES if part != "vision_tower")
"""The parts that make up the whole model, each parameter counted once; `lm_head` apart from `language_model`."""


def is_trained(name: str, train: Sequence[Trainable]) -> bool:
    """Whether the parameter called `name` learns in a stage that trains these parts."""
    return name.startswith(tuple(PREFIXES[part] for part in train))


def freeze_all_but(model: nn.Module, train: Sequence[Trainable]) -> None:
    """Lets exactly the parameters of these parts learn."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(name, train))


def count_parts(model: nn.Module) -> tuple[PartCount, ...]:
    """The parameters of each of `REPORTED`, those included that a ZeRO-3 rank holds only a piece of."""
    counts = {part: [0, 0] for part in REPORTED}
    for name, parameter in model.named_parameters():
        size = int(getattr(parameter, "ds_numel", parameter.numel()))
        counted = counts[part_of(name)]
        counted[0] += size
        counted[1] += size if parameter.requires_grad else 0
    return tuple(PartCount(part, *counted) for part, counted in counts.items())


def part_of(name: str) -> Trainable:
    """The part of `REPORTED` that the parameter called `name` belongs to: of several, the narrowest."""
    return max(_owners(name), key=lambda part: len(PREFIXES[part]))


def _owners(name: str) -> Iterator[Trainable]:
    yield from (part for part in REPORTED if name.startswith(PREFIXES[part]))

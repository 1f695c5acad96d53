"""The published code's batch, and towers small enough to test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import ConvNextConfig

from cvl.train.samples.damage import Damaged
from cvl.train.samples.dataset import Sample
from cvl.train.samples.tokens import PICTURE, Tokens

Array = NDArray[Any]

GOLDEN = Path(__file__).parents[2] / "data/golden/model"


@dataclass(frozen=True)
class Batch:
    """What goes into `forward`, and what the published code made of it."""

    input_ids: Tensor
    labels: Tensor
    attention_mask: Tensor
    pixel_values: Tensor
    logits: Tensor
    loss: float

    def inputs(self) -> dict[str, Tensor]:
        return {
            "input_ids": self.input_ids,
            "labels": self.labels,
            "attention_mask": self.attention_mask,
            "pixel_values": self.pixel_values,
        }


def sample(ids: Array, labels: Array, picture: Array) -> Sample:
    """A row as our data set brings it: without a picture where the published one brings a zero picture."""
    tokens = Tokens(ids.astype(np.int64), labels.astype(np.int64))
    return Sample(tokens, picture if PICTURE in ids else None)


def no_damage(damaged: Damaged) -> None:
    """Nothing of the golden batch is damaged."""
    raise AssertionError(damaged)


def tower_config(**changes: Any) -> ConvNextConfig:
    """A tower whose blocks do something: at its usual start, a layer scale of 1e-6 hides them."""
    sizes: dict[str, Any] = {"num_stages": 5, "depths": [1, 1, 2, 1, 2], "hidden_sizes": [4, 8, 12, 16, 24]}
    return ConvNextConfig(**sizes | {"layer_scale_init_value": 0.5} | changes)


def gradient(parameter: Tensor) -> Tensor:
    """The gradient of a parameter, which must have one."""
    assert parameter.grad is not None
    return parameter.grad

"""The tensors of an encoder, and the sizes of one with a fifth stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from transformers import ConvNextConfig

from cvl.errors import CheckpointError
from cvl.train.checkpoint.layout import CONFIG, read_json
from cvl.train.checkpoint.weights import Piece, Weights

STAGES = 5

# What follows from the number of stages is left out: the config works it out anew.
_DERIVED = ("out_features", "out_indices", "stage_names", "architectures", "transformers_version")


def encoder_config(folder: Path) -> ConvNextConfig:
    """The config of the ConvNeXt in a folder, with as many stages as it has.

    Raises:
        CheckpointError: it is no ConvNeXt.
    """
    entries = read_json(folder / CONFIG)
    if entries.get("model_type") != "convnext":
        raise CheckpointError(f"{folder} holds a model of type {entries.get('model_type')!r}, expected 'convnext'")
    return ConvNextConfig(**{key: value for key, value in entries.items() if key not in _DERIVED})


def with_fifth_stage(config: ConvNextConfig, blocks: int, width: int, resolution: int) -> ConvNextConfig:
    """The config of an encoder with a fifth stage; one that has five stages keeps them.

    Raises:
        CheckpointError: the encoder has neither four nor five stages.
    """
    if config.num_stages not in (STAGES - 1, STAGES):
        raise CheckpointError(f"the encoder has {config.num_stages} stages, expected {STAGES - 1} or {STAGES}")
    entries: dict[str, Any] = {
        key: value for key, value in cast("Any", config).to_dict().items() if key not in _DERIVED
    }
    entries["image_size"] = resolution
    if config.num_stages < STAGES:
        entries["num_stages"] = STAGES
        entries["depths"] = [*(config.depths or ()), blocks]
        entries["hidden_sizes"] = [*(config.hidden_sizes or ()), width]
    return ConvNextConfig(**entries)


def encoder_pieces(weights: Weights) -> dict[str, Piece]:
    """An encoder's tensors by their names in the tower, without what the tower does not use.

    That is the final norm, and the classifier of a ConvNeXt that was saved with one, whose names begin with
    `convnext.`.
    """
    names = {name: name.removeprefix("convnext.") for name in weights}
    return {inner: weights[name] for name, inner in names.items() if inner.startswith(("embeddings.", "encoder."))}

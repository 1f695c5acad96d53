"""Writing a checkpoint in cvl's own format, from wherever its tensors come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cvl.errors import CheckpointError
from cvl.train.checkpoint.layout import write_companions
from cvl.train.checkpoint.weights import Piece, convert, main_dtype, write_weights
from cvl.train.checkpoint.whole import new_folder
from cvl.train.model.configuration import ConvLlavaConfig
from cvl.train.model.modeling import ConvLlava

TOWER = "vision_tower."
PROJECTOR = "projector."
LANGUAGE_MODEL = "language_model."

# Older LLaMA checkpoints carry what can be worked out from the config.
_WORKED_OUT = "rotary_emb.inv_freq"


@dataclass(frozen=True)
class Source:
    """Everything that a checkpoint of ours is written from.

    Args:
        config: of the whole model.
        pieces: every tensor under its name in the model.
        tokenizer: the folder that the tokenizer comes from.
        preprocessor: the folder that says how the encoder wants its pictures.
        origin: where all of it comes from, as errors name it.
    """

    config: ConvLlavaConfig
    pieces: Sequence[Piece]
    tokenizer: Path
    preprocessor: Path
    origin: str


def write_checkpoint(source: Source, target: Path, dtype: torch.dtype | None = None) -> None:
    """Write a checkpoint at `target`, whole or not at all, its tensors in `dtype` or as they are.

    Raises:
        CheckpointError: the tensors are not those of the config.
        UsageError: there is something at `target`.
        DiskError: the disk has no room or refuses.
    """
    check_complete(source)
    with new_folder(target) as folder:
        write_into(folder, replace(source, pieces=convert(source.pieces, dtype)))


def write_into(folder: Path, source: Source) -> None:
    """Write every file of a checkpoint into a folder that is there."""
    write_weights(folder, source.pieces)
    write_companions(folder, source.config, source.tokenizer, source.preprocessor)
    with_dtype(source.config, main_dtype(source.pieces)).save_pretrained(folder)


def with_dtype(config: ConvLlavaConfig, dtype: torch.dtype) -> ConvLlavaConfig:
    """The same config, which says that the weights are of this type, as transformers writes it."""
    for part in (config, config.text_config, config.vision_config):
        part.dtype = dtype
    config.architectures = [ConvLlava.__name__]
    return config


def check_complete(source: Source) -> None:
    """Does nothing if the pieces are exactly the model's tensors.

    Raises:
        CheckpointError: names what is missing, what is too much, and what has other sizes.
    """
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in ConvLlava(source.config).state_dict().items()}
    found = {piece.name: piece.shape for piece in source.pieces}
    _complain(source, "are missing", sorted(expected.keys() - found.keys()))
    _complain(source, "belong to no part of the model", sorted(found.keys() - expected.keys()))
    for name, shape in found.items():
        if shape != expected[name]:
            raise CheckpointError(
                f"{source.origin}: {name} is of sizes {shape}, expected {expected[name]} by the config"
            )


def _complain(source: Source, what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise CheckpointError(f"{source.origin}: tensors {what}: {', '.join(names[:3])}{more}")


def renamed(pieces: Mapping[str, Piece], prefix: str) -> list[Piece]:
    """The pieces under names that begin with `prefix`, without those that the model works out itself."""
    return [replace(piece, name=prefix + name) for name, piece in pieces.items() if not name.endswith(_WORKED_OUT)]

"""Start weights in one piece: a language model, an encoder, and between them what nobody has trained yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, ConvNextConfig, PreTrainedConfig

from cvl.errors import CheckpointError
from cvl.manifest import Model
from cvl.train.checkpoint.layout import CONFIG, read_json
from cvl.train.checkpoint.model import LANGUAGE_MODEL, PROJECTOR, TOWER, Source, renamed, write_checkpoint
from cvl.train.checkpoint.tower import STAGES, encoder_config, encoder_pieces, with_fifth_stage
from cvl.train.checkpoint.weights import Piece, Weights, main_dtype, piece_of
from cvl.train.model.configuration import ConvLlavaConfig
from cvl.train.model.modeling import fresh_projector
from cvl.train.model.vision import fresh_stage

_EMBEDDING = "model.embed_tokens.weight"
_HEAD = "lm_head.weight"


def assemble_start(
    language_model: Path,
    encoder: Path,
    target: Path,
    model: Model,
    *,
    max_length: int,
    seed: int,
    dtype: torch.dtype | None = None,
) -> None:
    """Write one checkpoint of ours at `target` that stage 1 starts from; it appears there in one step, whole.

    The fifth stage and the projector are fresh, initialised as the published code does it (see `fresh_stage` and
    `fresh_projector`), the same from the same seed. An encoder that has five stages already keeps its own.

    Args:
        language_model: the folder of a LLaMA-family model, with its tokenizer.
        encoder: the folder of a ConvNeXt of four or five stages, with its preprocessor_config.json.
        target: the folder to write.
        model: says the resolution, the fifth stage and the projector.
        max_length: the longest sequence of one sample.
        seed: of the fresh parts.
        dtype: what the tensors are written in; the language model's own if not given.

    Raises:
        CheckpointError: one of the folders is not what it should be.
        UsageError: there is something at `target`, or the resolution does not fit.
        DiskError: the disk has no room or refuses.
    """
    fifth = model.fifth_stage
    tower = with_fifth_stage(encoder_config(encoder), fifth.blocks, fifth.width, model.resolution)
    config = ConvLlavaConfig(
        text_config=language_model_config(language_model),
        vision_config=tower,
        projector=model.projector,
        resolution=model.resolution,
        max_length=max_length,
    )
    words = Weights(language_model)
    pieces = [*_tower_pieces(encoder, tower, seed), *_projector_pieces(config, seed), *_language_pieces(words)]
    origin = f"{language_model} and {encoder}"
    write_checkpoint(
        Source(config, pieces, language_model, encoder, origin), target, dtype or main_dtype(words.values())
    )


def language_model_config(folder: Path) -> PreTrainedConfig:
    """The config of the language model in a folder, its output embeddings its own.

    Raises:
        CheckpointError: what is there is no language model, as far as transformers knows.
    """
    kind = read_json(folder / CONFIG).get("model_type")
    config: PreTrainedConfig | None = AutoConfig.from_pretrained(folder) if kind in CONFIG_MAPPING else None
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or kind == ConvLlavaConfig.model_type:
        hint = "a ConvLLaVA that is trained already is given as --from"
        raise CheckpointError(f"{folder} holds a model of type {kind!r}, expected a language model", hint=hint)
    assert config is not None
    config.tie_word_embeddings = False
    return config


def _language_pieces(words: Weights) -> Sequence[Piece]:
    pieces = dict(words)
    if _HEAD not in pieces and _EMBEDDING in pieces:
        # A model that shares one matrix gets two, which learn apart from here on.
        pieces[_HEAD] = pieces[_EMBEDDING]
    return renamed(pieces, LANGUAGE_MODEL)


def _tower_pieces(encoder: Path, config: ConvNextConfig, seed: int) -> Sequence[Piece]:
    pieces = encoder_pieces(Weights(encoder))
    last = STAGES - 1
    if not any(name.startswith(f"encoder.stages.{last}.") for name in pieces):
        pieces |= {name: piece_of(name, tensor) for name, tensor in fresh_stage(config, last, seed).items()}
    return renamed(pieces, TOWER)


def _projector_pieces(config: ConvLlavaConfig, seed: int) -> Sequence[Piece]:
    # Another seed than the fifth stage's, so that the two do not begin with the same numbers.
    fresh = fresh_projector(config, seed + 1)
    return [replace(piece_of(name, tensor), name=PROJECTOR + name) for name, tensor in fresh.items()]

"""The published code's words for a model, and ours: one config.json read as the other.

The published layout is two models: a LLaMA whose config also names projector and tower, and a ConvNeXt of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Any

from transformers import ConvNextConfig, LlamaConfig

from cvl.errors import CheckpointError, UsageError
from cvl.train.model.configuration import ConvLlavaConfig

# The published trainer writes the first, the repositories on the hub say the second.
MODEL_TYPES = ("llava_llama", "llava")

# The version that the published code is pinned to, in whose words its configs are written.
TRANSFORMERS = "4.39.3"

# What the published trainer's options were, or would have been: nothing that decides what the model computes.
_TRAINING = {
    "freeze_mm_mlp_adapter": False,
    "image_aspect_ratio": "pad",
    "image_grid_pinpoints": None,
    "mm_patch_merge_type": "flat",
    "mm_projector_lr": None,
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -1,
    "tokenizer_padding_side": "right",
    "tune_entire_model": False,
    "tune_mm_mlp_adapter": False,
    "tune_vision_tower": False,
    "use_mm_proj": True,
    "vision_tower_lr": None,
}

_LLAMA = (
    "attention_bias",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "pretraining_tp",
    "rms_norm_eps",
    "tie_word_embeddings",
    "use_cache",
    "vocab_size",
)

_CONVNEXT = (
    "depths",
    "drop_path_rate",
    "hidden_act",
    "hidden_sizes",
    "image_size",
    "initializer_range",
    "layer_norm_eps",
    "layer_scale_init_value",
    "num_channels",
    "num_stages",
    "out_features",
    "out_indices",
    "patch_size",
    "stage_names",
)


def speaks_published(entries: Mapping[str, Any]) -> bool:
    """Whether a config.json is the published code's; transformers' own LLaVA has a `llava` type too, but no tower."""
    return entries.get("model_type") in MODEL_TYPES and "mm_vision_tower" in entries


def read_published(entries: Mapping[str, Any], tower: ConvNextConfig, resolution: int) -> ConvLlavaConfig:
    """Our config for a published one and its tower's.

    Raises:
        CheckpointError: the model is of a kind that ConvLLaVA never was.
        UsageError: the resolution does not fit the tower.
    """
    for key, expected in (
        ("mm_vision_select_layer", -1),
        ("mm_use_im_start_end", False),
        ("mm_patch_merge_type", "flat"),
    ):
        if entries.get(key, expected) != expected:
            raise CheckpointError(f"the checkpoint has {key} = {entries[key]!r}, expected {expected!r}")
    known = {field.name for field in fields(LlamaConfig)} | {"rope_theta", "rope_scaling"}
    known -= {"architectures", "transformers_version"}
    # Copied, because transformers completes what it is given in place.
    words = deepcopy({key: value for key, value in entries.items() if key in known})
    return ConvLlavaConfig(
        text_config=LlamaConfig(**words),
        vision_config=tower,
        projector=entries.get("mm_projector_type", "linear"),
        resolution=resolution,
        max_length=entries.get("tokenizer_model_max_length") or ConvLlavaConfig.max_length,
    )


def write_published(config: ConvLlavaConfig, dtype: str, name: str, tower: str) -> dict[str, Any]:
    """The published config.json, key for key, for a model of ours.

    Args:
        config: of our model.
        dtype: what its tensors are written in, as transformers names it: `bfloat16`.
        name: what the checkpoint was made from, for the record.
        tower: where the published code shall look for the vision tower.

    Raises:
        UsageError: the published code cannot run such a language model.
    """
    text = config.text_config
    _check_llama(text)
    return {
        **_TRAINING,
        **{key: getattr(text, key) for key in _LLAMA},
        **_rope(text),
        "_name_or_path": name,
        "architectures": ["LlavaLlamaForCausalLM"],
        "mm_hidden_size": config.vision_config.hidden_sizes[-1],
        "mm_projector_type": config.projector,
        "mm_vision_tower": tower,
        "model_type": MODEL_TYPES[0],
        "tokenizer_model_max_length": config.max_length,
        "torch_dtype": dtype,
        "transformers_version": TRANSFORMERS,
    }


def write_published_tower(config: ConvLlavaConfig, dtype: str) -> dict[str, Any]:
    """The config.json of the vision tower's own folder, key for key as the published trainer writes it."""
    return {
        **{key: getattr(config.vision_config, key) for key in _CONVNEXT},
        "architectures": ["ConvNextModel"],
        "image_size": config.resolution,
        "model_type": "convnext",
        "torch_dtype": dtype,
        "transformers_version": TRANSFORMERS,
    }


def _check_llama(text: LlamaConfig) -> None:
    own_heads = text.hidden_size // text.num_attention_heads
    if text.model_type != "llama":
        raise UsageError(
            f"the language model is a {text.model_type}, and the published code runs only llama", hint="--format hf"
        )
    if text.mlp_bias or text.head_dim not in (None, own_heads):
        raise UsageError("the language model has sizes that the published code cannot express", hint="--format hf")


def _rope(text: LlamaConfig) -> dict[str, Any]:
    """The rotary embedding in transformers 4's words."""
    rope = dict(text.rope_parameters or {})
    theta, kind = rope.pop("rope_theta", 10000.0), rope.pop("rope_type", "default")
    if kind not in ("default", "linear", "dynamic"):
        raise UsageError(f"rotary embeddings of type {kind!r} are unknown to the published code", hint="--format hf")
    return {
        "rope_theta": theta,
        "rope_scaling": None if kind == "default" else {"type": kind, "factor": rope["factor"]},
    }

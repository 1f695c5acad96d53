"""Start weights of a miniature language model and a miniature ConvNeXt, under the names that transformers gives them.

They are random, but drawn so that signals keep their size from layer to layer: a model that starts from them learns.
For the encoder of the demo they are only where its pre-training (`cvl.demo.pretraining`) begins.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from cvl.demo.miniature.publish import Publisher
from cvl.demo.miniature.tokenizer import PIECES, publish_tokenizer

Tensor = NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]

LLM_URL = "hf://lmsys/vicuna-7b-v1.5"
ENCODER_URL = "hf://ConvLLaVA/LAION-CLIP-ConvNeXt-Large-512"

IMAGE_MEAN = [0.48145466, 0.4578275, 0.40821073]
IMAGE_STD = [0.26862954, 0.26130258, 0.27577711]
BICUBIC = 3
EMBEDDING_STD = 0.3

LAYER_SCALE = 0.5
"""A trained encoder's layer scales have grown from 1e-6 to this order; at 1e-6 the encoder would be a linear map."""


@dataclass(frozen=True)
class LlmSize:
    """A Llama's sizes."""

    hidden: int = 128
    intermediate: int = 256
    layers: int = 3
    heads: int = 4
    vocabulary: int = PIECES


@dataclass(frozen=True)
class EncoderSize:
    """A ConvNeXt's sizes: blocks and channels of each stage, pixels of a patch and of a picture's side."""

    depths: tuple[int, ...] = (1, 1, 2, 1)
    widths: tuple[int, ...] = (16, 32, 64, 128)
    patch: int = 4
    image: int = 512


MINIATURE_LLM = LlmSize()
MINIATURE_ENCODER = EncoderSize()


def publish_weights(site: Publisher, trained_encoder: bytes | None = None) -> None:
    """Both models as hub repositories: configuration, one safetensors file, and what goes with words or pictures.

    Args:
        trained_encoder: a safetensors file of the encoder, to be published in place of a drawn one.
    """
    llm, encoder = MINIATURE_LLM, MINIATURE_ENCODER
    site.file(f"{LLM_URL}/config.json", _json(llm_config(llm)))
    site.file(f"{LLM_URL}/generation_config.json", _json({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}))
    site.file(f"{LLM_URL}/model.safetensors", _drawn(llm_shapes(llm)))
    publish_tokenizer(site, LLM_URL)
    site.file(f"{ENCODER_URL}/config.json", _json(encoder_config(encoder)))
    site.file(f"{ENCODER_URL}/preprocessor_config.json", _json(preprocessor_config(encoder)))
    site.file(f"{ENCODER_URL}/model.safetensors", trained_encoder or _drawn(encoder_shapes(encoder)))


def _drawn(shapes: Shapes) -> bytes:
    return save({name: draw_tensor(name, shape) for name, shape in shapes.items()}, metadata={"format": "pt"})


def _json(value: dict[str, object] | dict[str, int]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def draw_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The start values of one tensor: norms are the identity, biases zero, all else is normal and seeded by name."""
    if name.endswith("layer_scale_parameter"):
        return np.full(shape, LAYER_SCALE, np.float32)
    if len(shape) == 1:
        return np.full(shape, 0 if name.endswith(".bias") else 1, np.float32)
    std = EMBEDDING_STD if "embed_tokens" in name else 1 / math.sqrt(math.prod(shape[1:]))
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return (generator.standard_normal(shape) * std).astype(np.float32)


def llm_config(size: LlmSize) -> dict[str, object]:
    """`config.json` of a LlamaForCausalLM."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "vocab_size": size.vocabulary,
        "max_position_embeddings": 4096,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "float32",
        "use_cache": True,
    }


def llm_shapes(size: LlmSize) -> Shapes:
    """Every tensor of the language model."""
    shapes: Shapes = {"model.embed_tokens.weight": (size.vocabulary, size.hidden)}
    for layer in range(size.layers):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in _llm_layer(size)}
    return shapes | {"model.norm.weight": (size.hidden,), "lm_head.weight": (size.vocabulary, size.hidden)}


def _llm_layer(size: LlmSize) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name in "qkvo":
        yield f"self_attn.{name}_proj", (size.hidden, size.hidden)
    yield "mlp.gate_proj", (size.intermediate, size.hidden)
    yield "mlp.up_proj", (size.intermediate, size.hidden)
    yield "mlp.down_proj", (size.hidden, size.intermediate)
    yield "input_layernorm", (size.hidden,)
    yield "post_attention_layernorm", (size.hidden,)


def encoder_config(size: EncoderSize) -> dict[str, object]:
    """`config.json` of a ConvNextModel."""
    stages = len(size.depths)
    return {
        "architectures": ["ConvNextModel"],
        "model_type": "convnext",
        "depths": list(size.depths),
        "hidden_sizes": list(size.widths),
        "num_stages": stages,
        "stage_names": ["stem", *(f"stage{number}" for number in range(1, stages + 1))],
        "out_features": [f"stage{stages}"],
        "out_indices": [stages],
        "patch_size": size.patch,
        "image_size": size.image,
        "num_channels": 3,
        "hidden_act": "gelu",
        "drop_path_rate": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "layer_scale_init_value": 1e-06,
        "torch_dtype": "float32",
    }


def preprocessor_config(size: EncoderSize) -> dict[str, object]:
    """`preprocessor_config.json` of CLIP's image processor at the encoder's resolution."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size.image},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": size.image, "width": size.image},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
    }


def encoder_shapes(size: EncoderSize) -> Shapes:
    """Every tensor of the encoder."""
    first, last = size.widths[0], size.widths[-1]
    shapes: Shapes = {
        "embeddings.patch_embeddings.weight": (first, 3, size.patch, size.patch),
        "embeddings.patch_embeddings.bias": (first,),
        **_with_bias("embeddings.layernorm", (first,)),
    }
    for stage, width in enumerate(size.widths):
        if stage > 0:
            shapes |= _downsampling(f"encoder.stages.{stage}.downsampling_layer", size.widths[stage - 1], width)
        for layer in range(size.depths[stage]):
            shapes |= _block(f"encoder.stages.{stage}.layers.{layer}", width)
    return shapes | _with_bias("layernorm", (last,))


def _downsampling(prefix: str, before: int, width: int) -> Shapes:
    return _with_bias(f"{prefix}.0", (before,)) | _with_bias(f"{prefix}.1", (width, before, 2, 2))


def _block(prefix: str, width: int) -> Shapes:
    return {
        f"{prefix}.layer_scale_parameter": (width,),
        **_with_bias(f"{prefix}.dwconv", (width, 1, 7, 7)),
        **_with_bias(f"{prefix}.layernorm", (width,)),
        **_with_bias(f"{prefix}.pwconv1", (4 * width, width)),
        **_with_bias(f"{prefix}.pwconv2", (width, 4 * width)),
    }


def _with_bias(prefix: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{prefix}.weight": shape, f"{prefix}.bias": shape[:1]}

"""The config: what follows from it, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from golden_model import tower_config
from transformers import ConvNextConfig, LlamaConfig

from cvl.errors import UsageError
from cvl.train.model import ConvLlavaConfig


def config(**changes: Any) -> ConvLlavaConfig:
    return ConvLlavaConfig(**{"text_config": LlamaConfig(), "vision_config": tower_config()} | changes)


@pytest.mark.parametrize(("resolution", "tokens"), [(64, 1), (768, 144), (1024, 256), (1536, 576)])
def test_a_visual_token_is_a_square_of_64_pixels(resolution: int, tokens: int) -> None:
    assert config().stride == 64
    assert config(resolution=resolution).visual_tokens == tokens


@pytest.mark.parametrize(("side", "hint"), [(100, "take 64 or 128"), (10, "take 64"), (0, "take 64"), (-64, "take")])
def test_a_resolution_between_multiples_is_refused_and_its_neighbours_named(side: int, hint: str) -> None:
    with pytest.raises(UsageError, match=f"a resolution of {side} pixels, expected a multiple of 64") as caught:
        config(resolution=side)
    assert (caught.value.hint or "").startswith(hint)


def test_another_projector_is_refused() -> None:
    with pytest.raises(UsageError, match="no projector of kind 'linear', expected 'mlp2x_gelu'"):
        config(projector="linear")


def test_parts_may_be_given_as_a_file_holds_them() -> None:
    made = ConvLlavaConfig(
        text_config={"model_type": "mistral", "hidden_size": 64}, vision_config={"depths": [1, 1, 1, 1]}
    )
    assert (made.text_config.model_type, made.text_config.hidden_size) == ("mistral", 64)
    assert isinstance(made.vision_config, ConvNextConfig)


def test_parts_that_are_not_given_are_a_plain_llama_and_convnext() -> None:
    assert ConvLlavaConfig().text_config.model_type == "llama"
    assert ConvLlavaConfig(resolution=64).stride == 32


def test_a_saved_config_reads_back_the_same(tmp_path: Path) -> None:
    made = config(resolution=1024, max_length=4096)
    made.save_pretrained(tmp_path)
    read = ConvLlavaConfig.from_pretrained(tmp_path)
    assert (read.resolution, read.max_length, read.image_token_index) == (1024, 4096, -200)
    assert read.vision_config.hidden_sizes == [4, 8, 12, 16, 24]
    assert read.text_config.to_dict() == made.text_config.to_dict()
    assert not read.tie_word_embeddings

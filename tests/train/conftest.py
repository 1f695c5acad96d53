from __future__ import annotations

from pathlib import Path

import pytest
from transformers import ConvNextConfig, LlamaConfig
from workshop import Workshop, build_workshop

from cvl.train.model import ConvLlava, ConvLlavaConfig


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A tree of its own, to train on and to break."""
    return build_workshop(tmp_path)


@pytest.fixture(scope="module")
def tiny() -> ConvLlava:
    """The smallest model that has every part."""
    text = LlamaConfig(
        vocab_size=1000, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    tower = ConvNextConfig(num_stages=5, depths=[1, 1, 1, 1, 1], hidden_sizes=[4, 8, 16, 24, 32])
    return ConvLlava(ConvLlavaConfig(text_config=text, vision_config=tower, resolution=64))

"""A published model with the batch that the published code ran it on, and a random one to be trained."""

# mypy: allow-untyped-calls

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_model import GOLDEN, Array, Batch, expanded, right_padded, tower_config
from transformers import LlamaConfig

from cvl.train.checkpoint.published import import_published
from cvl.train.model import ConvLlava, ConvLlavaConfig


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> ConvLlava:
    """The golden checkpoint, through our reader. Not to be changed."""
    folder = tmp_path_factory.mktemp("published") / "ours"
    import_published(GOLDEN / "golden_ckpt", folder)
    model: ConvLlava = ConvLlava.from_pretrained(folder).eval()
    return model


@pytest.fixture(scope="session")
def golden() -> dict[str, Array]:
    """The published code's batch and its outputs, as they lie in the file."""
    with np.load(GOLDEN / "forward_main256.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def batch(published: ConvLlava, golden: dict[str, Array]) -> Batch:
    """The same batch as our collator brings it: pictures expanded, and only those that have a place."""
    rows = [
        expanded(ids[mask], labels[mask], published.config.visual_tokens)
        for ids, labels, mask in zip(
            golden["in.input_ids"], golden["in.labels"], golden["in.attention_mask"], strict=True
        )
    ]
    length = max(len(ids) for ids, _ in rows)
    has_picture = [bool((ids == -200).any()) for ids, _ in rows]
    return Batch(
        input_ids=torch.stack([right_padded(ids, length, 0) for ids, _ in rows]),
        labels=torch.stack([right_padded(labels, length, -100) for _, labels in rows]),
        attention_mask=torch.stack([torch.arange(length) < len(ids) for ids, _ in rows]),
        pixel_values=torch.from_numpy(golden["in.images"][has_picture]),
        logits=torch.from_numpy(golden["out.logits"]),
        loss=float(golden["out.loss"]),
    )


@pytest.fixture
def small() -> ConvLlava:
    """A random model of every part, at 128 pixels: four visual tokens a picture."""
    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0
    )
    model: ConvLlava = ConvLlava(ConvLlavaConfig(text_config=text, vision_config=tower_config(), resolution=128)).eval()
    return model

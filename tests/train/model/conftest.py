"""A published model with the batch that the published code ran it on, and a random one to be trained."""

# mypy: allow-untyped-calls

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_model import GOLDEN, Array, Batch, no_damage, sample, tower_config
from transformers import LlamaConfig

from cvl.train.checkpoint.published import import_published
from cvl.train.model import ConvLlava, ConvLlavaConfig
from cvl.train.samples.collate import Collator


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
    config = published.config
    collate = Collator(config.visual_tokens, config.max_length, 0, config.resolution, on_damaged=no_damage)
    rows = zip(*(golden[f"in.{name}"] for name in ("input_ids", "labels", "attention_mask", "images")), strict=True)
    batch = collate([sample(ids[mask], labels[mask], picture) for ids, labels, mask, picture in rows])
    return Batch(**batch, logits=torch.from_numpy(golden["out.logits"]), loss=float(golden["out.loss"]))


@pytest.fixture
def small() -> ConvLlava:
    """A random model of every part, at 128 pixels: four visual tokens a picture."""
    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0
    )
    model: ConvLlava = ConvLlava(ConvLlavaConfig(text_config=text, vision_config=tower_config(), resolution=128)).eval()
    return model

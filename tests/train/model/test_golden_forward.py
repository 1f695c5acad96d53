"""The model computes what the published code computes."""

# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_model import Array, Batch

from cvl.train.model import ConvLlava, ConvLlavaConfig, modeling
from cvl.train.samples.tokens import IGNORED, PICTURE


@pytest.fixture(scope="module")
def output(published: ConvLlava, batch: Batch) -> Any:
    with torch.no_grad():
        return published(**batch.inputs())


def test_labels_and_mask_are_those_that_the_published_model_makes(batch: Batch, golden: dict[str, Array]) -> None:
    assert np.array_equal(batch.labels, golden["prep.labels"])
    assert np.array_equal(batch.attention_mask, golden["prep.attention_mask"])


def test_logits_agree_even_where_there_is_padding(output: Any, batch: Batch) -> None:
    assert output.logits.shape == batch.logits.shape
    assert (output.logits - batch.logits).abs().max() < 1e-4


def test_the_loss_agrees(output: Any, batch: Batch) -> None:
    assert abs(output.loss.item() - batch.loss) < 1e-5


def test_what_the_padding_is_makes_no_difference(published: ConvLlava, batch: Batch) -> None:
    other = batch.inputs() | {"input_ids": batch.input_ids.masked_fill(~batch.attention_mask, 7)}
    with torch.no_grad():
        assert torch.equal(published(**other).logits, published(**batch.inputs()).logits)


def test_samples_and_model_mean_the_same_ids() -> None:
    assert ConvLlavaConfig().image_token_index == PICTURE
    assert modeling.IGNORED == IGNORED

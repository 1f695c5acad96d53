"""Batches: the published truncation and padding, pictures in their order, damaged samples left out."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cvl.train.samples.collate import Collator, expand
from cvl.train.samples.damage import Damaged, DamageLog
from cvl.train.samples.dataset import Sample
from cvl.train.samples.tokens import IGNORED, PICTURE, Tokens

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
DAMAGED = Damaged("a", 3, "data/3.jpg", "cut short")
SIDE = 8


def tokens(*ids: int, learnt: int = 0) -> Tokens:
    """Tokens of which the last `learnt` are learnt."""
    labels = [IGNORED] * (len(ids) - learnt) + list(ids[len(ids) - learnt :])
    return Tokens(np.array(ids, dtype=np.int64), np.array(labels, dtype=np.int64))


def picture(value: float) -> NDArray[np.float32]:
    return np.full((3, SIDE, SIDE), value, dtype=np.float32)


def collator(*, visual_tokens: int = 4, max_length: int = 64, told: list[Damaged] | None = None) -> Collator:
    heard: list[Damaged] = [] if told is None else told
    return Collator(
        visual_tokens=visual_tokens, max_length=max_length, pad_id=0, resolution=SIDE, on_damaged=heard.append
    )


def published(ids: list[int], labels: list[int], visual_tokens: int, max_length: int) -> tuple[list[int], list[int]]:
    """What becomes of one sequence in the published code: cut, the picture's tokens put in, cut again."""
    ids, labels = ids[:max_length], labels[:max_length]
    if PICTURE in ids:
        at = ids.index(PICTURE)
        ids = [*ids[:at], *[PICTURE] * visual_tokens, *ids[at + 1 :]]
        labels = [*labels[:at], *[IGNORED] * visual_tokens, *labels[at + 1 :]]
    return ids[:max_length], labels[:max_length]


@given(
    length=st.integers(1, 40), at=st.integers(0, 60), visual_tokens=st.integers(1, 30), max_length=st.integers(1, 60)
)
@settings(max_examples=300, deadline=None)
def test_a_sequence_is_cut_as_in_the_published_code(length: int, at: int, visual_tokens: int, max_length: int) -> None:
    ids = list(range(1, length + 1))
    ids[at : at + 1] = [PICTURE] if at < length else []
    labels = [token if token % 3 else IGNORED for token in ids]
    cut = expand(Tokens(np.array(ids), np.array(labels)), visual_tokens, max_length)
    assert (cut.input_ids.tolist(), cut.labels.tolist()) == published(ids, labels, visual_tokens, max_length)


def test_a_picture_is_not_learnt_even_in_an_answer() -> None:
    expanded = expand(tokens(1, PICTURE, 5, learnt=2), 3, 64)
    assert expanded.input_ids.tolist() == [1, PICTURE, PICTURE, PICTURE, 5]
    assert expanded.labels.tolist() == [IGNORED] * 4 + [5]


def test_what_is_expanded_is_left_as_it_was() -> None:
    before = tokens(1, PICTURE, 5)
    expand(before, 3, 2)
    assert before.input_ids.tolist() == [1, PICTURE, 5]


def test_sequences_are_padded_on_the_right_to_the_longest() -> None:
    batch = collator()([Sample(tokens(1, 7, 8, learnt=1), None), Sample(tokens(1, 9, 9, 9, 5, learnt=2), None)])
    assert batch["input_ids"].tolist() == [[1, 7, 8, 0, 0], [1, 9, 9, 9, 5]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 8, IGNORED, IGNORED], [IGNORED] * 3 + [9, 5]]
    assert batch["attention_mask"].tolist() == [[True] * 3 + [False] * 2, [True] * 5]


def test_the_types_are_those_that_the_model_takes() -> None:
    batch = collator()([Sample(tokens(1, PICTURE, 8, learnt=1), picture(1))])
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "input_ids": torch.int64,
        "labels": torch.int64,
        "attention_mask": torch.bool,
        "pixel_values": torch.float32,
    }


def test_a_token_that_equals_padding_stays_visible() -> None:
    """The id of a literal `<unk>` pads too; the published code goes by the id, and hides both."""
    batch = collator()([Sample(tokens(1, 0, 0, learnt=2), None), Sample(tokens(1, 5, 5, 5), None)])
    assert batch["attention_mask"].tolist() == [[True, True, True, False], [True] * 4]
    assert batch["labels"][0].tolist() == [IGNORED, 0, 0, IGNORED]


def test_pictures_stand_in_the_order_of_their_sequences() -> None:
    batch = collator()(
        [
            Sample(tokens(1, PICTURE, 5), picture(1)),
            Sample(tokens(1, 5), None),
            Sample(tokens(PICTURE, 5), picture(2)),
        ]
    )
    assert batch["pixel_values"].shape == (2, 3, SIDE, SIDE)
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [1, 2]
    assert (batch["input_ids"] == PICTURE).sum(dim=1).tolist() == [4, 0, 4]


def test_a_picture_whose_tokens_are_all_cut_away_is_not_brought() -> None:
    samples = [
        Sample(tokens(1, 2, 3, 4, PICTURE, 5), picture(1)),
        Sample(tokens(1, 2, 3, PICTURE), picture(2)),
        Sample(tokens(1, PICTURE), picture(3)),
    ]
    batch = collator(max_length=4)(samples)
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [2, 3]
    assert (batch["input_ids"] == PICTURE).sum(dim=1).tolist() == [0, 1, 3]


def test_a_batch_without_pictures_brings_one_of_zeros() -> None:
    batch = collator()([Sample(tokens(1, 5), None)] * 3)
    assert batch["pixel_values"].shape == (1, 3, SIDE, SIDE)
    assert not batch["pixel_values"].any()


def test_no_sequence_is_longer_than_the_longest_that_is_allowed() -> None:
    batch = collator(max_length=6)([Sample(tokens(*range(1, 40)), None), Sample(tokens(1, PICTURE, 5, 6), picture(1))])
    assert batch["input_ids"].shape == (2, 6)
    assert batch["attention_mask"].all()


def test_damaged_samples_are_told_and_left_out() -> None:
    told: list[Damaged] = []
    whole = [Sample(tokens(1, PICTURE, 5), picture(1)), Sample(tokens(1, 6), None)]
    batch = collator(told=told)([whole[0], DAMAGED, whole[1]])
    alone = collator()(whole)
    assert told == [DAMAGED]
    assert all(torch.equal(batch[name], alone[name]) for name in alone)


def test_a_batch_of_damaged_samples_alone_teaches_nothing() -> None:
    told: list[Damaged] = []
    batch = collator(told=told)([DAMAGED, DAMAGED])
    assert told == [DAMAGED, DAMAGED]
    assert batch["input_ids"].tolist() == [[1]]
    assert batch["labels"].tolist() == [[IGNORED]]
    assert batch["attention_mask"].tolist() == [[True]]
    assert batch["pixel_values"].shape == (1, 3, SIDE, SIDE)


def test_a_collator_may_be_sent_to_the_processes_that_prepare_samples(tmp_path: Path) -> None:
    log = DamageLog(tmp_path / "damaged.jsonl")
    sent = pickle.loads(pickle.dumps(Collator(4, 64, 0, SIDE, log)))
    sent([DAMAGED])
    assert log.read() == (DAMAGED,)


@pytest.mark.parametrize("max_length", [2048, 60])
def test_a_batch_is_what_the_published_code_gives_its_model(max_length: int) -> None:
    """Its collator's output without the padding, put together again by ours, against what it makes of it."""
    with np.load(GOLDEN / "model" / "forward_main256.npz") as golden:
        given_ids, given_labels, given_mask, images, mask, labels = (
            golden[name]
            for name in (
                "in.input_ids",
                "in.labels",
                "in.attention_mask",
                "in.images",
                "prep.attention_mask",
                "prep.labels",
            )
        )
    samples = [
        Sample(Tokens(ids[seen].astype(np.int64), own[seen].astype(np.int64)), image if PICTURE in ids else None)
        for ids, own, seen, image in zip(given_ids, given_labels, given_mask, images, strict=True)
    ]
    told: list[Damaged] = []
    batch = Collator((256 // 64) ** 2, max_length, 0, 256, told.append)(samples)
    assert np.array_equal(batch["attention_mask"].numpy(), mask[:, :max_length])
    assert np.array_equal(batch["labels"].numpy(), labels[:, :max_length])
    has_picture = (given_ids == PICTURE).any(axis=1)
    assert np.array_equal(batch["pixel_values"].numpy(), images[has_picture])
    assert not images[~has_picture].any()

"""The order of records: the same on every rank, of one modality a batch, of like length a micro-batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils.data import BatchSampler

from cvl.train.samples.sampler import GroupedSampler, grouped_order

BATCH, MICRO = 32, 4


def lengths_of(pictures: int, texts: int, seed: int = 0) -> NDArray[np.int64]:
    """Lengths of so many records with and without a picture, mixed."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 500, pictures + texts)
    lengths[generator.permutation(len(lengths))[:texts]] *= -1
    return lengths


def batches_of(order: NDArray[np.int64], batch_size: int = BATCH) -> NDArray[np.int64]:
    return order.reshape(-1, batch_size)


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.int64], int, int, int, int]:
    """Lengths, global batch, micro-batch, seed, epoch."""
    lengths = draw(st.lists(st.integers(-50, 50), min_size=1, max_size=120))
    micro = draw(st.integers(1, 6))
    batch = micro * draw(st.integers(1, 6))
    return np.array(lengths, dtype=np.int64), batch, micro, draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 3))


@given(cases(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_record_occurs_and_only_the_completion_occurs_twice(
    case: tuple[NDArray[np.int64], int, int, int, int], by_modality: bool
) -> None:
    lengths, batch, *_ = case
    order = grouped_order(*case, by_modality=by_modality)
    assert order.dtype == np.int64
    assert len(order) == -(-len(lengths) // batch) * batch
    counts = Counter(order.tolist())
    assert set(counts) == set(range(len(lengths)))
    assert sum(counts.values()) - len(counts) == -len(lengths) % batch


@given(cases())
@settings(max_examples=200, deadline=None)
def test_all_but_the_last_batches_are_of_one_modality(case: tuple[NDArray[np.int64], int, int, int, int]) -> None:
    lengths, batch, *_ = case
    has_picture = lengths > 0
    pictures, texts = int(has_picture.sum()), int((~has_picture).sum())
    pure = pictures // batch + texts // batch
    rows = has_picture[batches_of(grouped_order(*case), batch)]
    assert all(row.all() or not row.any() for row in rows[:pure])
    assert sum(row.all() for row in rows[:pure]) == pictures // batch
    # What is left of both modalities, once each, comes last.
    assert len(rows) - pure == -(-(pictures % batch + texts % batch) // batch)


@given(cases(), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_the_records_of_a_global_batch_do_not_depend_on_the_micro_batch(
    case: tuple[NDArray[np.int64], int, int, int, int], parts: int
) -> None:
    lengths, batch, micro, seed, epoch = case
    whole = grouped_order(lengths, batch * parts, batch * parts, seed, epoch)
    cut = grouped_order(lengths, batch * parts, micro, seed, epoch)
    assert np.array_equal(
        np.sort(batches_of(whole, batch * parts), axis=1), np.sort(batches_of(cut, batch * parts), axis=1)
    )


def test_the_order_is_drawn_from_seed_and_epoch_and_nothing_else() -> None:
    lengths = lengths_of(500, 100)
    order = grouped_order(lengths, BATCH, MICRO, 42, 0)
    np.random.seed(1)  # what others do to the global state must not matter
    assert np.array_equal(order, grouped_order(lengths.copy(), BATCH, MICRO, 42, 0))
    for seed, epoch in ((42, 1), (43, 0), (0, 42)):
        assert not np.array_equal(order, grouped_order(lengths, BATCH, MICRO, seed, epoch))


def test_neither_the_records_of_a_batch_nor_the_order_of_batches_are_those_of_the_file() -> None:
    lengths = lengths_of(2000, 0)
    first, second = (batches_of(grouped_order(lengths, BATCH, MICRO, 42, epoch)) for epoch in (0, 1))
    assert {frozenset(row) for row in first.tolist()}.isdisjoint(map(frozenset, second.tolist()))
    assert np.abs(np.corrcoef(first.ravel(), np.arange(first.size))[0, 1]) < 0.1


def test_batches_of_both_modalities_are_shuffled_among_each_other() -> None:
    lengths = lengths_of(BATCH * 50, BATCH * 50)
    kinds = lengths[batches_of(grouped_order(lengths, BATCH, MICRO, 42, 0))[:, 0]] > 0
    assert 20 < np.count_nonzero(kinds[1:] != kinds[:-1]) < 80


@pytest.mark.parametrize("micro", [1, 2, 4, 8, 16, 32])
def test_micro_batches_of_a_batch_are_about_equally_long(micro: int) -> None:
    lengths = lengths_of(BATCH * 100, BATCH * 20)
    order = grouped_order(lengths, BATCH, micro, 42, 0)
    loads = np.abs(lengths)[order].reshape(-1, BATCH // micro, micro).sum(axis=2)
    # From the longest to the shortest, each to whom has least: the last ones even out what the first ones left.
    assert np.all(loads.max(axis=1) - loads.min(axis=1) <= np.abs(lengths).max())
    if micro > 1:
        plain = grouped_order(lengths, BATCH, micro, 42, 0, by_modality=False)
        unsorted = np.abs(lengths)[plain].reshape(-1, BATCH // micro, micro).sum(axis=2)
        if micro < BATCH:
            assert np.ptp(loads, axis=1).mean() < np.ptp(unsorted, axis=1).mean() / 4


def test_a_micro_batch_is_not_overfilled_by_short_records() -> None:
    """One record as long as all others together: the micro-batch that has it still takes its share."""
    lengths = np.array([1000, *[1] * 15])
    order = grouped_order(lengths, 16, 4, 0, 0)
    assert sorted(order.tolist()) == list(range(16))
    assert 0 in order[:4]


def test_the_last_batch_is_completed_from_the_start_of_the_order() -> None:
    lengths = lengths_of(100, 0)
    rows = batches_of(grouped_order(lengths, BATCH, BATCH, 42, 0))
    again = [record for record, count in Counter(rows.ravel().tolist()).items() if count > 1]
    assert len(again) == 4 * BATCH - 100
    assert set(again) <= set(rows[0].tolist())
    assert set(again) <= set(rows[-1].tolist())


def test_fewer_records_than_a_batch_are_gone_through_again_and_again() -> None:
    order = grouped_order(lengths_of(3, 2), BATCH, MICRO, 0, 0)
    assert len(order) == BATCH
    assert sorted(Counter(order.tolist()).values()) == [6, 6, 6, 7, 7]


def test_a_plain_shuffle_mixes_modalities() -> None:
    lengths = lengths_of(BATCH * 20, BATCH * 20)
    rows = lengths[batches_of(grouped_order(lengths, BATCH, MICRO, 42, 0, by_modality=False))] > 0
    assert np.all(rows.any(axis=1) & ~rows.all(axis=1))


@pytest.mark.parametrize(("count", "batch", "micro"), [(0, 8, 4), (5, 8, 3), (5, 4, 8)])
def test_what_makes_no_batches_is_refused(count: int, batch: int, micro: int) -> None:
    with pytest.raises(ValueError, match=f"{count} records in batches of {batch}, micro-batches of {micro}"):
        grouped_order(np.ones(count, dtype=np.int64), batch, micro, 0, 0)


def test_a_hundred_thousand_records_are_ordered_like_few() -> None:
    lengths = lengths_of(94_000, 6_000)
    order = grouped_order(lengths, 256, 16, 42, 0)
    rows = (lengths > 0)[batches_of(order, 256)]
    assert len(np.unique(order)) == 100_000
    assert np.count_nonzero(rows.any(axis=1) & ~rows.all(axis=1)) == 1


def shards(sampler: GroupedSampler, micro: int, world: int) -> list[list[list[int]]]:
    """The micro-batches of each of `world` processes, as accelerate deals them out."""
    batches = BatchSampler(sampler, micro, drop_last=False)
    return [list(BatchSamplerShard(batches, world, rank)) for rank in range(world)]


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("micro", [2, 4, 8])
def test_any_number_of_processes_sees_the_same_global_batches(world: int, micro: int) -> None:
    lengths = lengths_of(300, 77)
    accumulation = BATCH // (world * micro)
    dealt = shards(GroupedSampler(lengths, BATCH, micro, 42), micro, world)
    assert {len(own) for own in dealt} == {len(dealt[0])}
    steps = [
        sorted(
            record
            for own in dealt
            for batch in own[step * accumulation : (step + 1) * accumulation]
            for record in batch
        )
        for step in range(len(dealt[0]) // accumulation)
    ]
    alone = batches_of(grouped_order(lengths, BATCH, BATCH, 42, 0))
    assert steps == np.sort(alone, axis=1).tolist()
    assert all(len(batch) == micro for own in dealt for batch in own)


def test_processes_that_work_at_once_have_equally_much_to_do() -> None:
    lengths = lengths_of(3200, 0)
    dealt = np.abs(lengths)[np.array(shards(GroupedSampler(lengths, BATCH, MICRO, 42), MICRO, 4))].sum(axis=2)
    assert np.all(dealt.max(axis=0) - dealt.min(axis=0) < 500)


def test_a_sampler_gives_its_order_again_and_again() -> None:
    lengths = lengths_of(300, 50)
    sampler = GroupedSampler(lengths, BATCH, MICRO, 42)
    first = list(sampler)
    assert first == list(sampler) == grouped_order(lengths, BATCH, MICRO, 42, 0).tolist()
    assert len(sampler) == len(first)
    assert all(type(number) is int for number in first)


def test_a_sampler_gives_one_epoch_after_the_other() -> None:
    lengths = lengths_of(300, 50)
    sampler = GroupedSampler(lengths, BATCH, MICRO, 42, epochs=2)
    epochs = [grouped_order(lengths, BATCH, MICRO, 42, epoch).tolist() for epoch in (0, 1)]
    assert list(sampler) == epochs[0] + epochs[1]
    assert len(sampler) == len(epochs[0]) * 2
    assert epochs[0] != epochs[1]


def test_a_sampler_goes_on_within_an_epoch() -> None:
    lengths = lengths_of(300, 50)
    before = GroupedSampler(lengths, BATCH, MICRO, 42)
    done = 3 * BATCH
    seen = [number for number, _ in zip(before, range(done), strict=False)]
    anew = list(GroupedSampler(lengths, BATCH, MICRO, 42))
    assert seen + anew[done:] == anew


def test_a_sampler_can_leave_modalities_mixed() -> None:
    lengths = lengths_of(100, 100)
    sampler = GroupedSampler(lengths, BATCH, MICRO, 42, by_modality=False)
    assert list(sampler) == grouped_order(lengths, BATCH, MICRO, 42, 0, by_modality=False).tolist()

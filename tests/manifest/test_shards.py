from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.manifest import format_shards, parse_shards

NUMBERS = st.sets(st.integers(min_value=0, max_value=300), min_size=1)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0", (0,)),
        ("0-0", (0,)),
        ("0-2", (0, 1, 2)),
        ("000000-000002", (0, 1, 2)),
        ("0-2,7", (0, 1, 2, 7)),
        (" 0 , 7-8 ", (0, 7, 8)),
        ("7,0-2", (0, 1, 2, 7)),
        ("0-2,1-3,2", (0, 1, 2, 3)),
    ],
)
def test_ranges_include_both_ends_and_come_out_ascending_without_repeats(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_shards(text) == numbers


def test_the_documents_range_is_51_shards() -> None:
    assert len(parse_shards("0-50")) == 51


@pytest.mark.parametrize(
    "text", ["", ",", "0,", "a", "0-", "-1", "0--1", "0-1-2", "0:5", "1.5", "0x1", "²", "0…5", "sam=0"]
)
def test_what_is_not_a_range_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"`.*` is not a shard number or a range such as 0-50"):
        parse_shards(text)


def test_a_range_that_runs_backwards_is_refused_with_its_ends() -> None:
    with pytest.raises(ValueError, match="the range 50-0 runs backwards"):
        parse_shards("0-2,50-0")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), ""), ((3,), "3"), ((0, 1), "0-1"), ((0, 2), "0,2"), ((7, 2, 0, 1), "0-2,7"), ((5, 5, 5), "5")],
)
def test_numbers_are_written_as_few_ranges_as_can_be(numbers: tuple[int, ...], text: str) -> None:
    assert format_shards(numbers) == text


@given(NUMBERS)
def test_what_is_written_is_read_back(numbers: set[int]) -> None:
    assert parse_shards(format_shards(numbers)) == tuple(sorted(numbers))


@given(NUMBERS)
def test_runs_are_never_split_and_never_touch(numbers: set[int]) -> None:
    ends = [[int(end) for end in part.split("-")] for part in format_shards(numbers).split(",")]
    assert all(before[-1] + 1 < after[0] for before, after in pairwise(ends))


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20)), min_size=1))
def test_any_list_of_ranges_means_the_union_of_them(ranges: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}-{first + length}" for first, length in ranges)
    union = {number for first, length in ranges for number in range(first, first + length + 1)}
    assert set(parse_shards(text)) == union
    assert parse_shards(format_shards(parse_shards(text))) == parse_shards(text)


def test_a_slip_does_not_fill_the_memory() -> None:
    with pytest.raises(ValueError, match="9999999999 is beyond the largest shard number"):
        parse_shards("0-9999999999")

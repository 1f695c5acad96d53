"""Range arithmetic, held against plain sets of integers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cvl.download.transport.ranges import Ranges, Span

EDGE = 40
edges = st.integers(0, EDGE)
spans = st.tuples(edges, edges)
changes = st.lists(st.tuples(st.booleans(), edges, edges), max_size=20)


def played(played_changes: list[tuple[bool, int, int]]) -> tuple[Ranges, set[int]]:
    """The same additions and removals, done to ranges and to a set."""
    ranges, plain = Ranges(), set[int]()
    for adds, start, stop in played_changes:
        if adds:
            ranges.add(start, stop)
            plain |= set(range(start, stop))
        else:
            ranges.remove(start, stop)
            plain -= set(range(start, stop))
    return ranges, plain


def bytes_of(ranges: Ranges) -> set[int]:
    return {byte for start, stop in ranges for byte in range(start, stop)}


def is_canonical(ranges: Ranges) -> bool:
    """Whether the spans are sorted, not empty, and do not touch each other."""
    listed = list(ranges)
    apart = all(before.stop < behind.start for before, behind in pairwise(listed))
    return apart and all(span.start < span.stop for span in listed)


@given(changes)
def test_adding_and_removing_are_those_of_a_set(done: list[tuple[bool, int, int]]) -> None:
    ranges, plain = played(done)
    assert bytes_of(ranges) == plain
    assert is_canonical(ranges)
    assert ranges.size == len(plain)
    assert bool(ranges) == bool(plain)
    assert ranges.end == max(plain, default=-1) + 1


@given(changes)
def test_the_prefix_ends_at_the_first_byte_that_is_not_there(done: list[tuple[bool, int, int]]) -> None:
    ranges, plain = played(done)
    assert ranges.prefix == next(byte for byte in range(EDGE + 1) if byte not in plain)


@given(changes, edges)
def test_gaps_are_what_a_file_of_this_size_lacks(done: list[tuple[bool, int, int]], size: int) -> None:
    ranges, plain = played(done)
    before = list(ranges)
    gaps = ranges.gaps(size)
    assert bytes_of(gaps) == set(range(size)) - plain
    assert is_canonical(gaps)
    assert list(ranges) == before


@given(changes, st.integers(1, EDGE))
def test_taking_piece_by_piece_gives_every_byte_once_in_order(done: list[tuple[bool, int, int]], most: int) -> None:
    ranges, plain = played(done)
    taken: list[int] = []
    while (span := ranges.take(most)) is not None:
        assert 0 < span.size <= most
        taken += range(span.start, span.stop)
        assert bytes_of(ranges) == plain - set(taken)
        assert is_canonical(ranges)
    assert taken == sorted(plain)
    assert not ranges


@given(st.lists(spans))
def test_the_order_of_adding_is_no_matter(added: list[tuple[int, int]]) -> None:
    assert Ranges(Span(*each) for each in added) == Ranges(Span(*each) for each in reversed(added))


def test_removing_nothing_leaves_a_span_whole() -> None:
    for start, stop in ((5, 5), (7, 3)):
        ranges = Ranges([Span(0, 10)])
        ranges.remove(start, stop)
        assert list(ranges) == [Span(0, 10)]


def test_sizes_beyond_any_disk_are_exact() -> None:
    ranges = Ranges([Span(0, 2**63 - 1)])
    ranges.remove(1, 2)
    assert (ranges.size, ranges.prefix, ranges.end) == (2**63 - 2, 1, 2**63 - 1)


def test_an_empty_set_has_nothing_to_take() -> None:
    assert Ranges().take(5) is None
    assert repr(Ranges([Span(1, 2)])) == "Ranges([Span(start=1, stop=2)])"

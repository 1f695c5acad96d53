"""Numbers as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.units import counted, duration, gigabytes, rate, share


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (642_503_547, "643 MB"),
        (19_336_861_798, "19.3 GB"),
        (576_155_235_091, "576 GB"),
        (1_600_000_000_000, "1.6 TB"),
    ],
)
def test_sizes_are_written_as_people_read_them(size: int | None, text: str) -> None:
    assert gigabytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.25, "0.2 s"),
        (4, "4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3599.7, "1 h"),
        (16_560, "4 h 36 min"),
        (16_599, "4 h 36 min"),
        (86_399.9, "1 d"),
        (277_000, "3 d 4 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(10.0, 1e7))
def test_a_duration_is_never_off_by_more_than_its_smaller_unit(seconds: float) -> None:
    lengths = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
    words = re.findall(r"(\d+) (d|h|min|s)", duration(seconds))
    told = sum(int(number) * lengths[unit] for number, unit in words)
    largest = lengths[words[0][1]]
    smaller = next((length for length in lengths.values() if length < largest), 1)
    assert told - 1 <= seconds <= told + smaller


@pytest.mark.parametrize(
    ("per_second", "text"), [(None, "-"), (0.0, "0 B/s"), (48_249_000.6, "48.2 MB/s"), (999.4, "999 B/s")]
)
def test_rates_are_bytes_a_second(per_second: float | None, text: str) -> None:
    assert rate(per_second) == text


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [
        (12_300_000_000, 19_336_861_798, "12.3/19.3 GB"),
        (643_000_000, 19_336_861_798, "643 MB/19.3 GB"),
        (0, 2_000, "0 B/2.0 kB"),
        (7, 999, "7/999 B"),
        (1_000, None, "1.0 kB"),
        (212_000_000_000, 1_040_000_000_000, "212 GB/1.0 TB"),
    ],
)
def test_bytes_of_bytes_share_their_unit_where_they_have_the_same(done: int, total: int | None, text: str) -> None:
    assert share(done, total) == text


def test_one_file_is_one_file() -> None:
    assert [counted(count, "file") for count in (0, 1, 2_000)] == ["0 files", "1 file", "2,000 files"]
    assert [counted(count, "address", "addresses") for count in (1, 3)] == ["1 address", "3 addresses"]

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cvl.demo.internet.pace import Pace


def chunks() -> Iterator[bytes]:
    yield from (b"abc", b"defgh", b"", b"ij")


@pytest.mark.parametrize("after", [0, 1, 3, 5, 10, 99])
def test_the_bytes_stay_as_they_are(after: int) -> None:
    assert b"".join(Pace(1000, after).pieces(chunks())) == b"abcdefghij"


def test_a_slow_body_comes_byte_by_byte() -> None:
    assert [len(piece) for piece in Pace(20).pieces(chunks())] == [1] * 10


def test_a_swift_beginning_comes_in_the_pieces_of_the_body() -> None:
    assert list(Pace(20, after=5).pieces(chunks())) == [b"abc", b"de", b"f", b"g", b"h", b"i", b"j"]


def test_no_more_than_the_rate_comes() -> None:
    """A lower bound only, which no busy machine can break."""
    start = time.monotonic()
    assert sum(map(len, Pace(1000, after=50).pieces(iter([bytes(300)])))) == 300
    assert time.monotonic() - start >= 0.25

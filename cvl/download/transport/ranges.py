"""The arithmetic of byte ranges: which bytes of a file are there, and which are not. Ranges are half open."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """The bytes from `start` on, up to but without `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes that is."""
        return self.stop - self.start


class Ranges:
    """A set of bytes, kept as spans that are sorted and do not touch each other."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in spans:
            self.add(start, stop)

    def __iter__(self) -> Iterator[Span]:
        return map(Span, self._starts, self._stops)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    @property
    def size(self) -> int:
        """How many bytes are in the set."""
        return sum(self._stops) - sum(self._starts)

    @property
    def prefix(self) -> int:
        """How many bytes are there from the file's beginning on without a gap."""
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    @property
    def end(self) -> int:
        """The byte behind the last one of the set, 0 for none."""
        return self._stops[-1] if self._stops else 0

    def add(self, start: int, stop: int) -> None:
        """Put bytes into the set; that some of them are in it already is no matter."""
        if start >= stop:
            return
        # Spans that touch the new one are swallowed by it.
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def remove(self, start: int, stop: int) -> None:
        """Take bytes out of the set; that some of them are not in it is no matter."""
        if start >= stop:
            return
        before = [Span(span.start, min(span.stop, start)) for span in self]
        behind = [Span(max(span.start, stop), span.stop) for span in self]
        kept = sorted(span for span in (*before, *behind) if span.start < span.stop)
        self._starts, self._stops = [span.start for span in kept], [span.stop for span in kept]

    def gaps(self, size: int) -> Ranges:
        """The bytes of a file of `size` bytes that are not in the set."""
        missing = Ranges()
        at = 0
        for start, stop in self:
            missing.add(at, min(start, size))
            at = stop
        missing.add(at, size)
        return missing

    def take(self, most: int) -> Span | None:
        """Remove at most so many bytes from the front of the set, out of one span; None if it is empty."""
        if not self._starts:
            return None
        start = self._starts[0]
        stop = min(start + most, self._stops[0])
        if stop == self._stops[0]:
            del self._starts[0], self._stops[0]
        else:
            self._starts[0] = stop
        return Span(start, stop)

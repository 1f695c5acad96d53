"""A span of a file that one connection brings, in order."""

from __future__ import annotations

import threading
import time

from cvl.download.transport.part import Part
from cvl.download.transport.ranges import Span

_NOTE_EVERY = 128 << 10
"""Bytes after which the journal is told: so many at most are fetched again by a connection after a kill, and what is
in the kernel's buffers."""
_NOTE_AFTER = 1.0
"""Seconds after which it is told of fewer."""
_UNHURRIED = 0.2
"""Seconds before which a connection's speed says nothing."""


class Segment:
    """The bytes from `at` up to `stop` are still to come.

    `began` is when it was handed out, `heard` when the last bytes came, in monotonic seconds.

    Its thread puts bytes into the part, the leading one may shorten it or take it away: both under its own lock, so
    that no byte is written once `halt` has returned.
    """

    def __init__(self, span: Span) -> None:
        self.at = span.start
        self.stop = span.stop
        self._mutex = threading.Lock()
        self._halted = False
        self._noted = span.start
        self._from = span.start
        self.began = self._told = self.heard = self._marked = time.monotonic()
        self._mark = span.start

    def begin(self, span: Span) -> None:
        """Be of the span that the first answer really brings."""
        self.at = self._noted = self._from = self._mark = span.start
        self.stop = span.stop

    def put(self, chunk: bytes | memoryview, part: Part) -> bool:
        """Write the bytes that came next; False once no more are wanted."""
        with self._mutex:
            wanted = chunk[: self.stop - self.at]
            if self._halted or (chunk and not wanted):
                return False
            part.write(wanted, self.at)
            self.at += len(wanted)
            self.heard = time.monotonic()
            if self.at - self._noted >= _NOTE_EVERY or self.heard - self._told >= _NOTE_AFTER:
                self._note(part)
                self._told = self.heard
            return True

    def halt(self, part: Part) -> Span:
        """Write no more; returns what has not come."""
        with self._mutex:
            if not self._halted:
                self._halted = True
                self._note(part)
            return Span(self.at, self.stop)

    def _note(self, part: Part) -> None:
        if self.at > self._noted:
            part.note(self._noted, self.at)
            self._noted = self.at

    def halve(self, shortest: int) -> Span | None:
        """Give the second half away, None if the halves would be too short to be worth it."""
        with self._mutex:
            middle = self.at + (self.stop - self.at) // 2
            if self._halted or middle - self.at < shortest:
                return None
            given = Span(middle, self.stop)
            self.stop = middle
            return given

    def speed(self, now: float) -> float:
        """Bytes a second since it began, 0 while that says nothing yet."""
        return (self.at - self._from) / (now - self.began) if now - self.began >= _UNHURRIED else 0.0

    def seconds_left(self, now: float) -> float:
        """How long it would take to its end at this speed; while that says nothing, at least so long as it did."""
        speed = self.speed(now)
        return (self.stop - self.at) / speed if speed else now - self.began

    def silent(self, now: float) -> float:
        """Seconds since the last byte."""
        return now - self.heard

    def crawls(self, now: float, window: float, slowest: float) -> bool:
        """Whether fewer than `slowest` bytes a second came in the last `window` seconds, or in the ones before them."""
        if now - self._marked < window:
            return False
        came, self._mark = self.at - self._mark, self.at
        passed, self._marked = now - self._marked, now
        return came < slowest * passed

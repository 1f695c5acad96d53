"""What is known of a long fetch at an instant: each running file, and the sum of all. It is told events and times.

A file's bytes are all that are here of it. The bytes of the whole are those that this run moves: what an earlier run
brought is neither among them nor part of any rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cvl.events import Event, EventKind
from cvl.output.meter import Meter

if TYPE_CHECKING:
    # Only what fetches has a plan; all else does without its modules.
    from cvl.download.plan import Plan, Step


_SILENCE = 10.0
"""Seconds without a byte after which there is neither a rate nor a time that is left."""


def _current() -> Meter:
    return Meter(3.0, warm_up=1.0, silence=_SILENCE)


def _lasting() -> Meter:
    """As smooth as a plain mean over half a minute: what a time that is left is told by."""
    return Meter(15.0, warm_up=4.0, silence=_SILENCE)


class Phase(StrEnum):
    """What a file is busy with; the value is the word for it."""

    CONNECT = "connecting"
    DOWNLOAD = "downloading"
    WAIT = "waiting"
    CHECK = "checking"
    UNPACK = "unpacking"


@dataclass(frozen=True)
class Row:
    """A running file as it is now.

    Args:
        name: of the file.
        phase: what it is busy with.
        done: bytes that are here, or files if `files`.
        total: of them in all, None where nobody knows.
        rate: bytes or files a second, None while there is none to tell.
        connections: that move its bytes.
        left: seconds until it is tried again while it waits, otherwise until this phase ends; None if nobody knows.
        files: whether files are counted: members of an archive, or what a list names.
    """

    name: str
    phase: Phase
    done: int = 0
    total: int | None = None
    rate: float | None = None
    connections: int = 0
    left: float | None = None
    files: bool = False


@dataclass(frozen=True)
class Totals:
    """All files of a fetch together.

    Args:
        done: files that came.
        failed: files that did not.
        files: that there was something to do for.
        bytes: that this run has moved.
        total: bytes that it moves in all, as far as sizes are known.
        unknown: files that are still to come and whose size nobody knows.
        connections: that move bytes.
        rate: bytes a second just now, None where there is none to tell.
        left: seconds until all bytes of known files are here, None where there is no rate to tell by.
    """

    done: int
    failed: int
    files: int
    bytes: int
    total: int
    unknown: int
    connections: int
    rate: float | None
    left: float | None


@dataclass
class _File:
    """One file that is being worked on. `begun` is what was here of it before, `size` what its transfer ends with."""

    name: str
    begun: int
    size: int | None
    phase: Phase = Phase.CONNECT
    bytes: int = 0
    connections: int = 0
    until: float = 0.0
    files: tuple[int, int | None] | None = None
    speed: Meter = field(default_factory=_current)

    @property
    def moved(self) -> int:
        return self.bytes - self.begun

    @property
    def missing(self) -> int | None:
        """Bytes that are still to come, None where nobody knows: an estimate that is passed says nothing any more."""
        return self.size - self.bytes if self.size is not None and self.size >= self.bytes else None

    def row(self, now: float) -> Row:
        waits = self.phase is Phase.WAIT and now < self.until
        phase = Phase.CONNECT if self.phase is Phase.WAIT and not waits else self.phase
        done, total = self.files or (self.bytes, self.size if self.missing is not None else None)
        moves = phase in (Phase.DOWNLOAD, Phase.UNPACK)
        left = self.speed.left(max(total - done, 0), now) if moves and total is not None else None
        return Row(
            name=self.name,
            phase=phase,
            done=done,
            total=total,
            rate=self.speed.rate(now) if moves else None,
            connections=self.connections,
            left=self.until - now if waits else left,
            files=self.files is not None,
        )


class Tally:
    """Keeps count of what events tell. Not safe for several threads: whoever shares it holds a lock.

    Args:
        plan: what is going to be done, None for work that has no plan.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        steps = plan.work if plan is not None else ()
        self._waiting = {step.remote.name: _to_move(step) for step in steps}
        self._lists = {step.remote.name for step in steps if step.remote.expand is not None}
        self._planned = frozenset(self._waiting)
        self._running: dict[str, _File] = {}
        self._done = self._failed = self._moved = 0
        self._now, self._lately = _current(), _lasting()

    def hear(self, event: Event, now: float) -> None:
        """Take note of an event that happened at `now`, seconds on a clock that does not go back."""
        if not event.name or event.kind is EventKind.NOTE:
            return
        if event.kind in (EventKind.DONE, EventKind.FAILED):
            self._end(event)
            return
        file = self._running.get(event.name) or self._begin(event)
        file.connections = event.connections
        match event.kind:
            case EventKind.PROGRESS if event.text != "files":
                self._advance(file, event, now)
            case EventKind.PROGRESS | EventKind.UNPACK:
                self._count(file, event, now)
            case EventKind.CHECK:
                file.phase, file.size = Phase.CHECK, file.bytes
            case EventKind.RETRY:
                file.phase, file.until = Phase.WAIT, now + event.wait

    def rows(self, now: float) -> list[Row]:
        """The running files, in the order in which they were begun."""
        return [file.row(now) for file in self._running.values()]

    def totals(self, now: float) -> Totals:
        """All files together."""
        running = self._running.values()
        missing = [*self._waiting.values(), *(self._missing(file) for file in running)]
        known = sum(size or 0 for size in missing)
        moved = self._moved + sum(file.moved for file in running)
        return Totals(
            done=self._done,
            failed=self._failed,
            files=len(self._planned),
            bytes=moved,
            total=moved + known,
            unknown=missing.count(None),
            connections=sum(file.connections for file in running),
            rate=self._now.rate(now),
            left=_latest([self._lately.left(known, now) if known else 0.0, *self._countdowns(now)]),
        )

    def _begin(self, event: Event) -> _File:
        self._waiting.pop(event.name, None)
        here = event.done if event.kind in (EventKind.START, EventKind.PROGRESS) and event.text != "files" else 0
        phase = Phase.DOWNLOAD if event.kind is EventKind.PROGRESS else Phase.CONNECT
        self._running[event.name] = _File(event.name, here, event.total, phase, bytes=here)
        return self._running[event.name]

    def _end(self, event: Event) -> None:
        self._waiting.pop(event.name, None)
        file = self._running.pop(event.name, None)
        moved = file.moved if file is not None else 0
        # Only the end of a list says how many bytes its many small files had.
        self._moved += max(moved, event.done) if event.name in self._lists else moved
        if event.name in self._planned:
            self._done += event.kind is EventKind.DONE
            self._failed += event.kind is EventKind.FAILED

    def _advance(self, file: _File, event: Event, now: float) -> None:
        moved = event.done - file.bytes
        # Transfers speak while nothing comes as well: a wait is over when something does.
        file.phase = Phase.DOWNLOAD if moved else file.phase
        file.bytes = event.done
        file.size = event.total if event.total is not None else file.size
        # Where a part was dropped, what lay there before is to be moved by this run too.
        file.begun = min(file.begun, file.bytes)
        if moved > 0:
            for meter in (file.speed, self._now, self._lately):
                meter.moved(moved, now)

    def _count(self, file: _File, event: Event, now: float) -> None:
        if file.files is None:
            # From here on the file is as large as it is, and its rate is one of files.
            file.size, file.speed = file.bytes, _lasting()
        before = file.files[0] if file.files is not None else -1
        if event.done > before:
            file.phase = Phase.DOWNLOAD if file.name in self._lists else Phase.UNPACK
        if file.name not in self._lists:
            file.connections = 0
        file.files = event.done, event.total
        if event.done > before >= 0:
            file.speed.moved(event.done - before, now)

    def _missing(self, file: _File) -> int | None:
        """Bytes still to come for a running file; what a list names is of no known size until it can be counted."""
        return None if file.name in self._lists and file.files is None else file.missing

    def _countdowns(self, now: float) -> Iterator[float]:
        """When the counting of files ends, for each that is at it and knows."""
        for row in self.rows(now):
            if row.files and row.left is not None:
                yield row.left


def _to_move(step: Step) -> int | None:
    """Bytes that a step moves; None for lists, whose files are of no known size."""
    return None if step.remote.expand is not None else step.transfer_bytes


def _latest(times: Iterable[float | None]) -> float | None:
    """The last of some times, None if one of them is not known, or if nothing is left to wait for."""
    known = list(times)
    return None if None in known else max((time for time in known if time), default=None)

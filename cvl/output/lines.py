"""Long work where nothing may move: a line for each thing worth telling, and now and then one on what has moved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cvl.events import Event, EventKind
from cvl.output.tally import Tally, Totals
from cvl.units import counted, duration, gigabytes, rate, share

if TYPE_CHECKING:
    # Only what fetches has a plan; all else does without its modules.
    from cvl.download.plan import Plan

_LINE_EVERY = 30.0
"""Seconds between two lines on what has moved."""
_ROUTINE = (EventKind.START, EventKind.DONE)


class Lines:
    """A reporter for logs, and for people who want no colours or bars. Told by many threads at once.

    With a plan, what has moved is told in one line for all files, otherwise in one for each.
    """

    def __init__(self, console: Console, plan: Plan | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        # A terminal without moving parts is read by a person, to whom the table at the end is enough.
        self._terse = console.is_terminal and not console.is_interactive
        self._tally = Tally(plan) if plan is not None else None
        self._mutex = threading.Lock()
        self._told: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Print what is worth it."""
        line = line_of(event)
        if line is not None and not (self._terse and event.kind in _ROUTINE):
            self._console.print(line)
        between = self._between(event)
        if between is not None:
            self._console.print(between)

    def _between(self, event: Event) -> str | None:
        """A line on what has moved, if one is due."""
        moves = event.kind in (EventKind.PROGRESS, EventKind.UNPACK)
        with self._mutex:
            now = self._clock()
            if self._tally is not None:
                self._tally.hear(event, now)
                return totals_line(self._tally.totals(now)) if self._due("", now) else None
            return f"{event.name}: {_amount(event)}" if moves and self._due(event.name, now) else None

    def _due(self, name: str, now: float) -> bool:
        due = now - self._told.setdefault(name, now) >= _LINE_EVERY
        if due:
            self._told[name] = now
        return due


def totals_line(totals: Totals, *, short: bool = False) -> str:
    """All files together in one line, which fits into 80 columns if `short`; what matters least comes last."""
    left = duration(round(totals.left)) if totals.left is not None else "-"
    files = "" if short else "files " if totals.unknown > 1 else "file "
    connections = f"×{totals.connections}" if short else counted(totals.connections, "connection")
    parts = [
        f"{totals.done:,}/{counted(totals.files, 'file')}",
        share(totals.bytes, totals.total),
        rate(totals.rate),
        *([connections] if totals.connections else []),
        f"ETA {left}" + (f" + {totals.unknown:,} {files}of unknown size" if totals.unknown else ""),
        *([f"{totals.failed:,} failed"] if totals.failed else []),
    ]
    return ", ".join(parts)


def line_of(event: Event) -> Text | None:
    """An event as a line, None for those that only move numbers."""
    name = event.name or event.source
    match event.kind:
        case EventKind.START:
            size = f" ({gigabytes(event.total)})" if event.total else ""
            resumed = f", going on after {gigabytes(event.done)}" if event.done else ""
            return Text(f"{name}: begins{size}{resumed}")
        case EventKind.RETRY:
            return Text(f"{name}: {event.text}", style="yellow")
        case EventKind.DONE:
            return Text.assemble((f"{name}: done", "green"), f" {event.text}".rstrip())
        case EventKind.FAILED:
            return Text.assemble((f"{name}: failed: ", "red"), event.text)
        case EventKind.NOTE:
            return Text(f"{name}: {event.text}" if name else event.text, style="yellow")
        case _:
            return None


def _amount(event: Event) -> str:
    if event.kind is EventKind.UNPACK or event.text == "files":
        return f"{event.done:,} of {event.total or 0:,} files"
    return f"{gigabytes(event.done)} of {gigabytes(event.total)}"

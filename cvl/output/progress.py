"""Long work while it runs: live bars in a terminal, plain lines elsewhere, JSON lines for scripts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from cvl.events import Event, EventKind, Reporter
from cvl.output.console import gigabytes, print_json, stderr

_ENDS = (EventKind.DONE, EventKind.FAILED)
_ROUTINE = (EventKind.START, EventKind.DONE)
_LINE_EVERY = 30.0
"""Seconds between two lines on the bytes of one file, where there is no terminal."""


@contextmanager
def reporter(*, as_json: bool, total: int | None = None) -> Iterator[Reporter]:
    """The reporter that fits: JSON lines, live bars, or plain lines, as where NO_COLOR is set.

    `total` is the bytes of the whole plan.
    """
    if as_json:
        yield print_json
        return
    console = stderr()
    if console.is_terminal and console.is_interactive and not console.no_color:
        with _live(console, total) as live:
            yield live
    else:
        yield _Lines(console)


class _Lines:
    """One line for each thing worth telling; of the bytes between, a line now and then, for logs of long runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # A terminal without moving parts is read by a person, to whom the table at the end is enough.
        self._terse = console.is_terminal and not console.is_interactive
        self._told: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        line = line_of(event)
        if line is not None and not (self._terse and event.kind in _ROUTINE):
            self._console.print(line)
        elif event.kind in (EventKind.PROGRESS, EventKind.UNPACK) and self._due(event.name):
            amount = _amount(event)
            self._console.print(f"{event.name}: {amount}")

    def _due(self, name: str) -> bool:
        now = time.monotonic()
        due = now - self._told.setdefault(name, now) >= _LINE_EVERY
        if due:
            self._told[name] = now
        return due


def _counts_files(event: Event) -> bool:
    return event.kind is EventKind.UNPACK or event.text == "files"


def _amount(event: Event) -> str:
    if _counts_files(event):
        return f"{event.done:,} of {event.total or 0:,} files"
    return f"{gigabytes(event.done)} of {gigabytes(event.total)}"


def line_of(event: Event) -> Text | None:
    """An event as a line, None for those that only move a bar."""
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


class _Amount(ProgressColumn):
    """Bytes for transfers, plain numbers for files and members."""

    _bytes = DownloadColumn()

    def render(self, task: Task) -> Text:
        """The amount of one bar."""
        if task.fields.get("unit", "bytes") == "bytes":
            return self._bytes.render(task)
        return Text(f"{int(task.completed):,}/{int(task.total or 0):,} files", style="progress.download")


@contextmanager
def _live(console: Console, total: int | None) -> Iterator[Reporter]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        _Amount(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=8) as progress:
        yield _Live(progress, total)


class _Live:
    """A bar a running file and one for all. Told by many threads at once."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self._progress = progress
        self._mutex = threading.Lock()
        self._bars: dict[str, TaskID] = {}
        self._moved: dict[str, int] = {}
        self._all = progress.add_task("[bold]in all", total=total or None)

    def __call__(self, event: Event) -> None:
        with self._mutex:
            # The bars tell of beginnings and ends; lines are for what asks for attention.
            line = line_of(event) if event.kind not in _ROUTINE else None
            if line is not None:
                self._progress.console.print(line)
            if event.name:
                self._draw(event)

    def _draw(self, event: Event) -> None:
        if event.kind in _ENDS:
            bar = self._bars.pop(event.name, None)
            if bar is not None:
                self._progress.remove_task(bar)
            return
        if event.name not in self._bars:
            self._bars[event.name] = self._progress.add_task(event.name, total=event.total)
        bar = self._bars[event.name]
        if _counts_files(event):
            self._progress.update(
                bar, description=f"{event.name} [dim]files", completed=event.done, total=event.total, unit="files"
            )
        elif event.kind in (EventKind.START, EventKind.PROGRESS):
            self._progress.update(bar, completed=event.done, total=event.total)
            before = self._moved.get(event.name, event.done)
            self._moved[event.name] = event.done
            self._progress.advance(self._all, max(event.done - before, 0))

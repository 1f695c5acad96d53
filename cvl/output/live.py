"""The live view of long work in a terminal: a row for each running file, and one line for all of them.

Events come several hundred a second from many threads and only change numbers; what is drawn is drawn by one thread, a
few times a second, from a copy of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cvl.events import Event, EventKind, Reporter
from cvl.output.lines import line_of, totals_line
from cvl.output.tally import Phase, Row, Tally, Totals
from cvl.units import counted, duration, rate, share

if TYPE_CHECKING:
    # Only what fetches has a plan; all else does without its modules.
    from cvl.download.plan import Plan

_FRAMES_PER_SECOND = 5
_AMOUNT, _RATE, _CONNECTIONS, _PHASE, _LEFT = 15, 9, 4, 13, 16
_GAPS = 5
_SHORT_NAME, _BAR = 12, 10
"""The least that a name gets, and the shortest bar that says anything."""


@contextmanager
def live(console: Console, plan: Plan | None) -> Iterator[Reporter]:
    """A reporter that draws. Without a plan there is no line for all, and each row ends with the time it needs.

    When it ends, nothing is left of it but the lines of what asked for attention.
    """
    view = _View(console, plan)
    with Live(get_renderable=view.frame, console=console, transient=True, refresh_per_second=_FRAMES_PER_SECOND):
        yield view


class _View:
    """Told by many threads at once, asked for frames by another."""

    def __init__(self, console: Console, plan: Plan | None) -> None:
        self._console = console
        self._tally = Tally(plan)
        self._planned = plan is not None
        self._longest = max((len(step.remote.name) for step in plan.work), default=0) if plan is not None else 0
        self._mutex = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._mutex:
            self._tally.hear(event, time.monotonic())
        # Rows tell of beginnings and ends; lines are for what asks for attention. They are not printed under the lock:
        # whoever prints holds the console's, under which frames are asked for.
        if event.kind not in (EventKind.START, EventKind.DONE) and (line := line_of(event)) is not None:
            self._console.print(line)

    def frame(self) -> Frame:
        """What is to be seen now."""
        with self._mutex:
            now = time.monotonic()
            rows, totals = tuple(self._tally.rows(now)), self._tally.totals(now) if self._planned else None
        self._longest = max(self._longest, *(len(row.name) for row in rows), 0)
        return Frame(rows, totals, self._longest)


@dataclass(frozen=True)
class Frame:
    """One picture of the view. As high as the terminal allows and no higher, or the terminal would scroll.

    Args:
        rows: the running files.
        totals: all files together, None if there is no such line.
        longest: characters of the longest name that was or will be seen.
    """

    rows: tuple[Row, ...]
    totals: Totals | None
    longest: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The rows, as many as there is room for, then what is more, then the totals."""
        # One line for the totals, one that stays free for the cursor of whatever is printed above.
        fitting = max(console.size.height - 2, 1)
        shown, more = self.rows, self.rows[:0]
        if len(shown) > fitting:
            shown, more = self.rows[: fitting - 1], self.rows[fitting - 1 :]
        if shown:
            yield self._grid(shown, options.max_width)
        if more:
            yield Text(_summed(more), style="dim", no_wrap=True, overflow="ellipsis")
        if self.totals is not None:
            yield Text(totals_line(self.totals, short=True), style="bold", no_wrap=True, overflow="ellipsis")

    def _grid(self, rows: Sequence[Row], width: int) -> Table:
        """The rows in columns whose widths do not depend on what is in them, so that nothing trembles."""
        last = _PHASE if self.totals is not None else _LEFT
        numbers: tuple[int, ...] = (_AMOUNT, _RATE, _CONNECTIONS)
        if width < _SHORT_NAME + sum(numbers) + last + _GAPS:
            numbers = numbers[:1]
        name, bar = _split(width - sum(numbers) - last - _GAPS, max(self.longest, _SHORT_NAME))
        grid = Table.grid(padding=(0, 1, 0, 0))
        for fixed in (name, bar) if bar else (name,):
            grid.add_column(width=fixed, no_wrap=True)
        for number in numbers:
            grid.add_column(width=number, no_wrap=True, justify="right")
        grid.add_column(max_width=last, no_wrap=True)
        for row in rows:
            drawn = [_bar(row, bar)] if bar else []
            cells = [_amount(row), _rate(row), f"×{row.connections}" if row.connections else ""][: len(numbers)]
            grid.add_row(
                shortened(row.name, name), *drawn, *cells, _word(row) if self.totals is not None else _left(row)
            )
        return grid


def _split(free: int, longest: int) -> tuple[int, int]:
    """How much of what is free the name gets and how much the bar, which is left out where it would be too short."""
    name = min(longest, max(free * 3 // 5, _SHORT_NAME))
    if free - name >= _BAR:
        return name, free - name
    return min(longest, max(free, _SHORT_NAME)), 0


def _bar(row: Row, width: int) -> ProgressBar | str:
    if not row.total:
        # Where no total is known, a bar would only pretend.
        return ""
    # Colours that a terminal of sixteen has too.
    return ProgressBar(
        row.total, min(row.done, row.total), width, style="bright_black", complete_style="cyan", finished_style="green"
    )


def _amount(row: Row) -> str:
    if not row.files:
        return share(row.done, row.total)
    return f"{row.done:,}/{row.total:,}" if row.total is not None else f"{row.done:,}"


def _rate(row: Row) -> str:
    if row.files:
        return f"{row.rate:,.0f}/s" if row.rate is not None else ""
    return rate(row.rate) if row.phase is Phase.DOWNLOAD else ""


def _word(row: Row) -> Text:
    if row.phase is Phase.WAIT and row.left is not None:
        return Text(f"waiting {ceil(row.left)} s", style="yellow")
    return Text(row.phase, style="" if row.phase is Phase.DOWNLOAD else "cyan")


def _left(row: Row) -> str:
    return f"{duration(round(row.left))} left" if row.left else ""


def _summed(rows: Sequence[Row]) -> str:
    """The rows for which there is no room, as one."""
    speed = sum(row.rate for row in rows if row.rate is not None and not row.files)
    connections = sum(row.connections for row in rows)
    parts = [f"and {len(rows)} more"]
    parts += [rate(speed)] if speed else []
    parts += [counted(connections, "connection")] if connections else []
    return ", ".join(parts)


def shortened(name: str, width: int) -> str:
    """A name in `width` columns, its middle left out where it is too long: shards differ in their ends."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{name[: width - 1 - end]}…{name[-end:]}"

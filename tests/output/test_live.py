"""The live view: what a frame shows in terminals of all sizes, and what becomes of lines beside it."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from cvl.download.plan import Action, Plan, Step
from cvl.download.select import Remote
from cvl.download.survey import Found, Presence
from cvl.events import Event, EventKind
from cvl.output.live import Frame, live, shortened
from cvl.output.tally import Phase, Row, Totals

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
GB = 1_000_000_000
COCO = Row("coco-train2017.zip", Phase.DOWNLOAD, 9_500_000_000, 19 * GB, 48_200_000.0, 12)
TOTALS = Totals(1, 0, 4, 12 * GB, 40 * GB, 0, 12, 48_200_000.0, 581.0)


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        force_interactive=True,
        color_system="standard",
        highlight=False,
        markup=False,
        _environ={},
    )


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def drawn(rows: Sequence[Row], totals: Totals | None = TOTALS, width: int = 80, height: int = 24) -> list[str]:
    """The lines of a frame, without colours."""
    console = terminal(width, height)
    console.print(Frame(tuple(rows), totals, max((len(row.name) for row in rows), default=0)))
    return [line.rstrip() for line in ESCAPES.sub("", written(console)).splitlines()]


def plan(*names: str, size: int | None = 3000) -> Plan:
    steps = (Step(Remote("coco", name, ("http://x",)), Action.FETCH, Found(Presence.ABSENT), size) for name in names)
    return Plan(tuple(steps), (), False, 0, 0)


def event(kind: EventKind, done: int = 0, total: int | None = None, text: str = "", name: str = "a.zip") -> Event:
    return Event(kind, name, "coco", done, total, text)


class TestFrame:
    def test_a_row_tells_all_of_a_file_and_the_last_line_all_of_all(self) -> None:
        row, totals = drawn([COCO])
        name, bar, *cells = row.split()
        assert name == "coco-train2017.zip"
        assert set(bar) <= set("━╸╺")
        assert cells == ["9.5/19.0", "GB", "48.2", "MB/s", "×12", "downloading"]
        assert totals == "1/4 files, 12.0/40.0 GB, 48.2 MB/s, ×12, ETA 9 min 41 s"

    @pytest.mark.parametrize(
        ("row", "end"),
        [
            (replace(COCO, phase=Phase.WAIT, left=11.2, connections=0, rate=None), "9.5/19.0 GB waiting 12 s"),
            (replace(COCO, phase=Phase.CHECK, connections=0, rate=None), "9.5/19.0 GB checking"),
            (replace(COCO, phase=Phase.CONNECT, done=0, connections=0, rate=None), "0 B/19.0 GB connecting"),
            (replace(COCO, total=None), "9.5 GB 48.2 MB/s ×12 downloading"),
            (replace(COCO, rate=None), "9.5/19.0 GB - ×12 downloading"),
            (Row("a", Phase.UNPACK, 1234, 11_186, 310.4, files=True), "1,234/11,186 310/s unpacking"),
            (Row("a", Phase.UNPACK, 1234, None, files=True), "1,234 unpacking"),
        ],
    )
    def test_a_row_ends_with_what_the_file_is_busy_with(self, row: Row, end: str) -> None:
        assert " ".join(drawn([row])[0].split()).endswith(end)

    def test_no_bar_is_drawn_of_what_has_no_known_size(self) -> None:
        assert "━" in drawn([COCO])[0]
        assert "━" not in drawn([replace(COCO, total=None)])[0]

    def test_a_bar_is_never_fuller_than_full(self) -> None:
        full, overfull = drawn([replace(COCO, done=19 * GB)])[0], drawn([replace(COCO, done=25 * GB)])[0]
        assert full.count("━") == overfull.count("━") > 0

    @pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
    @pytest.mark.parametrize("totals", [TOTALS, None])
    def test_no_line_is_wider_than_the_terminal(self, width: int, totals: Totals | None) -> None:
        rows = [COCO, replace(COCO, name="x" * 90, phase=Phase.WAIT, left=100.0), Row("a", Phase.UNPACK, 10**6, 10**6)]
        lines = drawn(rows, totals, width=width)
        assert len(lines) == len(rows) + (totals is not None)
        assert max(map(len, lines)) <= width

    @pytest.mark.parametrize("width", [80, 120])
    def test_columns_stand_where_they_stand_whatever_is_in_them(self, width: int) -> None:
        rows = [COCO, replace(COCO, done=0, rate=None, connections=0), replace(COCO, total=None)]
        assert len({line.index("downloading") for line in drawn(rows, width=width)[:3]}) == 1

    @pytest.mark.parametrize(
        ("height", "shown", "more"), [(24, 12, 0), (14, 12, 0), (13, 10, 2), (10, 7, 5), (3, 0, 12)]
    )
    def test_what_does_not_fit_is_summed_in_one_row(self, height: int, shown: int, more: int) -> None:
        lines = drawn([replace(COCO, name=f"sam-{number:06d}.tar") for number in range(12)], height=height)
        assert sum("downloading" in line for line in lines) == shown
        summed = [line for line in lines if line.startswith("and ")]
        assert [line.split(",")[0] for line in summed] == ([f"and {more} more"] if more else [])
        assert len(lines) <= height - 1

    def test_the_summed_row_has_the_rate_and_the_connections_of_those_that_are_not_shown(self) -> None:
        rows = [COCO, COCO, replace(COCO, connections=3), Row("a", Phase.UNPACK, 1, 2, 300.0, files=True)]
        assert drawn(rows, height=4)[1] == "and 3 more, 96.4 MB/s, 15 connections"

    def test_without_a_plan_a_row_ends_with_the_time_it_needs_and_there_is_no_line_for_all(self) -> None:
        (line,) = drawn([replace(COCO, left=755.7)], None)
        assert line.endswith("9.5/19.0 GB 48.2 MB/s  ×12 12 min 36 s left")

    def test_nothing_to_show_is_no_line(self) -> None:
        assert drawn([], None) == []

    def test_a_long_name_keeps_its_beginning_and_its_end(self) -> None:
        assert shortened("LAION-CLIP--model.safetensors", 15) == "LAION-C…tensors"
        assert shortened("sam-000001.tar", 12) == "sam-00…1.tar"
        assert shortened("a.zip", 5) == "a.zip"

    def test_colours_are_those_that_every_terminal_has(self) -> None:
        console = terminal()
        console.print(Frame((COCO, replace(COCO, phase=Phase.CHECK)), TOTALS))
        codes = set(re.findall(r"\x1b\[([0-9;]*)m", written(console)))
        assert codes <= {"0", "1", "36", "32", "90"}
        assert {"36", "90"} <= codes


class TestLive:
    def test_a_terminal_shows_each_file_and_all_of_them(self) -> None:
        console = terminal(100)
        with live(console, plan("a.zip", "b.zip")) as report:
            report(event(EventKind.START, 1000, 2000))
            report(event(EventKind.PROGRESS, 1500, 2000))
        shown = ESCAPES.sub("", written(console))
        assert re.search(r"a\.zip .* 1\.5/2\.0 kB .*downloading", shown)
        # What an earlier run brought is in the file's row and not in that of all.
        assert "0/2 files, 500 B/4.0 kB" in shown

    def test_what_asks_for_attention_stays_and_the_cursor_comes_back(self) -> None:
        console = terminal()
        with live(console, plan("a.zip")) as report:
            report(event(EventKind.START))
            report(event(EventKind.RETRY, text="timed out; again in 2 s"))
            report(event(EventKind.FAILED, text="no such file"))
        shown = written(console)
        assert shown.rstrip().endswith("\x1b[2K")
        assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
        lines = ESCAPES.sub("", shown)
        assert "a.zip: timed out; again in 2 s\n" in lines
        assert "a.zip: failed: no such file\n" in lines
        assert "begins" not in lines

    def test_work_that_fails_gives_the_cursor_back(self) -> None:
        console = terminal()

        def fail() -> None:
            with live(console, None) as report:
                report(event(EventKind.START))
                raise ValueError("a mistake")

        with pytest.raises(ValueError, match="a mistake"):
            fail()
        assert written(console).count("\x1b[?25h") == 1

    def test_files_of_work_without_a_plan_are_counted(self) -> None:
        console = terminal()
        with live(console, None) as report:
            report(event(EventKind.PROGRESS, 5, 7, "files", name="ocrvqa"))
        shown = ESCAPES.sub("", written(console))
        assert re.search(r"ocrvqa .* 5/7", shown)
        assert "ETA" not in shown

    def test_thirty_two_threads_may_tell_at_once_while_it_is_drawn(self) -> None:
        console = terminal()
        names = [f"sam-{number:06d}.tar" for number in range(32)]

        def tell(name: str) -> None:
            report(event(EventKind.START, 0, 100, name=name))
            for done in range(101):
                report(event(EventKind.PROGRESS, done, 100, name=name))
            report(event(EventKind.RETRY, text="again", name=name))
            report(event(EventKind.DONE, name=name))

        with live(console, plan(*names, size=100)) as report:
            threads = [threading.Thread(target=tell, args=(name,)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        shown = ESCAPES.sub("", written(console))
        assert all(f"{name}: again\n" in shown for name in names)
        assert "32/32 files, 3.2/3.2 kB" in shown

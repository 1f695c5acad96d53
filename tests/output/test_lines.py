"""Long work where nothing may move: lines of logs."""

from __future__ import annotations

import threading

import pytest
from rich.console import Console

from cvl.download.plan import Action, Plan, Step
from cvl.download.select import Remote
from cvl.download.survey import Found, Presence
from cvl.events import Event, EventKind
from cvl.output import lines
from cvl.output.lines import Lines, line_of, totals_line
from cvl.output.tally import Totals

TOTALS = Totals(
    done=12,
    failed=0,
    files=52,
    bytes=12_300_000_000,
    total=810_000_000_000,
    unknown=0,
    connections=16,
    rate=48_200_000.0,
    left=16_550.2,
)


def event(kind: EventKind, done: int = 0, total: int | None = None, text: str = "", name: str = "a.zip") -> Event:
    return Event(kind, name, "coco", done, total, text)


def plan(*names: str) -> Plan:
    steps = (Step(Remote("coco", name, ("http://x",)), Action.FETCH, Found(Presence.ABSENT), 2000) for name in names)
    return Plan(tuple(steps), (), False, 0, 0)


@pytest.fixture
def all_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_LINE_EVERY", 0.0)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event(EventKind.START), "a.zip: begins"),
        (event(EventKind.START, 0, 2000), "a.zip: begins (2.0 kB)"),
        (event(EventKind.START, 500, 2000), "a.zip: begins (2.0 kB), going on after 500 B"),
        (event(EventKind.RETRY, text="timed out; again in 2 s"), "a.zip: timed out; again in 2 s"),
        (event(EventKind.DONE), "a.zip: done"),
        (event(EventKind.DONE, text="3 here, 1 gone"), "a.zip: done 3 here, 1 gone"),
        (event(EventKind.FAILED, text="no room"), "a.zip: failed: no room"),
        (event(EventKind.NOTE, text="skipped", name=""), "coco: skipped"),
        (Event(EventKind.NOTE, text="waiting"), "waiting"),
        (event(EventKind.PROGRESS, 1, 2), None),
        (event(EventKind.CHECK), None),
        (event(EventKind.UNPACK, 1, 2), None),
    ],
)
def test_events_as_lines(told: Event, line: str | None) -> None:
    found = line_of(told)
    assert (found.plain if found is not None else None) == line


def test_a_log_gets_begin_and_end_of_each_file_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    report = Lines(Console(width=200), plan("a.zip"))
    report(event(EventKind.START, 0, 2000))
    for done in range(0, 2000, 100):
        report(event(EventKind.PROGRESS, done, 2000))
    report(event(EventKind.DONE))
    assert capsys.readouterr().out == "a.zip: begins (2.0 kB)\na.zip: done\n"


@pytest.mark.usefixtures("all_due")
def test_a_fetch_leaves_one_line_for_all_files_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    report = Lines(Console(width=200), plan("a.zip", "b.zip"))
    report(event(EventKind.PROGRESS, 0, 2000))
    report(event(EventKind.PROGRESS, 500, 2000))
    assert capsys.readouterr().out.splitlines()[-1] == "0/2 files, 500 B/4.0 kB, -, ETA -"


@pytest.mark.usefixtures("all_due")
def test_work_without_a_plan_leaves_a_line_for_each_of_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    report = Lines(Console(width=200), None)
    report(event(EventKind.PROGRESS, 500, 2000))
    report(event(EventKind.PROGRESS, 3, 7, "files", name="list"))
    assert capsys.readouterr().out == "a.zip: 500 B of 2.0 kB\nlist: 3 of 7 files\n"


def test_between_two_lines_on_what_has_moved_half_a_minute_passes(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    report = Lines(Console(width=200), plan("a.zip"), clock=lambda: now)
    for second in range(100):
        now = float(second)
        report(event(EventKind.PROGRESS, second * 10, 2000))
    assert capsys.readouterr().out.splitlines() == [
        "0/1 file, 300 B/2.0 kB, 10 B/s, ETA 2 min 50 s",
        "0/1 file, 600 B/2.0 kB, 10 B/s, ETA 2 min 20 s",
        "0/1 file, 900 B/2.0 kB, 10 B/s, ETA 1 min 50 s",
    ]


@pytest.mark.usefixtures("all_due")
def test_many_threads_may_tell_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    report = Lines(Console(width=200), plan("0", "1", "2", "3"))

    def tell(name: str) -> None:
        for done in range(101):
            report(event(EventKind.PROGRESS, done, 100, name=name))

    threads = [threading.Thread(target=tell, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 404
    assert all(line.startswith("0/4 files, ") for line in told)


def test_all_files_are_one_line() -> None:
    assert totals_line(TOTALS) == "12/52 files, 12.3/810 GB, 48.2 MB/s, 16 connections, ETA 4 h 35 min"


def test_the_line_says_what_is_not_known_and_what_failed() -> None:
    totals = Totals(1, 2, 4, 500, 500, 1, 1, None, None)
    assert totals_line(totals) == "1/4 files, 500/500 B, -, 1 connection, ETA - + 1 file of unknown size, 2 failed"


def test_the_short_line_fits_into_eighty_columns() -> None:
    totals = Totals(38, 0, 152, 212_000_000_000, 1_040_000_000_000, 2, 16, 48_200_000.0, 16_550.2)
    line = totals_line(totals, short=True)
    assert line == "38/152 files, 212 GB/1.0 TB, 48.2 MB/s, ×16, ETA 4 h 35 min + 2 of unknown size"
    assert len(line) <= 80

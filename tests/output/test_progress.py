"""Long work while it runs: JSON lines, plain lines, live bars."""

from __future__ import annotations

import json
import re
import threading

import pytest

from cvl.events import Event, EventKind
from cvl.output import progress
from cvl.output.progress import line_of, reporter

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def event(kind: EventKind, done: int = 0, total: int | None = None, text: str = "", name: str = "a.zip") -> Event:
    return Event(kind, name, "coco", done, total, text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "COLUMNS": "100", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)


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


def test_scripts_get_a_line_of_json_for_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=True) as report:
        report(event(EventKind.PROGRESS, 1, 2))
        report(event(EventKind.DONE, 2))
    out, err = capsys.readouterr()
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["progress", "done"]
    assert err == ""


def test_json_lines_of_many_threads_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=True) as report:
        threads = [
            threading.Thread(target=lambda: [report(event(EventKind.PROGRESS, n, 100)) for n in range(100)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(json.loads(line)["done"] for line in capsys.readouterr().out.splitlines()) == 8 * sum(range(100))


def test_a_log_gets_plain_lines_and_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=False) as report:
        report(event(EventKind.START, 0, 2000))
        for done in range(0, 2000, 100):
            report(event(EventKind.PROGRESS, done, 2000))
        report(event(EventKind.DONE))
    assert capsys.readouterr() == ("", "a.zip: begins (2.0 kB)\na.zip: done\n")


def test_a_long_run_leaves_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    with reporter(as_json=False) as report:
        report(event(EventKind.PROGRESS, 500, 2000))
        report(event(EventKind.PROGRESS, 3, 7, "files", name="list"))
    assert capsys.readouterr().err == "a.zip: 500 B of 2.0 kB\nlist: 3 of 7 files\n"


def test_a_terminal_without_moving_parts_is_told_only_what_asks_for_attention(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "0")
    with reporter(as_json=False) as report:
        report(event(EventKind.START))
        report(event(EventKind.RETRY, text="again"))
        report(event(EventKind.DONE))
    assert ESCAPES.sub("", capsys.readouterr().err) == "a.zip: again\n"


@pytest.mark.usefixtures("terminal")
def test_no_color_means_plain_lines_in_a_terminal_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with reporter(as_json=False) as report:
        report(event(EventKind.START))
        report(event(EventKind.DONE))
    assert capsys.readouterr().err == "a.zip: begins\na.zip: done\n"


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_bytes_of_a_transfer_and_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=False, total=3000) as report:
        report(event(EventKind.START, 1000, 2000))
        report(event(EventKind.PROGRESS, 1500, 2000))
    shown = ESCAPES.sub("", capsys.readouterr().err)
    # What an earlier run brought is in the file's bar and not in that of this run.
    assert re.search(r"in all .* 0\.5/3\.0 kB", shown)
    assert re.search(r"a\.zip .* 1\.5/2\.0 kB", shown)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_counts_members_and_listed_files_as_files(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=False, total=2000) as report:
        report(event(EventKind.START, 0, 2000))
        report(event(EventKind.PROGRESS, 2000, 2000))
        report(event(EventKind.UNPACK, 300, 1000))
        report(event(EventKind.PROGRESS, 5, 7, "files", name="list"))
    shown = ESCAPES.sub("", capsys.readouterr().err)
    assert re.search(r"a\.zip files .* 300/1,000 files", shown)
    assert re.search(r"list files .* 5/7 files", shown)
    assert re.search(r"in all .* 2\.0/2\.0 kB", shown)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_keeps_warnings_and_gives_the_cursor_back(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=False) as report:
        report(event(EventKind.START))
        report(event(EventKind.RETRY, text="timed out; again in 2 s"))
        report(event(EventKind.FAILED, text="no such file"))
    shown = capsys.readouterr().err
    assert shown.rstrip().endswith("\x1b[2K")
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    lines = ESCAPES.sub("", shown)
    assert "a.zip: timed out; again in 2 s\n" in lines
    assert "a.zip: failed: no such file\n" in lines
    assert "begins" not in lines


@pytest.mark.usefixtures("terminal")
def test_stdout_stays_free_for_data(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=False) as report:
        report(event(EventKind.START))
    assert capsys.readouterr().out == ""

"""Which reporter fits: JSON lines for scripts, a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import re
import threading

import pytest

from cvl.download.plan import Action, Plan, Step
from cvl.download.select import Remote
from cvl.download.survey import Found, Presence
from cvl.events import Event, EventKind
from cvl.output.progress import reporter

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
PLAN = Plan(
    (Step(Remote("coco", "a.zip", ("http://x",)), Action.FETCH, Found(Presence.ABSENT), 2000),), (), False, 0, 0
)


def event(kind: EventKind, done: int = 0, total: int | None = None, text: str = "", name: str = "a.zip") -> Event:
    return Event(kind, name, "coco", done, total, text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "COLUMNS": "100", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)


def test_scripts_get_a_line_of_json_for_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=True) as report:
        report(Event(EventKind.PROGRESS, "a.zip", "coco", 1, 2, connections=7))
        report(event(EventKind.DONE, 2))
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in out.splitlines()]
    assert [line["kind"] for line in told] == ["progress", "done"]
    assert [line["connections"] for line in told] == [7, 0]
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


@pytest.mark.parametrize("plan", [None, PLAN])
def test_a_log_gets_plain_lines_and_nothing_that_moves(capsys: pytest.CaptureFixture[str], plan: Plan | None) -> None:
    with reporter(as_json=False, plan=plan) as report:
        report(event(EventKind.START, 0, 2000))
        for done in range(0, 2000, 100):
            report(event(EventKind.PROGRESS, done, 2000))
        report(event(EventKind.DONE))
    assert capsys.readouterr() == ("", "a.zip: begins (2.0 kB)\na.zip: done\n")


def test_a_terminal_without_moving_parts_is_told_only_what_asks_for_attention(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "0")
    with reporter(as_json=False, plan=PLAN) as report:
        report(event(EventKind.START))
        report(event(EventKind.RETRY, text="again"))
        report(event(EventKind.DONE))
    assert ESCAPES.sub("", capsys.readouterr().err) == "a.zip: again\n"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_color_and_dumb_terminals_mean_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.delenv("TTY_INTERACTIVE")
    with reporter(as_json=False, plan=PLAN) as report:
        report(event(EventKind.START))
        report(event(EventKind.RETRY, text="again"))
    shown = capsys.readouterr().err
    assert "a.zip: again\n" in ESCAPES.sub("", shown)
    assert "\x1b[?25l" not in shown


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_the_live_view_and_stdout_stays_free_for_data(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(as_json=False, plan=PLAN) as report:
        report(event(EventKind.START, 0, 2000))
        report(event(EventKind.PROGRESS, 1500, 2000))
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"a\.zip .* 1\.5/2\.0 kB .*downloading", ESCAPES.sub("", err))
    assert "0/1 file, 1.5/2.0 kB" in ESCAPES.sub("", err)

"""The two streams, errors and hints, JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from cvl.errors import CvlError, ManifestError
from cvl.events import Event, EventKind
from cvl.output.console import plain, print_error, print_hint, print_json, stderr, stdout

LONG = "find /a/rather/long/folder/of/somebody -mindepth 1 -maxdepth 1 -exec mv -n -t /a/rather/long {} + && rmdir x"


@dataclass(frozen=True)
class Point:
    x: int
    place: Path


class Struct(msgspec.Struct):
    values: tuple[int, ...]


class Model(BaseModel):
    into: str
    tables: dict[int, str]


@pytest.fixture
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TTY_COMPATIBLE": "1", "COLUMNS": "30", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_data_goes_to_stdout_and_all_else_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    stdout().print("data")
    stderr().print("talk")
    assert capsys.readouterr() == ("data\n", "talk\n")


def test_an_error_is_told_on_stderr_with_its_hint_after_an_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(CvlError("coco.zip: no room", hint="free some room"))
    assert capsys.readouterr() == ("", "error: coco.zip: no room\n\nhint: free some room\n")


def test_an_error_without_a_hint_has_no_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(CvlError("coco.zip: no room"))
    assert capsys.readouterr().err == "error: coco.zip: no room\n"


def test_brackets_and_colons_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ManifestError("own.toml", "[[files]]", "[red]is[/red] :smile: wrong", mend="write [files]"))
    assert capsys.readouterr().err == "error: own.toml: [[files]]: [red]is[/red] :smile: wrong\n\nhint: write [files]\n"


def test_a_pipe_gets_no_escape_codes_and_no_line_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    print_hint(LONG)
    assert capsys.readouterr().err == f"\nhint: {LONG}\n"


@pytest.mark.usefixtures("narrow_terminal")
def test_a_command_in_a_narrow_terminal_can_be_copied_in_one_piece(capsys: pytest.CaptureFixture[str]) -> None:
    print_hint(LONG)
    assert LONG in capsys.readouterr().err


@pytest.mark.usefixtures("narrow_terminal")
def test_a_terminal_gets_colours(capsys: pytest.CaptureFixture[str]) -> None:
    print_hint("x")
    assert "\x1b[1;36mhint: \x1b[0m" in capsys.readouterr().err


@pytest.mark.usefixtures("narrow_terminal")
def test_no_color_is_respected_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    print_hint("x")
    assert "36m" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Point(1, Path("a/b")), {"x": 1, "place": "a/b"}),
        (Struct((1, 2)), {"values": [1, 2]}),
        (Model(into="data/x", tables={0: "a"}), {"into": "data/x", "tables": {"0": "a"}}),
        ({1: (Point(1, Path("c")),), 2: None}, {"1": [{"x": 1, "place": "c"}], "2": None}),
        (frozenset({"x"}), ["x"]),
        (EventKind.DONE, "done"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (CvlError("no room"), "no room"),
        (Path("caf\udce9.jpg"), "caf\\udce9.jpg"),
        (True, True),
        (1.5, 1.5),
    ],
)
def test_values_become_what_json_knows(value: object, expected: object) -> None:
    assert plain(value) == expected


def test_json_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(Event(EventKind.NOTE, text="two\nlines, ümlaut"))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out)["text"] == "two\nlines, ümlaut"

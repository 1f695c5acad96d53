from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from cvl.download.lists.ledger import Row, State, open_ledger, read_ledger

ENTRIES = [("b", "http://h/b"), ("a", "http://h/a"), ("c", "http://h/c")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledgers" / "list.json.sqlite"


def test_entries_wait_in_the_order_of_their_keys(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        assert list(ledger.rows(State.WAITING)) == [Row(key, f"http://h/{key}") for key in "abc"]


def test_what_is_settled_is_there_the_next_time(path: Path) -> None:
    done = Row("a", "http://h/a", State.DONE, "a.jpg", 5)
    gone = Row("b", "http://h/b", State.GONE, reason="404")
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        ledger.settle([done, gone])
    with open_ledger(path) as ledger:
        assert list(ledger.rows(State.DONE, State.GONE)) == [done, gone]
        assert [ledger.count(state) for state in State] == [1, 1, 1, 0]


def test_settling_is_kept_even_if_the_process_ends_at_once(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        ledger.settle([Row("a", "http://h/a", State.GONE)])
        with open_ledger(path) as other:
            assert other.count(State.GONE) == 1


def test_entering_the_same_list_again_changes_nothing(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        ledger.settle([Row("a", "http://h/a", State.DONE, "a.jpg", 5)])
        ledger.enter(ENTRIES)
        assert ledger.count(State.DONE) == 1
        assert ledger.count(*State) == 3


def test_an_address_that_changed_is_looked_at_anew(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        ledger.settle([Row("a", "http://h/a", State.GONE, reason="404")])
        ledger.enter([("a", "http://h/elsewhere")])
        assert list(ledger.rows(State.WAITING))[:1] == [Row("a", "http://h/elsewhere")]


def test_a_row_can_wait_again(path: Path) -> None:
    row = Row("a", "http://h/a", State.FAILED, reason="503")
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        ledger.settle([row])
        ledger.settle([replace(row, state=State.WAITING, reason=None)])
        assert ledger.count(State.WAITING) == 3


def test_settling_nothing_is_nothing(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.settle([])
        assert ledger.count(*State) == 0


def test_reading_makes_no_file_beside_the_ledger(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
    before = {file: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    assert list(before) == [path]
    with read_ledger(path) as ledger:
        assert ledger.count(State.WAITING) == 3
        assert {file: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before
    assert {file: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


def test_a_ledger_that_is_read_cannot_be_written(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
    with read_ledger(path) as ledger, pytest.raises(sqlite3.OperationalError, match="readonly"):
        ledger.settle([Row("a", "http://h/a", State.GONE)])


def test_an_entry_that_left_the_list_is_forgotten(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        ledger.settle([Row("a", "http://h/a", State.DONE, "a.jpg", 5)])
        ledger.enter([("b", "http://h/b")])
        assert list(ledger.rows(*State)) == [Row("b", "http://h/b")]


def test_the_disk_has_the_last_word(path: Path) -> None:
    """What was lost waits again; what came otherwise or has another name is done, under the name that it has."""
    with open_ledger(path) as ledger:
        ledger.enter((key, f"http://h/{key}") for key in "abcd")
        ledger.settle(
            [
                Row("a", "", State.DONE, "a.jpg", 5),
                Row("b", "", State.DONE, "b.gif", 5),
                Row("c", "", State.GONE, reason="404 Not Found"),
            ]
        )
        ledger.reconcile({"b": "b.jpg", "c": "c.png", "unknown": "unknown.jpg"})
        assert list(ledger.rows(*State)) == [
            Row("a", "http://h/a"),
            Row("b", "http://h/b", State.DONE, "b.jpg", 5),
            Row("c", "http://h/c", State.DONE, "c.png"),
            Row("d", "http://h/d"),
        ]


def test_keys_are_told_by_state(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        ledger.settle([Row("a", "", State.GONE), Row("b", "", State.FAILED)])
        assert sorted(ledger.keys(State.GONE, State.WAITING)) == ["a", "c"]


def test_reasons_are_counted_by_what_stands_before_the_first_colon(path: Path) -> None:
    reasons = {"a": "no route: x", "b": "404 Not Found", "c": "no route: y: z", "d": "1: 2", "e": None}
    with open_ledger(path) as ledger:
        ledger.enter((key, f"http://h/{key}") for key in "abcdefg")
        ledger.settle([Row(key, "", State.FAILED, reason=reason) for key, reason in reasons.items()])
        ledger.settle([Row("f", "", State.GONE, reason="404 Not Found"), Row("g", "", State.DONE, reason="kept")])
        assert list(ledger.reasons().items()) == [("404 Not Found", 2), ("no route", 2), ("", 1), ("1", 1)]


def test_a_batch_is_settled_wholly_or_not_at_all(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.enter(ENTRIES)
        bad = Row("b", "", State.GONE, reason=["no text"])  # type: ignore[arg-type]
        with pytest.raises(sqlite3.Error):
            ledger.settle([Row("a", "", State.GONE), bad])
        assert ledger.count(State.WAITING) == 3

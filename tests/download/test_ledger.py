from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from cvl.download.ledger import Row, State, open_ledger, read_ledger

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

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cvl.download.lists.ledger import Ledger, Row, State, open_ledger
from cvl.download.lists.missing import write_missing

HEAD = "key\turl\tstate\treason\n"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledgers" / "list.sqlite") as ledger:
        ledger.enter((key, f"http://h/{key}") for key in "abcd")
        yield ledger


def test_what_failed_comes_before_what_is_gone_and_what_is_here_not_at_all(ledger: Ledger, tmp_path: Path) -> None:
    ledger.settle(
        [
            Row("a", "", State.GONE, reason="404 Not Found"),
            Row("b", "", State.FAILED, reason="cannot be reached: no route"),
            Row("c", "", State.DONE, "c.jpg", 5),
        ]
    )
    path = tmp_path / "missing.tsv"
    assert write_missing(ledger, path) == path
    assert path.read_text() == (
        HEAD + "b\thttp://h/b\tfailed\tcannot be reached: no route\na\thttp://h/a\tgone\t404 Not Found\n"
    )


def test_an_address_breaks_neither_lines_nor_columns(ledger: Ledger, tmp_path: Path) -> None:
    ledger.enter([("a", "http://h/a\tb\r\nc\u2028é")])
    ledger.settle([Row("a", "", State.GONE, reason="one\ntwo")])
    path = tmp_path / "missing.tsv"
    write_missing(ledger, path)
    assert path.read_text() == HEAD + "a\thttp://h/a%09b%0D%0Ac%E2%80%A8é\tgone\tone%0Atwo\n"


def test_a_table_of_an_earlier_run_is_removed_when_nothing_is_missing(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "missing.tsv"
    path.write_text("older")
    assert write_missing(ledger, path) is None
    assert not path.exists()
    assert write_missing(ledger, path) is None


def test_nothing_half_written_is_left_beside_the_table(ledger: Ledger, tmp_path: Path) -> None:
    ledger.settle([Row("a", "", State.GONE, reason="404 Not Found")])
    (tmp_path / "taken.tsv").mkdir()
    with pytest.raises(OSError, match=r"taken\.tsv"):
        write_missing(ledger, tmp_path / "taken.tsv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledgers", "taken.tsv"]

"""A row an address for lists of many small files: what became of each, and why.

SQLite keeps every answer as soon as it is committed, so a kill costs the answers of the last moment at most; the files
themselves are published by renaming and looked for again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from cvl.errors import DiskError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    key TEXT PRIMARY KEY, url TEXT NOT NULL, state INTEGER NOT NULL, name TEXT, bytes INTEGER, reason TEXT
) WITHOUT ROWID
"""


class State(IntEnum):
    """What became of one address. The numbers are kept on disk."""

    WAITING = 0
    DONE = 1
    GONE = 2
    FAILED = 3


@dataclass(frozen=True)
class Row:
    """What became of one address.

    Args:
        key: of the entry in the list.
        url: its address.
        state: what became of it.
        name: of the file that it left.
        bytes: of that file.
        reason: why there is none.
    """

    key: str
    url: str
    state: State = State.WAITING
    name: str | None = None
    bytes: int | None = None
    reason: str | None = None


class Ledger:
    """The rows of one list. Used by one thread; opened with `open_ledger`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def begin(self) -> None:
        """Make the table, if it is not there."""
        self._connection.execute(_SCHEMA)

    def enter(self, entries: Iterable[tuple[str, str]]) -> None:
        """Add the entries (key, address) of the list; one whose address changed is looked at anew."""
        self._connection.executemany(
            "INSERT INTO files (key, url, state) VALUES (?, ?, 0) ON CONFLICT (key) DO UPDATE "
            "SET state = 0, url = excluded.url, reason = NULL WHERE url != excluded.url",
            entries,
        )
        self._connection.commit()

    def settle(self, rows: Iterable[Row]) -> None:
        """Keep what became of some addresses."""
        self._connection.executemany(
            "UPDATE files SET state = ?, name = ?, bytes = ?, reason = ? WHERE key = ?",
            [(row.state, row.name, row.bytes, row.reason, row.key) for row in rows],
        )
        self._connection.commit()

    def rows(self, *states: State) -> Iterator[Row]:
        """The rows in one of `states`, in the order of their keys."""
        marks = ",".join("?" * len(states))
        query = f"SELECT key, url, state, name, bytes, reason FROM files WHERE state IN ({marks}) ORDER BY key"
        for key, url, state, name, size, reason in self._connection.execute(query, states):
            yield Row(key, url, State(state), name, size, reason)

    def count(self, *states: State) -> int:
        """How many rows are in one of `states`."""
        marks = ",".join("?" * len(states))
        found: int = self._connection.execute(
            f"SELECT count(*) FROM files WHERE state IN ({marks})", states
        ).fetchone()[0]
        return found


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """The ledger at `path`, made if it is not there.

    Raises:
        DiskError: it cannot be made, read or written, then or later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _connected(path, "rwc") as ledger:
        ledger.begin()
        yield ledger


@contextmanager
def read_ledger(path: Path) -> Iterator[Ledger]:
    """The ledger at `path`, which is there, for looking only: nothing is written, nor beside it.

    Raises:
        DiskError: it cannot be read as it is, such as after a kill, which only `open_ledger` mends.
    """
    with _connected(path, "ro") as ledger:
        yield ledger


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[Ledger]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
            yield Ledger(connection)
    except sqlite3.Error as error:
        hint = "if the disk is well, move the file away: what is here is not fetched again"
        raise DiskError(f"cannot use the ledger {path}: {error}", hint=hint) from error

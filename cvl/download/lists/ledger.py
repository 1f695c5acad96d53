"""A row an address for lists of many small files: what became of each, and why.

SQLite keeps every answer as soon as it is committed, so a kill costs the answers of the last moment at most; the files
themselves are published by renaming and looked for again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
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
# What stands before the first colon is the class of a reason.
_REASONS = """
SELECT substr(reason, 1, instr(reason || ': ', ': ') - 1) AS class, count(*) AS many
FROM files WHERE state IN (:gone, :failed) GROUP BY class ORDER BY many DESC, class
"""


class State(IntEnum):
    """What became of one address. The numbers are kept on disk."""

    WAITING = 0
    DONE = 1
    GONE = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one address.

    Args:
        key: of the entry in the list.
        url: its address.
        state: what became of it.
        name: of the file that it left.
        bytes: of that file.
        reason: why there is none: a class, such as `404 Not Found`, and after a colon what is special.
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
        """Take over the list's entries (key, address): one whose address changed is looked at anew, others are kept.

        What is not in the list any more is forgotten.
        """
        addresses = dict(entries)
        with self._connection:
            known = dict(self._connection.execute("SELECT key, url FROM files"))
            self._connection.executemany(
                "DELETE FROM files WHERE key = ?", [(key,) for key in known if key not in addresses]
            )
            self._connection.executemany(
                "INSERT INTO files (key, url, state) VALUES (?, ?, 0) ON CONFLICT (key) DO UPDATE "
                "SET state = 0, url = excluded.url, reason = NULL",
                sorted((key, url) for key, url in addresses.items() if known.get(key) != url),
            )

    def reconcile(self, here: Mapping[str, str]) -> None:
        """Bring the rows up to what the disk holds, names of files by key.

        Files that were lost wait again; those that came otherwise, or were renamed, are done.
        """
        lost, found = [], []
        for key, state, name in self._connection.execute("SELECT key, state, name FROM files"):
            if key not in here:
                if state == State.DONE:
                    lost.append((key,))
            elif state != State.DONE or name != here[key]:
                found.append((here[key], key))
        with self._connection:
            self._connection.executemany(
                "UPDATE files SET state = 0, name = NULL, bytes = NULL, reason = NULL WHERE key = ?", lost
            )
            self._connection.executemany("UPDATE files SET state = 1, name = ?, reason = NULL WHERE key = ?", found)

    def settle(self, rows: Iterable[Row]) -> None:
        """Keep what became of some addresses."""
        with self._connection:
            self._connection.executemany(
                "UPDATE files SET state = ?, name = ?, bytes = ?, reason = ? WHERE key = ?",
                [(row.state, row.name, row.bytes, row.reason, row.key) for row in rows],
            )

    def rows(self, *states: State) -> Iterator[Row]:
        """The rows in one of `states`, in the order of their keys."""
        query = f"SELECT key, url, state, name, bytes, reason FROM files WHERE {_is_in(states)} ORDER BY key"
        for key, url, state, name, size, reason in self._connection.execute(query, states):
            yield Row(key, url, State(state), name, size, reason)

    def keys(self, *states: State) -> Iterator[str]:
        """The keys of the rows in one of `states`."""
        for (key,) in self._connection.execute(f"SELECT key FROM files WHERE {_is_in(states)}", states):
            yield key

    def count(self, *states: State) -> int:
        """How many rows are in one of `states`."""
        found: int = self._connection.execute(f"SELECT count(*) FROM files WHERE {_is_in(states)}", states).fetchone()[
            0
        ]
        return found

    def reasons(self) -> dict[str, int]:
        """How many rows could not be had for each class of reasons, most frequent first."""
        states = {"gone": State.GONE, "failed": State.FAILED}
        return {reason or "": many for reason, many in self._connection.execute(_REASONS, states)}


def _is_in(states: tuple[State, ...]) -> str:
    return f"state IN ({','.join('?' * len(states))})"


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

"""Lists of many small files: each entry fetched once, named by its key and by what its content is.

The suffix of an address says nothing reliable, so a file is looked at before it is named; a web page in place of a
picture is a failure, not a file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cvl.download.lists.ledger import Ledger, Row, State, open_ledger, read_ledger
from cvl.download.lists.listing import check_case, read_list
from cvl.download.lists.missing import write_missing
from cvl.download.lists.small import Batch, fetch_small
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.errors import DiskError
from cvl.events import EventKind
from cvl.images import PICTURE_SUFFIXES
from cvl.root import Root

_SETTLE_EVERY = 0.5
"""Seconds. What a kill makes forgotten is looked for on the disk, or asked again."""


@dataclass(frozen=True)
class Expanded:
    """What became of a list.

    Args:
        done: files that are here.
        gone: addresses that are dead for good.
        failed: addresses that may answer another time.
        bytes: that were moved.
        ledger: where each address's reason is kept.
        reasons: how many could not be had for each class of reasons, such as `404 Not Found`, most frequent first.
        missing: the table of all that could not be had, None if nothing is missing.
    """

    done: int
    gone: int
    failed: int
    bytes: int
    ledger: Path
    reasons: Mapping[str, int] = field(default_factory=dict)
    missing: Path | None = None

    @property
    def short(self) -> bool:
        """Whether something may still come, or nothing came at all."""
        return self.failed > 0 or not self.done


def expand(remote: Remote, session: Session) -> Expanded:
    """Fetch every entry of the list that `remote` brought, except those that are here or gone for good.

    Raises:
        AnnotationError: the list is not an object of entries with an address each.
        Cancelled: the user wants to stop; the ledger knows what is done.
    """
    assert remote.expand is not None
    addresses = read_list(session.root.at(remote.path or ""), remote.expand.url_field)
    folder = session.root.at(remote.expand.into)
    folder.mkdir(parents=True, exist_ok=True)
    check_case(addresses, folder)
    path = ledger_path(session.root, remote.name)
    with open_ledger(path) as ledger:
        ledger.enter(addresses.items())
        # A hundred megabytes less while the pictures come.
        del addresses
        ledger.reconcile(_here(folder))
        moved = _fetch(ledger, folder, remote, session)
        return _outcome(ledger, path, moved)


def pending(path: Path, folder: Path, *, retry_failed: bool) -> int | None:
    """How many entries of a list are to be fetched into `folder`, according to its ledger at `path`. Writes nothing.

    Those that are gone for good count only with `retry_failed`. None if the ledger does not tell: before the first run,
    and after one that was killed while it wrote.
    """
    if not path.exists():
        return None
    # By key: a file that was converted has another suffix than it came with.
    here = _here(folder)
    try:
        with read_ledger(path) as ledger:
            return sum(key not in here for key in ledger.keys(State.DONE, *_to_ask(retry_failed=retry_failed)))
    except DiskError:
        return None


def ledger_path(root: Root, name: str) -> Path:
    """Where the ledger of the list called `name` lies."""
    return root.ledgers / f"{name}.sqlite"


def _to_ask(*, retry_failed: bool) -> tuple[State, ...]:
    """The states of addresses that are asked, in this order: what was never asked comes first."""
    return State.WAITING, State.FAILED, *[State.GONE] * retry_failed


def _here(folder: Path) -> dict[str, str]:
    """The names of a folder's pictures by the key of the entry that they are of, which stands before the suffix."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        parts = (entry.name.rpartition(".") for entry in entries)
        found = [(key, suffix) for key, _, suffix in parts if f".{suffix.lower()}" in PICTURE_SUFFIXES]
    # Of several files the first in the order of names counts, whatever the order on the disk.
    return {key: f"{key}.{suffix}" for key, suffix in sorted(found, reverse=True)}


def _fetch(ledger: Ledger, folder: Path, remote: Remote, session: Session) -> int:
    """Fetch what is to be asked, keeping the ledger as it comes; returns the bytes moved."""
    rows = [row for state in _to_ask(retry_failed=session.retry_failed) for row in ledger.rows(state)]
    progress = session.progress(EventKind.UNPACK, remote.name, remote.source)
    finished = moved = 0
    with closing(fetch_small(rows, folder, remote, session)) as batches:
        for batch in _kept(batches, ledger):
            finished += len(batch.rows)
            moved += sum(row.bytes or 0 for row in batch.rows)
            progress(finished, len(rows), batch.connections)
    return moved


def _kept(batches: Iterable[Batch], ledger: Ledger) -> Iterator[Batch]:
    """The same batches; what is older than a moment is in the ledger by then, and all of it in the end."""
    rows: list[Row] = []
    kept = time.monotonic()
    try:
        for batch in batches:
            rows += batch.rows
            if time.monotonic() - kept >= _SETTLE_EVERY:
                ledger.settle(rows)
                rows.clear()
                kept = time.monotonic()
            yield batch
    finally:
        ledger.settle(rows)


def _outcome(ledger: Ledger, path: Path, moved: int) -> Expanded:
    done, gone, failed = (ledger.count(state) for state in (State.DONE, State.GONE, State.FAILED))
    missing = write_missing(ledger, path.with_suffix(".missing.tsv"))
    return Expanded(done, gone, failed, moved, path, ledger.reasons(), missing)

"""Lists of many small files: each entry fetched once, named by its key and by what its content is.

The suffix of an address says nothing reliable, so a file is looked at before it is named; a web page in place of a
picture is a failure, not a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import msgspec

from cvl.download.http import is_framed, raise_for_status, translated
from cvl.download.ledger import Ledger, Row, State, open_ledger, read_ledger
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.errors import AnnotationError, DiskError, GoneError, RefusedError, TransferError, WrongContentError
from cvl.events import EventKind
from cvl.files import write_atomically
from cvl.images import sniff
from cvl.root import Root

_SETTLE_EVERY = 256


@dataclass(frozen=True)
class Expanded:
    """What became of a list.

    Args:
        done: files that are here.
        gone: addresses that are dead for good.
        failed: addresses that may answer another time.
        bytes: that were moved.
        ledger: where each address's reason is kept.
    """

    done: int
    gone: int
    failed: int
    bytes: int
    ledger: Path

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
    path = ledger_path(session.root, remote.name)
    with open_ledger(path) as ledger:
        ledger.enter(_entries(session.root.at(remote.path or ""), remote.expand.url_field))
        _reconcile(ledger, session.root.at(remote.expand.into))
        again = [State.WAITING, State.FAILED] + [State.GONE] * session.retry_failed
        moved = _fetch_all(list(ledger.rows(*again)), ledger, remote, session)
        return Expanded(ledger.count(State.DONE), ledger.count(State.GONE), ledger.count(State.FAILED), moved, path)


def pending(path: Path, folder: Path, *, retry_failed: bool) -> int | None:
    """How many entries of a list are to be fetched into `folder`, according to its ledger at `path`. Writes nothing.

    Those that are gone for good count only with `retry_failed`. None if the ledger does not tell: before the first run,
    and after one that was killed while it wrote.
    """
    if not path.exists():
        return None
    # By key: a file that was converted has another suffix than it came with.
    here = _by_key(_names(folder))
    states = [State.DONE, State.WAITING, State.FAILED] + [State.GONE] * retry_failed
    try:
        with read_ledger(path) as ledger:
            return sum(row.key not in here for row in ledger.rows(*states))
    except DiskError:
        return None


def ledger_path(root: Root, name: str) -> Path:
    """Where the ledger of the list called `name` lies."""
    return root.ledgers / f"{name}.sqlite"


def _entries(path: Path, url_field: str) -> Iterator[tuple[str, str]]:
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, msgspec.Raw]])
    except msgspec.DecodeError as error:
        raise AnnotationError(f"{path} is not a JSON object of entries: {error}", hint="fetch it again") from error
    for key, entry in listed.items():
        if url_field not in entry:
            raise AnnotationError(
                f"{path}: the entry {key} has no `{url_field}`", hint="check `url_field` in the manifest"
            )
        if not re.fullmatch(r"[\w-][\w.-]*", key):
            raise AnnotationError(
                f"{path}: the key `{key}` cannot be a file's name", hint="check where the list comes from"
            )
        try:
            yield key, msgspec.json.decode(entry[url_field], type=str)
        except msgspec.DecodeError as error:
            raise AnnotationError(f"{path}: `{url_field}` of the entry {key} is no address: {error}") from error


def _reconcile(ledger: Ledger, folder: Path) -> None:
    """Bring the ledger up to what the disk holds: lost files are waiting again, those brought otherwise are done."""
    here = _names(folder)
    ledger.settle([Row(row.key, row.url) for row in ledger.rows(State.DONE) if row.name not in here])
    by_key = _by_key(here)
    waiting = [row for row in ledger.rows(State.WAITING, State.FAILED, State.GONE) if row.key in by_key]
    ledger.settle([replace(row, state=State.DONE, name=by_key[row.key], reason=None) for row in waiting])


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()


def _by_key(names: set[str]) -> dict[str, str]:
    """File names by the key of the entry that they are of, which is what stands before the suffix."""
    return {name.rpartition(".")[0]: name for name in sorted(names, reverse=True)}


def _fetch_all(rows: list[Row], ledger: Ledger, remote: Remote, session: Session) -> int:
    """Fetch the rows with many connections at once, keeping the ledger as they come; returns the bytes moved."""
    moved, finished = 0, 0
    settled: list[Row] = []
    progress = session.progress(EventKind.UNPACK, remote.name, remote.source)
    with ThreadPoolExecutor(session.connections, thread_name_prefix="cvl-small") as pool:
        try:
            for row in _completed(pool, rows, remote, session):
                settled.append(row)
                finished += 1
                moved += row.bytes or 0
                progress(finished, len(rows))
                if len(settled) >= _SETTLE_EVERY:
                    ledger.settle(settled)
                    settled.clear()
        finally:
            ledger.settle(settled)
    return moved


def _completed(pool: ThreadPoolExecutor, rows: list[Row], remote: Remote, session: Session) -> Iterator[Row]:
    """Rows as they are settled. Only so many are handed out at once, so that a wish to stop is heard soon."""
    waiting = iter(rows)
    running: set[Future[Row]] = set()
    while True:
        for row in waiting:
            running.add(pool.submit(_fetch_row, row, remote, session))
            if len(running) >= 2 * session.connections:
                break
        if not running:
            return
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            yield future.result()
        session.check_cancelled()


def _fetch_row(row: Row, remote: Remote, session: Session) -> Row:
    """Fetch one small file; whatever happens is a row."""
    assert remote.expand is not None
    failures = 0
    while not session.cancel.is_set():
        try:
            content = _get(session.client, row.url)
            return _place(row, content, session.root.at(remote.expand.into))
        except GoneError as error:
            return replace(row, state=State.GONE, reason=str(error))
        except (RefusedError, WrongContentError) as error:
            # A proxy or a host that is angry for a day refuses everything: that is no reason to give up for good.
            return replace(row, state=State.FAILED, reason=str(error))
        except TransferError as error:
            failures += 1
            pause = session.policy.wait(failures, error.retry_after)
            if pause is None:
                return replace(row, state=State.FAILED, reason=str(error))
            session.cancel.wait(pause)
    return row


def _get(client: httpx.Client, url: str) -> bytes:
    with translated(url):
        response = client.get(url)
        raise_for_status(response)
        if "content-length" not in response.headers and not is_framed(response):
            raise TransferError(f"{url}: the server does not say how long the file is, so a cut one could not be told")
        return response.content


def _place(row: Row, content: bytes, folder: Path) -> Row:
    kind = sniff(content)
    if kind is None:
        raise WrongContentError(f"{row.url}: expected a picture, found {content[:16]!r}…")
    name = row.key + kind.suffix
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, content)
    return replace(row, state=State.DONE, name=name, bytes=len(content), reason=None)

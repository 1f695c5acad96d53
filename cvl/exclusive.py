"""One writer at a time: `cvl fetch` and `cvl convert` hold the tree that they change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from cvl.events import Event, EventKind, Reporter, silent
from cvl.files import disk_errors
from cvl.root import Root

_ASK_AGAIN = 0.5


def _never() -> None:
    """The check of a caller that can only be stopped by a signal."""


@contextmanager
def exclusive(root: Root, report: Reporter = silent, check_cancelled: Callable[[], None] = _never) -> Iterator[None]:
    """Hold the tree for this process; wait, and say so once, while another one holds it.

    A process that is killed holds nothing. `check_cancelled` is called while waiting; what it raises ends the wait.

    Raises:
        DiskError: the tree cannot be written.
    """
    lock = FileLock(root.notes / "tree.lock")
    with disk_errors(root.path):
        root.notes.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            text = f"another cvl is at work on {root.path}; waiting for it to end"
            report(Event(EventKind.NOTE, text=text))
            _wait(lock, check_cancelled)
    try:
        yield
    finally:
        lock.release()


def _wait(lock: FileLock, check_cancelled: Callable[[], None]) -> None:
    while True:
        check_cancelled()
        try:
            lock.acquire(timeout=_ASK_AGAIN)
            return
        except Timeout:
            continue

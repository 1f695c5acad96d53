"""Who may change the tree: one command for all of it, or several commands with a part each.

`cvl fetch` and `cvl convert` hold the tree exclusively. With `--part 1/8` they share it: parts neither wait for each
other nor shut each other out, while a whole run waits for all of them, and they for it.

The lock is `flock`, which the kernel releases when its holder dies, on whatever machine. filelock has no shared mode of
it: its read-write locks are SQLite databases.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cvl.events import Event, EventKind, Reporter, silent
from cvl.files import disk_errors
from cvl.root import Root

_ASK_AGAIN = 0.5
# What a part is given to clear away before another one says that it waits for it.
_UNTOLD = 1.0
_ASK_SOON = 0.02

# A Lustre that is mounted without `-o flock` answers the first, others the second.
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP}


def _never() -> None:
    """The check of a caller that can only be stopped by a signal."""


@contextmanager
def exclusive(root: Root, report: Reporter = silent, check_cancelled: Callable[[], None] = _never) -> Iterator[None]:
    """Hold the tree for this process; wait, and say so once, while another one holds or shares it.

    A process that is killed holds nothing. `check_cancelled` is called while waiting; what it raises ends the wait.
    On a file system without locks nobody is waited for, and a note says so.

    Raises:
        DiskError: the tree cannot be written.
    """
    with _held(root, fcntl.LOCK_EX, report, check_cancelled):
        yield


@contextmanager
def shared(
    root: Root,
    report: Reporter = silent,
    check_cancelled: Callable[[], None] = _never,
    *,
    alone: Callable[[], None] = _never,
) -> Iterator[None]:
    """Hold the tree together with others that share it; otherwise as `exclusive`.

    `alone` is called first where nobody else holds or shares the tree, and nobody does while it runs: it may clear away
    what killed ones left.
    """
    with _held(root, fcntl.LOCK_SH, report, check_cancelled, alone):
        yield


@contextmanager
def briefly(path: Path) -> Iterator[None]:
    """Hold the file at `path`, which is made, for as long as a small file takes to be read, changed and written.

    On a file system without locks nobody is waited for.

    Raises:
        DiskError: the file cannot be written.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _open(path)
        try:
            if _has_locks(file):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


@contextmanager
def _held(
    root: Root,
    mode: int,
    report: Reporter,
    check_cancelled: Callable[[], None],
    alone: Callable[[], None] = _never,
) -> Iterator[None]:
    path = root.notes / "tree.lock"
    with disk_errors(root.path):
        root.notes.mkdir(parents=True, exist_ok=True)
        file = _open(path)
    try:
        with disk_errors(path):
            if not _has_locks(file):
                report(_note(f"the file system of {root.path} has no locks: see to it that no other cvl works on it"))
            else:
                sharing = mode == fcntl.LOCK_SH
                if sharing and _take(file, fcntl.LOCK_EX):
                    alone()
                if not _take_soon(file, mode, _UNTOLD if sharing else 0):
                    report(_note(f"another cvl is at work on {root.path}; waiting for it to end"))
                    _wait(file, mode, check_cancelled)
        yield
    finally:
        # Which releases the lock too; the file stays, for another one may wait for it.
        os.close(file)


def _open(path: Path) -> int:
    # To be written although nothing is: over NFS an exclusive lock takes no less.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _has_locks(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _take(file: int, mode: int) -> bool:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_soon(file: int, mode: int, patience: float) -> bool:
    end = time.monotonic() + patience
    while not (taken := _take(file, mode)) and time.monotonic() < end:
        time.sleep(_ASK_SOON)
    return taken


def _wait(file: int, mode: int, check_cancelled: Callable[[], None]) -> None:
    # Asking again and again: a wait in the kernel could not be called off.
    check_cancelled()
    while not _take(file, mode):
        time.sleep(_ASK_AGAIN)
        check_cancelled()


def _note(text: str) -> Event:
    return Event(EventKind.NOTE, text=text)

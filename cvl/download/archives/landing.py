"""Writing members into a folder: each file is whole or absent, whatever happens meanwhile."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

from cvl.files import beside, folds_case

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class StoppedError(Exception):
    """The work was asked to stop."""


class Landing(threading.local):
    """A folder that members are written into, by any number of threads.

    Args:
        folder: where; made when the first member comes.
        keep_existing: whether a file of any size is left as it is, or only one of the member's size.
        stop: ends what is being written, at its next piece.
    """

    # Each thread has its own last folder and temporary name; thousands of members in a row land in the same folder.

    def __init__(self, folder: Path, *, keep_existing: bool, stop: threading.Event) -> None:
        self._folder = os.fspath(folder)
        self._keep_existing = keep_existing
        self._stop = stop
        self._parent = ""
        self._temporary = ""

    @property
    def folds_case(self) -> bool:
        """Whether the disk takes names that differ in capital letters only for one name."""
        return folds_case(Path(self._folder))

    def stands(self, place: str, size: int) -> bool:
        """Whether there is no need to write this member."""
        try:
            status = os.stat(f"{self._folder}/{place}")  # noqa: PTH116 (a million paths are not free)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return stat.S_ISREG(status.st_mode) and (self._keep_existing or status.st_size == size)

    def write(self, place: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write a file under a temporary name and give it its own when it is complete.

        What `pieces` raises leaves nothing behind, and whatever stood in that place stands.

        Raises:
            StoppedError: the work was asked to stop.
            OSError: the disk is full or not ours.
        """
        path = f"{self._folder}/{place}"
        self._enter(path.rpartition("/")[0])
        file = os.open(self._temporary, _NEW, 0o666)
        try:
            try:
                for piece in pieces:
                    self._write_all(file, piece)
            finally:
                os.close(file)
            os.rename(self._temporary, path)  # noqa: PTH104
        except BaseException:
            os.unlink(self._temporary)  # noqa: PTH108
            raise

    def _enter(self, parent: str) -> None:
        if parent != self._parent:
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103
            self._temporary = os.fspath(beside(Path(parent, "unpacking")))
            self._parent = parent

    def _write_all(self, file: int, piece: bytes | memoryview) -> None:
        if self._stop.is_set():
            raise StoppedError
        written = os.write(file, piece)
        while written < len(piece):
            written += os.write(file, memoryview(piece)[written:])

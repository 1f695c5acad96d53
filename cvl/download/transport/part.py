"""A transfer that is not finished: a file of its final length, and a journal of which of its bytes are there.

Bytes are written where they belong, by as many connections as bring them, and noted in the journal afterwards. Digests
follow the prefix that has no gap, reading it back while it is still in the kernel's memory: connections take their work
from the file's front, so that the prefix is never far behind what arrives.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from cvl.download.transport.journal import Journal, Told, Version, read_journal
from cvl.download.transport.ranges import Ranges, Span
from cvl.files import reserve

CHUNK = 1 << 20
_JOURNAL = ".journal"


class Part:
    """The bytes of one file that are here, and their digests. `write` and `note` may be called from threads.

    `ranged` says whether its server can be trusted with ranges, as far as we know.

    Raises:
        OSError: whatever the disk says, from every method.
    """

    def __init__(self, path: Path, algorithms: tuple[str, ...] = ("sha256",)) -> None:
        self.path = path
        self.ranged = True
        self._algorithms = algorithms
        self._mutex = threading.Lock()
        self._data: int | None = None
        self._journal: Journal | None = None
        self._synced = False
        self._reset_digests()
        told = self._look()
        self._version = told.version if told else None
        self._have = told.have if told else Ranges()
        self._safe = told.safe if told else Ranges()

    def _look(self) -> Told | None:
        """What is here according to the journal, as far as the file bears it out."""
        told = read_journal(self._journal_path)
        if told is None or not self.path.is_file():
            return None
        return told if told.have.end <= self.path.stat().st_size else None

    @property
    def version(self) -> Version | None:
        """What the bytes are of, None if there are none."""
        return self._version

    @property
    def size(self) -> int:
        """Bytes that are here."""
        with self._mutex:
            return self._have.size

    @property
    def complete(self) -> bool:
        """Whether all bytes of a file of known size are here."""
        return self._version is not None and self._version.size == self.size

    @property
    def prefix(self) -> int:
        """Bytes that are here from the beginning on without a gap."""
        with self._mutex:
            return self._have.prefix

    def missing(self) -> Ranges:
        """The bytes that are not here, of a file of known size."""
        assert self._version is not None
        assert self._version.size is not None
        with self._mutex:
            return self._have.gaps(self._version.size)

    def begin(self, version: Version) -> None:
        """Drop what is here, and make room for a file of this version."""
        self.discard()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._version = version
        self._open()

    def go_on(self, version: Version) -> None:
        """Keep what is here, as far as this version reaches, which it is as good as of, and make ready to write."""
        self.close()
        self._version = version
        if version.size is not None and self._have.end > version.size:
            self._have.remove(version.size, self._have.end)
            self._safe.remove(version.size, self._safe.end)
            self._reset_digests()
        self._open()

    def _open(self) -> None:
        assert self._version is not None
        self._data = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        if self._version.size is not None:
            reserve(self._data, self._version.size)
        self._journal = Journal(self._journal_path, Told(self._version, self._have, self._safe))

    def write(self, chunk: bytes | memoryview, at: int) -> None:
        """Put bytes where they belong. They count as here once they are noted."""
        assert self._data is not None
        rest = memoryview(chunk)
        while rest:
            # The last write before a disk is full is cut short, without an error.
            written = os.pwrite(self._data, rest, at)
            rest, at = rest[written:], at + written

    def note(self, start: int, stop: int) -> None:
        """Count bytes that were written as here, also for a process that comes after this one is killed."""
        if start == stop:
            return
        assert self._journal is not None
        self._journal.note(Span(start, stop))
        with self._mutex:
            self._have.add(start, stop)

    def syncing(self) -> Callable[[], None]:
        """What makes all that is noted by now outlive the machine. It can take long, and any thread may call it."""
        assert self._journal is not None
        assert self._data is not None
        journal = self._journal
        with self._mutex:
            noted = Ranges(self._have)
        sync = journal.syncing(self._data)

        def syncing() -> None:
            sync()
            with self._mutex:
                if self._journal is journal:
                    self._safe, self._synced = noted, True

        return syncing

    def adopt(self, file: Path, url: str) -> None:
        """Take a finished file from beside the part in place of all that is here."""
        self.discard()
        size = file.stat().st_size
        self._version, self._have = Version(url, None, size), Ranges([Span(0, size)])
        # First, for a journal whose file is not there says nothing, and a file without journal would be begun anew.
        Journal(self._journal_path, Told(self._version, self._have, self._safe)).close()
        file.replace(self.path)

    def ends_here(self) -> None:
        """Take the prefix that is here for the whole file, of which nobody knew the size."""
        assert self._version is not None
        self.go_on(Version(self._version.url, self._version.validator, self.prefix))

    def digest(self, most: int = 64 * CHUNK) -> bool:
        """Take at most so many further bytes of the prefix into the digests; whether there were any."""
        stop = min(self.prefix, self._hashed + most)
        if stop <= self._hashed:
            return False
        with self.path.open("rb", buffering=0) as file:
            file.seek(self._hashed)
            while self._hashed < stop:
                piece = file.read(min(CHUNK, stop - self._hashed))
                if not piece:
                    raise OSError(errno.EIO, "it was cut short by somebody else", str(self.path))
                for state in self._hashes:
                    state.update(piece)
                self._hashed += len(piece)
        return True

    def digests(self) -> dict[str, str]:
        """The digests of all bytes of the prefix, by algorithm."""
        while self.digest():
            pass
        return dict(zip(self._algorithms, (state.hexdigest() for state in self._hashes), strict=True))

    def discard(self) -> None:
        """Remove the bytes and the journal."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._journal_path.unlink(missing_ok=True)
        self._version, self._have, self._safe = None, Ranges(), Ranges()
        self._synced = False
        self._reset_digests()

    def finish(self) -> Path:
        """The finished file. Its journal stays until `forget_journal`, after the file has found its place: a kill
        between the two must not make a whole file one of which nobody knows anything.

        What took so long to fetch that it was synced on the way is synced once more, so that it outlives the machine
        before anybody counts on it; what came in moments is not worth waiting for the disk.
        """
        self.close()
        if self._synced:
            with self.path.open("rb") as file:
                os.fdatasync(file)
        return self.path

    def close(self) -> None:
        """Give the files back; what is here stays. No thread may be writing any more."""
        # Forgotten first: a descriptor whose closing fails is gone as well, and its number may be another file's soon.
        journal, self._journal = self._journal, None
        data, self._data = self._data, None
        try:
            if journal is not None:
                journal.close()
        finally:
            if data is not None:
                os.close(data)

    @property
    def _journal_path(self) -> Path:
        return _journal_of(self.path)

    def _reset_digests(self) -> None:
        self._hashes = [hashlib.new(algorithm) for algorithm in self._algorithms]
        self._hashed = 0


def forget_journal(part: Path) -> None:
    """Remove the journal of a part that is not one any more, because its file has found its place."""
    _journal_of(part).unlink(missing_ok=True)


def forget_orphans(folder: Path) -> None:
    """Remove journals whose parts are gone, as a kill leaves them between a file's last step and `forget_journal`."""
    for journal in folder.glob(f"*{_JOURNAL}"):
        if not journal.with_name(journal.name.removesuffix(_JOURNAL)).exists():
            journal.unlink(missing_ok=True)


def _journal_of(part: Path) -> Path:
    return part.with_name(part.name + _JOURNAL)

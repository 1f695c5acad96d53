"""A transfer that is not finished: the bytes so far, and beside them what they are bytes of.

The journal is written before the first byte. After a kill at any instant the `.part` file holds a prefix of the remote
file, and the journal says of which version: the transfer goes on only with a server that still has that one
(`If-Range`), or under a digest that will tell.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from cvl.files import write_atomically

CHUNK = 1 << 20


class Journal(msgspec.Struct, frozen=True):
    """Which version of which file a part is a prefix of.

    Args:
        url: without signature.
        validator: a strong ETag, or else the Last-Modified date; None if the server gave neither.
    """

    url: str
    validator: str | None


class Part:
    """The bytes of one file that are here, with digests that grow with them. Used by one thread at a time."""

    def __init__(self, path: Path, algorithms: tuple[str, ...] = ("sha256",)) -> None:
        self.path = path
        self._algorithms = algorithms
        self._hashes = [hashlib.new(algorithm) for algorithm in algorithms]
        self._hashed = 0

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def journal(self) -> Journal | None:
        """What the bytes are a prefix of, or None if nobody knows."""
        try:
            return msgspec.json.decode(self._journal_path.read_bytes(), type=Journal)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def begin(self, journal: Journal) -> None:
        """Drop what is here and note what comes."""
        self.discard()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._journal_path, msgspec.json.encode(journal))

    def open(self) -> BinaryIO:
        """The file, to append to with `append`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.path.open("ab", buffering=0)

    def append(self, file: BinaryIO, chunk: bytes) -> None:
        """Write a chunk and take it into the digests."""
        if self._hashed != file.tell():
            self._catch_up()
        rest = memoryview(chunk)
        while rest:
            # The last write before a disk is full is cut short, without an error.
            rest = rest[file.write(rest) :]
        self._update(chunk)

    def digests(self) -> dict[str, str]:
        """The digests of all bytes that are here, by algorithm."""
        if self._hashed != self.size:
            self._catch_up()
        return dict(zip(self._algorithms, (state.hexdigest() for state in self._hashes), strict=True))

    def discard(self) -> None:
        """Remove the bytes and the journal."""
        self.path.unlink(missing_ok=True)
        self._journal_path.unlink(missing_ok=True)
        self._reset()

    def finish(self) -> Path:
        """The finished file; its journal is not needed any more."""
        self._journal_path.unlink(missing_ok=True)
        return self.path

    @property
    def _journal_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def _reset(self) -> None:
        self._hashes = [hashlib.new(algorithm) for algorithm in self._algorithms]
        self._hashed = 0

    def _update(self, chunk: bytes) -> None:
        for state in self._hashes:
            state.update(chunk)
        self._hashed += len(chunk)

    def _catch_up(self) -> None:
        """Take bytes into the digests that an earlier process, or another client, wrote."""
        self._reset()
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                self._update(chunk)

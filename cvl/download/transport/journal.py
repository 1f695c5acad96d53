"""The journal of an unfinished transfer: which version of which file it is of, and which of its bytes are on the disk.

The first line is JSON and says what the file is. Records of 20 bytes follow, each appended by one write after the bytes
that it speaks of were written. So a process that is killed at any instant leaves a journal that names only bytes that
are in the file: the kernel has them, and a record that was cut short is not one.

A machine that loses power loses what the kernel had not yet brought to the disk, in any order. Therefore the journal
names the boot that it was written under, and now and then the file is synced and a mark appended that says how many
records are safe by that: after another boot only these count. A journal that is begun anew by a later process, or for
another address, says of the same records that they are safe.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from cvl.download.transport.ranges import Ranges, Span
from cvl.files import write_atomically

_RECORD = struct.Struct("<QQI")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Version(msgspec.Struct, frozen=True):
    """Which version of which file a part is of.

    Args:
        url: without signature.
        validator: a strong ETag, or else the Last-Modified date; None if the server gave neither.
        size: bytes of the whole file, None while nobody knows.
    """

    url: str
    validator: str | None = None
    size: int | None = None


class _Head(msgspec.Struct, frozen=True):
    version: Version
    boot: str


class Told(NamedTuple):
    """What a journal says.

    Args:
        version: of the file.
        have: the bytes that are there.
        safe: those of them that outlive a power cut.
    """

    version: Version
    have: Ranges
    safe: Ranges


def read_journal(path: Path) -> Told | None:
    """What a journal says, None if there is none or if it cannot be read."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        told = msgspec.json.decode(head, type=_Head)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    records = list(_records(body))
    marked = max((record.start for record in records if _is_mark(record)), default=0)
    safe = _spans(records[:marked])
    return Told(told.version, _spans(records) if told.boot == _boot() else safe, safe)


def _spans(records: list[Span]) -> Ranges:
    return Ranges(record for record in records if not _is_mark(record))


def _records(body: bytes) -> Iterator[Span]:
    for at in range(0, len(body) - _RECORD.size + 1, _RECORD.size):
        start, stop, check = _RECORD.unpack_from(body, at)
        if check != _check(start, stop):
            # A torn record: nothing behind it can be trusted to begin where a record begins.
            return
        yield Span(start, stop)


def _append(file: int, record: Span) -> None:
    if os.write(file, _pack(record)) < _RECORD.size:
        # The last write before a disk is full is cut short, without an error; what followed it would be lost.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _pack(record: Span) -> bytes:
    return _RECORD.pack(*record, _check(*record))


def _is_mark(record: Span) -> bool:
    """Whether a record is no span, but says with its start how many records before it are safe."""
    return record.stop == 0


def _check(start: int, stop: int) -> int:
    return zlib.crc32(b"%d-%d" % (start, stop))


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


class Journal:
    """A journal that is being written. Safe to use from threads: each record is one appending write."""

    def __init__(self, path: Path, told: Told) -> None:
        """Begin it anew with what is there; an older journal at `path` is replaced in one step."""
        head = msgspec.json.encode(_Head(told.version, _boot())) + b"\n"
        safe = list(told.safe)
        marked = [*safe, Span(len(safe), 0)] if safe else []
        # Who has nothing that is safe has nothing to lose by a power cut either.
        write_atomically(path, head + b"".join(map(_pack, [*marked, *told.have])), durable=bool(safe))
        self._head_size = len(head)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def note(self, span: Span) -> None:
        """Append a record: these bytes are in the file."""
        _append(self._file, span)

    def syncing(self, data: int) -> Callable[[], None]:
        """What brings the file of the descriptor `data` to the disk, and notes that all records so far are safe.

        It can take long, so it may be called by any thread, and after this journal was closed.
        """
        # Counted first: the bytes of records that other threads append meanwhile may not be on the disk yet.
        safe = (os.fstat(self._file).st_size - self._head_size) // _RECORD.size
        mine, its = os.dup(self._file), os.dup(data)

        def sync() -> None:
            try:
                os.fdatasync(its)
                _append(mine, Span(safe, 0))
                os.fdatasync(mine)
            finally:
                os.close(mine)
                os.close(its)

        return sync

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

"""A zip's directory, entry by entry.

Our own reader, where zipfile has one: zipfile keeps an object of nearly a kilobyte for every entry, which for an
archive of millions takes gigabytes, and reads members through one handle that threads have to wait for.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from cvl.errors import ArchiveError

_END = Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_LOCATOR = Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\6\7"
_END64 = Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\6\6"
_ENTRY = Struct("<4s4B4HL2L5H2L")
_ENTRY_SIGNATURE = b"PK\1\2"
_EXTRA = Struct("<HH")

_LONGEST_COMMENT = 0xFFFF
_WINDOW = 1 << 20
# An entry with the longest name, extra field and comment.
_LONGEST_ENTRY = _ENTRY.size + 3 * 0xFFFF

_ZIP64 = 0x0001
_UNICODE_PATH = 0x7075
_IN_EXTRA = 0xFFFFFFFF
_UTF8 = 0x800
_ENCRYPTED = 0x2041
_UNIX = 3


class Entry(NamedTuple):
    """What the directory says of one member.

    Args:
        name: as text.
        raw: as its own header should have it, too.
        encrypted: whether it can be read only with a password.
        method: 0 for stored, 8 for deflated.
        crc: CRC-32 of its content.
        packed: bytes in the archive.
        size: bytes of its content.
        offset: where its own header stands.
        kind: of file, as in a mode; 0 where that is not said.
    """

    name: str
    raw: bytes
    encrypted: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    kind: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, which needs no member of its own."""
        return self.name.endswith("/")


@dataclass(frozen=True)
class Directory:
    """Where a zip's directory is.

    Args:
        file: the open archive.
        start: where the directory begins.
        size: bytes of it.
        shift: bytes that stand before the zip, and that its offsets do not count.
    """

    file: int
    start: int
    size: int
    shift: int

    def __iter__(self) -> Iterator[Entry]:
        """Every entry, read as it is asked for.

        Raises:
            ArchiveError: the directory is damaged.
        """
        at, end = self.start, self.start + self.size
        window, begin = b"", 0
        while at < end:
            if len(window) - begin < _LONGEST_ENTRY and at + len(window) - begin < end:
                window, begin = os.pread(self.file, min(_WINDOW, end - at), at), 0
            try:
                entry, length = _entry(window, begin, self.shift)
            except (struct_error, ValueError) as error:
                raise ArchiveError(f"its directory is damaged at byte {at:,}") from error
            yield entry
            at += length
            begin += length


def find_directory(file: int) -> Directory:
    """The directory of an open zip.

    Raises:
        ArchiveError: there is none: it was cut off, is one part of several, or is no zip at all.
    """
    length = os.fstat(file).st_size
    tail_at = max(0, length - _END.size - _LONGEST_COMMENT)
    tail = os.pread(file, length - tail_at, tail_at)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise ArchiveError("damaged: the directory at its end is not there: it was cut off, or is no zip")
    _, disk, _, _, _, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    found = _zip64_end(file, end)
    if found:
        end, disk, size, offset = found
    start = end - size
    if disk:
        raise ArchiveError("it is one part of a zip of several: put them together first")
    if start < offset or start < 0:
        raise ArchiveError(f"damaged: its directory should stand at byte {offset:,}, before byte {end:,}")
    return Directory(file, start, size, start - offset)


def _zip64_end(file: int, end: int) -> tuple[int, int, int, int] | None:
    """Where the directory of a zip beyond four gigabytes ends, its disk, size and offset; None for a smaller zip."""
    at = end - _LOCATOR.size
    if at < _END64.size:
        return None
    locator = os.pread(file, _LOCATOR.size, at)
    if not locator.startswith(_LOCATOR_SIGNATURE):
        return None
    # It stands right before its locator, whatever stands before the zip.
    at -= _END64.size
    record = os.pread(file, _END64.size, at)
    if not record.startswith(_END64_SIGNATURE):
        raise ArchiveError("damaged: its zip64 directory is not where it should be")
    _, _, _, _, disk, _, _, _, size, offset = _END64.unpack(record)
    return at, disk, size, offset


def _entry(window: bytes, at: int, shift: int) -> tuple[Entry, int]:
    """The entry at `at`, and its length."""
    (signature, _, system, _, _, flags, method, _, _, crc, packed, size, *rest) = _ENTRY.unpack_from(window, at)
    name_length, extra_length, comment_length, _, _, attributes, offset = rest
    begin = at + _ENTRY.size
    raw = window[begin : begin + name_length]
    extra = window[begin + name_length : begin + name_length + extra_length]
    if signature != _ENTRY_SIGNATURE or len(raw) != name_length or len(extra) != extra_length:
        raise ValueError("no entry")
    unicode_name = None
    for kind, field in _fields(extra) if extra else ():
        if kind == _ZIP64:
            size, packed, offset = _wide(field, size, packed, offset)
        elif kind == _UNICODE_PATH:
            unicode_name = _unicode_path(field, raw)
    name = unicode_name or _text(raw, flags, system)
    encrypted = bool(flags & _ENCRYPTED)
    kind = stat.S_IFMT(attributes >> 16)
    length = _ENTRY.size + name_length + extra_length + comment_length
    return Entry(name, raw, encrypted, method, crc, packed, size, offset + shift, kind), length


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        yield kind, extra[at : at + length]
        at += length


def _wide(field: bytes, *values: int) -> list[int]:
    """The values, those that did not fit into four bytes taken from the zip64 field in their order."""
    wide, at = [], 0
    for value in values:
        if value == _IN_EXTRA:
            if at + 8 > len(field):
                raise ValueError("the zip64 field is too short")
            value = int.from_bytes(field[at : at + 8], "little")
            at += 8
        wide.append(value)
    return wide


def _unicode_path(field: bytes, raw: bytes) -> str | None:
    """The name that Info-ZIP keeps beside one like `#U7d75.jpg`; None where it is that of an older name."""
    if field[:1] != b"\1" or int.from_bytes(field[1:5], "little") != zlib.crc32(raw):
        return None
    return field[5:].decode("utf-8", "surrogateescape")


def _text(raw: bytes, flags: int, system: int) -> str:
    """A name as text. Info-ZIP on Unix writes UTF-8 without saying so; others then mean the letters of MS-DOS."""
    if raw.isascii():
        return raw.decode("ascii")
    if flags & _UTF8:
        return raw.decode("utf-8", "surrogateescape")
    if system == _UNIX:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return raw.decode("cp437")

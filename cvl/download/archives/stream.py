"""The bytes of a tar, packed or not, as far as they can be had: past damage, where something readable follows.

What is wrong on the way comes as a `Seam` between the bytes. What stands before a seam and what stands behind it need
not belong together.
"""

from __future__ import annotations

import bz2
import lzma
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from cvl.download.archives.inflate import INFLATE_ERRORS, Inflater, crc32, inflate, inflater, is_bomb
from cvl.errors import ArchiveError

_PLAIN_PIECE = 1 << 18
# What a deflate stream gave before the byte at which it turns out to be damaged is lost with the piece that has the
# byte: small pieces lose little.
_PACKED_PIECE = 1 << 15
_UNPACKED_PIECE = 1 << 17

_GZIP = b"\x1f\x8b"
_XZ = b"\xfd7zXZ\0"
_BZIP2 = b"BZh"

_GZIP_HEADER = 10
_GZIP_TRAILER = 8
_HAS_CRC, _HAS_EXTRA, _HAS_NAME, _HAS_COMMENT = 0x02, 0x04, 0x08, 0x10
# Any ten bytes could begin with 1f 8b: method, reserved flags, the kind of compression and of system have to fit, too.
_GZIP_START = re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL)


@dataclass(frozen=True)
class Seam:
    """Something is wrong here.

    Args:
        reason: what, for a person.
        broken: whether bytes are missing, or wrong; else it may be that nothing is.
    """

    reason: str
    broken: bool


Stream = Iterator[bytes | Seam]


def is_packed(head: bytes) -> bool:
    """Whether a file that begins so is gzip, xz or bzip2."""
    return head.startswith((_GZIP, _XZ, _BZIP2))


def tar_bytes(file: int) -> Stream:
    """What an open archive holds, by its first bytes unpacked from gzip, xz or bzip2, or as it is.

    Raises:
        ArchiveError: it is a bomb.
    """
    source = _Source(file)
    head = source.peek(_GZIP_HEADER)
    if head.startswith(_GZIP):
        return _gunzipped(source)
    if head.startswith(_XZ):
        return _decompressed(source, lzma.LZMADecompressor)
    if head.startswith(_BZIP2):
        return _decompressed(source, bz2.BZ2Decompressor)
    return iter(partial(source.take, _PLAIN_PIECE), b"")


class _Source:
    """An open file, read from its beginning, of which bytes can be looked at and given back."""

    def __init__(self, file: int) -> None:
        self.size = os.fstat(file).st_size
        self.at = 0
        self._file = file

    def peek(self, size: int) -> bytes:
        """The next bytes, at most `size`; only the file's end brings fewer."""
        return os.pread(self._file, size, self.at)

    def take(self, size: int) -> bytes:
        """The next bytes, which are then behind us."""
        piece = self.peek(size)
        self.at += len(piece)
        return piece

    def find(self, pattern: re.Pattern[bytes], length: int) -> bool:
        """Go to the next place where the pattern, `length` bytes long, stands; False and to the end if it does not."""
        while piece := self.peek(_PLAIN_PIECE):
            if found := pattern.search(piece):
                self.at += found.start()
                return True
            if len(piece) < length:
                break
            self.at += len(piece) - length + 1
        self.at = self.size
        return False


def _gunzipped(source: _Source) -> Stream:
    """One gzip member after the other; past garbage between them, and past damage to the next one that there is."""
    in_place = True
    while source.at < source.size:
        start, whole = source.at, True
        if _skip_gzip_header(source):
            whole = yield from _gzip_member(source, start, in_place=in_place)
        gap = source.at
        in_place = _GZIP_START.match(source.peek(_GZIP_HEADER)) is not None
        if not in_place and source.at < source.size:
            if not source.find(_GZIP_START, _GZIP_HEADER):
                # What stands behind the last member is nobody's: zeros of a tape, most often.
                return
            if whole:
                yield Seam(f"{source.at - gap:,} bytes at byte {gap:,} are no gzip", broken=False)


def _skip_gzip_header(source: _Source) -> bool:
    """Go behind a member's header; False and one byte further where there is none."""
    header = source.peek(1 << 16)
    if not _GZIP_START.match(header):
        source.at += 1
        return False
    flags, end = header[3], _GZIP_HEADER
    if flags & _HAS_EXTRA:
        end += 2 + int.from_bytes(header[end : end + 2], "little")
    for flag in (_HAS_NAME, _HAS_COMMENT):
        if flags & flag:
            end = header.find(b"\0", end) + 1 or len(header)
    if flags & _HAS_CRC:
        end += 2
    source.at = min(source.at + end, source.size)
    return True


def _gzip_member(source: _Source, start: int, *, in_place: bool) -> Generator[bytes | Seam, None, bool]:
    """What one member holds; returns whether its end was found. The source is then behind that, or near the damage.

    One that does not stand in its place may be ten bytes of garbage that look like a header: nothing of it counts
    before a piece of it was inflated.
    """
    stream, size, crc = inflater(), 0, 0
    while not stream.eof:
        at = source.at
        packed = source.take(_PACKED_PIECE)
        if not packed:
            yield Seam(f"its gzip stream is cut off at byte {source.size:,}", broken=True)
            return False
        pieces: Iterable[bytes] = inflate(stream, packed, _UNPACKED_PIECE)
        try:
            for piece in pieces if in_place else list(pieces):
                in_place = True
                size += len(piece)
                crc = crc32(piece, crc)
                _refuse_bomb(source.at - start, size)
                yield piece
        except INFLATE_ERRORS:
            # The next member may begin within what was taken, but not where this one began.
            source.at = at if size else start + 1
            if in_place:
                yield Seam(f"its gzip stream breaks near byte {at:,} of {source.size:,}", broken=True)
            return False
    yield from _trailer(source, stream, size, crc)
    return True


def _trailer(source: _Source, stream: Inflater, size: int, crc: int) -> Stream:
    """Hold what came against what the member's last bytes say."""
    source.at -= len(stream.unused_data)
    trailer = source.take(_GZIP_TRAILER)
    if len(trailer) < _GZIP_TRAILER:
        yield Seam(f"its gzip stream is cut off at byte {source.size:,}", broken=False)
    elif trailer != crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"):
        found = int.from_bytes(trailer[:4], "little")
        yield Seam(f"the gzip stream's checksum is wrong: expected {found:08x}, found {crc:08x}", broken=False)


_Decompressor = bz2.BZ2Decompressor | lzma.LZMADecompressor


def _decompressed(source: _Source, decompressor: Callable[[], _Decompressor]) -> Stream:
    """Streams of xz or bzip2, one after the other, to the first damage."""
    while _skip_zeros(source):
        stream, start, size = decompressor(), source.at, 0
        while not stream.eof:
            packed = source.take(_PACKED_PIECE) if stream.needs_input else b""
            if stream.needs_input and not packed:
                yield Seam(f"its compressed stream is cut off at byte {source.size:,}", broken=True)
                return
            try:
                piece = stream.decompress(packed, _UNPACKED_PIECE)
            except (OSError, lzma.LZMAError, EOFError, ValueError) as error:
                yield Seam(f"its compressed stream breaks near byte {source.at:,}: {error}", broken=True)
                return
            size += len(piece)
            _refuse_bomb(source.at - start, size)
            yield piece
        source.at -= len(stream.unused_data)


def _skip_zeros(source: _Source) -> bool:
    """Go past what xz pads its streams with; False at the end."""
    while (head := source.peek(_PLAIN_PIECE)) and not head.strip(b"\0"):
        source.at += len(head)
    source.at += len(head) - len(head.lstrip(b"\0"))
    return bool(head)


def _refuse_bomb(packed: int, size: int) -> None:
    if is_bomb(packed, size):
        raise ArchiveError(f"{packed:,} bytes became {size:,}, which no pictures do: it is a bomb")

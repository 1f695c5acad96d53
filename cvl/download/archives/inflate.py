"""Inflating and checksums: Intel's ISA-L where there is a build of it for this machine, else zlib.

ISA-L takes checksums several times as fast, which is most of the arithmetic of a zip of stored pictures, and inflates
pictures a fifth faster. Both let other threads run meanwhile, and take the same calls.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

_library: Any = zlib
with suppress(ImportError):
    _library = import_module("isal.isal_zlib")

crc32: Callable[..., int] = _library.crc32
"""The CRC-32 of some bytes, going on from another one."""

INFLATE_ERRORS: tuple[type[Exception], ...] = (zlib.error, _library.error)
"""What inflating raises over bytes that are no deflate stream."""

# No pictures are packed so well; below the least amount, whatever comes out does no harm.
_BOMB_RATIO = 200
_BOMB_LEAST = 64 << 20


class Inflater(Protocol):
    """One raw deflate stream on its way."""

    @property
    def eof(self) -> bool:
        """Whether the stream's end was reached."""

    @property
    def unused_data(self) -> bytes:
        """What was given and lies behind the stream's end."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What was given and waits for its output to be taken."""

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """At most `max_length` bytes of what becomes of `data`."""


def inflater() -> Inflater:
    """A new raw deflate stream."""
    stream: Inflater = _library.decompressobj(-zlib.MAX_WBITS)
    return stream


def inflate(stream: Inflater, packed: bytes | memoryview, most: int) -> Iterator[bytes]:
    """All that `packed` becomes, in pieces of at most `most` bytes.

    Raises:
        zlib.error, isal's error: it is no deflate stream, see `INFLATE_ERRORS`.
    """
    while True:
        piece = stream.decompress(packed, most)
        if piece:
            yield piece
        packed = stream.unconsumed_tail
        # A full piece may have left more behind, even where all of the input is taken.
        if stream.eof or (not packed and len(piece) < most):
            return


def is_bomb(packed: int, size: int) -> bool:
    """Whether so many bytes become suspiciously many."""
    return size > _BOMB_LEAST and size > packed * _BOMB_RATIO

"""How fast a body is sent: a server that limits each connection, or one that lets a body drip."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

_PIECES_A_SECOND = 20
_LONGEST_PIECE = 64 * 1024


@dataclass(frozen=True)
class Pace:
    """A speed that a body does not exceed.

    Args:
        rate: bytes a second.
        after: this many bytes come first, as fast as they can.
    """

    rate: float
    after: int = 0

    def pieces(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same bytes in pieces, each at the time when it is due."""
        start, slow = time.monotonic(), 0
        for piece in self._split(chunks):
            if piece.slow:
                slow += len(piece.content)
                time.sleep(max(start + slow / self.rate - time.monotonic(), 0))
            else:
                start = time.monotonic()
            yield piece.content

    def _split(self, chunks: Iterator[bytes]) -> Iterator[_Piece]:
        swift, length = self.after, min(max(1, int(self.rate / _PIECES_A_SECOND)), _LONGEST_PIECE)
        for chunk in chunks:
            if head := chunk[:swift]:
                swift -= len(head)
                yield _Piece(head, slow=False)
            for place in range(len(head), len(chunk), length):
                yield _Piece(chunk[place : place + length], slow=True)


@dataclass(frozen=True)
class _Piece:
    content: bytes
    slow: bool

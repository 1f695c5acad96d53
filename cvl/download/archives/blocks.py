"""A tar's bytes, block by block, and the way back into step after damage."""

from __future__ import annotations

from collections.abc import Iterator

from cvl.download.archives.headers import BLOCK, MAGIC, MAGIC_AT, Header, read_header
from cvl.download.archives.stream import Seam, Stream


class Blocks:
    """Reads a stream in pieces, and keeps the seams that it passes.

    Args:
        stream: bytes, and seams between them.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._view = memoryview(b"")
        self.at = 0
        """Bytes that were read."""
        self.reasons: list[str] = []
        """What was wrong on the way."""
        self.broken = False
        """Whether we stand at a seam where bytes are missing: there is nothing to read until `mend`."""

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes; fewer at the stream's end, and at a seam where bytes are missing."""
        while size and (self._view or self._more()):
            piece = self._view[:size]
            self._view = self._view[len(piece) :]
            self.at += len(piece)
            size -= len(piece)
            yield piece

    def block(self) -> bytes:
        """The next block, or what is left of it."""
        if len(self._view) >= BLOCK:
            piece, self._view = self._view[:BLOCK], self._view[BLOCK:]
            self.at += BLOCK
            return bytes(piece)
        return b"".join(self.pieces(BLOCK))

    def mend(self) -> None:
        """Go on behind the seam."""
        self.broken = False

    def search(self, window: bytes) -> Header | None:
        """Go to the next place where a header stands, in step with the blocks or not; None if there is no more.

        Args:
            window: the bytes read last, which are searched, too.
        """
        while True:
            found = window.find(MAGIC, MAGIC_AT)
            while 0 <= found <= len(window) - BLOCK + MAGIC_AT:
                begin = found - MAGIC_AT
                if header := read_header(window[begin : begin + BLOCK]):
                    self.at -= len(window) - begin - BLOCK
                    self._view = memoryview(window[begin + BLOCK :] + bytes(self._view))
                    return header
                found = window.find(MAGIC, found + 1)
            while not self._view and not self._more():
                if not self.broken:
                    return None
                self.mend()
            window = window[-BLOCK + 1 :] + bytes(self._view)
            self.at += len(self._view)
            self._view = memoryview(b"")

    def _more(self) -> bool:
        """Have bytes to read; False at the stream's end, and at a seam where bytes are missing."""
        if self.broken:
            return False
        for piece in self._stream:
            if isinstance(piece, Seam):
                self.reasons.append(piece.reason)
                self.broken = piece.broken
                if self.broken:
                    return False
            elif piece:
                self._view = memoryview(piece)
                return True
        return False

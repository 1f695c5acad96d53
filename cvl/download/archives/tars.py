"""Reading a tar member by member, and past what is damaged.

Nothing in a tar tells whether a member's content is right, so a member counts only when what follows it is a header in
its place, or the archive's end: bytes that are missing or too many put everything behind them out of step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from cvl.download.archives.blocks import Blocks
from cvl.download.archives.headers import (
    BLOCK,
    LONGEST_RECORD,
    ZEROS,
    Header,
    Told,
    damaged_name,
    read_header,
    read_record,
)
from cvl.download.archives.names import Selection, shown
from cvl.download.archives.stream import Stream
from cvl.errors import ArchiveError


class Sink(Protocol):
    """Takes what wanted members hold. Every `begin` is followed by pieces, and then by `keep` or `drop`."""

    def begin(self, place: str, size: int) -> None:
        """A member begins.

        Raises:
            ArchiveError: it must not land there.
        """

    def piece(self, piece: memoryview) -> None:
        """The next bytes of its content."""

    def keep(self) -> None:
        """It was whole."""

    def drop(self, reason: str) -> None:
        """It was not."""

    def lose(self, place: str) -> None:
        """A member that never began is lost, and this is where it would have landed."""

    def gap(self, text: str) -> None:
        """Members without a name may be lost."""

    def damage(self, reason: str) -> None:
        """Something is wrong with the archive."""


_NOTHING = Told()


@dataclass
class _Step:
    """Where the reader is.

    Args:
        last: name of the last member.
        told: what records said of the next one.
        open: whether a member was read that is neither kept nor dropped.
        seams: how many of them lie within the last member.
        ended: whether the last block was an empty one, as two are at an archive's end.
    """

    last: str = ""
    told: Told = _NOTHING
    open: bool = False
    seams: int = 0
    ended: bool = False


class TarReader:
    """Reads one tar.

    Args:
        stream: its bytes.
        selection: what is wanted of it.
        sink: what becomes of that.
    """

    def __init__(self, stream: Stream, selection: Selection, sink: Sink) -> None:
        self._blocks = Blocks(stream)
        self._selection = selection
        self._sink = sink
        self._step = _Step()

    def read(self) -> None:
        """Read it to its end.

        Raises:
            ArchiveError: it holds nothing, or something that must not be written.
        """
        found = False
        for header in self._headers():
            found = True
            if header.is_record:
                self._step.told = read_record(header, self._record(header), self._step.told)
            else:
                self._member(header, self._step.told)
                self._step.told = _NOTHING
        if not found:
            self._report_damage()
            raise ArchiveError("damaged, or neither a zip nor a tar: it holds no member that can be read")

    def _headers(self) -> Iterator[Header]:
        """Every header; between two of them the content has to be read."""
        while True:
            block = self._blocks.block()
            if block == ZEROS:
                # The archive ends with two of them, and some go on behind.
                self._close(in_step=True)
                self._step.ended = True
            elif header := read_header(block) if len(block) == BLOCK else None:
                yield self._next(header)
            elif (header := self._resume(block)) is None:
                return
            else:
                yield header

    def _next(self, header: Header) -> Header:
        self._close(in_step=True)
        self._step.ended = False
        self._report_damage()
        return header

    def _close(self, *, in_step: bool) -> None:
        """Decide on the last member, now that it is known what follows."""
        if not self._step.open:
            return
        self._step.open = False
        if in_step:
            self._sink.keep()
        else:
            self._sink.drop("what follows it is out of step")

    def _resume(self, block: bytes) -> Header | None:
        """Go on behind what is no header; None at the end."""
        blocks, step = self._blocks, self._step
        at = blocks.at
        header = blocks.search(block)
        # With a seam within the last member, only a header in its place would have shown that nothing is missing.
        # One behind it did it no harm; without one, that the next header is out of step did.
        doubtful = step.seams > 0
        behind = len(blocks.reasons) > step.seams
        if header is None:
            # What follows the end is nobody's; without an end, the last member is whole all the same if it was read.
            self._close(in_step=not doubtful)
            if not step.ended:
                self._lose(block, "", "it has no end")
            self._report_damage()
            return None
        step.told = _NOTHING
        self._close(in_step=not doubtful and (behind or (blocks.at - at) % BLOCK == 0))
        self._lose(block, header.name, f"no header at byte {at - len(block):,} of the tar")
        return self._next(header)

    def _lose(self, block: bytes, following: str, reason: str) -> None:
        """Tell of damage, and name what is lost where a header should have been."""
        if not self._blocks.reasons:
            self._sink.damage(reason)
        name = damaged_name(block).removeprefix("./") if len(block) == BLOCK else ""
        try:
            place = self._selection.place(name) if name else None
        except ArchiveError:
            place = None
        if place is not None:
            self._sink.lose(place)
        elif not name:
            last = f"`{shown(self._step.last)}`" if self._step.last else "the beginning"
            self._sink.gap(f"what stood between {last} and {f'`{shown(following)}`' if following else 'the end'}")

    def _report_damage(self) -> None:
        for reason in self._blocks.reasons:
            self._sink.damage(reason)
        self._blocks.reasons.clear()

    def _record(self, header: Header) -> bytes:
        if header.size > LONGEST_RECORD:
            raise ArchiveError(f"a record of {header.size:,} bytes stands before a member: expected {LONGEST_RECORD:,}")
        content = b"".join(self._blocks.pieces(header.size))
        self._skip(-header.size % BLOCK)
        return content

    def _member(self, header: Header, told: Told) -> None:
        name = (header.name if told.name is None else told.name).removeprefix("./")
        size = header.size if told.size is None else told.size
        self._step.last = name
        place = None if header.is_folder else self._selection.place(name)
        if place is None:
            self._skip(size + -size % BLOCK if header.has_content else 0)
            return
        if told.sparse or header.is_sparse:
            raise ArchiveError(f"the member `{shown(name)}` is a file with holes, which is not read here")
        if not header.is_file:
            raise ArchiveError(f"the member `{shown(name)}` is a link or a device")
        self._sink.begin(place, size)
        here = 0
        for piece in self._blocks.pieces(size):
            here += len(piece)
            self._sink.piece(piece)
        if here < size:
            self._sink.drop(f"it ends after {here:,} of {size:,} bytes")
            return
        self._skip(-size % BLOCK)
        self._step.open = True
        self._step.seams = len(self._blocks.reasons)

    def _skip(self, size: int) -> None:
        for _ in self._blocks.pieces(size):
            pass

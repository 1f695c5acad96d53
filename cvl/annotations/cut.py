"""Where an instruction file can be cut between two records: a quick guess, and a proof.

Files are written by programs: between any two records of one stand the same bytes, and every record begins with the
same key. `Cutter` learns these bytes from the first two records and looks for them near the place where a cut is
wanted. That they are found there proves nothing. The proof is the JSON parser's: what begins at a record and, put into
brackets, is an array from its first byte to its last, ends at a record's end. By induction a file whose every piece
passes is cut well, and pieces can be read by several processes that do not wait for each other.

Where the turns have been read already and no text holds a brace, the braces tell the records apart in half the time:
every record has one more than it has turns.

Where a guess fails, `cvl.annotations.scanner` finds the way without guessing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from cvl.annotations.buffer import Buffer, Spans
from cvl.annotations.records import UNREADABLE

_OPENING = re.compile(rb'\{\s*"[^"\\]{1,64}"')
_LONGEST_GAP = 64
_BRACE = ord("{")
_PARSER = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True)
class Cutter:
    """What stands between two records of one file.

    Args:
        gap: the bytes between the end of a record and the start of the next, a comma among them.
        opening: what each record begins with.
    """

    gap: bytes
    opening: bytes

    @property
    def mark(self) -> bytes:
        """What is looked for: the end of a record, the gap, and the start of the next."""
        return b"}" + self.gap + self.opening

    def pieces(self, buffer: Buffer, begin: int, size: int) -> list[tuple[int, int]]:
        """Guesses pieces of about `size` bytes, from a record's start to a record's end. The last record is in none.

        Args:
            begin: where a record starts.
        """
        found = []
        while (cut := self._find(buffer, begin + size)) is not None:
            found.append((begin, cut))
            begin = cut + len(self.gap)
        if (last := self._find_last(buffer, begin, len(buffer))) is not None:
            found.append((begin, last))
        return found

    def windows(self, buffer: Buffer, begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
        """Guesses windows of at most about `size` bytes, likewise; together they are all of one piece."""
        while end - begin > size:
            cut = self._find_last(buffer, begin, begin + size) or self._find(buffer, begin + size)
            if cut is None or cut >= end:
                break
            yield begin, cut
            begin = cut + len(self.gap)
        yield begin, end

    def first(self, buffer: Buffer, begin: int, size: int) -> int | None:
        """Guesses the end of the last record that ends within `size` bytes from `begin`; None if there is none."""
        return self._find_last(buffer, begin, begin + size)

    def spans(self, array: bytes, begin: int, turns: NDArray[np.int64] | None = None) -> Spans | None:
        """Offsets and lengths of the records in `array`; None if they are not what was guessed.

        Args:
            array: of records, as `bracketed` gives them.
            begin: where in the file the first one begins.
            turns: how many objects a parser has found in each record, if one has read them all.
        """
        lengths = self._lengths_by_braces(array, turns) if turns is not None else None
        if lengths is None:
            lengths = _lengths_by_parser(array)
        if lengths is None or not lengths.size:
            return None
        ends = np.cumsum(lengths + len(self.gap)) - len(self.gap)
        if int(ends[-1]) != len(array) - 2 or array[-2:] != b"}]" or not self._marked(array, ends[:-1]):
            return None
        return (begin + ends - lengths).astype(np.uint64), lengths.astype(np.uint64)

    def _lengths_by_braces(self, array: bytes, turns: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The lengths of records that a parser has read; None where a brace stands in a text or in another field."""
        braces = np.flatnonzero(np.frombuffer(array, dtype=np.uint8) == _BRACE)
        if braces.size != turns.size + turns.sum():
            return None
        starts = braces[np.cumsum(turns + 1) - turns - 1]
        lengths: NDArray[np.int64] = np.diff(starts, append=len(array) - 1 + len(self.gap)) - len(self.gap)
        return lengths

    def _marked(self, array: bytes, ends: NDArray[np.int64]) -> bool:
        """Whether records end at these places, the gap following."""
        view = np.frombuffer(array, dtype=np.uint8)
        return all(bool((view[ends + step] == byte).all()) for step, byte in enumerate(b"}" + self.gap))

    def _find(self, buffer: Buffer, begin: int) -> int | None:
        found = buffer.find(self.mark, begin)
        return found + 1 if found >= 0 else None

    def _find_last(self, buffer: Buffer, begin: int, end: int) -> int | None:
        found = buffer.rfind(self.mark, begin, min(end + len(self.mark), len(buffer)))
        return found + 1 if found >= 0 else None


def _lengths_by_parser(array: bytes) -> NDArray[np.int64] | None:
    """The lengths of the array's elements; None if it is none."""
    try:
        found = _PARSER.decode(array)
    except UNREADABLE:
        return None
    return np.fromiter(map(len, found), np.int64, len(found))


def bracketed(buffer: Buffer, begin: int, end: int) -> bytes:
    """The records from `begin` to `end` as a JSON array."""
    return b"".join((b"[", buffer[begin:end], b"]"))


def learn(buffer: Buffer, first_end: int, second_start: int) -> Cutter | None:
    """What stands between the first two records; None where nothing can be learnt from it."""
    gap = bytes(buffer[first_end:second_start])
    opening = _OPENING.match(bytes(buffer[second_start : second_start + 2 * _LONGEST_GAP]))
    if opening is None or len(gap) > _LONGEST_GAP or buffer[first_end - 1 : first_end] != b"}":
        return None
    return Cutter(gap, opening[0])

"""How many words there are in many texts, and where some marks stand in them: asked of all of them at once.

A word is what `str.split` makes of a text. Splitting makes an object of every word; over a file of gigabytes that took
more time than all the rest of its indexing. So the texts are laid one after another as UTF-8, and numpy counts where a
word begins. Texts with white space beyond ASCII, of which there are few, are split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.int64]
Positions: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Bits: TypeAlias = NDArray[np.uint64]
"""A flag in each bit, 64 in a number, of which the processor counts the bits that are set."""
_Bytes: TypeAlias = NDArray[np.uint8]

_SPACE, _LINE_FEED = np.uint8(32), np.uint8(10)
_AFTER_LINE_FEED = np.uint8(11)
_PADDING = "\n" * 16
_WIDEST_BLANK = 0x3000


def _wide_blanks() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The white space beyond ASCII as numbers of two and of three bytes of UTF-8; there is none of four."""
    encoded = [chr(code).encode() for code in range(128, _WIDEST_BLANK + 1) if chr(code).isspace()]
    return tuple(  # type: ignore[return-value]
        np.array([int.from_bytes(text) for text in encoded if len(text) == length]) for length in (2, 3)
    )


_WIDE_BLANKS = _wide_blanks()
_WIDE_LEADS = np.zeros(256, np.bool_)
_WIDE_LEADS[[number >> 8 for number in _WIDE_BLANKS[0]] + [number >> 16 for number in _WIDE_BLANKS[1]]] = True


@dataclass(frozen=True, eq=False)
class Texts:
    """Many texts, laid one after another, each after a line feed.

    Args:
        values: the texts.
        codes: of all of them, as UTF-8.
        bounds: where each text begins in `codes`, and behind the last, where it would.
        is_ascii: whether all of them are.
    """

    values: Sequence[str]
    codes: _Bytes
    bounds: Positions
    is_ascii: bool
    _places: dict[int, Positions] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Sequence[str]) -> Texts:
        """These texts. Raises UnicodeEncodeError for half of a surrogate pair."""
        joined = "\n".join(["", *values, _PADDING])
        sizes = map(len, values if joined.isascii() else map(str.encode, values))
        bounds = np.append(0, np.cumsum(np.fromiter(sizes, np.int64, len(values)) + 1))
        return cls(values, np.frombuffer(joined.encode(), dtype=np.uint8), bounds, joined.isascii())

    def words(self) -> Counts:
        """How many words each text has."""
        counts = _counts_between(_begins(self._blanks()), self.bounds)
        if not self.is_ascii:
            for number in np.flatnonzero(self._with_wide_blanks()).tolist():
                counts[number] = len(self.values[number].split())
        return counts

    def holding(self, *marks: bytes) -> Flags:
        """Whether each text holds one of these marks."""
        return self._at(np.concatenate([self._places_of(mark) for mark in marks]))

    def may_hold(self, mark: bytes) -> bool:
        """False where a rare mark of three bytes or more is in no text, seen in half the time that `holding` takes.

        Wherever it may begin, its first two bytes or the two from the second on stand at an even place.
        """
        pairs = self.codes[: self.codes.size & ~1].view(np.uint16)
        return any(bool((pairs == np.frombuffer(pair, np.uint16)).any()) for pair in (mark[:2], mark[1:3]))

    def _places_of(self, mark: bytes) -> Positions:
        places = self._beginning_with(mark[0])
        for step, byte in enumerate(mark[1:], 1):
            places = places[self.codes[places + step] == byte]
        return places

    def _beginning_with(self, first: int) -> Positions:
        if first not in self._places:
            self._places[first] = np.flatnonzero(self.codes[: -len(_PADDING)] == first)
        return self._places[first]

    def _at(self, places: Positions) -> Flags:
        """Whether one of these places lies in each text."""
        flags = np.zeros(len(self.values), np.bool_)
        flags[np.searchsorted(self.bounds, places, side="right") - 1] = True
        return flags

    def _blanks(self) -> Flags:
        """Whether each byte is what `str.isspace` names in ASCII: the space, 9 to 13 and 28 to 31."""
        codes = self.codes
        # Nearly always there is nothing else up to the space than it and line feeds. What is below wraps to the top.
        if codes.min() >= _LINE_FEED and (codes - _AFTER_LINE_FEED).min() >= _SPACE - _AFTER_LINE_FEED:
            low: Flags = codes <= _SPACE
            return low
        blank: Flags = (codes == _SPACE) | (codes - np.uint8(9) <= 4) | (codes - np.uint8(28) <= 3)
        return blank

    def _with_wide_blanks(self) -> Flags:
        """Whether each text has white space beyond ASCII."""
        leads = np.flatnonzero(self.codes >= 128)
        leads = leads[_WIDE_LEADS[self.codes[leads]]]
        pair = self.codes[leads].astype(np.int64) << 8 | self.codes[leads + 1]
        triple = pair << 8 | self.codes[leads + 2]
        return self._at(leads[np.isin(pair, _WIDE_BLANKS[0]) | np.isin(triple, _WIDE_BLANKS[1])])


def words_in(groups: Sequence[Sequence[str]]) -> Counts:
    """For each group of texts, the sum of `len(text.split())` over them."""
    counts = Texts.of([text for texts in groups for text in texts]).words()
    return sums_of(counts, np.fromiter(map(len, groups), np.int64, len(groups)))


def sums_of(values: Counts | Flags, sizes: Counts) -> Counts:
    """The sums over groups of values that follow one another, of so many each; of flags, how many are set."""
    totals = np.append(0, np.cumsum(values))
    sums: Counts = np.diff(totals[np.append(0, np.cumsum(sizes))])
    return sums


def _begins(blanks: Flags) -> Bits:
    """Where a blank is followed by something else: there a word begins."""
    packed = np.packbits(blanks, bitorder="little")
    bits = np.append(packed, np.zeros(-packed.size % 8 + 8, np.uint8)).view("<u8")
    following = bits >> np.uint64(1)
    following[:-1] |= bits[1:] << np.uint64(63)
    begins: Bits = bits & ~following
    return begins


def _counts_between(bits: Bits, bounds: Positions) -> Counts:
    """How many bits are set from each bound to the next."""
    before = np.append(0, np.cumsum(np.bitwise_count(bits), dtype=np.int64))
    word, bit = bounds >> 6, (bounds & 63).astype(np.uint64)
    below = np.bitwise_count(bits[word] & ((np.uint64(1) << bit) - np.uint64(1)))
    counts: Counts = np.diff(before[word] + below)
    return counts

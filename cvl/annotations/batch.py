"""Many records at once: which of them are as they should be, told without looking at each.

Nearly all records are regular: a question and an answer in turn, `<image>` in one of them if there is a picture and in
none if not. To see that of a million records one by one takes longer than to read them. Here the turns of a window are
laid one after another and numpy tells the regular records; whatever is not certainly regular is left to
`cvl.annotations.records.examine`, which alone says what a problem is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Annotated

import msgspec
import numpy as np

from cvl.annotations.records import GPT, HUMAN, PLACEHOLDER, SIGNAL, SPECIAL
from cvl.annotations.words import Counts, Flags, Texts, sums_of

_OTHER = 2


class _Turn(msgspec.Struct, rename={"speaker": "from"}, gc=False):
    speaker: str
    value: str


class _Record(msgspec.Struct, gc=False):
    conversations: Annotated[list[_Turn], msgspec.Meta(min_length=1)]
    image: str | None = None


class _Speakers(dict[str, int]):
    """Numbers of the speakers; the number of whoever has none."""

    def __missing__(self, _name: str) -> int:
        return _OTHER


_DECODER = msgspec.json.Decoder(list[_Record])
_NUMBER_OF = _Speakers({HUMAN: 0, GPT: 1})


@dataclass(frozen=True, eq=False)
class Batch:
    """What the index needs of some records that follow one another.

    Args:
        images: the path that each names, "" where it names none.
        turns: how many each has.
        words: how many words they have.
        irregular: the numbers of records that may have a problem, counted from the first of the batch.
    """

    images: list[str]
    turns: Counts
    words: Counts
    irregular: Counts


def read_batch(array: bytes) -> Batch | None:
    """The records of a JSON array; None if one of them is not of the usual shape, or no JSON."""
    try:
        records = _DECODER.decode(array)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    images = [record.image or "" for record in records]
    if "\0" in "".join(images):
        return None
    conversations = [record.conversations for record in records]
    turns = list(chain.from_iterable(conversations))
    sizes = np.fromiter(map(len, conversations), np.int64, len(records))
    texts = Texts.of(list(map(attrgetter("value"), turns)))
    words = texts.words()
    speakers = _numbers(list(map(attrgetter("speaker"), turns)))
    regular = _in_turn(speakers, sizes) & _placed(images, texts, sizes) & _answered(texts, words, speakers, sizes)
    return Batch(images, sizes, sums_of(words, sizes), np.flatnonzero(~regular))


def _numbers(speakers: list[str]) -> Counts:
    """The numbers of the speakers, which nearly always take turns: that is seen at once."""
    if speakers == [HUMAN, GPT] * (len(speakers) // 2):
        return np.arange(len(speakers)) & 1
    return np.fromiter(map(_NUMBER_OF.__getitem__, speakers), np.int64, len(speakers))


def _in_turn(speakers: Counts, sizes: Counts) -> Flags:
    """Which records begin with a question and end with an answer, one after the other."""
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    expected = (np.arange(speakers.size) - first) & 1
    in_turn: Flags = (sums_of(speakers != expected, sizes) == 0) & (sizes % 2 == 0)
    return in_turn


def _placed(images: Sequence[str], texts: Texts, sizes: Counts) -> Flags:
    """Which records have the placeholder in one turn if they name a picture, and in none if not."""
    pictured = np.fromiter(map(bool, images), np.int64, len(images))
    placed: Flags = sums_of(texts.holding(PLACEHOLDER.encode()), sizes) == pictured
    return placed


def _answered(texts: Texts, words: Counts, speakers: Counts, sizes: Counts) -> Flags:
    """Which records have no empty answer, and nothing in a text that looks like a part of the template."""
    faulty = (words == 0) & (speakers != 0) | texts.holding(*map(str.encode, SPECIAL))
    if texts.may_hold(SIGNAL.encode()):
        faulty |= texts.holding(SIGNAL.encode())
    answered: Flags = sums_of(faulty, sizes) == 0
    return answered

"""Records drawn by chance, the same ones each time: a page made twice of the same tree is the same page."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cvl.annotations import Index
from cvl.annotations.records import HUMAN, PLACEHOLDER
from cvl.errors import AnnotationError

PER_FILE = 6
"""Records that are shown of each instruction file."""


@dataclass(frozen=True)
class Sample:
    """One record of an instruction file.

    Args:
        annotation: the instruction file's name.
        record: its number, from 0.
        image: the path of its picture in the tree, None for a record of text only.
        question: what is asked first, without the picture's placeholder; None where nothing is.
    """

    annotation: str
    record: int
    image: str | None
    question: str | None


def samples(indexes: Mapping[str, Index]) -> Iterator[Sample]:
    """Some records of each instruction file, in their order."""
    for name, index in indexes.items():
        for number in draw(name, index, PER_FILE):
            image = index.image(number)
            path = f"{index.source.images}/{image}" if image is not None else None
            yield Sample(name, number, path, _question(index, number))


def draw(purpose: str, index: Index, count: int) -> list[int]:
    """Numbers of different records, ascending; a `purpose` always draws the same ones of a file of the same length."""
    # A text for a seed is hashed by its bytes, so the draw is the same in every process.
    return sorted(random.Random(purpose).sample(range(len(index)), min(count, len(index))))


def _question(index: Index, number: int) -> str | None:
    try:
        return first_question(index.record(number))
    except AnnotationError:
        # The file was changed while the page was made; verification says so of what matters.
        return None


def first_question(record: object) -> str | None:
    """What the first turn by human says, without `<image>`; None where there is none, or the record is misshapen."""
    turns = record.get("conversations") if isinstance(record, dict) else None
    for turn in turns if isinstance(turns, list) else ():
        if isinstance(turn, dict) and turn.get("from") == HUMAN:
            value = turn.get("value")
            return value.replace(PLACEHOLDER, "").strip() if isinstance(value, str) else None
    return None

"""From the bytes of an instruction file to the columns of its index, a window at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cvl.annotations.batch import Batch
from cvl.annotations.buffer import Spans
from cvl.annotations.grouped import Grouped, grouped, merged
from cvl.annotations.index import COLUMNS
from cvl.annotations.records import UNREADABLE, Findings, Problem, decode, examine
from cvl.annotations.scanner import AGAIN
from cvl.annotations.words import words_in
from cvl.errors import AnnotationError

Columns: TypeAlias = dict[str, NDArray[Any]]
_TURNS_MAX = np.iinfo(np.uint16).max


def columns_of(array: bytes, where: str, spans: Spans, number: int, batch: Batch | None) -> tuple[Columns, Grouped]:
    """The columns of the records at `spans`, and the pictures that they name by folder.

    Args:
        array: all of these records, as `bracketed` gives them.
        where: the file's name, for messages.
        number: of the first of these records.
        batch: what `read_batch` makes of them.

    `image_start` holds the ends of the paths, counted from the first byte of this window's.

    Raises:
        AnnotationError: a record is no JSON, or no UTF-8.
    """
    starts, lengths = spans
    window = _Window(array, where, spans, number)
    window.check_text()
    # The commas between records are no part of them, so another number than was cut means another cut.
    if batch is None or len(batch.images) != len(starts):
        images, columns = _one_by_one([window.findings(row) for row in range(len(starts))])
    else:
        images, columns = batch.images, _together(window, batch)
    columns |= _images(images) | {"offset": starts, "length": lengths}
    return {name: values.astype(COLUMNS[name], copy=False) for name, values in columns.items()}, grouped(images)


def joined(windows: Sequence[tuple[Columns, Grouped]]) -> tuple[Columns, Grouped]:
    """The columns of windows that follow one another, as those of one."""
    ends = np.cumsum([columns["images"].size for columns, _ in windows], dtype=np.uint64)
    shifted = [
        columns | {"image_start": columns["image_start"] + end - np.uint64(columns["images"].size)}
        for (columns, _), end in zip(windows, ends, strict=True)
    ]
    together = {name: np.concatenate([columns[name] for columns in shifted]) for name in shifted[0]}
    return together, merged(group for _, group in windows)


@dataclass(frozen=True, eq=False)
class _Window:
    """What `columns_of` was given."""

    array: bytes
    where: str
    spans: Spans
    number: int

    def check_text(self) -> None:
        """Looks at all of the text: the decoder skips fields that the index does not need, but training reads them."""
        if self.array.isascii():
            return
        try:
            self.array.decode()
        except UnicodeDecodeError as error:
            at = self._begin + error.start
            raise AnnotationError(f"{self.where}: byte {at}: not UTF-8: {error.reason}", hint=AGAIN) from error

    def findings(self, row: int) -> Findings:
        """What is to be said of one record."""
        start, length = int(self.spans[0][row]), int(self.spans[1][row])
        first = start - self._begin
        raw = self.array[first : first + length]
        try:
            return examine(decode(raw))
        except UNREADABLE as error:
            if _is_lenient_json(raw):
                return Findings("", [], 0, int(Problem.NOT_STRICT_JSON))
            message = f"{self.where}: record {self.number + row}, {length} bytes at {start}, cannot be read: {error}"
            raise AnnotationError(message, hint=AGAIN) from error

    @property
    def _begin(self) -> int:
        """Where in the file the array's first byte would stand, which is a bracket of ours."""
        return int(self.spans[0][0]) - 1


def _together(window: _Window, batch: Batch) -> Columns:
    problems = np.zeros(len(batch.images), COLUMNS["problems"])
    for row in batch.irregular.tolist():
        problems[row] = window.findings(row).problems
    return {"words": batch.words, "turns": np.minimum(batch.turns, _TURNS_MAX), "problems": problems}


def _one_by_one(found: list[Findings]) -> tuple[list[str], Columns]:
    columns: Columns = {
        "words": words_in([findings.texts for findings in found]),
        "turns": np.minimum([findings.turns for findings in found], _TURNS_MAX),
        "problems": np.array([findings.problems for findings in found]),
    }
    return [findings.image for findings in found], columns


def _images(images: list[str]) -> Columns:
    text = np.frombuffer("\0".join([*images, ""]).encode(), dtype=np.uint8)
    # The end of each is the start of the next.
    return {"image_start": np.flatnonzero(text == 0) + 1, "images": text}


def _is_lenient_json(raw: bytes) -> bool:
    """Whether Python's own reader takes these bytes: it lets NaN and lone surrogates pass, which are no damage."""
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True

"""The records that a stage trains on, and those that it leaves out, by reason.

A mix knows the instruction files by their memory-mapped indexes and the records by number: some bytes a record, however
long the texts are. It may be sent to other processes, which open the indexes anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cvl.annotations import FATAL, AnnotationFile, Index, Problem
from cvl.annotations.place import Notes, notes_of
from cvl.annotations.records import MENDED
from cvl.annotations.skiplist import SkipEntry
from cvl.errors import AnnotationError, UsageError
from cvl.events import Event, EventKind, Reporter, silent
from cvl.manifest import Annotation, Catalog
from cvl.root import Root

BadRecords = Literal["mend", "skip", "error"]
"""What becomes of records that are not as they should be. `mend`: where there is a stated way to read one it is kept
and counted as a remark, the others are left out. `skip`: all are left out. `error`: the first file with any is refused.
"""
"""The problems that are no reason to leave a record out, and how each is read."""

_NAMED = 5
"""How many records an error names for each problem."""


@dataclass(frozen=True, eq=False)
class Part:
    """What a stage takes of one instruction file.

    Args:
        name: the instruction file's.
        index: of the instruction file.
        images: the folder that its image paths are relative to.
        numbers: the records that are trained on, ascending.
        skipped: how many are left out, by reason; each under the first that holds, so that they add up.
        remarks: how many are kept although something is odd about them, by what it is; one may have several.
    """

    name: str
    index: Index
    images: Path
    numbers: NDArray[np.uint32]
    skipped: Mapping[str, int]
    remarks: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def pictures(self) -> int:
        """How many of the records name a picture; the others are text-only."""
        return int(np.count_nonzero(self.index.has_image[self.numbers]))

    def lengths(self) -> NDArray[np.int64]:
        """The words of each record, negative for text-only ones.

        A record without any word counts as one of one word: 0 would have no sign, and the published code stops there.
        """
        words = np.maximum(self.index.words[self.numbers].astype(np.int64), 1)
        return np.where(self.index.has_image[self.numbers], words, -words)


@dataclass(frozen=True, eq=False)
class Mix:
    """The records of one stage, numbered from 0 through all of its parts.

    Args:
        parts: one an instruction file, in the order in which they are joined.
        unverified: names of parts whose pictures nobody has looked for: the skip list does not speak of them.
    """

    parts: tuple[Part, ...]
    unverified: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self._ends[-1] if self.parts else 0

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(len(part) for part in self.parts))

    @property
    def skipped(self) -> Mapping[str, int]:
        """How many records of all parts are left out, by reason."""
        return sum((Counter(part.skipped) for part in self.parts), Counter())

    def locate(self, number: int) -> tuple[Part, int]:
        """The part that record `number` of the mix belongs to, and its number in the instruction file.

        Raises:
            IndexError: the mix has no such record.
        """
        number = range(len(self))[number]
        position = bisect_right(self._ends, number)
        part = self.parts[position]
        # Counted from the part's end, which is known, as its beginning is the end of the one before.
        return part, int(part.numbers[number - self._ends[position]])

    def lengths(self) -> NDArray[np.int64]:
        """The words of each record, negative for text-only ones; none is 0. The measure that batches are grouped by."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(part.lengths() for part in self.parts)])


def read_mix(
    catalog: Catalog,
    root: Root,
    stage: int,
    *,
    bad_records: BadRecords = "mend",
    progress: Reporter = silent,
) -> Mix:
    """The records that `stage` trains on: those of its instruction files that can be read and are not on the skip list.

    Args:
        progress: is told of indexes that have to be built first.

    Raises:
        UsageError: there is no such stage, or the skip list speaks of another version of one.
        AnnotationError: an instruction file is absent or broken, or has bad records where these are to be errors.
        DiskError: an index cannot be written.
    """
    notes = notes_of(root)
    skiplist = notes.skips()
    parts, unverified = [], []
    if stage not in catalog.stages:
        raise UsageError(f"there is no stage {stage}", hint="stages are 1, 2 and 3")
    for annotation in catalog.stage_annotations(stage):
        index = _index(catalog, root, notes, annotation, progress)
        entry = skiplist.get(annotation.name)
        if entry is not None and not entry.speaks_of(index):
            problem = f"{notes.skiplist} speaks of another version of {index.source.path}"
            raise UsageError(problem, hint=f"run `cvl verify-layout --stage {stage}` again")
        if bad_records == "error":
            _refuse_bad(index)
        part = _part(index, root.at(annotation.image_root), entry, bad_records)
        parts.append(part)
        if entry is None and part.pictures:
            unverified.append(annotation.name)
    return Mix(tuple(parts), tuple(unverified))


def _index(catalog: Catalog, root: Root, notes: Notes, annotation: Annotation, progress: Reporter) -> Index:
    source = catalog.annotations[annotation.name][0]
    file = AnnotationFile(annotation.name, root.at(annotation.path), annotation.image_root)
    return notes.index(file, partial(_tell, progress, annotation.name, source))


def _tell(progress: Reporter, name: str, source: str, done: int, total: int | None) -> None:
    progress(Event(EventKind.PROGRESS, name, source, done, total))


def _part(index: Index, images: Path, entry: SkipEntry | None, bad_records: BadRecords) -> Part:
    kept = np.ones(len(index), dtype=np.bool_)
    skipped: dict[str, int] = {}
    for reason, concerned in _reasons(index, entry, bad_records):
        if count := int(np.count_nonzero(kept & concerned)):
            skipped[reason] = count
            kept &= ~concerned
    numbers = np.flatnonzero(kept).astype(np.uint32)
    return Part(index.source.name, index, images, numbers, skipped, _remarks(index, numbers))


def _reasons(index: Index, entry: SkipEntry | None, bad_records: BadRecords) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Every reason to leave records out, and for each record whether it holds."""
    # The fatal ones first: who says nothing at all has an empty answer too.
    for problem in sorted(index.problem_counts, key=lambda problem: not problem & FATAL):
        if bad_records != "mend" or problem & FATAL:
            yield problem.label, _having(index, problem)
    if entry is not None:
        # What is wrong with the records themselves stands here too, and finds none left.
        yield from ((reason.replace("-", " "), entry.mask(reason)) for reason in entry.reasons)


def _remarks(index: Index, numbers: NDArray[np.uint32]) -> dict[str, int]:
    counts = {problem: int(np.count_nonzero(_having(index, problem)[numbers])) for problem in index.problem_counts}
    return {f"{problem.label}: {MENDED[problem]}": count for problem, count in counts.items() if count}


def _having(index: Index, problem: Problem) -> NDArray[np.bool_]:
    having: NDArray[np.bool_] = (index.problems & np.uint16(problem)) != 0
    return having


def _refuse_bad(index: Index) -> None:
    """Raises AnnotationError with the number and the first records of each problem, if there is any."""
    if not index.problem_counts:
        return
    found = "; ".join(_told(index, problem) for problem in index.problem_counts)
    hint = "--set bad_records=mend reads what can be read, --set bad_records=skip leaves them all out"
    raise AnnotationError(f"{index.source.path} has bad records: {found}", hint=hint)


def _told(index: Index, problem: Problem) -> str:
    numbers = np.flatnonzero(_having(index, problem))
    first = ", ".join(map(str, numbers[:_NAMED].tolist()))
    more = ", …" if len(numbers) > _NAMED else ""
    return f"{problem.label} ({len(numbers):,}: record {first}{more})"

"""Which pictures an instruction file names, and which records are left out for them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import compress, count

import numpy as np
from numpy.typing import NDArray

from cvl.annotations import FATAL, Index
from cvl.annotations import Problem as Defect
from cvl.annotations.grouped import Grouped
from cvl.annotations.names import Names
from cvl.annotations.skiplist import Skips
from cvl.manifest import Annotation, Catalog
from cvl.verify.schema import label
from cvl.verify.tree import prefixed


@dataclass(frozen=True, eq=False)
class Named:
    """One instruction file that can be read, and what it names.

    Args:
        annotation: which one.
        source: that brings it.
        index: of all its records, or of the names alone.
    """

    annotation: Annotation
    source: str
    index: Index | Names

    def by_folder(self) -> Grouped:
        """The names of its pictures by folder, as paths of the tree."""
        root = self.annotation.image_root
        return {f"{root}/{folder}" if folder else root: text for folder, text in self.index.by_folder().items()}

    def paths(self) -> Iterator[list[bytes]]:
        """Yields the paths of the tree that its records name, in their order; `nothing` for those without a picture."""
        for text in self.index.image_text():
            yield prefixed(self.nothing, text)

    @property
    def nothing(self) -> bytes:
        """What stands in `paths` for a record that names no picture: no file has such a path."""
        return os.fsencode(self.annotation.image_root) + b"/"


@dataclass(frozen=True)
class Left:
    """The records of one instruction file that are left out.

    Args:
        skips: their numbers by reason; a record may have several.
        by_source: how many by source and reason, each record under the first reason that holds.
        faulty: how many have a picture that is missing or not sound.
        odd: how many of the others a stage leaves out that skips every bad record, by the first reason that holds.
        bad: how many are odd or cannot be trained on, whatever becomes of them.
    """

    skips: Skips
    by_source: Mapping[str, Mapping[str, int]]
    faulty: int = 0
    odd: Mapping[str, int] = field(default_factory=dict)
    bad: int = 0


def left_out(catalog: Catalog, named: Named, faults: Mapping[bytes, str]) -> Left:
    """The records that training leaves out: for what they are, and for the pictures in `faults`, with the reasons."""
    skips = _fatal(named.index)
    gone = np.zeros(len(named.index), np.bool_)
    sources: dict[str, Counter[str]] = {}
    for reason, numbers in skips.items():
        first = _first(gone, numbers)
        if first:
            sources.setdefault(named.source, Counter())[reason] += first
    owner = cache(catalog.owner)
    faulty = 0
    for number, path in _faulty(named, faults):
        reason = faults[path]
        faulty += 1
        skips.setdefault(reason, []).append(number)
        if not gone[number]:
            source = owner(os.fsdecode(path.rpartition(b"/")[0])) or ""
            sources.setdefault(source, Counter())[reason] += 1
            gone[number] = True
    by_source = {source: dict(reasons) for source, reasons in sources.items()}
    return Left(skips, by_source, faulty, _odd(named.index, gone), _bad(named.index))


def _faulty(named: Named, faults: Mapping[bytes, str]) -> Iterator[tuple[int, bytes]]:
    """The numbers of the records whose picture is in `faults`, and the picture."""
    start = 0
    for paths in named.paths() if faults else ():
        numbers = compress(count(), map(faults.__contains__, paths))
        yield from ((start + number, paths[number]) for number in numbers)
        start += len(paths)


def _fatal(index: Index | Names) -> Skips:
    return {label(defect): np.flatnonzero(flags).tolist() for defect, flags in _defects(index) if defect & FATAL}


def _odd(index: Index | Names, gone: NDArray[np.bool_]) -> dict[str, int]:
    """How many records that are not left out yet have a defect that is not fatal; marks them."""
    counts = {}
    for defect, flags in _defects(index):
        if not defect & FATAL and (count := int(np.count_nonzero(flags & ~gone))):
            counts[label(defect)] = count
            gone |= flags
    return counts


def _defects(index: Index | Names) -> Iterator[tuple[Defect, NDArray[np.bool_]]]:
    """What is wrong with the records themselves, and for each of them whether it is."""
    if isinstance(index, Names):
        return
    for defect in Defect:
        if defect in index.problem_counts:
            yield defect, (index.problems & int(defect)) != 0


def _bad(index: Index | Names) -> int:
    return 0 if isinstance(index, Names) else int(np.count_nonzero(index.problems))


def _first(gone: NDArray[np.bool_], numbers: list[int]) -> int:
    """How many of these records have not been left out before; marks them."""
    fresh = int(np.count_nonzero(~gone[numbers]))
    gone[numbers] = True
    return fresh

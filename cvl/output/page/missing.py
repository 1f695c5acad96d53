"""Which pictures are missing, by name: the first of each instruction file, however many there are.

The skip list that verification wrote has the record numbers, the indexes what those records name. Numbers are gone
through in windows, and only as far as there are rows to fill: memory and time do not grow with what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cvl.annotations import Index
from cvl.annotations.place import Notes
from cvl.annotations.skiplist import MISSING_IMAGE, SkipEntry
from cvl.errors import UsageError
from cvl.manifest import Catalog
from cvl.output.page.tally import MISSING
from cvl.verify.report import Report

UNCLAIMED = "no source"
ROWS = 3000
"""How many missing pictures are named."""

_WINDOW = 1 << 16


@dataclass(frozen=True)
class MissingPicture:
    """A picture that is named and not there.

    Args:
        path: of the tree.
        source: whose it is.
        annotation: an instruction file that names it; empty where only the report has its name.
        record: a record of that file, from 0; None likewise.
    """

    path: str
    source: str
    annotation: str = ""
    record: int | None = None


def missing_pictures(
    report: Report, catalog: Catalog, notes: Notes, indexes: Mapping[str, Index]
) -> tuple[MissingPicture, ...]:
    """At most `ROWS` missing pictures, each once: by the skip list, then what only the report's examples name."""
    entries = _entries(notes, indexes)
    shares = _shares({state.name: state.missing for state in report.annotations if state.name in entries})
    found: dict[str, MissingPicture] = {}
    for name, share in shares.items():
        room = len(found) + share
        for number, path in _named(indexes[name], entries[name]):
            if len(found) >= room:
                break
            found.setdefault(path, MissingPicture(path, catalog.owner(path) or UNCLAIMED, name, number))
    for problem in report.problems:
        for path in problem.examples if problem.kind in MISSING else ():
            if len(found) < ROWS:
                found.setdefault(path, MissingPicture(path, problem.source or UNCLAIMED))
    return tuple(found.values())


def _entries(notes: Notes, indexes: Mapping[str, Index]) -> dict[str, SkipEntry]:
    """What the skip list says of instruction files that are as they were, and of which pictures are missing."""
    try:
        entries = notes.skips()
    except (UsageError, OSError):
        # Another version of cvl wrote it, or it cannot be read: then the report's examples are all there is.
        return {}
    return {
        name: entries[name]
        for name, index in indexes.items()
        if name in entries and entries[name].speaks_of(index) and MISSING_IMAGE in entries[name].reasons
    }


def _shares(missing: Mapping[str, int]) -> dict[str, int]:
    """How many rows each instruction file gets: those with few get them all, and leave room to the others."""
    left, shares = ROWS, dict.fromkeys(missing, 0)
    for number, name in enumerate(sorted(missing, key=lambda name: missing[name])):
        shares[name] = min(missing[name], left // (len(missing) - number))
        left -= shares[name]
    return shares


def _named(index: Index, entry: SkipEntry) -> Iterator[tuple[int, str]]:
    """Number of each record whose picture is missing, and the picture's path in the tree."""
    mask = entry.mask(MISSING_IMAGE)
    for first in range(0, len(mask), _WINDOW):
        numbers = np.flatnonzero(mask[first : first + _WINDOW]) + first
        for number in numbers.tolist():
            image = index.image(number)
            if image is not None:
                yield number, f"{index.source.images}/{image}"

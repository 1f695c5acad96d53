"""Pictures that are there and are not what they should be, by name: as many as a page shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from cvl.annotations.place import Notes
from cvl.output.page.tally import DAMAGED
from cvl.root import Root
from cvl.verify.report import Kind, Problem, Report

SHOWN = 60
"""How many are shown at the most."""

_EACH = 12
_READ = 1 << 16


@dataclass(frozen=True)
class Damaged:
    """One picture: its path in the tree, its source, and the kind of its problem."""

    path: str
    source: str
    kind: Kind


def damaged_files(report: Report, root: Root, notes: Notes) -> Iterator[Damaged]:
    """At most `SHOWN` pictures, each once, some of every problem that is about such ones."""
    seen: set[str] = set()
    for problem in report.problems:
        if problem.kind in DAMAGED:
            for path in islice(_paths(problem, root, notes), _EACH):
                if path not in seen and len(seen) < SHOWN:
                    seen.add(path)
                    yield Damaged(path, problem.source, problem.kind)


def _paths(problem: Problem, root: Root, notes: Notes) -> Iterator[str]:
    """The paths that a problem is about: from the list that its cure reads, else those of its examples."""
    try:
        with (notes.lists / f"{problem.kind}-{problem.source or 'others'}").open("rb") as file:
            # Only its beginning is read, which may end in the middle of a name.
            listed = file.read(_READ).split(b"\0")[:-1]
    except OSError:
        listed = []
    if problem.kind is not Kind.NOT_JPEG and listed:
        yield from map(os.fsdecode, listed)
    else:
        yield from (_path_of(example, root) for example in problem.examples)


def _path_of(example: str, root: Root) -> str:
    """An example's path: some say after a colon what is wrong, and a name may have a colon as well."""
    parts = example.split(": ")
    for end in range(len(parts), 0, -1):
        path = ": ".join(parts[:end])
        try:
            if root.at(path).is_file():
                return path
        except (OSError, ValueError):
            # Too long for a name, or of bytes that none has: then it is not one.
            continue
    return example

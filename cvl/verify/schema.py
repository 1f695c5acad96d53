"""What is not as it should be with the records of an instruction file, with examples, and what training makes of it."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from cvl.annotations import FATAL, Index, Problem
from cvl.annotations.records import MENDED
from cvl.errors import AnnotationError
from cvl.verify.report import Example, Fate, Finding

EXAMPLES = 3
_WORDS = 60


def findings_of(index: Index) -> tuple[Finding, ...]:
    """Every problem that a record of this file has: those that training skips first, then by how many have it."""
    found = [_finding(index, problem, count) for problem, count in index.problem_counts.items()]
    return tuple(sorted(found, key=lambda finding: (finding.fate is not Fate.SKIPPED, -finding.count)))


def label(problem: Problem) -> str:
    """A problem as skip lists and reports write it: `empty-answer`."""
    return (problem.name or str(int(problem))).lower().replace("_", "-")


def _finding(index: Index, problem: Problem, count: int) -> Finding:
    numbers = np.flatnonzero(index.problems & np.uint16(problem))[:EXAMPLES].tolist()
    return Finding(
        problem=label(problem),
        label=problem.label,
        count=count,
        fate=Fate.SKIPPED if problem & FATAL else Fate.MENDED,
        meaning=MENDED.get(problem, ""),
        examples=tuple(_example(index, number) for number in numbers),
    )


def _example(index: Index, number: int) -> Example:
    try:
        record: Any = index.record(number)
    except AnnotationError as error:
        return Example(number, "", _short(str(error)))
    name = record.get("id") if isinstance(record, dict) else None
    return Example(number, "" if name is None else str(name), _short(_words(record)))


def _words(record: Any) -> str:
    """What the record says first, or, where it says nothing, what it is."""
    turns = record.get("conversations") if isinstance(record, dict) else None
    said = (turn.get("value") for turn in turns if isinstance(turn, dict)) if isinstance(turns, list) else ()
    texts = [text for text in islice(said, 2) if isinstance(text, str) and text.strip()]
    return " / ".join(texts) or str(record)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WORDS else text[: _WORDS - 1] + "…"

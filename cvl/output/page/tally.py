"""What a report says of each source and each stage, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from cvl.manifest import Catalog
from cvl.verify.report import AnnotationState, FolderState, Kind, Problem, Report, StagePlan

MISSING = frozenset({Kind.MISSING_IMAGES, Kind.WRONG_SUFFIX})
"""Kinds of problems that are about pictures which are named and not there under that name."""

DAMAGED = frozenset({Kind.NOT_JPEG, Kind.EMPTY_IMAGES, Kind.DAMAGED_IMAGES})
"""Kinds of problems that are about pictures which are there and are not what they should be."""


@dataclass(frozen=True)
class SourceTally:
    """One source.

    Args:
        name: as the user types it; empty for what no source claims.
        title: what it is.
        found: files in its folders.
        expected: how many there should be; None where nobody published a number for each folder.
        missing: pictures that an instruction file names and that are not there.
        damaged: pictures that are there and are not what they should be.
        problems: lines of the list of problems.
    """

    name: str
    title: str
    found: int
    expected: int | None
    missing: int
    damaged: int
    problems: int

    @property
    def share(self) -> float | None:
        """Files found of files expected, between 0 and 1; None where nobody knows."""
        return min(1.0, self.found / self.expected) if self.expected else None


@dataclass(frozen=True)
class StageTally:
    """One stage.

    Args:
        title: as the document calls it.
        plan: what it would do with the tree as it is.
        waits_for: why it is not complete, in words.
    """

    title: str
    plan: StagePlan
    waits_for: tuple[str, ...]


def damaged(report: Report) -> int:
    """Pictures that are there and are not what they should be."""
    return sum(problem.count for problem in report.problems if problem.kind in DAMAGED)


def sources(report: Report, catalog: Catalog) -> tuple[SourceTally, ...]:
    """Every source that the report speaks of, in the catalog's order; what no source claims comes last."""
    named = {folder.source for folder in report.folders} | {problem.source for problem in report.problems}
    ordered = [name for name in catalog.sources if name in named]
    return tuple(_source(name, report, catalog) for name in (*ordered, *sorted(named - set(ordered))))


def stages(report: Report, catalog: Catalog) -> tuple[StageTally, ...]:
    """Every stage that the report speaks of."""
    return tuple(_stage(plan, report, catalog) for plan in report.plans)


def _source(name: str, report: Report, catalog: Catalog) -> SourceTally:
    folders = [folder for folder in report.folders if folder.source == name]
    problems = [problem for problem in report.problems if problem.source == name]
    title = catalog.sources[name].title if name in catalog.sources else "no source claims these places"
    return SourceTally(
        name=name,
        title=title,
        found=sum(folder.found for folder in folders),
        expected=_expected(folders),
        missing=_count(problems, MISSING),
        damaged=_count(problems, DAMAGED),
        problems=len(problems),
    )


def _expected(folders: list[FolderState]) -> int | None:
    numbers = [folder.expected for folder in folders if folder.expected is not None]
    return sum(numbers) if folders and len(numbers) == len(folders) else None


def _count(problems: list[Problem], kinds: frozenset[Kind]) -> int:
    return sum(problem.count for problem in problems if problem.kind in kinds)


def _stage(plan: StagePlan, report: Report, catalog: Catalog) -> StageTally:
    names = {annotation.name for annotation in catalog.stage_annotations(plan.number)}
    own = tuple(state for state in report.annotations if state.name in names)
    waits = () if plan.complete else (*_lacking(own), *_doubtful(own, report), *_spoilt(plan.number, report, catalog))
    return StageTally(catalog.stages[plan.number].title, plan, (*plan.blockers, *waits))


def _lacking(states: tuple[AnnotationState, ...]) -> tuple[str, ...]:
    return tuple(
        f"{state.missing:,} of {state.records:,} records of {state.name} name a picture that is not there"
        for state in states
        if state.missing
    )


def _doubtful(states: tuple[AnnotationState, ...], report: Report) -> tuple[str, ...]:
    paths = {problem.path for problem in report.problems if problem.kind is Kind.WRONG_RECORD_COUNT}
    return tuple(
        f"{state.name} has another number of records than published" for state in states if state.path in paths
    )


def _spoilt(number: int, report: Report, catalog: Catalog) -> tuple[str, ...]:
    """Sources of the stage with pictures that are not what they should be."""
    counts: Counter[str] = Counter()
    for problem in report.problems:
        if problem.kind in DAMAGED and problem.source in catalog.stage_sources(number):
            counts[problem.source] += problem.count
    return tuple(
        f"{count:,} pictures of {source} are empty, damaged or not JPEGs" for source, count in sorted(counts.items())
    )

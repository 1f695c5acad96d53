"""For each stage: can it run with the tree as it is, and what would it leave out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from cvl.manifest import Catalog
from cvl.verify.references import Left
from cvl.verify.report import AnnotationState, Kind, Problem, StagePlan


def plan_stage(
    catalog: Catalog,
    number: int,
    states: Mapping[str, AnnotationState],
    left: Mapping[str, Left],
    problems: Iterable[Problem],
) -> StagePlan:
    """What stage `number` would do with the tree as it is.

    Args:
        states: of instruction files, by name.
        left: what is left out of those that can be read, by name.
        problems: of the whole tree.
    """
    names = [annotation.name for annotation in catalog.stage_annotations(number)]
    skipped: dict[str, Counter[str]] = {}
    for name in names:
        for source, reasons in left[name].by_source.items() if name in left else ():
            skipped.setdefault(source, Counter()).update(reasons)
    records = sum(states[name].records for name in names)
    blockers = _blockers(
        catalog, number, names, left, records, sum(sum(counts.values()) for counts in skipped.values())
    )
    complete = not any(left[name].faulty if name in left else True for name in names)
    complete = complete and _as_published(catalog, number, names, problems)
    return StagePlan(number, complete, not blockers, blockers, records, {name: dict(c) for name, c in skipped.items()})


def _blockers(
    catalog: Catalog, number: int, names: list[str], left: Mapping[str, Left], records: int, skipped: int
) -> tuple[str, ...]:
    found = [f"{catalog.annotations[name][1].path} cannot be read" for name in names if name not in left]
    if found:
        return tuple(found)
    allowed = catalog.stages[number].run.max_skipped
    if records == skipped:
        return ("no record is left to train on",)
    if skipped > allowed * records:
        return (f"{skipped / records:.1%} of the records would be left out, at most {allowed:.1%} may be",)
    return ()


def _as_published(catalog: Catalog, number: int, names: list[str], problems: Iterable[Problem]) -> bool:
    """Whether every instruction file has the records that it should, and every picture the format."""
    sources = set(catalog.stage_sources(number))
    paths = {catalog.annotations[name][1].path for name in names}
    return not any(
        (problem.kind is Kind.NOT_JPEG and problem.source in sources)
        or (problem.kind is Kind.WRONG_RECORD_COUNT and problem.path in paths)
        for problem in problems
    )

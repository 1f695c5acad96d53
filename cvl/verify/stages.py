"""For each stage: can it run with the tree as it is, and what would it leave out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from cvl.manifest import Annotation, Catalog
from cvl.units import counted
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
    skipped = _skipped(catalog, number, left)
    records = sum(states[name].records for name in names)
    blockers = _blockers(catalog, number, left, records, sum(sum(counts.values()) for counts in skipped.values()))
    complete = not any(left[name].faulty if name in left else True for name in names)
    complete = complete and _as_published(catalog, number, names, problems)
    return StagePlan(number, complete, not blockers, blockers, records, {name: dict(c) for name, c in skipped.items()})


def _skipped(catalog: Catalog, number: int, left: Mapping[str, Left]) -> dict[str, Counter[str]]:
    """How many records the stage leaves out, by source and reason."""
    skipped: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for annotation in catalog.stage_annotations(number):
        if annotation.name not in left:
            continue
        each = left[annotation.name]
        for source, reasons in each.by_source.items():
            skipped[source].update(reasons)
        if catalog.stages[number].run.bad_records == "skip" and each.odd:
            skipped[catalog.annotations[annotation.name][0]].update(each.odd)
    return dict(skipped)


def _blockers(catalog: Catalog, number: int, left: Mapping[str, Left], records: int, skipped: int) -> tuple[str, ...]:
    run, annotations = catalog.stages[number].run, catalog.stage_annotations(number)
    found = [f"{annotation.path} cannot be read" for annotation in annotations if annotation.name not in left]
    if found:
        return tuple(found)
    if run.bad_records == "error":
        found = [
            _refused(annotation, left[annotation.name].bad) for annotation in annotations if left[annotation.name].bad
        ]
    if records == skipped:
        found.append("no record is left to train on")
    elif skipped > run.max_skipped * records:
        found.append(f"{skipped / records:.1%} of the records would be left out, at most {run.max_skipped:.1%} may be")
    return tuple(found)


def _refused(annotation: Annotation, bad: int) -> str:
    return f'{annotation.path} has {counted(bad, "bad record")}, and the stage says bad_records = "error"'


def _as_published(catalog: Catalog, number: int, names: list[str], problems: Iterable[Problem]) -> bool:
    """Whether every instruction file has the records that it should, and every picture the format."""
    sources = set(catalog.stage_sources(number))
    paths = {catalog.annotations[name][1].path for name in names}
    return not any(
        (problem.kind is Kind.NOT_JPEG and problem.source in sources)
        or (problem.kind is Kind.WRONG_RECORD_COUNT and problem.path in paths)
        for problem in problems
    )

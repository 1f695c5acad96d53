"""`cvl verify-layout`: the tree held against the manifests, the instruction files against the tree."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cvl.annotations import AnnotationFile, index_of
from cvl.annotations.skiplist import SkipEntry, entry, update_skiplist
from cvl.errors import AnnotationError, DiskError, UsageError
from cvl.events import Event, EventKind, Progress, Reporter, silent
from cvl.files import disk_errors, write_atomically
from cvl.manifest import STAGES, Annotation, Catalog
from cvl.root import Root
from cvl.verify.layout import check_folders, fetchable
from cvl.verify.references import Checked, check_references, format_problems, missing_problems
from cvl.verify.report import VERSION, AnnotationState, Kind, Problem, Report
from cvl.verify.tree import Tree


def verify(
    catalog: Catalog, root: Root, stage: int | None = None, report: Reporter = silent, *, remember: bool = True
) -> Report:
    """Hold the tree against the manifests: every folder, and every picture that an instruction file names.

    Without a stage it is about all three, and about instruction files of no stage that are there all the same. Builds
    the indexes that are missing, and leaves the skip list and the report under `data/.cvl/` if that can be written; the
    report, which `cvl status` tells of, only if it is to be remembered.

    Raises:
        UsageError: there is no such stage, or no tree.
    """
    if stage is not None and stage not in catalog.stages:
        raise UsageError(f"there is no stage {stage}", hint="stages are 1, 2 and 3")
    if not root.data.is_dir():
        hint = "name the tree with --root or CVL_ROOT, or begin one with `cvl fetch`"
        raise UsageError(f"there is no tree at {root.path}: it has no data/", hint=hint)
    tree = Tree(root.path)
    folders, problems = check_folders(tree, catalog, _sources(catalog, stage))
    run = _References(catalog, root, tree, report)
    for annotation in _annotations(catalog, root, stage):
        run.look(annotation)
    found = (*problems, *run.all_problems())
    states = tuple(run.states)
    outcome = Report(stage, folders, states, found, _readiness(catalog, stage, states, found))
    try:
        _keep(root, outcome if remember else None, run.skips)
    except DiskError as error:
        # On a shared disk that this user cannot write the answer is worth as much.
        report(Event(EventKind.NOTE, text=f"the report and the skip list could not be kept: {error}"))
    return outcome


class _References:
    """Goes through the instruction files one by one and gathers what they name."""

    def __init__(self, catalog: Catalog, root: Root, tree: Tree, report: Reporter) -> None:
        self._catalog, self._root, self._tree, self._report = catalog, root, tree, report
        self._checked: list[Checked] = []
        self._problems: list[Problem] = []
        self.states: list[AnnotationState] = []
        self.skips: dict[str, SkipEntry] = {}

    def look(self, annotation: Annotation) -> None:
        """Index one instruction file and look for its pictures; a broken or absent file is a problem, not an end."""
        source = self._catalog.annotations[annotation.name][0]
        file = AnnotationFile(annotation.name, self._root.at(annotation.path), annotation.image_root)
        if not file.path.is_file():
            cure = self._cure(source, file.path)
            self._add(Kind.MISSING_ANNOTATIONS, source, annotation, "the instruction file is not there", cure)
            self.states.append(AnnotationState(annotation.name, annotation.path, 0, 0, 0, {}, {}))
            return
        try:
            with index_of(file, self._root.indexes, self._progress(annotation.name, source)) as index:
                checked = check_references(self._tree, self._catalog, annotation, index)
                self.skips[annotation.name] = entry(index, checked.skips)
        except AnnotationError as error:
            self._add(Kind.BROKEN_ANNOTATIONS, source, annotation, str(error), self._cure(source, file.path))
            self.states.append(AnnotationState(annotation.name, annotation.path, 0, 0, 0, {}, {}))
            return
        self._checked.append(checked)
        self.states.append(checked.state)
        if annotation.records not in (None, checked.state.records):
            detail = f"expected {annotation.records:,} records, found {checked.state.records:,}"
            self._add(Kind.WRONG_RECORD_COUNT, source, annotation, detail, self._cure(source, file.path))

    def all_problems(self) -> tuple[Problem, ...]:
        """What is wrong with the files, then with the pictures that they name, each counted once."""
        missing = frozenset().union(*(checked.missing for checked in self._checked))
        convertible = frozenset().union(*(checked.convertible for checked in self._checked))
        return (
            *self._problems,
            *missing_problems(self._tree, self._catalog, missing),
            *format_problems(self._tree, self._catalog, convertible),
        )

    def _add(self, kind: Kind, source: str, annotation: Annotation, detail: str, cure: str) -> None:
        self._problems.append(Problem(kind, source, annotation.path, 1, detail, cure))

    def _cure(self, source: str, path: Path) -> str:
        bring = fetchable(self._tree, self._catalog.sources[source])
        return f"cvl fetch {source}" if bring else f"put the file at {path}"

    def _progress(self, name: str, source: str) -> Progress:
        def progress(done: int, total: int | None) -> None:
            self._report(Event(EventKind.PROGRESS, name, source, done, total))

        return progress


def read_report(path: Path) -> Report | None:
    """What the last verification found; None if there was none, or one of another version."""
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (FileNotFoundError, msgspec.DecodeError):
        # Only `cvl status` reads it, to tell of the last run; verification itself begins anew each time.
        return None
    return report if report.version == VERSION else None


def _sources(catalog: Catalog, stage: int | None) -> tuple[str, ...]:
    """Sources whose folders must stand: those of the stage, or of all stages."""
    stages = STAGES if stage is None else (stage,)
    needed = {name for number in stages for name in catalog.stage_sources(number)}
    return tuple(name for name in catalog.sources if name in needed)


def _annotations(catalog: Catalog, root: Root, stage: int | None) -> tuple[Annotation, ...]:
    """Instruction files to look at, each once: those of the stages, and without a stage whatever else is there."""
    stages = STAGES if stage is None else (stage,)
    read = {annotation.name: annotation for number in stages for annotation in catalog.stage_annotations(number)}
    if stage is None:
        others = (annotation for _, annotation in catalog.annotations.values())
        read |= {annotation.name: annotation for annotation in others if root.at(annotation.path).is_file()}
    return tuple(read.values())


def _readiness(
    catalog: Catalog, stage: int | None, states: tuple[AnnotationState, ...], problems: tuple[Problem, ...]
) -> dict[int, bool]:
    """For each stage asked about, whether every instruction file of it is there with every picture that it names."""
    whole = {state.name for state in states if state.records and not state.missing}
    wrong = {problem.source for problem in problems if problem.kind is Kind.NOT_JPEG}
    doubtful = {problem.path for problem in problems if problem.kind is Kind.WRONG_RECORD_COUNT}
    return {
        number: all(entry.name in whole and entry.path not in doubtful for entry in catalog.stage_annotations(number))
        and not wrong & set(catalog.stage_sources(number))
        for number in (STAGES if stage is None else (stage,))
    }


def _keep(root: Root, report: Report | None, skips: dict[str, SkipEntry]) -> None:
    with disk_errors(root.path):
        root.notes.mkdir(parents=True, exist_ok=True)
        update_skiplist(root.skiplist, skips)
        if report is not None:
            write_atomically(root.report, msgspec.json.encode(report))

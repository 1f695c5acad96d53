"""`cvl verify-layout`: the tree held against the manifests, the instruction files against the tree."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cvl.annotations.grouped import Grouped, merged
from cvl.annotations.place import Notes, notes_of
from cvl.annotations.skiplist import EMPTY_IMAGE, MISSING_IMAGE, entry, update_skiplist
from cvl.errors import DiskError, UsageError
from cvl.events import Event, EventKind, Progress, Reporter, silent
from cvl.files import disk_errors, write_atomically
from cvl.manifest import STAGES, Annotation, Catalog
from cvl.root import Root
from cvl.verify.decode import Depth
from cvl.verify.faults import Lists, damage_problems, empty_problems, format_problems
from cvl.verify.instructions import Instructions, Opener, open_instructions, states_of
from cvl.verify.layout import check_folders
from cvl.verify.leftovers import stray_archives, unused_empty_files
from cvl.verify.missing import missing_problems
from cvl.verify.pictures import Looked, Work, look_at_headers, look_into, still_damaged
from cvl.verify.references import Left, left_out
from cvl.verify.report import VERSION, Decoded, Kind, Problem, Report
from cvl.verify.stages import plan_stage
from cvl.verify.tree import Tree, prefixed
from cvl.verify.verdicts import Damaged, known_damage

_DATA = "data"
_UNFINISHED = (Kind.MISSING_FOLDER, Kind.MISSING_FILES, Kind.MISSING_IMAGES)


@dataclass(frozen=True)
class Checks:
    """How closely the tree is looked at.

    Args:
        decode: how pictures that are named are decoded; None is not at all.
        references_only: only whether the pictures that are named are there: records and sizes of files are not looked
            at, and no index is built.
        work: who does what takes long.
    """

    decode: Depth | None = None
    references_only: bool = False
    work: Work = field(default_factory=Work)


@dataclass(frozen=True)
class _Subject:
    """What is verified, and how."""

    catalog: Catalog
    root: Root
    notes: Notes
    checks: Checks
    report: Reporter

    def progress(self, name: str, source: str = "", unit: str = "bytes") -> Progress:
        """What is told of one thing."""

        def progress(done: int, total: int | None) -> None:
            self.report(Event(EventKind.PROGRESS, name, source, done, total, unit if unit != "bytes" else ""))

        return progress


def verify(
    catalog: Catalog,
    root: Root,
    stage: int | None = None,
    report: Reporter = silent,
    *,
    remember: bool = True,
    checks: Checks | None = None,
) -> Report:
    """Hold the tree against the manifests: every folder, and every picture that an instruction file names.

    Without a stage it is about all three, and about instruction files of no stage that are there all the same. Builds
    the indexes that are missing, and leaves the skip list and the report under `data/.cvl/`, or in the user's cache
    folder if that cannot be written; the report, which `cvl status` tells of, only if it is to be remembered. A part
    of the pictures (`checks.work.part`) leaves nothing but what it has decoded: the run over all of them, later, tells.

    Raises:
        UsageError: there is no such stage, or no tree.
        DiskError: a folder cannot be read, or an index or a verdict cannot be written anywhere.
    """
    if stage is not None and stage not in catalog.stages:
        raise UsageError(f"there is no stage {stage}", hint="stages are 1, 2 and 3")
    if not root.data.is_dir():
        hint = "name the tree with --root or CVL_ROOT, or begin one with `cvl fetch`"
        raise UsageError(f"there is no tree at {root.path}: it has no data/", hint=hint)
    notes = notes_of(root)
    if notes.shared is not None:
        report(Event(EventKind.NOTE, text=f"{notes.shared} cannot be written: notes on this tree go to {notes.folder}"))
    subject = _Subject(catalog, root, notes, checks or Checks(), report)
    opener = Opener(notes, subject.checks.references_only, subject.checks.work.jobs, subject.progress)
    files = open_instructions(catalog, root, _annotations(catalog, root, stage), opener)
    listed = _listed(subject, files)
    pictures = _pictures(subject, listed)
    left = {named.annotation.name: left_out(catalog, named, pictures.faults) for named in files.named}
    outcome = _outcome(subject, stage, files, listed.tree, pictures, left)
    if subject.checks.work.part.whole:
        _keep(subject, outcome if remember else None, files, left)
    return outcome


def read_report(path: Path) -> Report | None:
    """What the last verification found; None if there was none, or one of another version."""
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (FileNotFoundError, msgspec.DecodeError):
        # Only `cvl status` reads it, to tell of the last run; verification itself begins anew each time.
        return None
    return report if report.version == VERSION else None


@dataclass(frozen=True)
class _Pictures:
    """What is known of the pictures that are named, by their paths of the tree.

    Args:
        missing: those that are not there.
        empty: those that have no byte.
        looked: what was found in the others, or is remembered.
    """

    missing: frozenset[bytes]
    empty: frozenset[bytes]
    looked: Looked

    @property
    def faults(self) -> dict[bytes, str]:
        """Why the records of a picture are left out."""
        faults = dict.fromkeys(self.missing, MISSING_IMAGE) | dict.fromkeys(self.empty, EMPTY_IMAGE)
        return faults | {os.fsencode(path): flaw.reason for path, flaw in self.looked.flaws.items()}


@dataclass(frozen=True)
class _Listed:
    """What was listed.

    Args:
        tree: with all its folders.
        named: the pictures that instruction files name, by folder.
        missing: those of them that are not there, as paths of the tree.
    """

    tree: Tree
    named: Grouped
    missing: frozenset[bytes]

    def among(self, paths: Iterable[bytes]) -> frozenset[bytes]:
        """Those of some paths that are named."""
        by_folder: dict[bytes, set[bytes]] = {}
        for path in paths:
            folder, _, name = path.rpartition(b"/")
            by_folder.setdefault(folder, set()).add(name)
        return frozenset(
            folder + b"/" + name
            for folder, names in by_folder.items()
            for name in names.intersection(self.named.get(os.fsdecode(folder), b"").split(b"\0"))
        )

    def below(self, wanted: tuple[str, ...]) -> set[bytes]:
        """The pictures that are named and there, in some folders, each with a slash at its end, and below."""
        found: set[bytes] = set()
        for folder, text in self.named.items():
            if f"{folder}/".startswith(wanted):
                found.update(prefixed(os.fsencode(folder) + b"/", text))
        return found - self.missing


def _listed(subject: _Subject, files: Instructions) -> _Listed:
    """Lists all folders that somebody speaks of, and, where sizes are looked at, all others of the tree."""
    tree = Tree(subject.root.path)
    whole = not subject.checks.references_only
    named = merged(each.by_folder() for each in files.named)
    expected = {expect.folder: b"" for source in subject.catalog.sources.values() for expect in source.expect}
    below, jobs = _DATA if whole else None, subject.checks.work.jobs
    missing = tree.survey(expected | named, below=below, sizes=whole, jobs=jobs)
    return _Listed(tree, named, frozenset(missing))


def _pictures(subject: _Subject, listed: _Listed) -> _Pictures:
    converts = [source.convert.folder for source in subject.catalog.sources.values() if source.convert]
    looked_into = [_DATA] if subject.checks.decode else converts
    empty = listed.among(listed.tree.empty())
    damaged = known_damage(subject.notes.verdicts)
    suspects = [damaged[path] for path in listed.among(damaged) - empty - listed.missing]
    there = listed.below(tuple(f"{folder}/" for folder in looked_into)) - empty
    return _Pictures(listed.missing, empty, _looked(subject, sorted(there), suspects))


def _looked(subject: _Subject, there: list[bytes], suspects: list[Damaged]) -> Looked:
    """What is in the pictures: decoded if that is asked for, else what is remembered and what their first bytes say."""
    checks, root = subject.checks, subject.root.path
    if checks.decode:
        progress = subject.progress("decode", unit="files")
        return look_into(root, there, checks.decode, subject.notes.verdicts, checks.work, progress)
    kinds = {}
    if not checks.references_only:
        kinds = look_at_headers(root, there, checks.work, subject.progress("formats", unit="files"))
    flaws = still_damaged(root, suspects)
    return Looked({path: kind for path, kind in kinds.items() if path not in flaws}, flaws)


def _outcome(
    subject: _Subject,
    stage: int | None,
    files: Instructions,
    tree: Tree,
    pictures: _Pictures,
    left: dict[str, Left],
) -> Report:
    catalog = subject.catalog
    folders, problems = check_folders(tree, catalog, _sources(catalog, stage))
    problems += (*files.problems, *_picture_problems(subject, tree, pictures))
    states = states_of(files, left)
    numbers = STAGES if stage is None else (stage,)
    by_name = {state.name: state for state in states}
    plans = tuple(plan_stage(catalog, number, by_name, left, problems) for number in numbers)
    return Report(
        stage=stage,
        folders=folders,
        annotations=states,
        problems=problems,
        stages={plan.number: plan.complete for plan in plans},
        remarks=tuple(_remarks(subject, tree, pictures, problems)),
        plans=plans,
        decoded=_decoded(subject.checks, pictures.looked),
    )


def _picture_problems(subject: _Subject, tree: Tree, pictures: _Pictures) -> Iterable[Problem]:
    """What is wrong with the pictures that are named, each counted once however many files name it."""
    catalog, lists = subject.catalog, Lists(subject.notes.lists)
    yield from missing_problems(tree, catalog, frozenset(map(os.fsdecode, pictures.missing)))
    yield from format_problems(catalog, pictures.looked.kinds, converted=True)
    yield from empty_problems(tree, catalog, map(os.fsdecode, pictures.empty), lists)
    yield from damage_problems(tree, catalog, pictures.looked.flaws, lists)


def _remarks(subject: _Subject, tree: Tree, pictures: _Pictures, problems: tuple[Problem, ...]) -> Iterable[Problem]:
    """What is odd and keeps nothing from running."""
    if subject.checks.references_only:
        return
    unfinished = frozenset(problem.source for problem in problems if problem.kind in _UNFINISHED)
    yield from stray_archives(tree, subject.catalog, unfinished)
    yield from unused_empty_files(tree, subject.catalog, pictures.empty)
    yield from format_problems(subject.catalog, pictures.looked.kinds, converted=False)


def _decoded(checks: Checks, looked: Looked) -> Decoded | None:
    if not checks.decode:
        return None
    return Decoded(checks.decode.name.lower(), looked.pictures, looked.remembered, len(looked.flaws))


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


def _keep(subject: _Subject, report: Report | None, files: Instructions, left: dict[str, Left]) -> None:
    notes = subject.notes
    entries = {named.annotation.name: entry(named.index, left[named.annotation.name].skips) for named in files.named}
    try:
        with disk_errors(subject.root.path):
            notes.folder.mkdir(parents=True, exist_ok=True)
            update_skiplist(notes.skiplist, entries)
            if report is not None:
                write_atomically(notes.report, msgspec.json.encode(report))
    except DiskError as error:
        # The answer is worth as much to who cannot keep it.
        subject.report(Event(EventKind.NOTE, text=f"the report and the skip list could not be kept: {error}"))

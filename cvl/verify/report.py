"""What verification found, as values: the tree's folders, the instruction files, and every problem with its cure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

VERSION = 2


class Kind(StrEnum):
    """What can be wrong with a tree; the value is what reports and scripts read."""

    MISSING_FOLDER = "missing-folder"
    MISSING_FILES = "missing-files"
    DOUBLED_FOLDER = "doubled-folder"
    MISSING_LINK = "missing-link"
    MISSING_ANNOTATIONS = "missing-annotations"
    BROKEN_ANNOTATIONS = "broken-annotations"
    WRONG_RECORD_COUNT = "wrong-record-count"
    MISSING_IMAGES = "missing-images"
    WRONG_SUFFIX = "wrong-suffix"
    NOT_JPEG = "not-jpeg"
    EMPTY_IMAGES = "empty-images"
    DAMAGED_IMAGES = "damaged-images"
    STRAY_ARCHIVE = "stray-archive"
    UNUSED_EMPTY_FILES = "unused-empty-files"
    OTHER_FORMAT = "other-format"


class Fate(StrEnum):
    """What training does with a record that is not as it should be, unless it is told otherwise."""

    MENDED = "mended"
    SKIPPED = "skipped"


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    Args:
        kind: what.
        source: the source that it belongs to, empty if no source claims the place.
        path: where, as a path of the tree.
        count: how many files it is about.
        detail: expected against found, in a few words.
        cure: what to type, or to do.
        examples: some of the files.
    """

    kind: Kind
    source: str
    path: str
    count: int
    detail: str
    cure: str
    examples: tuple[str, ...] = ()


class FolderState(msgspec.Struct, frozen=True):
    """One folder of the document's tree: files expected (None where nobody published a number) and found."""

    source: str
    path: str
    expected: int | None
    found: int


class Example(msgspec.Struct, frozen=True):
    """One record: its number in the file, from 0, its id as text if it has one, and a few of its words."""

    record: int
    id: str
    words: str


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be with some records of an instruction file.

    Args:
        problem: what, as skip lists write it: `empty-answer`.
        label: the same in words.
        count: how many records it is about.
        fate: what training does with them.
        meaning: how training reads those that it mends; empty for the others.
        examples: the first of them.
    """

    problem: str
    label: str
    count: int
    fate: Fate
    meaning: str
    examples: tuple[Example, ...]


class AnnotationState(msgspec.Struct, frozen=True):
    """One instruction file.

    Args:
        name: as stage manifests call it.
        path: where it lies.
        records: how many it has; 0 if it is not there.
        text_only: those that name no picture.
        missing: records whose picture is not there.
        skipped: records that training leaves out, by reason.
        remarks: harmless oddities of records, counted by kind.
        findings: all that is not as it should be with records, the harmless included, with examples.
    """

    name: str
    path: str
    records: int
    text_only: int
    missing: int
    skipped: Mapping[str, int]
    remarks: Mapping[str, int]
    findings: tuple[Finding, ...] = ()


class StagePlan(msgspec.Struct, frozen=True):
    """What a stage would do with the tree as it is.

    Args:
        number: 1, 2 or 3.
        complete: whether nothing is missing or wrong that can be mended in the tree.
        runs: whether training would begin.
        blockers: why it would not, each in a sentence.
        records: of all its instruction files.
        skipped: how many of them would be left out, by source and reason, each under the first reason that holds. A
            picture's fault counts for the source that brings the picture, a record's for the one that brings the file.
    """

    number: int
    complete: bool
    runs: bool
    blockers: tuple[str, ...]
    records: int
    skipped: Mapping[str, Mapping[str, int]]

    @property
    def trained(self) -> int:
        """How many records are left to train on."""
        return self.records - sum(sum(reasons.values()) for reasons in self.skipped.values())


class Decoded(msgspec.Struct, frozen=True):
    """How far pictures were decoded.

    Args:
        depth: `quick` or `full`.
        pictures: that were to be looked at: those that are named and there.
        remembered: of them, that were not read again, because they have not changed since they were.
        damaged: of them, that cannot be read.
    """

    depth: str
    pictures: int
    remembered: int
    damaged: int


class Report(msgspec.Struct, frozen=True):
    """All that one run of `cvl verify-layout` found.

    Args:
        stage: the stage that was asked about, None for all.
        folders: of the document's tree.
        annotations: instruction files.
        problems: what is wrong; empty for a proven tree.
        stages: for each stage, whether it can run without leaving a record out for a picture.
        remarks: what is odd about the tree and keeps nothing from running.
        plans: what each stage would do with the tree as it is.
        decoded: how far pictures were decoded; None if that was not asked for.
    """

    stage: int | None
    folders: tuple[FolderState, ...]
    annotations: tuple[AnnotationState, ...]
    problems: tuple[Problem, ...]
    stages: Mapping[int, bool]
    remarks: tuple[Problem, ...] = ()
    plans: tuple[StagePlan, ...] = ()
    decoded: Decoded | None = None
    version: int = VERSION

    @property
    def images_missing(self) -> int:
        """Pictures that an instruction file names and the tree does not have under that name."""
        absent = (Kind.MISSING_IMAGES, Kind.WRONG_SUFFIX)
        return sum(problem.count for problem in self.problems if problem.kind in absent)

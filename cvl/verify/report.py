"""What verification found, as values: the tree's folders, the instruction files, and every problem with its cure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

VERSION = 1


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
    NOT_JPEG = "not-jpeg"


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
    """

    name: str
    path: str
    records: int
    text_only: int
    missing: int
    skipped: Mapping[str, int]
    remarks: Mapping[str, int]


class Report(msgspec.Struct, frozen=True):
    """All that one run of `cvl verify-layout` found.

    Args:
        stage: the stage that was asked about, None for all.
        folders: of the document's tree.
        annotations: instruction files.
        problems: what is wrong; empty for a proven tree.
        stages: for each stage, whether it can run without leaving a record out for a missing picture.
    """

    stage: int | None
    folders: tuple[FolderState, ...]
    annotations: tuple[AnnotationState, ...]
    problems: tuple[Problem, ...]
    stages: Mapping[int, bool]
    version: int = VERSION

    @property
    def images_missing(self) -> int:
        """Pictures that an instruction file names and the tree does not have."""
        return sum(problem.count for problem in self.problems if problem.kind is Kind.MISSING_IMAGES)

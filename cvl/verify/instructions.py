"""The instruction files of a tree: opened one by one, a broken or absent one being a problem and no end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cvl.annotations import FATAL, AnnotationFile, Index
from cvl.annotations.names import Names, read_names
from cvl.annotations.place import Notes
from cvl.annotations.skiplist import MISSING_IMAGE
from cvl.errors import AnnotationError
from cvl.events import Progress
from cvl.manifest import Annotation, Catalog
from cvl.root import Root
from cvl.units import counted
from cvl.verify.cures import fetchable
from cvl.verify.references import Left, Named
from cvl.verify.report import AnnotationState, Kind, Problem
from cvl.verify.schema import findings_of, label
from cvl.verify.tree import Tree


@dataclass(frozen=True)
class Instructions:
    """What became of some instruction files.

    Args:
        asked: all of them.
        named: those that can be read.
        problems: what is wrong with the files themselves.
    """

    asked: tuple[Annotation, ...]
    named: tuple[Named, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Opener:
    """How instruction files are opened.

    Args:
        notes: where their indexes are.
        names_only: read nothing but the names of pictures, where there is no index that tells them.
        jobs: processes; None is one a core.
        progress: gives what is told of the file of this name, of this source.
    """

    notes: Notes
    names_only: bool
    jobs: int | None
    progress: Callable[[str, str], Progress]

    def open(self, file: AnnotationFile, source: str) -> Index | Names:
        """The index of a file, or its names.

        Raises what `cvl.annotations.index_of` raises.
        """
        progress = self.progress(file.name, source)
        if not self.names_only:
            return self.notes.index(file, progress, jobs=self.jobs)
        return self.notes.known_index(file) or read_names(file, progress, self.jobs)


def open_instructions(catalog: Catalog, root: Root, annotations: Iterable[Annotation], opener: Opener) -> Instructions:
    """Opens these instruction files; indexes are built where need be."""
    named: list[Named] = []
    problems: list[Problem] = []
    asked = tuple(annotations)
    for annotation in asked:
        source = catalog.annotations[annotation.name][0]
        path = root.at(annotation.path)
        bring = fetchable(Tree(root.path), catalog.sources[source])
        cure = f"cvl fetch {source}" if bring else f"put the file at {path}"
        try:
            index = _opened(annotation, path, source, opener)
        except AnnotationError as error:
            kind = Kind.BROKEN_ANNOTATIONS if path.is_file() else Kind.MISSING_ANNOTATIONS
            detail = str(error) if path.is_file() else "the instruction file is not there"
            problems.append(Problem(kind, source, annotation.path, 1, detail, cure))
            continue
        named.append(Named(annotation, source, index))
        if annotation.records not in (None, len(index)):
            detail = f"expected {counted(annotation.records, 'record')}, found {len(index):,}"
            problems.append(Problem(Kind.WRONG_RECORD_COUNT, source, annotation.path, 1, detail, cure))
    return Instructions(asked, tuple(named), tuple(problems))


def _opened(annotation: Annotation, path: Path, source: str, opener: Opener) -> Index | Names:
    if not path.is_file():
        raise AnnotationError(f"{path} is not there")
    return opener.open(AnnotationFile(annotation.name, path, annotation.image_root), source)


def states_of(instructions: Instructions, left: dict[str, Left]) -> tuple[AnnotationState, ...]:
    """The numbers of every instruction file; of one that cannot be read, none."""
    named = {each.annotation.name: each for each in instructions.named}
    return tuple(
        _state(named[annotation.name], left[annotation.name])
        if annotation.name in named
        else AnnotationState(annotation.name, annotation.path, 0, 0, 0, {}, {})
        for annotation in instructions.asked
    )


def _state(named: Named, left: Left) -> AnnotationState:
    index = named.index
    problems = index.problem_counts if isinstance(index, Index) else {}
    return AnnotationState(
        name=named.annotation.name,
        path=named.annotation.path,
        records=len(index),
        text_only=index.text_only,
        missing=len(left.skips.get(MISSING_IMAGE, ())),
        skipped={reason: len(numbers) for reason, numbers in left.skips.items()},
        remarks={label(defect): count for defect, count in problems.items() if not defect & FATAL},
        findings=findings_of(index) if isinstance(index, Index) else (),
    )

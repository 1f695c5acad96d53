"""Does every picture that an instruction file names exist, and is it what its folder promises?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import PurePosixPath

import numpy as np

from cvl.annotations import FATAL, Index
from cvl.annotations import Problem as Defect
from cvl.annotations.skiplist import MISSING_IMAGE, Skips
from cvl.images import ImageKind, kind_of
from cvl.manifest import Annotation, Catalog, Source
from cvl.verify.layout import doubled, fetchable, flatten_cure
from cvl.verify.report import AnnotationState, Kind, Problem
from cvl.verify.tree import Tree

_EXAMPLES = 5


@dataclass(frozen=True)
class Checked:
    """What was found of one instruction file.

    Args:
        state: its numbers.
        missing: paths of the tree that it names and that are not there.
        convertible: paths in folders that `cvl convert` looks after, to be looked into.
        skips: the records that training leaves out.
    """

    state: AnnotationState
    missing: frozenset[str]
    convertible: frozenset[str]
    skips: Skips


def check_references(tree: Tree, catalog: Catalog, annotation: Annotation, index: Index) -> Checked:
    """Look for every picture that `index` names, below the instruction file's own image root."""
    folders = tuple(source.convert.folder + "/" for source in catalog.sources.values() if source.convert)
    missing: set[str] = set()
    convertible: set[str] = set()
    records: list[int] = []
    for number, path in _named(annotation, index):
        if not tree.has_file(path):
            missing.add(path)
            records.append(number)
        elif path.startswith(folders):
            convertible.add(path)
    skips = _skips(index, records)
    return Checked(_state(annotation, index, records, skips), frozenset(missing), frozenset(convertible), skips)


def missing_problems(tree: Tree, catalog: Catalog, missing: frozenset[str]) -> Iterator[Problem]:
    """Missing pictures, put together by source and by what cures them."""
    # There may be a million of them in a few folders, so what a folder tells is asked once.
    place_of = cache(partial(_place, tree, catalog))
    links = {link.path for source in catalog.sources.values() for link in source.links}
    groups: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for path in sorted(missing):
        parent, _, name = path.rpartition("/")
        place = place_of(parent, path if path in links else parent)
        groups[place.source, place.folder, _cure(tree, place, parent, name)].append(path)
    for (source, folder, cure), paths in groups.items():
        detail = f"{len(paths):,} pictures are named and not there"
        yield Problem(Kind.MISSING_IMAGES, source, folder, len(paths), detail, cure, tuple(paths[:_EXAMPLES]))


def format_problems(tree: Tree, catalog: Catalog, paths: frozenset[str]) -> Iterator[Problem]:
    """Pictures that are named as JPEGs and are something else by content, by the source that converts them."""
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted(paths):
        kind = kind_of(tree.root / path)
        if kind is not ImageKind.JPEG:
            source = catalog.owner(path) or ""
            wrong[source].append(path)
            kinds[source][kind.name if kind is not None else "no picture"] += 1
    for source, found in wrong.items():
        detail = ", ".join(f"{count:,} × {kind}" for kind, count in kinds[source].most_common()) + " under .jpg"
        folder = str(PurePosixPath(found[0]).parent)
        examples = tuple(found[:_EXAMPLES])
        yield Problem(Kind.NOT_JPEG, source, folder, len(found), detail, f"cvl convert {source}", examples)


def _named(annotation: Annotation, index: Index) -> Iterator[tuple[int, str]]:
    """Record numbers and the paths of the tree that they name."""
    prefix = annotation.image_root + "/"
    number = 0
    for chunk in index.images():
        for image in chunk:
            if image is not None:
                yield number, prefix + image
            number += 1


def _skips(index: Index, missing: list[int]) -> Skips:
    skips: Skips = {}
    if missing:
        skips[MISSING_IMAGE] = missing
    for defect in Defect:
        if defect & FATAL:
            numbers = np.flatnonzero(index.problems & int(defect)).tolist()
            if numbers:
                skips[_label(defect)] = numbers
    return skips


def _state(annotation: Annotation, index: Index, missing: list[int], skips: Skips) -> AnnotationState:
    remarks = {_label(defect): count for defect, count in index.problem_counts.items() if not defect & FATAL}
    return AnnotationState(
        name=annotation.name,
        path=annotation.path,
        records=len(index),
        text_only=int(len(index) - index.has_image.sum()),
        missing=len(missing),
        skipped={reason: len(numbers) for reason, numbers in skips.items()},
        remarks=remarks,
    )


def _label(defect: Defect) -> str:
    return (defect.name or str(int(defect))).lower().replace("_", "-")


@dataclass(frozen=True)
class _Place:
    """What is the same for all missing pictures of one folder.

    Args:
        source: whose they are, empty if no source claims them.
        folder: of the document's tree: LCS spreads its pictures over many below one.
        inner: the folder one level too deep, if there is one.
        converts: whether a conversion may bring them.
        cure: what brings them where neither moving nor converting does.
    """

    source: str
    folder: str
    inner: str | None
    converts: bool
    cure: str


def _place(tree: Tree, catalog: Catalog, parent: str, claim: str) -> _Place:
    """The place of pictures in the folder `parent`, which belong to the source that claims `claim`."""
    name = catalog.owner(claim) or ""
    source = catalog.sources.get(name)
    if source is None:
        cure = f"put them into {tree.root / parent}, or write a manifest that brings them (docs/manifests.md)"
        return _Place("", parent, doubled(tree, parent), False, cure)
    folder = _folder_of(source, parent)
    cure = f"cvl fetch {name}" if fetchable(tree, source) else f"put them into {tree.root / folder}"
    return _Place(name, folder, doubled(tree, parent), source.convert is not None, cure)


def _folder_of(source: Source, parent: str) -> str:
    """The folder that the manifest speaks of: `parent` itself or one above it."""
    expected = [expect.folder for expect in source.expect]
    roots = [annotation.image_root for annotation in source.annotations if annotation.image_root != "data"]
    return next((folder for folder in (*expected, *roots) if f"{parent}/".startswith(f"{folder}/")), parent)


def _cure(tree: Tree, place: _Place, parent: str, name: str) -> str:
    """What brings a missing picture: moving, converting, fetching, or the user."""
    if place.inner is not None and name in tree.listing(place.inner).files:
        return flatten_cure(tree, place.inner)
    if place.converts and _other_suffix(tree, parent, name):
        return f"cvl convert {place.source}"
    return place.cure


def _other_suffix(tree: Tree, parent: str, name: str) -> bool:
    files, stem = tree.listing(parent).files, name.rpartition(".")[0]
    return any(stem + kind.suffix in files for kind in ImageKind)

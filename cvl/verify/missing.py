"""Missing pictures, put together by what brings them: moving, renaming, converting, fetching, or the user."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import PurePosixPath

from cvl.images import PICTURE_SUFFIXES, ImageKind
from cvl.manifest import Catalog, Source
from cvl.units import counted
from cvl.verify.cures import doubled, fetchable, flatten_cure
from cvl.verify.report import Kind, Problem
from cvl.verify.tree import Tree

EXAMPLES = 5


def missing_problems(tree: Tree, catalog: Catalog, missing: frozenset[str]) -> Iterator[Problem]:
    """Missing pictures, put together by source and by what cures them."""
    # There may be a million of them in a few folders, so what a folder tells is asked once.
    place_of = cache(partial(_place, tree, catalog))
    links = {link.path for source in catalog.sources.values() for link in source.links}
    groups: defaultdict[tuple[Kind, str, str, str], list[str]] = defaultdict(list)
    for path in sorted(missing):
        parent, _, name = path.rpartition("/")
        place = place_of(parent, path if path in links else parent)
        kind, cure = _cure(tree, place, parent, name)
        groups[kind, place.source, place.folder, cure].append(path)
    for (kind, source, folder, cure), paths in groups.items():
        there = "there under another suffix" if kind is Kind.WRONG_SUFFIX else "not there"
        detail = f"{counted(len(paths), 'picture is', 'pictures are')} named and {there}"
        yield Problem(kind, source, folder, len(paths), detail, cure, tuple(paths[:EXAMPLES]))


@dataclass(frozen=True)
class _Place:
    """What is the same for all missing pictures of one folder.

    Args:
        source: whose they are, empty if no source claims them.
        folder: of the document's tree: LCS spreads its pictures over many below one.
        inner: the folder one level too deep, if there is one.
        converts: whether a conversion may bring them.
        others: names of the folder's pictures without their suffixes, with the suffix; the first of several.
        cure: what brings them where neither moving nor converting does.
    """

    source: str
    folder: str
    inner: str | None
    converts: bool
    others: dict[str, str]
    cure: str


def _place(tree: Tree, catalog: Catalog, parent: str, claim: str) -> _Place:
    """The place of pictures in the folder `parent`, which belong to the source that claims `claim`."""
    name = catalog.owner(claim) or ""
    source = catalog.sources.get(name)
    inner, others = doubled(tree, parent), _suffixes(tree, parent)
    if source is None:
        cure = f"put them into {tree.root / parent}, or write a manifest that brings them (docs/manifests.md)"
        return _Place("", parent, inner, False, others, cure)
    folder = _folder_of(source, parent)
    cure = f"cvl fetch {name}" if fetchable(tree, source) else f"put them into {tree.root / folder}"
    return _Place(name, folder, inner, source.convert is not None, others, cure)


def _suffixes(tree: Tree, folder: str) -> dict[str, str]:
    split = (name.rpartition(".") for name in sorted(tree.listing(folder).files))
    return {stem: suffix for stem, _, suffix in split if f".{suffix.lower()}" in PICTURE_SUFFIXES}


def _folder_of(source: Source, parent: str) -> str:
    """The folder that the manifest speaks of: `parent` itself or one above it."""
    expected = [expect.folder for expect in source.expect]
    roots = [annotation.image_root for annotation in source.annotations if annotation.image_root != "data"]
    return next((folder for folder in (*expected, *roots) if f"{parent}/".startswith(f"{folder}/")), parent)


def _cure(tree: Tree, place: _Place, parent: str, name: str) -> tuple[Kind, str]:
    """What brings a missing picture: moving, converting, renaming, fetching, or the user."""
    if place.inner is not None and name in tree.listing(place.inner).files:
        return Kind.MISSING_IMAGES, flatten_cure(tree, place.inner)
    stem, _, wanted = name.rpartition(".")
    found = place.others.get(stem)
    if place.converts and found is not None and _converts(found):
        return Kind.WRONG_SUFFIX, f"cvl convert {place.source}"
    if found is not None and f".{wanted.lower()}" in PICTURE_SUFFIXES:
        return Kind.WRONG_SUFFIX, _rename_cure(tree, parent, found, wanted)
    return Kind.MISSING_IMAGES, place.cure


def _converts(suffix: str) -> bool:
    """Whether a conversion makes a `.jpg` of what has this suffix."""
    return f".{suffix.lower()}" in PICTURE_SUFFIXES - {".jpg", ".jpeg"} or suffix in {
        kind.suffix[1:] for kind in ImageKind
    }


def _rename_cure(tree: Tree, parent: str, found: str, wanted: str) -> str:
    """A command that gives what has one suffix a second name with another; it replaces nothing."""
    folder = shlex.quote(str(tree.root / PurePosixPath(parent)))
    return f'cd {folder} && for f in *.{found}; do ln -n "$f" "${{f%.*}}.{wanted}"; done'

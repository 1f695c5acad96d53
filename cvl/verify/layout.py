"""Does each folder of the document's tree stand, with as many files as its source has?"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from cvl.manifest import Catalog, Expect, Link, Source
from cvl.verify.report import FolderState, Kind, Problem
from cvl.verify.tree import Tree


def check_folders(
    tree: Tree, catalog: Catalog, sources: tuple[str, ...]
) -> tuple[tuple[FolderState, ...], tuple[Problem, ...]]:
    """The state of every folder that `sources` promise, and what is wrong with them and with their links."""
    states: list[FolderState] = []
    problems: list[Problem] = []
    for name in sources:
        for expect in catalog.sources[name].expect:
            state = _state(tree, name, expect)
            states.append(state)
            problems.extend(_folder_problems(tree, state))
        problems.extend(_link_problems(tree, name, catalog.sources[name].links))
    return tuple(states), tuple(problems)


def doubled(tree: Tree, folder: str) -> str | None:
    """The folder that an archive unpacked one level too deep, such as `VG_100K/VG_100K`; None if there is none."""
    name = PurePosixPath(folder).name
    return f"{folder}/{name}" if name in tree.listing(folder).folders else None


def fetchable(tree: Tree, source: Source) -> bool:
    """Whether `cvl fetch` can bring something of a source: it has files, or a link that is still to be made."""
    return bool(source.files) or any(not (tree.root / link.path).exists() for link in source.links)


def flatten_cure(tree: Tree, inner: str) -> str:
    """A command that moves what lies in `inner` up one level. It moves any number of files and replaces none."""
    outer = str(PurePosixPath(inner).parent)
    inside, above = (shlex.quote(str(tree.root / path)) for path in (inner, outer))
    return f"find {inside} -mindepth 1 -maxdepth 1 -exec mv -n -t {above} {{}} + && rmdir {inside}"


def _state(tree: Tree, source: str, expect: Expect) -> FolderState:
    return FolderState(source, expect.folder, expect.files, tree.count(expect.folder, expect.suffix))


def _folder_problems(tree: Tree, state: FolderState) -> Iterator[Problem]:
    cure = f"cvl fetch {state.source}"
    if not tree.listing(state.path).exists:
        detail = "the folder is not there"
        yield Problem(Kind.MISSING_FOLDER, state.source, state.path, state.expected or 1, detail, cure)
        return
    inner = doubled(tree, state.path)
    if inner is not None:
        count = tree.count(inner, None)
        detail = f"{count:,} files lie one folder too deep"
        yield Problem(Kind.DOUBLED_FOLDER, state.source, inner, count, detail, flatten_cure(tree, inner))
    if state.expected is not None and state.found < state.expected:
        detail = f"expected {state.expected:,} files, found {state.found:,}"
        yield Problem(Kind.MISSING_FILES, state.source, state.path, state.expected - state.found, detail, cure)
    elif state.expected is None and not state.found:
        yield Problem(Kind.MISSING_FILES, state.source, state.path, 1, "the folder is empty", cure)


def _link_problems(tree: Tree, source: str, links: tuple[Link, ...]) -> Iterator[Problem]:
    for link in links:
        if not (tree.root / link.path).exists():
            detail = f"the link to {link.target} is not there, or points nowhere"
            yield Problem(Kind.MISSING_LINK, source, link.path, 1, detail, f"cvl fetch {source}")

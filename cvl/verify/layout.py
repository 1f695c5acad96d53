"""Does each folder of the document's tree stand, with as many files as its source has?"""

from __future__ import annotations

from collections.abc import Iterator

from cvl.manifest import Catalog, Expect, Link
from cvl.units import counted
from cvl.verify.cures import doubled, flatten_cure
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
        detail = f"{counted(count, 'file lies', 'files lie')} one folder too deep"
        yield Problem(Kind.DOUBLED_FOLDER, state.source, inner, count, detail, flatten_cure(tree, inner))
    if state.expected is not None and state.found < state.expected:
        detail = f"expected {counted(state.expected, 'file')}, found {state.found:,}"
        yield Problem(Kind.MISSING_FILES, state.source, state.path, state.expected - state.found, detail, cure)
    elif state.expected is None and not state.found:
        yield Problem(Kind.MISSING_FILES, state.source, state.path, 1, "the folder is empty", cure)


def _link_problems(tree: Tree, source: str, links: tuple[Link, ...]) -> Iterator[Problem]:
    for link in links:
        if not (tree.root / link.path).exists():
            detail = f"the link to {link.target} is not there, or points nowhere"
            yield Problem(Kind.MISSING_LINK, source, link.path, 1, detail, f"cvl fetch {source}")

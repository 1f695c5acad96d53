"""Where notes on a tree are kept: in it, or, where it cannot be written, in the user's cache folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cvl.annotations import AnnotationFile, build_index
from cvl.annotations.place import Notes, cache_folder, last_report, notes_of
from cvl.annotations.skiplist import entry, update_skiplist
from cvl.root import Root

# The kernel lets nobody make a file there, not even root.
UNWRITABLE = Path("/sys/kernel")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cvl"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "tree" / "data").mkdir(parents=True)
    return Root(tmp_path / "tree")


def lock(root: Root) -> None:
    """Makes `data/.cvl` a folder that cannot be written."""
    root.notes.symlink_to(UNWRITABLE)


def instructions(root: Root, name: str = "mix") -> AnnotationFile:
    path = root.data / f"{name}.json"
    path.write_text(json.dumps([{"image": "a.jpg", "conversations": []}] * 3))
    return AnnotationFile(name, path, "data")


def test_a_tree_that_can_be_written_keeps_its_own_notes(root: Root, cache: Path) -> None:
    notes = notes_of(root)
    assert (notes.folder, notes.shared) == (root.notes, None)
    assert (notes.indexes, notes.skiplist, notes.report) == (root.indexes, root.skiplist, root.report)
    assert list(root.notes.iterdir()) == []
    assert not cache.exists()


def test_a_tree_that_cannot_be_written_has_its_notes_in_the_cache(root: Root, cache: Path) -> None:
    lock(root)
    notes = notes_of(root)
    assert (notes.folder.parent, notes.shared) == (cache, root.notes)


def test_a_file_in_the_place_of_the_notes_counts_as_unwritable(root: Root, cache: Path) -> None:
    root.notes.write_text("")
    assert notes_of(root).folder.parent == cache


def test_the_place_is_told_by_where_the_tree_really_is(root: Root, cache: Path, tmp_path: Path) -> None:
    lock(root)
    (tmp_path / "link").symlink_to(root.path)
    (tmp_path / "other" / "data").mkdir(parents=True)
    other = Root(tmp_path / "other")
    lock(other)
    assert notes_of(Root(tmp_path / "link")).folder == notes_of(root).folder
    assert notes_of(other).folder != notes_of(root).folder


def test_the_cache_is_below_the_home_if_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "cvl"


def test_an_index_goes_where_it_can_be_written(root: Root, cache: Path) -> None:
    lock(root)
    notes, file = notes_of(root), instructions(root)
    assert notes.known_index(file) is None
    notes.index(file).close()
    assert (notes.folder / "index" / "mix" / "index.json").exists()
    known = notes.known_index(file)
    assert known is not None
    known.close()


def test_the_index_of_a_shared_tree_is_used_and_not_built_again(root: Root, tmp_path: Path) -> None:
    file = instructions(root)
    build_index(file, root.indexes).close()
    notes = Notes(tmp_path / "own", shared=root.notes)
    notes.index(file).close()
    assert not (tmp_path / "own").exists()


def test_an_outdated_index_of_a_shared_tree_is_not_used(root: Root, tmp_path: Path) -> None:
    file = instructions(root)
    build_index(file, root.indexes).close()
    os.utime(file.path, ns=(1, 1))
    notes = Notes(tmp_path / "own", shared=root.notes)
    notes.index(file).close()
    assert (tmp_path / "own" / "index" / "mix").exists()


def test_skip_lists_of_the_user_go_before_those_of_the_tree(root: Root, tmp_path: Path) -> None:
    with build_index(instructions(root), root.indexes) as index:
        update_skiplist(root.skiplist, {"a": entry(index, {"x": [0]}), "b": entry(index, {"x": [0]})})
        notes = Notes(tmp_path / "own", shared=root.notes)
        assert notes.skips().keys() == {"a", "b"}
        update_skiplist(notes.skiplist, {"b": entry(index, {"x": [1, 2]})})
    assert {name: sorted(each.numbers()) for name, each in notes.skips().items()} == {"a": [0], "b": [1, 2]}


def test_without_any_notes_nothing_is_skipped(root: Root) -> None:
    assert notes_of(root).skips() == {}


def test_the_latest_report_is_found_wherever_it_was_written(root: Root, cache: Path) -> None:
    assert last_report(root) == root.report
    assert not root.notes.exists(), "who asks writes nothing"
    lock(root)
    own = notes_of(root).report
    root.notes.unlink()
    own.parent.mkdir(parents=True)
    own.write_text("own")
    assert last_report(root) == own
    root.notes.mkdir()
    root.report.write_text("the tree's")
    os.utime(own, ns=(1, 1))
    assert last_report(root) == root.report

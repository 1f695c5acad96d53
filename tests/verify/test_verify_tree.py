"""Listings of a tree: what counts as a file, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvl.verify.tree import Tree


def put(root: Path, *paths: str) -> None:
    for path in paths:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")


def test_a_folder_that_is_not_there_has_no_names(tmp_path: Path) -> None:
    listing = Tree(tmp_path).listing("data/coco")
    assert not listing.exists
    assert not listing.files | listing.folders


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    put(tmp_path, "data/coco")
    assert not Tree(tmp_path).listing("data/coco").exists


def test_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, "data/vg/readme.txt", "data/vg/VG_100K/1.jpg")
    listing = Tree(tmp_path).listing("data/vg")
    assert listing.exists
    assert listing.files == {"readme.txt"}
    assert listing.folders == {"VG_100K"}


def test_hidden_names_do_not_count(tmp_path: Path) -> None:
    put(tmp_path, "data/a/.DS_Store", "data/a/.cvl/b.jpg", "data/a/1.jpg")
    tree = Tree(tmp_path)
    assert tree.count("data/a", None) == 1
    assert not tree.has_file("data/a/.DS_Store")


def test_a_file_is_found_in_its_folder_only(tmp_path: Path) -> None:
    put(tmp_path, "data/a/1.jpg")
    tree = Tree(tmp_path)
    assert tree.has_file("data/a/1.jpg")
    assert not tree.has_file("data/1.jpg")
    assert not tree.has_file("data/a/1.JPG")
    assert not tree.has_file("data/a")


@pytest.mark.parametrize("path", ["data/../outside.jpg", "../outside.jpg", "data/a/../../outside.jpg"])
def test_a_path_that_climbs_is_never_there(tmp_path: Path, path: str) -> None:
    put(tmp_path / "root", "outside.jpg", "data/a/1.jpg")
    put(tmp_path, "outside.jpg")
    assert not Tree(tmp_path / "root").has_file(path)


def test_counts_go_through_folders_and_not_through_links_to_folders(tmp_path: Path) -> None:
    put(tmp_path, "data/lcs/00000/1.jpg", "data/lcs/00001/2.jpg", "data/lcs/3.jpg")
    (tmp_path / "data/lcs/circle").symlink_to("..")
    assert Tree(tmp_path).count("data/lcs", ".jpg") == 3


def test_a_folder_that_is_a_link_itself_is_counted(tmp_path: Path) -> None:
    put(tmp_path, "shared/00000/1.jpg", "shared/2.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/lcs").symlink_to(tmp_path / "shared")
    tree = Tree(tmp_path)
    assert tree.count("data/lcs", ".jpg") == 2
    assert tree.has_file("data/lcs/00000/1.jpg")


def test_counts_are_of_one_suffix_or_of_all(tmp_path: Path) -> None:
    put(tmp_path, "data/a/1.jpg", "data/a/2.gif", "data/a/3")
    tree = Tree(tmp_path)
    assert [tree.count("data/a", suffix) for suffix in (".jpg", ".gif", ".png", None)] == [1, 1, 0, 3]


def test_a_link_counts_as_what_it_stands_for(tmp_path: Path) -> None:
    put(tmp_path, "data/web/real.jpg")
    (tmp_path / "data/web/alias.jpg").symlink_to("real.jpg")
    tree = Tree(tmp_path)
    assert tree.has_file("data/web/alias.jpg")
    assert tree.count("data/web", ".jpg") == 2


def test_a_link_whose_target_is_gone_is_not_there(tmp_path: Path) -> None:
    put(tmp_path, "data/web/1.jpg")
    (tmp_path / "data/web/alias.jpg").symlink_to("gone.jpg")
    (tmp_path / "data/web/folder").symlink_to(tmp_path / "gone")
    tree = Tree(tmp_path)
    assert not tree.has_file("data/web/alias.jpg")
    assert tree.count("data/web", None) == 1


def test_a_listing_is_taken_once(tmp_path: Path) -> None:
    put(tmp_path, "data/a/1.jpg")
    tree = Tree(tmp_path)
    before = tree.listing("data/a")
    put(tmp_path, "data/a/2.jpg")
    assert tree.listing("data/a") is before

"""Folders of the document's tree: present, full, doubled, linked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cvl.manifest import Catalog, Expect, File, Link, Source
from cvl.verify.cures import doubled, fetchable, flatten_cure
from cvl.verify.layout import check_folders
from cvl.verify.report import Kind, Problem
from cvl.verify.tree import Tree

COCO = Expect(folder="data/coco/train2017", suffix=".jpg", files=3)
ANY = Expect(folder="data/web/images")
ARCHIVE = File(name="coco.zip", url="http://host.example/coco.zip", path="data/coco.zip")


def put(root: Path, folder: str, *names: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / folder / name).write_bytes(b"x")


def catalog_of(source: Source) -> Catalog:
    return Catalog({"coco": source}, {}, {}, {})


def problems_of(root: Path, *expect: Expect, links: tuple[Link, ...] = ()) -> tuple[Problem, ...]:
    source = Source(title="pictures", expect=expect, links=links)
    return check_folders(Tree(root), catalog_of(source), ("coco",))[1]


def test_a_full_folder_is_no_problem(tmp_path: Path) -> None:
    put(tmp_path, COCO.folder, "1.jpg", "2.jpg", "3.jpg")
    source = Source(title="pictures", expect=(COCO,))
    (state,), problems = check_folders(Tree(tmp_path), catalog_of(source), ("coco",))
    assert (state.source, state.path, state.expected, state.found) == ("coco", COCO.folder, 3, 3)
    assert problems == ()


def test_sources_that_are_not_asked_for_are_not_looked_at(tmp_path: Path) -> None:
    source = Source(title="pictures", expect=(COCO,))
    assert check_folders(Tree(tmp_path), catalog_of(source), ()) == ((), ())


def test_a_missing_folder_is_one_problem_of_all_its_files(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, COCO)
    assert (problem.kind, problem.path, problem.count) == (Kind.MISSING_FOLDER, COCO.folder, 3)
    assert problem.cure == "cvl fetch coco"


def test_missing_files_are_counted_by_suffix(tmp_path: Path) -> None:
    put(tmp_path, COCO.folder, "1.jpg", "2.jpeg", "3.gif")
    (problem,) = problems_of(tmp_path, COCO)
    assert (problem.kind, problem.count) == (Kind.MISSING_FILES, 2)
    assert problem.detail == "expected 3 files, found 1"


def test_more_files_than_expected_are_no_problem(tmp_path: Path) -> None:
    put(tmp_path, COCO.folder, *(f"{number}.jpg" for number in range(9)))
    assert problems_of(tmp_path, COCO) == ()


def test_a_folder_of_unknown_count_must_hold_something(tmp_path: Path) -> None:
    put(tmp_path, ANY.folder)
    (problem,) = problems_of(tmp_path, ANY)
    assert (problem.kind, problem.detail) == (Kind.MISSING_FILES, "the folder is empty")
    put(tmp_path, ANY.folder, "1.png")
    assert problems_of(tmp_path, ANY) == ()


def test_a_doubled_folder_is_found_although_its_files_are_as_many_as_expected(tmp_path: Path) -> None:
    put(tmp_path, f"{COCO.folder}/train2017", "1.jpg", "2.jpg", "3.jpg")
    (problem,) = problems_of(tmp_path, COCO)
    assert (problem.kind, problem.path) == (Kind.DOUBLED_FOLDER, "data/coco/train2017/train2017")
    assert problem.count == 3
    assert doubled(Tree(tmp_path), COCO.folder) == problem.path


def test_a_folder_with_other_folders_in_it_is_not_doubled(tmp_path: Path) -> None:
    put(tmp_path, f"{COCO.folder}/00000", "1.jpg")
    assert doubled(Tree(tmp_path), COCO.folder) is None


@pytest.mark.parametrize("name", ["ShareGPT4V", "with space", "it's $HOME; `x`"])
def test_the_cure_of_a_doubled_folder_moves_its_files_up(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    inner = f"{COCO.folder}/train2017"
    put(root, inner, *(f"{number} a.jpg" for number in range(50)), "-v.jpg")
    subprocess.run(["bash", "-c", flatten_cure(Tree(root), inner)], check=True)
    assert len(list((root / COCO.folder).glob("*.jpg"))) == 51
    assert not (root / inner).exists()


def test_the_cure_of_a_doubled_folder_replaces_nothing(tmp_path: Path) -> None:
    inner = f"{COCO.folder}/train2017"
    put(tmp_path, inner, "1.jpg", "2.jpg")
    (tmp_path / COCO.folder / "1.jpg").write_bytes(b"the other")
    done = subprocess.run(["bash", "-c", flatten_cure(Tree(tmp_path), inner)], capture_output=True, check=False)
    assert done.returncode != 0
    assert (tmp_path / COCO.folder / "1.jpg").read_bytes() == b"the other"
    assert (tmp_path / inner / "1.jpg").exists()


def test_a_link_must_lead_somewhere(tmp_path: Path) -> None:
    link = Link(path="data/b/images", target="data/a/images")
    (absent,) = problems_of(tmp_path, links=(link,))
    assert (absent.kind, absent.path, absent.cure) == (Kind.MISSING_LINK, "data/b/images", "cvl fetch coco")
    (tmp_path / "data/b").mkdir(parents=True)
    (tmp_path / "data/b/images").symlink_to("../a/images")
    assert [problem.kind for problem in problems_of(tmp_path, links=(link,))] == [Kind.MISSING_LINK]
    put(tmp_path, "data/a/images")
    assert problems_of(tmp_path, links=(link,)) == ()


def test_a_folder_in_the_place_of_a_link_will_do(tmp_path: Path) -> None:
    put(tmp_path, "data/b/images", "1.jpg")
    assert problems_of(tmp_path, links=(Link(path="data/b/images", target="data/a/images"),)) == ()


def test_fetch_can_bring_files_and_links_that_are_to_be_made(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    linked = Source(title="own", links=(Link(path="data/mine", target=str(tmp_path)),))
    assert fetchable(tree, Source(title="x", files=(ARCHIVE,)))
    assert fetchable(tree, linked)
    assert not fetchable(tree, Source(title="own"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine").symlink_to(tmp_path)
    assert not fetchable(tree, linked)

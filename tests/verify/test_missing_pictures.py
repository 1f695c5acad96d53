"""Missing pictures, by what brings them: moving, renaming, converting, fetching, or the user."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cvl.manifest import Annotation, Catalog, Convert, Expect, File, Link, Source
from cvl.verify.missing import missing_problems
from cvl.verify.report import Kind, Problem
from cvl.verify.tree import Tree

BOOKS = "data/ocr_vqa/images"


def archive(name: str) -> File:
    return File(name=f"{name}.zip", url=f"http://host.example/{name}.zip", path=f"data/archives/{name}.zip")


CATALOG = Catalog(
    sources={
        "coco": Source(title="COCO", files=(archive("coco"),), expect=(Expect(folder="data/coco/train2017"),)),
        "lcs": Source(title="LCS", files=(archive("lcs"),), expect=(Expect(folder="data/lcs/images"),)),
        "mine": Source(title="my own", expect=(Expect(folder="data/mine/images"),)),
        "ocrvqa": Source(
            title="books", files=(archive("ocrvqa"),), expect=(Expect(folder=BOOKS),), convert=Convert(folder=BOOKS)
        ),
        "vg": Source(title="VG", files=(archive("vg"),), expect=(Expect(folder="data/vg/VG_100K"),)),
        "web": Source(
            title="web",
            files=(archive("web"),),
            expect=(Expect(folder="data/web/images"),),
            links=(Link(path="data/web/images/B-c.jpg", target="data/web/images/B_c.jpg"),),
        ),
    },
    stages={},
    models={},
    origins={},
)


def put(root: Path, *paths: str, content: bytes = b"\xff\xd8\xff\xe0") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def missing(root: Path, *paths: str) -> list[Problem]:
    return list(missing_problems(Tree(root), CATALOG, frozenset(paths)))


def test_missing_pictures_are_counted_by_source_with_examples(tmp_path: Path) -> None:
    paths = [f"data/coco/train2017/{number}.jpg" for number in range(7)]
    coco, vg = missing(tmp_path, *paths, "data/vg/VG_100K/1.jpg")
    assert (coco.kind, coco.source, coco.path, coco.count) == (Kind.MISSING_IMAGES, "coco", "data/coco/train2017", 7)
    assert coco.examples == tuple(paths[:5])
    assert (vg.source, vg.count, vg.cure) == ("vg", 1, "cvl fetch vg")


def test_pictures_of_many_folders_below_one_are_one_problem(tmp_path: Path) -> None:
    (problem,) = missing(tmp_path, *(f"data/lcs/images/{number:05}/a.jpg" for number in range(4)))
    assert (problem.path, problem.count, problem.cure) == ("data/lcs/images", 4, "cvl fetch lcs")


def test_pictures_one_folder_too_deep_are_cured_by_moving(tmp_path: Path) -> None:
    put(tmp_path, "data/vg/VG_100K/VG_100K/1.jpg")
    moved, fetched = missing(tmp_path, "data/vg/VG_100K/1.jpg", "data/vg/VG_100K/2.jpg")
    assert (moved.count, fetched.count) == (1, 1)
    assert moved.cure.startswith("find ")
    assert fetched.cure == "cvl fetch vg"


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_a_picture_that_waits_for_conversion_is_cured_by_it(tmp_path: Path, suffix: str) -> None:
    put(tmp_path, f"{BOOKS}/0140X{suffix}")
    (problem,) = missing(tmp_path, f"{BOOKS}/0140X.jpg")
    assert problem.cure == "cvl convert ocrvqa"


def test_a_missing_second_name_is_made_by_fetch(tmp_path: Path) -> None:
    put(tmp_path, "data/web/images/B_c.jpg")
    (problem,) = missing(tmp_path, "data/web/images/B-c.jpg")
    assert (problem.source, problem.cure) == ("web", "cvl fetch web")


def test_what_no_source_can_fetch_is_to_be_put_there(tmp_path: Path) -> None:
    (problem,) = missing(tmp_path, "data/mine/images/1.jpg", "data/mine/images/cats/2.jpg")
    assert (problem.source, problem.path, problem.count) == ("mine", "data/mine/images", 2)
    assert problem.cure == f"put them into {tmp_path}/data/mine/images"
    assert problem.examples == ("data/mine/images/1.jpg", "data/mine/images/cats/2.jpg")


def test_the_image_root_of_an_instruction_file_claims_what_lies_below_it(tmp_path: Path) -> None:
    own = Source(title="own", annotations=(Annotation(name="a", path="data/a.json", images="data/own"),))
    catalog = Catalog({**CATALOG.sources, "own": own}, {}, {}, {})
    (problem,) = missing_problems(Tree(tmp_path), catalog, frozenset({"data/own/x/1.jpg", "data/own/y/z/2.jpg"}))
    assert (problem.source, problem.path, problem.count) == ("own", "data/own", 2)


def test_what_no_source_knows_asks_for_a_manifest(tmp_path: Path) -> None:
    (problem,) = missing(tmp_path, "data/elsewhere/1.jpg", "data/elsewhere/2.jpg")
    assert (problem.source, problem.path, problem.count) == ("", "data/elsewhere", 2)
    assert problem.cure.startswith(f"put them into {tmp_path}/data/elsewhere, or write a manifest")


@pytest.mark.parametrize("found", ["JPG", "jpeg", "Jpg"])
def test_a_picture_under_another_suffix_is_cured_by_a_second_name(tmp_path: Path, found: str) -> None:
    put(tmp_path, f"data/vg/VG_100K/1.{found}", f"data/vg/VG_100K/it's 2.{found}")
    (problem,) = missing(tmp_path, "data/vg/VG_100K/1.jpg", "data/vg/VG_100K/it's 2.jpg")
    assert (problem.kind, problem.count, problem.source) == (Kind.WRONG_SUFFIX, 2, "vg")
    assert problem.detail == "2 pictures are named and there under another suffix"
    subprocess.run(["bash", "-c", problem.cure], check=True)
    folder = tmp_path / "data/vg/VG_100K"
    assert {path.name for path in folder.iterdir()} >= {"1.jpg", "it's 2.jpg", f"1.{found}"}


def test_the_cure_of_a_wrong_suffix_replaces_nothing(tmp_path: Path) -> None:
    put(tmp_path, "data/vg/VG_100K/1.JPG", "data/vg/VG_100K/2.JPG")
    put(tmp_path, "data/vg/VG_100K/2.jpg", content=b"the other")
    (problem,) = missing(tmp_path, "data/vg/VG_100K/1.jpg")
    subprocess.run(["bash", "-c", problem.cure], capture_output=True, check=False)
    assert (tmp_path / "data/vg/VG_100K/2.jpg").read_bytes() == b"the other"
    assert (tmp_path / "data/vg/VG_100K/1.jpg").exists()


def test_a_suffix_that_is_no_picture_s_never_stands_in_a_command(tmp_path: Path) -> None:
    put(tmp_path, "data/vg/VG_100K/1.jpg")
    (problem,) = missing(tmp_path, "data/vg/VG_100K/1.$(touch gone)")
    assert (problem.kind, problem.cure) == (Kind.MISSING_IMAGES, "cvl fetch vg")


def test_a_gif_that_waits_for_conversion_is_a_wrong_suffix(tmp_path: Path) -> None:
    put(tmp_path, f"{BOOKS}/0140X.gif")
    (problem,) = missing(tmp_path, f"{BOOKS}/0140X.jpg")
    assert (problem.kind, problem.cure) == (Kind.WRONG_SUFFIX, "cvl convert ocrvqa")

"""Every picture that an instruction file names: is it there, is it a JPEG where one is promised, what brings it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cvl.annotations import AnnotationFile, index_of
from cvl.manifest import Annotation, Catalog, Convert, Expect, File, Link, Source
from cvl.verify.references import Checked, check_references, format_problems, missing_problems
from cvl.verify.report import Kind, Problem
from cvl.verify.tree import Tree

BOOKS = "data/ocr_vqa/images"
MIX = Annotation(name="mix", path="data/llava/mix.json")


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


def record(image: str | None = None, **changes: Any) -> dict[str, Any]:
    question = "<image>\nWhat is this?" if image else "What is one plus one?"
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "Two."}]
    return ({"image": image} if image else {}) | {"conversations": turns} | changes


def put(root: Path, *paths: str, content: bytes = b"\xff\xd8\xff\xe0") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, kind)
    return stream.getvalue()


def checked(root: Path, *records: dict[str, Any], annotation: Annotation = MIX) -> Checked:
    path = root / annotation.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records))
    with index_of(AnnotationFile(annotation.name, path, annotation.image_root), root / "index") as index:
        return check_references(Tree(root), CATALOG, annotation, index)


def missing(root: Path, *paths: str) -> list[Problem]:
    return list(missing_problems(Tree(root), CATALOG, frozenset(paths)))


def test_pictures_that_are_there_are_no_problem(tmp_path: Path) -> None:
    put(tmp_path, "data/coco/train2017/1.jpg", "data/vg/VG_100K/2.jpg")
    found = checked(tmp_path, record("coco/train2017/1.jpg"), record("vg/VG_100K/2.jpg"), record())
    assert (found.state.records, found.state.text_only, found.state.missing) == (3, 1, 0)
    assert (found.missing, found.skips) == (frozenset(), {})


def test_records_of_missing_pictures_are_skipped_by_number(tmp_path: Path) -> None:
    put(tmp_path, "data/coco/train2017/1.jpg")
    names = ("coco/train2017/0.jpg", "coco/train2017/1.jpg", "coco/train2017/0.jpg", "vg/VG_100K/9.jpg")
    found = checked(tmp_path, *map(record, names))
    assert found.missing == {"data/coco/train2017/0.jpg", "data/vg/VG_100K/9.jpg"}
    assert found.skips == {"missing-image": [0, 2, 3]}
    assert found.state.missing == 3
    assert found.state.skipped == {"missing-image": 3}


@pytest.mark.parametrize(("root", "named"), [(None, "coco/train2017/1.jpg"), ("data/coco", "train2017/1.jpg")])
def test_names_start_from_the_files_own_image_root(tmp_path: Path, root: str | None, named: str) -> None:
    put(tmp_path, "data/coco/train2017/1.jpg")
    annotation = Annotation(name="mix", path="data/llava/mix.json", images=root)
    assert not checked(tmp_path, record(named), annotation=annotation).missing


def test_a_name_that_climbs_out_of_the_tree_is_missing(tmp_path: Path) -> None:
    put(tmp_path, "secret.jpg", "data/a.jpg")
    assert checked(tmp_path, record("../secret.jpg")).missing == {"data/../secret.jpg"}


def test_records_that_cannot_be_trained_on_are_skipped_with_their_reason(tmp_path: Path) -> None:
    put(tmp_path, "data/coco/train2017/1.jpg")
    broken = record(conversations=[{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": ""}])
    odd = record(conversations=[{"from": "robot", "value": "Hello?"}])
    found = checked(tmp_path, record("coco/train2017/1.jpg"), broken, odd)
    assert found.skips["no-answer"] == [1, 2]
    assert found.skips["unknown-speaker"] == [2]
    assert not found.missing


def test_harmless_oddities_are_remarks_and_skip_nothing(tmp_path: Path) -> None:
    turns = record()["conversations"]
    found = checked(tmp_path, record(conversations=[{"from": "gpt", "value": "Ask me."}, *turns]))
    assert found.state.remarks == {"first-turn-gpt": 1}
    assert found.skips == {}


def test_only_pictures_in_folders_that_are_converted_are_looked_into(tmp_path: Path) -> None:
    put(tmp_path, f"{BOOKS}/1.jpg", "data/coco/train2017/1.jpg")
    found = checked(tmp_path, record("ocr_vqa/images/1.jpg"), record("coco/train2017/1.jpg"))
    assert found.convertible == {f"{BOOKS}/1.jpg"}


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


def test_what_is_no_jpeg_by_content_is_counted_by_kind(tmp_path: Path) -> None:
    put(tmp_path, f"{BOOKS}/1.jpg", f"{BOOKS}/2.jpg", content=picture("gif"))
    put(tmp_path, f"{BOOKS}/3.jpg", content=picture("png"))
    put(tmp_path, f"{BOOKS}/4.jpg", content=picture("jpeg"))
    put(tmp_path, f"{BOOKS}/5.jpg", content=b"<html>gone</html>")
    paths = frozenset(f"{BOOKS}/{number}.jpg" for number in range(1, 6))
    (problem,) = format_problems(Tree(tmp_path), CATALOG, paths)
    assert (problem.kind, problem.source, problem.path, problem.count) == (Kind.NOT_JPEG, "ocrvqa", BOOKS, 4)
    assert problem.detail == "2 × GIF, 1 × PNG, 1 × no picture under .jpg"
    assert problem.cure == "cvl convert ocrvqa"


def test_real_jpegs_are_no_problem(tmp_path: Path) -> None:
    put(tmp_path, f"{BOOKS}/1.jpg", content=picture("jpeg"))
    assert list(format_problems(Tree(tmp_path), CATALOG, frozenset({f"{BOOKS}/1.jpg"}))) == []

"""Every picture that an instruction file names: is it there, and which records are left out if not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cvl.annotations import AnnotationFile, index_of
from cvl.annotations.names import read_names
from cvl.events import Progress
from cvl.manifest import Annotation, Catalog, Expect, Source
from cvl.verify.references import Left, Named, left_out
from cvl.verify.tree import Tree

MIX = Annotation(name="mix", path="data/llava/mix.json")
FOLDERS = {"coco": "data/coco/train2017", "vg": "data/vg/VG_100K"}
CATALOG = Catalog(
    sources={name: Source(title=name, expect=(Expect(folder=folder),)) for name, folder in FOLDERS.items()},
    stages={},
    models={},
    origins={},
)


def record(image: str | None = None, **changes: Any) -> dict[str, Any]:
    question = "<image>\nWhat is this?" if image else "What is one plus one?"
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "Two."}]
    return ({"image": image} if image else {}) | {"conversations": turns} | changes


BROKEN = record(conversations=[{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": ""}])
STRANGE = record(conversations=[{"from": "robot", "value": "Hello?"}])


def put(root: Path, *paths: str, content: bytes = b"x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def quiet(_done: int, _total: int | None) -> None:
    pass


SILENT: Progress = quiet


@contextmanager
def named(root: Path, *records: Any, annotation: Annotation = MIX, whole: bool = True) -> Iterator[Named]:
    path = root / annotation.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records))
    file = AnnotationFile(annotation.name, path, annotation.image_root)
    if not whole:
        yield Named(annotation, "llava", read_names(file, SILENT))
        return
    with index_of(file, root / "index") as index:
        yield Named(annotation, "llava", index)


def missing(root: Path, *records: Any, annotation: Annotation = MIX, whole: bool = True) -> set[bytes]:
    with named(root, *records, annotation=annotation, whole=whole) as each:
        return Tree(root).survey(each.by_folder(), below="data", sizes=True)


def left(root: Path, *records: Any, faults: Mapping[bytes, str], whole: bool = True) -> Left:
    with named(root, *records, whole=whole) as each:
        return left_out(CATALOG, each, faults)


@pytest.mark.parametrize("whole", [True, False], ids=["index", "names"])
def test_pictures_are_found_where_they_are(tmp_path: Path, whole: bool) -> None:
    put(tmp_path, "data/coco/train2017/1.jpg", "data/vg/VG_100K/2.jpg")
    records = [record("coco/train2017/1.jpg"), record("vg/VG_100K/2.jpg"), record(), record("vg/VG_100K/3.jpg")]
    assert missing(tmp_path, *records, record("vg/VG_100K/3.jpg"), whole=whole) == {b"data/vg/VG_100K/3.jpg"}


@pytest.mark.parametrize(("root", "name"), [(None, "coco/train2017/1.jpg"), ("data/coco", "train2017/1.jpg")])
def test_names_start_from_the_files_own_image_root(tmp_path: Path, root: str | None, name: str) -> None:
    put(tmp_path, "data/coco/train2017/1.jpg")
    annotation = Annotation(name="mix", path="data/llava/mix.json", images=root)
    assert not missing(tmp_path, record(name), annotation=annotation)


@pytest.mark.parametrize("root", ["data/vflan/images", None])
def test_a_bare_name_lies_in_the_image_root_itself(tmp_path: Path, root: str | None) -> None:
    put(tmp_path, f"{root or 'data'}/é.jpg")
    annotation = Annotation(name="mix", path="data/llava/mix.json", images=root)
    names = [record("é.jpg"), record("é.jpg"), record("ö.jpg")]
    assert missing(tmp_path, *names, annotation=annotation) == {f"{root or 'data'}/ö.jpg".encode()}


@pytest.mark.parametrize(
    "name",
    [
        "../secret.jpg",
        "coco/../../secret.jpg",
        "coco/../coco/train2017/1.jpg",
        "/etc/hosts",
        "coco/train2017",
        "coco/train2017/",
        "coco/train2017/.hidden.jpg",
        f"{'x' * 300}/1.jpg",
        "coco/train2017/1.jpg/2.jpg",
    ],
)
def test_what_is_no_picture_of_the_tree_is_not_there(tmp_path: Path, name: str) -> None:
    put(tmp_path, "secret.jpg", "data/coco/train2017/1.jpg", "data/coco/train2017/.hidden.jpg")
    assert missing(tmp_path, record(name), record("coco/train2017/1.jpg")) == {f"data/{name}".encode()}


def test_an_image_that_no_path_can_be_is_no_image(tmp_path: Path) -> None:
    assert missing(tmp_path, record("a\0b.jpg")) == set()


def test_slashes_may_be_written_twice(tmp_path: Path) -> None:
    put(tmp_path, "data/coco/train2017/1.jpg")
    assert missing(tmp_path, record("coco//train2017/1.jpg"), record("./coco/train2017/1.jpg")) == set()


def test_a_folder_that_is_reached_through_a_link_counts_under_both_names(tmp_path: Path) -> None:
    put(tmp_path, "data/vflan/1.jpg", "data/vflan/2.jpg")
    (tmp_path / "data/allava").symlink_to("vflan")
    names = ("allava/1.jpg", "vflan/2.jpg", "allava/3.jpg", "vflan/4.jpg", "vflan/3.jpg")
    assert missing(tmp_path, *map(record, names)) == {b"data/allava/3.jpg", b"data/vflan/4.jpg", b"data/vflan/3.jpg"}


def test_a_folder_outside_of_the_tree_counts_where_a_link_leads_there(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/coco").symlink_to(tmp_path / "elsewhere")
    assert not missing(tmp_path, record("coco/1.jpg"))


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvl.verify.tree._WORTH_IT", 0)
    monkeypatch.setattr("cvl.verify.tree._TOGETHER", 2)
    names = [f"{folder}/{number}.jpg" for folder in "abcdefg" for number in range(9)]
    put(tmp_path, *(f"data/{name}" for name in names[::2]), "data/h/i/j/k.zip")
    put(tmp_path, "data/a/empty.jpg", content=b"")
    with named(tmp_path, *map(record, names)) as each:
        trees = [Tree(tmp_path), Tree(tmp_path)]
        one, many = (
            tree.survey(each.by_folder(), below="data", sizes=True, jobs=jobs)
            for tree, jobs in zip(trees, (1, 2), strict=True)
        )
    assert one == many == {f"data/{name}".encode() for name in names[1::2]}
    assert trees[0].listings.keys() == trees[1].listings.keys() >= {"data", "data/h/i/j"}
    for folder, listing in trees[0].listings.items():
        other = trees[1].listings[folder]
        assert (listing.files, listing.folders, listing.empty) == (other.files, other.folders, other.empty)
    assert trees[1].empty() == {b"data/a/empty.jpg"}


@pytest.mark.parametrize("whole", [True, False], ids=["index", "names"])
def test_records_of_faulty_pictures_are_left_out_by_number_and_source(tmp_path: Path, whole: bool) -> None:
    names = ("coco/train2017/0.jpg", "coco/train2017/1.jpg", "coco/train2017/0.jpg", "vg/VG_100K/9.jpg", "odd/1.jpg")
    faults = {
        b"data/coco/train2017/0.jpg": "missing-image",
        b"data/vg/VG_100K/9.jpg": "empty-image",
        b"data/odd/1.jpg": "missing-image",
    }
    outcome = left(tmp_path, *map(record, names), record(), faults=faults, whole=whole)
    assert outcome.skips == {"missing-image": [0, 2, 4], "empty-image": [3]}
    assert outcome.by_source == {"coco": {"missing-image": 2}, "vg": {"empty-image": 1}, "": {"missing-image": 1}}
    assert outcome.faulty == 4


def test_records_that_cannot_be_trained_on_are_left_out_for_the_first_reason(tmp_path: Path) -> None:
    outcome = left(tmp_path, record("coco/train2017/1.jpg"), BROKEN, STRANGE, faults={})
    assert outcome.skips == {"unknown-speaker": [2], "no-answer": [1, 2]}
    assert outcome.by_source == {"llava": {"unknown-speaker": 1, "no-answer": 1}}
    assert outcome.faulty == 0


def test_a_broken_record_of_a_missing_picture_is_left_out_once(tmp_path: Path) -> None:
    broken = BROKEN | {"image": "coco/train2017/0.jpg"}
    outcome = left(tmp_path, broken, faults={b"data/coco/train2017/0.jpg": "missing-image"})
    assert outcome.skips == {"no-answer": [0], "missing-image": [0]}
    assert outcome.by_source == {"llava": {"no-answer": 1}}


def test_harmless_oddities_leave_nothing_out(tmp_path: Path) -> None:
    turns = record()["conversations"]
    outcome = left(tmp_path, record(conversations=[{"from": "gpt", "value": "Ask me."}, *turns]), faults={})
    assert (outcome.skips, outcome.by_source) == ({}, {})
    assert (outcome.odd, outcome.bad) == ({"first-turn-gpt": 1}, 1)


def test_odd_records_are_counted_once_and_not_where_they_are_left_out_anyway(tmp_path: Path) -> None:
    turns = record()["conversations"]
    twice = record(conversations=[{"from": "gpt", "value": "Ask me."}, *turns, turns[0]])
    gone = twice | {"image": "coco/train2017/0.jpg"}
    faults = {b"data/coco/train2017/0.jpg": "missing-image"}
    outcome = left(tmp_path, record(), twice, gone, BROKEN, faults=faults)
    assert sum(outcome.odd.values()) == 1
    assert outcome.bad == 3


def test_the_names_alone_tell_of_no_odd_record(tmp_path: Path) -> None:
    outcome = left(tmp_path, BROKEN, STRANGE, faults={}, whole=False)
    assert (outcome.odd, outcome.bad) == ({}, 0)

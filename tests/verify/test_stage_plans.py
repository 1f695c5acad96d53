"""What a stage would do with the tree as it is, from values alone; and files of nobody's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cvl.manifest import Catalog, Expect, File, Source, Unpack
from cvl.verify.leftovers import stray_archives, unused_empty_files
from cvl.verify.references import Left
from cvl.verify.report import AnnotationState, Kind, Problem, StagePlan
from cvl.verify.stages import plan_stage
from cvl.verify.tree import Tree


def plan(catalog: Catalog, left: Left | None, *problems: Problem, records: int = 1000) -> StagePlan:
    (annotation,) = catalog.stage_annotations(3)
    state = AnnotationState(annotation.name, annotation.path, records, 0, 0, {}, {})
    return plan_stage(catalog, 3, {annotation.name: state}, {annotation.name: left} if left else {}, problems)


def left(faulty: int = 0, **reasons: int) -> Left:
    return Left({}, {"coco": reasons} if reasons else {}, faulty)


def problem(kind: Kind, source: str, path: str = "data/x") -> Problem:
    return Problem(kind, source, path, 1, "", "")


def test_a_stage_with_everything_is_complete_and_runs(catalog: Catalog) -> None:
    found = plan(catalog, left())
    assert (found.complete, found.runs, found.trained, found.skipped) == (True, True, 1000, {})


def test_records_that_are_left_out_for_themselves_keep_a_stage_complete(catalog: Catalog) -> None:
    found = plan(catalog, left(no_answer=3))
    assert (found.complete, found.runs, found.trained) == (True, True, 997)


def test_records_that_are_left_out_for_their_pictures_do_not(catalog: Catalog) -> None:
    found = plan(catalog, left(3, missing=3))
    assert (found.complete, found.runs) == (False, True)


@pytest.mark.parametrize(("count", "runs"), [(50, True), (51, False)])
def test_a_stage_runs_up_to_the_share_that_may_be_left_out(catalog: Catalog, count: int, runs: bool) -> None:
    assert plan(catalog, left(count, missing=count)).runs is runs


def test_a_stage_without_any_record_does_not_run(catalog: Catalog) -> None:
    for found in (plan(catalog, left(), records=0), plan(catalog, left(9, missing=9), records=9)):
        assert found.blockers == ("no record is left to train on",)


def with_bad_records(catalog: Catalog, choice: str) -> Catalog:
    stage = catalog.stages[3]
    run = stage.run.model_copy(update={"bad_records": choice})
    return replace(catalog, stages={**catalog.stages, 3: stage.model_copy(update={"run": run})})


ODD = Left({}, {"coco": {"missing-image": 2}}, faulty=2, odd={"first-turn-gpt": 3}, bad=4)


def test_a_stage_that_mends_odd_records_trains_on_them(catalog: Catalog) -> None:
    found = plan(with_bad_records(catalog, "mend"), ODD)
    assert (found.runs, found.skipped) == (True, {"coco": {"missing-image": 2}})


def test_a_stage_that_skips_odd_records_counts_them_for_the_source_of_the_file(catalog: Catalog) -> None:
    found = plan(with_bad_records(catalog, "skip"), ODD)
    assert (found.runs, found.trained) == (True, 995)
    assert found.skipped == {"coco": {"missing-image": 2}, "llava": {"first-turn-gpt": 3}}


def test_a_stage_that_refuses_bad_records_does_not_run_with_one(catalog: Catalog) -> None:
    found = plan(with_bad_records(catalog, "error"), ODD)
    path = catalog.annotations["llava665k"][1].path
    assert found.blockers == (f'{path} has 4 bad records, and the stage says bad_records = "error"',)
    assert plan(with_bad_records(catalog, "error"), left()).runs


def test_a_stage_whose_instruction_file_cannot_be_read_does_not_run(catalog: Catalog) -> None:
    found = plan(catalog, None)
    assert (found.complete, found.runs) == (False, False)
    assert found.blockers == ("data/llava/llava_v1_5_mix665k.json cannot be read",)


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        (problem(Kind.NOT_JPEG, "ocrvqa"), False),
        (problem(Kind.NOT_JPEG, "elsewhere"), True),
        (problem(Kind.WRONG_RECORD_COUNT, "llava", "data/llava/llava_v1_5_mix665k.json"), False),
        (problem(Kind.WRONG_RECORD_COUNT, "llava", "data/other.json"), True),
    ],
)
def test_what_is_not_as_published_keeps_a_stage_from_being_complete(
    catalog: Catalog, found: Problem, complete: bool
) -> None:
    assert plan(catalog, left(), found).complete is complete


SHARDED = File(name="sam-{shard:06d}.tar", url="links:sa_{shard:06d}.tar", shards="0-2", unpack=Unpack(into="data/sam"))
SHARED_NAME = File(name="gqa-images.zip", url="http://h.example/gqa/images.zip", unpack=Unpack(into="data/gqa"))
KEPT = File(name="kept.zip", url="http://h.example/kept.zip", path="data/kept/kept.zip")
OWNERS = Catalog(
    sources={
        "gqa": Source(title="GQA", files=(SHARED_NAME,), expect=(Expect(folder="data/gqa/images"),)),
        "kept": Source(title="kept", files=(KEPT,)),
        "sam": Source.model_validate(
            {"title": "SAM", "files": (SHARDED,), "gate": {"page": "https://h.example/", "ask": "accept"}}
        ),
        "vg": Source(title="VG", expect=(Expect(folder="data/vg"),)),
    },
    stages={},
    models={},
    origins={},
)


def strays(root: Path, *paths: str, unfinished: str = "") -> dict[str, tuple[str, str]]:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    tree = Tree(root)
    tree.survey({}, below="data", sizes=True)
    return {each.path: (each.source, each.cure) for each in stray_archives(tree, OWNERS, frozenset([unfinished]))}


def test_archives_are_told_by_the_publisher_s_name_ours_or_their_folder(tmp_path: Path) -> None:
    paths = ("data/sa_000001.tar", "data/sam-000002.tar", "data/gqa/images/images.zip", "data/images.zip", "data/a.tgz")
    found = strays(tmp_path, *paths)
    assert {path: source for path, (source, _) in found.items()} == dict(
        zip(paths, ("sam", "sam", "gqa", "", ""), strict=True)
    )


def test_an_archive_that_a_manifest_puts_into_the_tree_is_no_stray(tmp_path: Path) -> None:
    assert strays(tmp_path, "data/kept/kept.zip", "data/kept/notes.txt", "data/kept/zip") == {}


def test_the_cure_of_a_stray_archive_can_be_typed(tmp_path: Path) -> None:
    root = tmp_path / "it's mine"
    found = strays(root, "data/my downloads/sa_000001.tar", "data/vg/x.zip", unfinished="sam")
    assert found["data/my downloads/sa_000001.tar"][1].startswith("cvl fetch sam --from '")
    assert found["data/vg/x.zip"][1].startswith("rm '")


def test_an_empty_file_that_is_named_through_a_link_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data/vg"
    folder.mkdir(parents=True)
    for name in ("1.jpg", "2.jpg"):
        (folder / name).write_bytes(b"")
    (tmp_path / "data/alias").symlink_to("vg")
    tree = Tree(tmp_path)
    tree.survey({"data/alias": b"1.jpg\0"}, below="data", sizes=True)
    (remark,) = unused_empty_files(tree, OWNERS, frozenset({b"data/alias/1.jpg"}))
    assert remark.count == 1
    assert remark.examples[0].endswith("/2.jpg")

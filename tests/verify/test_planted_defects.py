"""Each defect that a tree can have, planted in a complete one and found by name, with what mends it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from photographs import encoded, photograph, zeroed

from cvl.annotations.place import notes_of
from cvl.annotations.skiplist import read_skiplist
from cvl.events import Event, EventKind
from cvl.manifest import Catalog
from cvl.parallel import Part
from cvl.root import Root
from cvl.verify.decode import Depth
from cvl.verify.pictures import Work
from cvl.verify.report import Fate, Finding, Kind, Problem, Report
from cvl.verify.verify import Checks, verify

MIX = "data/llava/llava_v1_5_mix665k.json"
QUICK, FULL = Checks(decode=Depth.QUICK), Checks(decode=Depth.FULL)


def records(root: Root, path: str = MIX) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(root.at(path).read_bytes())
    return found


def write(root: Root, changed: list[Any], path: str = MIX) -> None:
    root.at(path).write_text(json.dumps(changed))


def named(root: Root, folder: str) -> Path:
    """A picture of this folder that the mix names."""
    return root.data / next(each["image"] for each in records(root) if each.get("image", "").startswith(folder))


def only(report: Report) -> Problem:
    (problem,) = report.problems
    return problem


def path_of(root: Root, path: Path) -> str:
    return str(path.relative_to(root.path))


def skipped(root: Root, reason: str) -> set[int]:
    entry = read_skiplist(root.skiplist)["llava665k"]
    return set(entry.mask(reason).nonzero()[0].tolist()) if reason in entry.reasons else set()


def numbers_of(root: Root, path: Path) -> set[int]:
    image = str(path.relative_to(root.data))
    return {number for number, each in enumerate(records(root)) if each.get("image") == image}


# The tree.


def test_a_missing_folder(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.at("data/textvqa/train_images"))
    found = {problem.kind: problem for problem in verify(catalog, complete).problems}
    assert found.keys() == {Kind.MISSING_FOLDER, Kind.MISSING_IMAGES}
    assert {problem.cure for problem in found.values()} == {"cvl fetch textvqa"}


def test_a_file_too_few(complete: Root, catalog: Catalog) -> None:
    named(complete, "gqa/").unlink()
    found = {problem.kind: problem for problem in verify(catalog, complete).problems}
    assert found[Kind.MISSING_FILES].cure == found[Kind.MISSING_IMAGES].cure == "cvl fetch gqa"


def test_a_doubled_folder(complete: Root, catalog: Catalog) -> None:
    folder = complete.at("data/gqa/images")
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    folder.with_name("moved").rename(folder / "images")
    found = {problem.kind: problem for problem in verify(catalog, complete).problems}
    doubled = found[Kind.DOUBLED_FOLDER]
    assert (doubled.path, doubled.source) == ("data/gqa/images/images", "gqa")
    assert found[Kind.MISSING_IMAGES].cure == doubled.cure
    subprocess.run(["bash", "-c", doubled.cure], check=True)
    assert verify(catalog, complete).problems == ()


def test_an_empty_picture_that_is_named(complete: Root, catalog: Catalog) -> None:
    """Emptied in its place, so that nothing about its folder tells of it."""
    verify(catalog, complete)
    picture = named(complete, "coco/")
    picture.write_bytes(b"")
    report = verify(catalog, complete)
    problem = only(report)
    assert (problem.kind, problem.source, problem.count) == (Kind.EMPTY_IMAGES, "coco", 1)
    assert problem.examples == (path_of(complete, picture),)
    assert problem.cure.endswith(" && cvl fetch coco")
    assert skipped(complete, "empty-image") == numbers_of(complete, picture) != set()
    assert not report.stages[3]
    subprocess.run(["bash", "-c", problem.cure.removesuffix(" && cvl fetch coco")], check=True)
    assert not picture.exists()


def test_the_cure_holds_where_the_tree_is_named_relative_to_here(
    complete: Root, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = named(complete, "coco/")
    picture.write_bytes(b"")
    monkeypatch.chdir(complete.path.parent)
    problem = only(verify(catalog, Root(Path(complete.path.name))))
    assert problem.detail == "1 picture is named and without a byte"
    subprocess.run(["bash", "-c", problem.cure.removesuffix(" && cvl fetch coco")], check=True)
    assert not picture.exists()


def test_an_empty_file_that_nobody_names_is_a_remark(complete: Root, catalog: Catalog) -> None:
    complete.at("data/vg/VG_100K_2/0.jpg").write_bytes(b"")
    report = verify(catalog, complete)
    assert report.problems == ()
    remark = next(each for each in report.remarks if each.path == "data/vg/VG_100K_2")
    assert (remark.kind, remark.source) == (Kind.UNUSED_EMPTY_FILES, "vg")
    assert "data/vg/VG_100K_2/0.jpg" in remark.examples


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg"])
def test_a_wrong_suffix(complete: Root, catalog: Catalog, suffix: str) -> None:
    picture = named(complete, "coco/")
    picture.rename(picture.with_suffix(suffix))
    found = {problem.kind: problem for problem in verify(catalog, complete).problems}
    problem = found[Kind.WRONG_SUFFIX]
    assert (problem.source, problem.count, problem.examples) == ("coco", 1, (path_of(complete, picture),))
    subprocess.run(["bash", "-c", problem.cure], check=True)
    assert verify(catalog, complete).problems == ()


def test_a_gif_in_the_place_of_a_jpeg_that_is_named(complete: Root, catalog: Catalog) -> None:
    picture = named(complete, "ocr_vqa/")
    picture.unlink()
    picture.with_suffix(".gif").write_bytes(encoded("GIF", "P"))
    problem = next(each for each in verify(catalog, complete).problems if each.kind is Kind.WRONG_SUFFIX)
    assert (problem.source, problem.cure) == ("ocrvqa", "cvl convert ocrvqa")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_another_format_under_a_jpeg_s_name_where_it_is_converted(complete: Root, catalog: Catalog, kind: str) -> None:
    named(complete, "ocr_vqa/").write_bytes(encoded(kind, "P" if kind == "GIF" else "RGB"))
    for checks in (None, QUICK):
        problem = only(verify(catalog, complete, checks=checks))
        assert (problem.kind, problem.cure) == (Kind.NOT_JPEG, "cvl convert ocrvqa")
        assert problem.detail == f"1 × {kind} under .jpg"


def test_another_format_under_a_jpeg_s_name_elsewhere_is_a_remark(complete: Root, catalog: Catalog) -> None:
    picture = named(complete, "coco/")
    picture.write_bytes(encoded("PNG"))
    report = verify(catalog, complete, 3, checks=QUICK)
    assert report.problems == ()
    remark = next(each for each in report.remarks if each.kind is Kind.OTHER_FORMAT)
    assert (remark.source, remark.examples) == ("coco", (path_of(complete, picture),))
    assert remark.cure.startswith("nothing to do")


@pytest.mark.parametrize(
    ("name", "source"), [("train2017.zip", "coco"), ("coco-train2017.zip", "coco"), ("backup.tar.gz", "")]
)
def test_a_stray_archive_of_a_full_source_is_a_remark(complete: Root, catalog: Catalog, name: str, source: str) -> None:
    complete.at(f"data/coco/{name}").write_bytes(bytes(200_000))
    report = verify(catalog, complete)
    assert report.problems == ()
    remark = next(each for each in report.remarks if each.kind is Kind.STRAY_ARCHIVE)
    assert (remark.source, remark.path) == (source, f"data/coco/{name}")
    assert (remark.detail, remark.cure) == ("an archive that nothing needs, 200 kB", f"rm {complete.at(remark.path)}")


def test_a_stray_archive_of_a_source_that_lacks_something_may_be_what_it_lacks(
    complete: Root, catalog: Catalog
) -> None:
    named(complete, "coco/").unlink()
    complete.at("data/train2017.zip").write_bytes(b"x")
    (remark,) = (each for each in verify(catalog, complete).remarks if each.kind is Kind.STRAY_ARCHIVE)
    assert remark.cure == f"cvl fetch coco --from {complete.data}"


# Instruction files.


def test_an_absent_and_a_broken_instruction_file(complete: Root, catalog: Catalog) -> None:
    complete.at(MIX).write_bytes(complete.at(MIX).read_bytes()[:-2])
    complete.at("data/vflan/annotation_191-task_1k.json").unlink()
    report = verify(catalog, complete)
    kinds = {problem.kind: problem.cure for problem in report.problems}
    assert kinds == {Kind.BROKEN_ANNOTATIONS: "cvl fetch llava", Kind.MISSING_ANNOTATIONS: "cvl fetch vflan"}
    plans = {plan.number: plan for plan in report.plans}
    assert plans[1].runs
    assert plans[3].blockers == (f"{MIX} cannot be read",)


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


def first_turn(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    turns = record["conversations"]
    return record | {"conversations": [turns[0] | changes, *turns[1:]]}


DEFECTS: dict[str, tuple[Callable[[dict[str, Any]], Any], Fate]] = {
    "no-conversations": (lambda record: record | {"conversations": []}, Fate.SKIPPED),
    "unknown-speaker": (lambda record: first_turn(record, **{"from": "system"}), Fate.SKIPPED),
    "not-text": (lambda record: first_turn(record, value=["<image>"]), Fate.SKIPPED),
    "image-list": (lambda record: record | {"image": [record["image"]]}, Fate.SKIPPED),
    "image-not-text": (lambda record: record | {"image": 7}, Fate.SKIPPED),
    "not-an-object": (lambda record: [record], Fate.SKIPPED),
    "no-answer": (
        lambda record: record | {"conversations": [record["conversations"][0], {"from": "gpt", "value": " "}]},
        Fate.SKIPPED,
    ),
    "out-of-order": (lambda record: record | {"conversations": [record["conversations"][0]] * 2}, Fate.SKIPPED),
    "several-placeholders": (lambda record: record | {"conversations": record["conversations"][:2] * 2}, Fate.SKIPPED),
    "empty-answer": (
        lambda record: (
            record
            | {
                "conversations": [
                    *record["conversations"],
                    *[{"from": "human", "value": "And?"}],
                    {"from": "gpt", "value": ""},
                ]
            }
        ),
        Fate.MENDED,
    ),
    "image-without-placeholder": (lambda record: first_turn(record, value="What is this?"), Fate.MENDED),
    "placeholder-without-image": (lambda record: without(record, "image"), Fate.MENDED),
    "first-turn-gpt": (
        lambda record: record | {"conversations": [{"from": "gpt", "value": "Ask."}, *record["conversations"]]},
        Fate.MENDED,
    ),
    "last-turn-human": (
        lambda record: record | {"conversations": [*record["conversations"], {"from": "human", "value": "Why?"}]},
        Fate.MENDED,
    ),
    "template-in-text": (lambda record: first_turn(record, value="<image>\nis </s> a word?"), Fate.MENDED),
}


def finding(report: Report, problem: str) -> Finding:
    (state,) = (state for state in report.annotations if state.path == MIX)
    return next(each for each in state.findings if each.problem == problem)


@pytest.mark.parametrize("problem", DEFECTS)
def test_a_record_that_is_not_as_it_should_be(complete: Root, catalog: Catalog, problem: str) -> None:
    change, fate = DEFECTS[problem]
    changed = records(complete)
    # As real ones, the miniature's file has some answers of gpt that come first; they are not counted here.
    number = next(number for number, each in enumerate(changed) if "image" in each)
    before = {each.problem: each.count for state in verify(catalog, complete, 3).annotations for each in state.findings}
    changed[number] = change(changed[number])
    write(complete, changed)
    report = verify(catalog, complete, 3)
    found = finding(report, problem)
    assert (found.count, found.fate) == (before.get(problem, 0) + 1, fate)
    example = next(example for example in found.examples if example.record == number)
    if isinstance(changed[number], dict):
        assert example.id == changed[number]["id"]
    assert example.words
    assert bool(found.meaning) is (fate is Fate.MENDED)
    assert (number in skipped(complete, problem)) is (fate is Fate.SKIPPED)
    assert report.problems == ()


def test_half_of_a_surrogate_pair(complete: Root, catalog: Catalog) -> None:
    changed = records(complete)
    changed[0]["conversations"][-1]["value"] = "\ud83d"
    write(complete, changed)
    found = finding(verify(catalog, complete, 3), "not-strict-json")
    assert (found.count, found.fate, found.examples[0].record) == (1, Fate.SKIPPED, 0)


# Decoding.


@pytest.mark.parametrize(
    ("damage", "reason", "depths"),
    [
        (lambda data: data[: len(data) // 2], "cut-short-image", (QUICK, FULL)),
        (lambda _: b"<!DOCTYPE html>", "no-picture", (QUICK, FULL)),
        (lambda _: zeroed(photograph()), "damaged-image", (FULL,)),
    ],
    ids=["cut", "web page", "zeros"],
)
def test_a_damaged_picture(
    complete: Root, catalog: Catalog, damage: Callable[[bytes], bytes], reason: str, depths: tuple[Checks, ...]
) -> None:
    picture = named(complete, "coco/")
    picture.write_bytes(damage(photograph()))
    for checks in depths:
        report = verify(catalog, complete, 3, checks=checks)
        problem = only(report)
        assert (problem.kind, problem.source, problem.count) == (Kind.DAMAGED_IMAGES, "coco", 1)
        assert problem.examples[0].startswith(f"{path_of(complete, picture)}: ")
        assert problem.cure.endswith(" && cvl fetch coco")
        assert skipped(complete, reason) == numbers_of(complete, picture) != set()
        assert report.plans[0].skipped == {"coco": {reason: len(numbers_of(complete, picture))}}
        assert (report.stages, report.plans[0].runs) == ({3: False}, True)


def test_damage_is_known_to_the_next_run_that_decodes_nothing(complete: Root, catalog: Catalog) -> None:
    picture = named(complete, "coco/")
    whole = picture.read_bytes()
    picture.write_bytes(photograph()[:9000])
    verify(catalog, complete, checks=QUICK)
    assert only(verify(catalog, complete)).kind is Kind.DAMAGED_IMAGES
    assert skipped(complete, "cut-short-image") == numbers_of(complete, picture)
    picture.write_bytes(whole)
    assert verify(catalog, complete).problems == ()
    assert not skipped(complete, "cut-short-image")


def test_a_second_decoding_reads_only_what_has_changed(complete: Root, catalog: Catalog) -> None:
    first = verify(catalog, complete, checks=FULL)
    named(complete, "gqa/").write_bytes(photograph())
    second = verify(catalog, complete, checks=QUICK)
    assert first.decoded is not None
    assert second.decoded is not None
    assert (first.decoded.depth, first.decoded.remembered, first.decoded.damaged) == ("full", 0, 0)
    assert second.decoded.pictures == first.decoded.pictures > 100
    assert second.decoded.remembered == first.decoded.pictures - 1


def test_parts_together_find_what_one_run_finds(complete: Root, catalog: Catalog, tmp_path: Path) -> None:
    other = Root(tmp_path / "other")
    shutil.copytree(complete.path, other.path, symlinks=True)
    for root in (complete, other):
        for folder in ("coco/", "gqa/", "vg/", "textvqa/"):
            named(root, folder).write_bytes(photograph()[:9000])
    before = complete.skiplist.read_bytes()
    for number in (1, 2):
        verify(catalog, complete, checks=Checks(Depth.FULL, work=Work(part=Part(number, 2))))
    assert complete.skiplist.read_bytes() == before, "a part knows too little to say what training leaves out"
    parted, whole = verify(catalog, complete, checks=FULL), verify(catalog, other, checks=FULL)
    assert parted.decoded is not None
    assert parted.decoded.remembered == parted.decoded.pictures
    assert [(each.kind, each.source, each.examples) for each in parted.problems] == [
        (each.kind, each.source, each.examples) for each in whole.problems
    ]
    assert read_skiplist(complete.skiplist)["llava665k"].reasons == read_skiplist(other.skiplist)["llava665k"].reasons


# Stages.


def test_a_plan_says_what_would_be_left_out_by_source_and_reason(complete: Root, catalog: Catalog) -> None:
    gone, bare = named(complete, "coco/"), named(complete, "gqa/")
    numbers = {"coco": len(numbers_of(complete, gone)), "gqa": len(numbers_of(complete, bare))}
    gone.unlink()
    bare.write_bytes(b"")
    changed = records(complete)
    text_only = next(number for number, each in enumerate(changed) if "image" not in each)
    changed[text_only]["conversations"] = []
    write(complete, changed)
    (plan,) = verify(catalog, complete, 3).plans
    assert plan.skipped == {
        "coco": {"missing-image": numbers["coco"]},
        "gqa": {"empty-image": numbers["gqa"]},
        "llava": {"no-conversations": 1},
    }
    assert (plan.records, plan.trained) == (len(changed), len(changed) - 1 - sum(numbers.values()))
    assert (plan.complete, plan.runs, plan.blockers) == (False, True, ())


def test_a_stage_that_lacks_too_much_would_not_run(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.at("data/coco/train2017"))
    plans = {plan.number: plan for plan in verify(catalog, complete).plans}
    (blocker,) = plans[3].blockers
    assert "% of the records would be left out, at most 5.0% may be" in blocker
    assert not plans[3].runs


# Trees that cannot be written, and questions that need less.


def test_a_tree_that_cannot_be_written_is_verified_with_notes_elsewhere(
    complete: Root, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.rmtree(complete.notes)
    complete.notes.symlink_to("/sys/kernel")
    picture = named(complete, "coco/")
    picture.write_bytes(photograph()[:9000])
    told: list[Event] = []
    report = verify(catalog, complete, 3, told.append, checks=QUICK)
    assert only(report).kind is Kind.DAMAGED_IMAGES
    notes = [event.text for event in told if event.kind is EventKind.NOTE]
    own = notes_of(complete)
    assert notes == [f"{complete.notes} cannot be written: notes on this tree go to {own.folder}"]
    assert own.folder.parent == tmp_path / "cache" / "cvl"
    assert {path.name for path in own.folder.iterdir()} == {
        "index",
        "lists",
        "skiplist.json",
        "verdicts",
        "verify.json",
    }
    assert own.skips()["llava665k"].numbers() == numbers_of(complete, picture)
    again = verify(catalog, complete, 3, checks=QUICK)
    assert again.decoded is not None
    assert again.decoded.remembered == again.decoded.pictures


def test_references_alone_are_told_without_an_index(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.notes)
    gone = named(complete, "coco/")
    gone.unlink()
    named(complete, "gqa/").write_bytes(b"")
    report = verify(catalog, complete, checks=Checks(references_only=True))
    assert {problem.kind for problem in report.problems} == {Kind.MISSING_FILES, Kind.MISSING_IMAGES}
    assert not complete.indexes.exists()
    assert skipped(complete, "missing-image") == numbers_of(complete, gone)
    whole = verify(catalog, complete)
    for quick, full in zip(report.annotations, whole.annotations, strict=True):
        assert (quick.records, quick.text_only, quick.missing) == (full.records, full.text_only, full.missing)


def test_references_alone_use_the_index_that_is_there(complete: Root, catalog: Catalog) -> None:
    state = verify(catalog, complete, checks=Checks(references_only=True)).annotations
    assert any(each.findings for each in state), "what the index knows of records costs nothing"


def test_a_folder_that_nobody_speaks_of_is_listed_for_its_archives(complete: Root, catalog: Catalog) -> None:
    complete.at("data/downloads/old").mkdir(parents=True)
    complete.at("data/downloads/old/stuff.7z").write_bytes(b"x")
    (remark,) = (each for each in verify(catalog, complete).remarks if each.kind is Kind.STRAY_ARCHIVE)
    assert (remark.path, remark.source) == ("data/downloads/old/stuff.7z", "")
    assert remark.cure == f"rm {complete.at(remark.path)}"

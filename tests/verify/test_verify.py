"""The whole of `cvl verify-layout` as a function, on a complete tree of the miniature and on broken ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cvl.annotations.skiplist import read_skiplist
from cvl.demo.miniature import World
from cvl.errors import UsageError
from cvl.events import Event, EventKind
from cvl.manifest import Annotation, Catalog, Source
from cvl.root import Root
from cvl.verify.report import Kind, Report
from cvl.verify.verify import read_report, verify

MIX = "data/llava/llava_v1_5_mix665k.json"


def kinds(report: Report) -> set[Kind]:
    return {problem.kind for problem in report.problems}


def test_a_complete_tree_is_proven(complete: Root, catalog: Catalog) -> None:
    report = verify(catalog, complete)
    assert report.problems == ()
    assert report.images_missing == 0
    assert report.stages == {1: True, 2: True, 3: True}


def test_folders_are_counted_as_the_facts_say(complete: Root, catalog: Catalog, world: World) -> None:
    states = {state.path: state for state in verify(catalog, complete).folders}
    assert set(states) == {facts.folder for facts in world.facts.folders}
    aliases = {"data/web-celebrity/images": len(world.facts.aliases)}
    for facts in world.facts.folders:
        assert states[facts.folder].found == facts.files + aliases.get(facts.folder, 0)


def test_instruction_files_are_counted_as_the_facts_say(complete: Root, catalog: Catalog, world: World) -> None:
    states = {state.path: state for state in verify(catalog, complete).annotations}
    # The ninth is LCS's own, which no stage reads and `fetch all` leaves out.
    assert len(states) == 8
    for path, state in states.items():
        facts = world.instructions(path)
        assert (state.records, state.text_only, state.missing) == (facts.records, facts.text_only, 0)


def test_the_report_is_kept_for_status(complete: Root, catalog: Catalog) -> None:
    report = verify(catalog, complete)
    kept = read_report(complete.report)
    assert kept is not None
    assert (kept.folders, kept.annotations, kept.stages) == (report.folders, report.annotations, report.stages)


def test_a_second_run_builds_no_index_anew(complete: Root, catalog: Catalog) -> None:
    verify(catalog, complete)
    before = {path: path.stat().st_mtime_ns for path in complete.indexes.rglob("*.bin")}
    assert before
    verify(catalog, complete)
    assert {path: path.stat().st_mtime_ns for path in complete.indexes.rglob("*.bin")} == before


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_is_judged_by_its_own_data(complete: Root, catalog: Catalog, stage: int) -> None:
    report = verify(catalog, complete, stage)
    named = [annotation.name for annotation in catalog.stage_annotations(stage)]
    assert [state.name for state in report.annotations] == named
    assert {state.source for state in report.folders} <= set(catalog.stage_sources(stage))
    assert report.stages == {stage: True}


def test_what_another_stage_misses_does_not_matter(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.at("data/gqa/images"))
    assert verify(catalog, complete, 1).problems == ()
    whole = verify(catalog, complete)
    assert whole.stages == {1: True, 2: True, 3: False}
    assert kinds(whole) == {Kind.MISSING_FOLDER, Kind.MISSING_IMAGES}


def test_a_picture_named_by_two_files_is_one_missing_picture(complete: Root, catalog: Catalog, world: World) -> None:
    image = json.loads(complete.at(MIX).read_bytes())
    named = next(record["image"] for record in image if record.get("image", "").startswith("coco/"))
    complete.at(f"data/{named}").unlink()
    report = verify(catalog, complete)
    assert report.images_missing == 1
    assert sum(state.missing for state in report.annotations) >= 2


def test_an_absent_instruction_file_is_a_problem_and_no_end(complete: Root, catalog: Catalog) -> None:
    complete.at(MIX).unlink()
    report = verify(catalog, complete)
    (problem,) = report.problems
    assert (problem.kind, problem.path, problem.cure) == (Kind.MISSING_ANNOTATIONS, MIX, "cvl fetch llava")
    assert report.stages == {1: True, 2: True, 3: False}
    assert len(report.annotations) == 8


@pytest.mark.parametrize("cut", [0, 1, 5000])
def test_a_truncated_instruction_file_is_a_problem_and_no_end(complete: Root, catalog: Catalog, cut: int) -> None:
    content = complete.at(MIX).read_bytes()
    complete.at(MIX).write_bytes(content[:cut])
    (problem,) = verify(catalog, complete).problems
    assert (problem.kind, problem.cure) == (Kind.BROKEN_ANNOTATIONS, "cvl fetch llava")
    assert str(complete.at(MIX)) in problem.detail


def test_an_instruction_file_of_another_length_is_a_problem(complete: Root, catalog: Catalog, world: World) -> None:
    records = json.loads(complete.at(MIX).read_bytes())
    complete.at(MIX).write_text(json.dumps(records[:-2]))
    report = verify(catalog, complete)
    (problem,) = report.problems
    assert problem.kind is Kind.WRONG_RECORD_COUNT
    assert problem.detail == f"expected {len(records)} records, found {len(records) - 2}"
    assert report.stages == {1: True, 2: True, 3: False}


def test_a_picture_that_is_no_jpeg_keeps_a_stage_from_being_ready(complete: Root, catalog: Catalog) -> None:
    records = json.loads(complete.at(MIX).read_bytes())
    named = next(record["image"] for record in records if record.get("image", "").startswith("ocr_vqa/"))
    complete.at(f"data/{named}").write_bytes(b"GIF89a")
    report = verify(catalog, complete)
    assert kinds(report) == {Kind.NOT_JPEG}
    assert report.stages == {1: True, 2: True, 3: False}


def test_an_instruction_file_of_no_stage_is_looked_at_where_it_is_there(complete: Root, catalog: Catalog) -> None:
    path = "data/mine/mine.json"
    own = Source(title="mine", annotations=(Annotation(name="mine", path=path),))
    wider = Catalog({**catalog.sources, "mine": own}, catalog.stages, catalog.models, catalog.origins)
    assert verify(wider, complete).problems == ()
    complete.at(path).parent.mkdir()
    complete.at(path).write_text(json.dumps([{"image": "mine/1.jpg", "conversations": []}]))
    assert kinds(verify(wider, complete)) == {Kind.MISSING_IMAGES}
    assert verify(wider, complete, 3).problems == ()


def test_verifying_one_stage_leaves_the_other_stages_in_the_skip_list(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.at("data/textvqa/train_images"))
    verify(catalog, complete)
    before = read_skiplist(complete.skiplist)
    assert before["llava665k"].reasons["missing-image"]
    verify(catalog, complete, 1)
    assert read_skiplist(complete.skiplist) == before


def test_skipped_numbers_are_those_of_the_records_whose_picture_is_gone(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.at("data/textvqa/train_images"))
    verify(catalog, complete)
    records = json.loads(complete.at(MIX).read_bytes())
    gone = {number for number, record in enumerate(records) if record.get("image", "").startswith("textvqa/")}
    assert read_skiplist(complete.skiplist)["llava665k"].numbers() == gone


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(complete: Root, catalog: Catalog) -> None:
    """As on a shared disk that the user cannot write; here a folder stands where the report would."""
    complete.report.unlink()
    complete.report.mkdir()
    told: list[Event] = []
    assert verify(catalog, complete, None, told.append).problems == ()
    notes = [event.text for event in told if event.kind is EventKind.NOTE]
    assert len(notes) == 1
    assert notes[0].startswith("the report and the skip list could not be kept: ")


def test_progress_tells_of_every_instruction_file(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.indexes)
    told: list[Event] = []
    report = verify(catalog, complete, 2, told.append)
    assert {event.kind for event in told} == {EventKind.PROGRESS}
    assert {event.name for event in told} == {state.name for state in report.annotations}
    assert all(event.total == complete.at(catalog.annotations[event.name][1].path).stat().st_size for event in told)


@pytest.mark.parametrize("prepare", [lambda _: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_without_a_tree_there_is_nothing_to_verify(
    tree: Root, catalog: Catalog, prepare: Callable[[Path], object]
) -> None:
    prepare(tree.path)
    with pytest.raises(UsageError, match="there is no tree at") as caught:
        verify(catalog, tree)
    assert caught.value.hint is not None
    assert "--root" in caught.value.hint


def test_an_unknown_stage_is_refused(complete: Root, catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="there is no stage 4"):
        verify(catalog, complete, 4)


def test_an_empty_tree_lacks_everything_and_says_so(tree: Root, catalog: Catalog) -> None:
    tree.data.mkdir(parents=True)
    report = verify(catalog, tree)
    assert kinds(report) == {Kind.MISSING_FOLDER, Kind.MISSING_LINK, Kind.MISSING_ANNOTATIONS}
    assert report.stages == {1: False, 2: False, 3: False}
    assert all(problem.cure.startswith("cvl fetch ") for problem in report.problems)

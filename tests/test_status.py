"""Where the journey stands, told from the disk alone."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import traces

from cvl.demo.miniature import World
from cvl.download.transport.journal import Version
from cvl.download.transport.part import Part
from cvl.errors import UsageError
from cvl.manifest import Annotation, Catalog, Source
from cvl.root import Root
from cvl.status import SourceStatus, source_status, status
from cvl.verify.verify import verify


def by_name(statuses: tuple[SourceStatus, ...]) -> dict[str, SourceStatus]:
    return {each.name: each for each in statuses}


def test_of_an_empty_disk_nothing_is_here_and_everything_is_to_be_fetched(catalog: Catalog, tree: Root) -> None:
    found = status(catalog, tree)
    assert all(each.here == 0 and each.bytes_here == 0 for each in found.sources)
    assert (found.verified_at, found.problems) == (None, 0)
    assert found.next_command is not None
    assert found.next_command.split()[:2] == ["cvl", "fetch"]
    assert set(found.next_command.split()[2:]) == set(catalog.sources)


def test_asking_writes_nothing_where_there_is_no_tree(catalog: Catalog, tree: Root) -> None:
    status(catalog, tree)
    assert not tree.path.exists()


def test_asking_writes_nothing_where_there_is_one(catalog: Catalog, complete: Root) -> None:
    before = traces(complete.path)
    status(catalog, complete)
    assert traces(complete.path) == before


def test_of_a_complete_tree_everything_is_here(catalog: Catalog, complete: Root) -> None:
    found = status(catalog, complete)
    assert all(each.complete and each.bytes_here == each.bytes > 0 for each in found.sources)
    assert by_name(found.sources)["sam"].files == 51


def test_files_that_no_stage_needs_are_not_missed(catalog: Catalog, complete: Root) -> None:
    assert not complete.at("data/llava/llava_pretrain/blip_laion_cc_sbu_558k.json").exists()
    assert by_name(source_status(catalog, complete))["lcs"].files == 1


def test_sources_know_the_stages_that_read_them(catalog: Catalog, tree: Root) -> None:
    stages = {name: each.stages for name, each in by_name(source_status(catalog, tree)).items()}
    assert stages["coco"] == (1, 2, 3)
    assert stages["sam"] == stages["allava"] == stages["vflan"] == (1, 2)
    assert stages["gqa"] == stages["llava"] == (3,)
    # Start weights are what the first stage starts from.
    assert stages["vicuna"] == stages["convnext"] == (1,)


def test_only_the_named_sources_are_told_of_in_the_order_of_asking(catalog: Catalog, tree: Root) -> None:
    assert [each.name for each in source_status(catalog, tree, ("vg", "coco"))] == ["vg", "coco"]


def test_an_unknown_source_is_refused_with_the_nearest_name(catalog: Catalog, tree: Root) -> None:
    with pytest.raises(UsageError) as caught:
        source_status(catalog, tree, ("ocr_vqa",))
    assert caught.value.hint == "did you mean `ocrvqa`?"


def test_an_unfinished_transfer_counts_with_the_bytes_that_came(catalog: Catalog, tree: Root, world: World) -> None:
    size = world.file("http://images.cocodataset.org/zips/train2017.zip").size
    part = Part(tree.downloads / "coco-train2017.zip.part")
    part.begin(Version("http://images.cocodataset.org/zips/train2017.zip", '"tag"', size))
    part.write(bytes(1000), 0)
    part.note(0, 1000)
    part.close()
    (coco,) = source_status(catalog, tree, ("coco",))
    assert (coco.here, coco.bytes, coco.bytes_here) == (0, size, 1000)


def test_a_lost_folder_is_to_be_fetched_again(catalog: Catalog, complete: Root) -> None:
    shutil.rmtree(complete.at("data/gqa"))
    found = status(catalog, complete)
    assert not by_name(found.sources)["gqa"].complete
    assert found.next_command == "cvl fetch gqa"


def test_a_tree_that_nobody_verified_is_to_be_verified(catalog: Catalog, complete: Root) -> None:
    complete.report.unlink()
    found = status(catalog, complete)
    assert [stage.verified for stage in found.stages] == [None, None, None]
    assert (found.verified_at, found.next_command) == (None, "cvl verify-layout")


def test_a_verification_of_one_stage_says_nothing_of_the_others(catalog: Catalog, complete: Root) -> None:
    verify(catalog, complete, 3)
    found = status(catalog, complete)
    assert [stage.verified for stage in found.stages] == [None, None, True]
    assert found.next_command == "cvl verify-layout"


def test_problems_are_counted_and_lead_back_to_verification(catalog: Catalog, complete: Root) -> None:
    mix = complete.at("data/llava/llava_v1_5_mix665k.json")
    records = json.loads(mix.read_bytes())
    named = next(record["image"] for record in records if record.get("image", "").startswith("ocr_vqa/"))
    complete.at(f"data/{named}").write_bytes(b"GIF89a")
    verify(catalog, complete)
    found = status(catalog, complete)
    assert found.problems == 1
    assert [stage.verified for stage in found.stages] == [True, True, False]
    assert found.next_command == "cvl verify-layout"


def test_a_proven_tree_has_its_time_and_can_be_trained_on(catalog: Catalog, complete: Root) -> None:
    before = datetime.now(UTC)
    verify(catalog, complete)
    found = status(catalog, complete)
    assert found.verified_at is not None
    assert abs((found.verified_at - before).total_seconds()) < 60
    assert [stage.verified for stage in found.stages] == [True, True, True]
    assert found.next_command == "cvl train --stage 1"


def run(tree: Root, name: str, stage: int, *, done: bool, model: str | None = None) -> None:
    folder = tree.checkpoints / name / f"stage{stage}"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"model": model or name}))
    if done:
        (folder / "provenance.json").write_text("{}")


def test_a_stage_is_trained_once_its_provenance_is_written(catalog: Catalog, tree: Root) -> None:
    run(tree, "7b-768", 1, done=True)
    run(tree, "7b-768", 2, done=False)
    run(tree, "wider", 1, done=True, model="7b-1024")
    (tree.checkpoints / ".imported/one").mkdir(parents=True)
    found = [(stage.trained, stage.begun) for stage in status(catalog, tree).stages]
    assert found == [(("7b-768", "wider"), ()), ((), ("7b-768",)), ((), ())]


@pytest.mark.parametrize(
    ("name", "model", "done", "command"),
    [
        ("7b-768", "7b-768", (), "cvl train --stage 1"),
        ("7b-768", "7b-768", (1,), "cvl train --stage 2"),
        ("7b-1024", "7b-1024", (1, 2), "cvl train --stage 3 --model 7b-1024"),
        ("my run", "7b-768", (1,), "cvl train --stage 2 --name 'my run'"),
        ("wide", "7b-1024", (), "cvl train --stage 1 --model 7b-1024 --name wide"),
    ],
)
def test_on_a_proven_tree_the_next_stage_of_the_run_is_next(
    catalog: Catalog, complete: Root, name: str, model: str, done: tuple[int, ...], command: str
) -> None:
    verify(catalog, complete)
    for stage in (1, 2, 3):
        if stage in done or stage == len(done) + 1:
            run(complete, name, stage, done=stage in done, model=model)
    assert status(catalog, complete).next_command == command


def test_of_several_runs_the_furthest_is_gone_on_with(catalog: Catalog, complete: Root) -> None:
    verify(catalog, complete)
    run(complete, "first", 1, done=True, model="7b-768")
    for stage in (1, 2):
        run(complete, "second", stage, done=True, model="7b-768")
    assert status(catalog, complete).next_command == "cvl train --stage 3 --name second"


def test_a_run_that_is_done_can_be_asked(catalog: Catalog, complete: Root) -> None:
    verify(catalog, complete)
    for stage in (1, 2, 3):
        run(complete, "7b-768", stage, done=True)
    wanted = f"cvl chat {complete.checkpoints}/7b-768/stage3 --image PICTURE"
    assert status(catalog, complete).next_command == wanted


def test_a_users_own_source_has_no_files_to_fetch(catalog: Catalog, complete: Root) -> None:
    own = Source(title="mine", annotations=(Annotation(name="mine", path="data/mine/mine.json", joins=(3,)),))
    wider = Catalog({**catalog.sources, "mine": own}, catalog.stages, catalog.models, catalog.origins)
    assert by_name(source_status(wider, complete))["mine"] == SourceStatus("mine", 0, 0, 0, 0, (3,))


def test_a_report_that_cannot_be_read_is_none(catalog: Catalog, complete: Root) -> None:
    Path(complete.report).write_text("{")
    assert status(catalog, complete).verified_at is None

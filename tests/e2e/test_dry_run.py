"""`--dry-run`: the whole plan, and not a byte written or asked for."""

from __future__ import annotations

import pytest
from support import Cvl, traces

from cvl.demo.internet import Internet
from cvl.demo.miniature import World
from cvl.root import Root


def test_on_an_empty_disk_it_shows_everything_and_makes_nothing(cvl: Cvl, tree: Root, internet: Internet) -> None:
    done = cvl("fetch", "all", "--skip-gated", "--dry-run")
    assert done.code == 0
    assert "http://images.cocodataset.org/zips/train2017.zip" in done.stdout
    assert "data/allava/allava_vflan/images/images_191task_1k" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("to move: ")
    assert internet.exchanges == []
    assert not tree.path.exists()


@pytest.mark.usefixtures("links")
def test_it_is_exact(cvl: Cvl, internet: Internet, world: World, tree: Root) -> None:
    before = traces(tree.path)
    plan = cvl("fetch", "coco", "gqa", "vg", "--dry-run", "--json").json
    assert traces(tree.path) == before
    told = {step["remote"]["name"]: step["transfer_bytes"] for step in plan["steps"]}
    assert told["coco-train2017.zip"] == world.file("http://images.cocodataset.org/zips/train2017.zip").size
    assert cvl("fetch", "coco", "gqa", "vg").code == 0
    assert internet.body_bytes() == sum(told.values())


def test_a_gate_is_looked_at_before_a_plan_is_shown(cvl: Cvl, internet: Internet, tree: Root) -> None:
    done = cvl("fetch", "sam", "--dry-run")
    assert (done.code, done.stdout) == (2, "")
    assert internet.exchanges == []
    assert not tree.path.exists()


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_is_planned_with_what_it_needs_alone(cvl: Cvl, stage: int) -> None:
    plan = cvl("fetch", "--stage", str(stage), "--skip-gated", "--dry-run", "--json").json
    sources = {step["remote"]["source"] for step in plan["steps"]}
    needs = {
        1: {"allava", "coco", "convnext", "lcs", "sharegpt4v", "vflan", "vicuna", "webdata"},
        2: {"allava", "coco", "lcs", "sharegpt4v", "vflan", "webdata"},
        3: {"coco", "gqa", "llava", "ocrvqa", "textvqa", "vg"},
    }
    assert sources == needs[stage]


def test_on_a_complete_tree_it_keeps_everything_and_touches_nothing(
    cvl: Cvl, complete: Root, internet: Internet
) -> None:
    before = traces(complete.path)
    plan = cvl("fetch", "all", "--dry-run", "--json").json
    assert {step["action"] for step in plan["steps"]} == {"is here"}
    assert plan["links"] == []
    done = cvl("convert", "ocrvqa", "--dry-run", "--json")
    assert (done.code, done.json["converted"]) == (0, [])
    assert internet.exchanges == []
    assert traces(complete.path) == before


def test_a_conversion_is_foretold_and_nothing_is_written(cvl: Cvl, tree: Root) -> None:
    assert cvl("fetch", "ocrvqa").code == 0
    before = traces(tree.path)
    foretold = cvl("convert", "ocrvqa", "--dry-run", "--json").json["converted"]
    assert foretold
    assert traces(tree.path) == before
    assert cvl("convert", "ocrvqa", "--json").json["converted"] == foretold


def test_looking_writes_nothing_either(cvl: Cvl, complete: Root, internet: Internet) -> None:
    before = traces(complete.path)
    for line in ("sources", "sources allava", "status", "status --json"):
        assert cvl(*line.split()).code == 0
        assert traces(complete.path) == before, line
    assert internet.exchanges == []

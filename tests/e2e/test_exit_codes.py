"""How each command ends: 0 done, 1 work failed, 2 wrong usage or gate, 3 problems found (130: `test_interruption`)."""

from __future__ import annotations

import json

import pytest
from support import Cvl

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature import World
from cvl.root import Root

COCO = "*train2017.zip"


def test_a_file_that_is_gone_everywhere_fails_and_the_others_come(cvl: Cvl, tree: Root, internet: Internet) -> None:
    internet.inject(Fault(COCO, FaultKind.STATUS, status=404, times=9))
    done = cvl("fetch", "coco", "llava")
    assert done.code == 1
    assert "coco-train2017.zip failed: " in done.stderr
    assert "the server says 404" in done.stderr
    assert "  hint: " in done.stderr
    assert done.stdout.splitlines()[-1].startswith("1 file fetched")
    assert tree.at("data/llava/llava_v1_5_mix665k.json").exists()
    assert not tree.at("data/coco").exists()
    internet.heal()
    assert cvl("fetch", "coco", "llava").code == 0


def test_a_failure_is_in_the_json_too(cvl: Cvl, internet: Internet) -> None:
    internet.inject(Fault(COCO, FaultKind.STATUS, status=404, times=9))
    done = cvl("fetch", "coco", "--json")
    assert done.code == 1
    *events, result = done.lines
    assert [event["name"] for event in events if event["kind"] == "failed"] == ["coco-train2017.zip"]
    assert result["failed"] == 1
    assert "404" in result["result"]["outcomes"][0]["error"]


@pytest.mark.parametrize("kind", [FaultKind.HTML, FaultKind.TRUNCATE])
def test_a_web_page_or_half_an_archive_is_never_taken_for_one(
    cvl: Cvl, tree: Root, internet: Internet, kind: FaultKind
) -> None:
    internet.inject(Fault(COCO, kind, times=99, after=0 if kind is FaultKind.HTML else 500))
    assert cvl("fetch", "coco", "--retries", "1").code == 1
    assert not tree.at("data/coco").exists()
    assert list(tree.archives.glob("*")) == []
    internet.heal()
    assert cvl("fetch", "coco").code == 0


def test_a_picture_that_cannot_be_read_is_named_and_left(cvl: Cvl, complete: Root) -> None:
    folder = complete.at("data/ocr_vqa/images")
    victim = next(folder.iterdir())
    victim.write_bytes(b"GIF89a and nothing more")
    done = cvl("convert", "ocrvqa")
    assert done.code == 1
    assert "1 cannot be read" in done.stdout
    assert f"{victim.name}: " in done.stderr
    assert victim.read_bytes() == b"GIF89a and nothing more"


def test_a_list_with_dead_addresses_is_done_and_one_with_silent_ones_is_not(
    cvl: Cvl, tree: Root, internet: Internet, world: World
) -> None:
    line = ("fetch", "ocrvqa", "--alternative", "urls", "--retries", "1")
    (listed,) = world.facts.lists
    entries = json.loads(world.path(listed.url).read_bytes())
    alive = [entry["imageURL"] for key, entry in entries.items() if key not in listed.dead]
    for url in alive[:3]:
        internet.inject(Fault(url, FaultKind.STATUS, status=503))
    failed = cvl(*line)
    assert failed.code == 1
    assert "2 addresses are gone for good, 3 failed for now" in failed.stderr
    assert len(list(tree.at("data/ocr_vqa/images").iterdir())) == 38 - 3
    done = cvl(*line)
    assert done.code == 0
    assert len(list(tree.at("data/ocr_vqa/images").iterdir())) == 38


def test_an_incomplete_tree_ends_with_3_and_a_complete_one_with_0(cvl: Cvl) -> None:
    assert cvl("fetch", "coco").code == 0
    assert cvl("verify-layout").code == 3
    assert cvl("status").code == 0


def test_a_full_disk_is_refused_before_a_byte_moves(cvl: Cvl, tree: Root, internet: Internet) -> None:
    own = cvl.folder / "own"
    own.mkdir()
    (own / "huge.toml").write_text(
        'title = "more than any disk has"\n[[files]]\nname = "huge.zip"\nurl = "http://host.example/huge.zip"\n'
        'size = 9000000000000000\npath = "data/huge.zip"\n'
    )
    done = cvl("fetch", "huge", "--manifests", own)
    assert done.code == 1
    assert "the plan needs 9,000,000.0 GB at its peak" in done.stderr
    assert internet.exchanges == []
    assert not tree.path.exists()

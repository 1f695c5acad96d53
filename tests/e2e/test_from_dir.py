"""`--from DIR`: what the user downloaded by hand is used where it lies, and left as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import Cvl, contents, traces

from cvl.demo.internet import Internet
from cvl.demo.miniature import World
from cvl.root import Root

BROUGHT = {
    "train2017.zip": "http://images.cocodataset.org/zips/train2017.zip",
    "gqa/images.zip": "https://downloads.cs.stanford.edu/nlp/data/gqa/images.zip",
    "vg/images.zip": "https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip",
    "vg/images2.zip": "https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip",
    "drive/wikiart.zip": "gdrive://1FxB2Nw-vWUcTUSI_dBpPIykb-uGYoEqV",
    "sa_000007.tar": "links:sa_000007.tar",
    "ALLaVA-Caption-VFLAN-4V.json": "hf://datasets/FreedomIntelligence/ALLaVA-4V/allava_vflan/ALLaVA-Caption-VFLAN-4V.json",
}
"""Where a user might keep what a browser saved, and what it is."""


@pytest.fixture
def downloads(world: World, tmp_path: Path) -> Path:
    folder = tmp_path / "My Downloads"
    for name, url in BROUGHT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(world.path(url), folder / name)
    (folder / "thesis.zip").write_bytes(b"something else")
    return folder


def test_archives_that_the_user_brought_are_unpacked_without_any_transfer(
    cvl: Cvl, tree: Root, fetched: Root, downloads: Path, internet: Internet
) -> None:
    before = traces(downloads)
    done = cvl("fetch", "coco", "gqa", "vg", "--from", downloads)
    assert done.code == 0
    assert internet.exchanges == []
    for folder in ("data/coco", "data/gqa", "data/vg"):
        assert contents(tree.at(folder)) == contents(fetched.at(folder))
    assert traces(downloads) == before
    again = cvl("fetch", "coco", "gqa", "vg")
    assert again.stdout == "0 files fetched (0 B), 4 were here already\n"


def test_what_is_missing_is_fetched_and_what_is_brought_is_not(
    cvl: Cvl, tree: Root, fetched: Root, downloads: Path, internet: Internet
) -> None:
    before = traces(downloads)
    assert cvl("fetch", "webdata", "--from", downloads).code == 0
    ids = {exchange.url.partition("id=")[2][:33] for exchange in internet.exchanges}
    assert len(ids) == 3
    assert BROUGHT["drive/wikiart.zip"].removeprefix("gdrive://") not in ids
    assert contents(tree.at("data/wikiart")) == contents(fetched.at("data/wikiart"))
    assert traces(downloads) == before


def test_a_brought_shard_needs_no_list_of_links(cvl: Cvl, tree: Root, downloads: Path, internet: Internet) -> None:
    assert cvl("fetch", "sam", "--shards", "7", "--from", downloads).code == 0
    assert len(list(tree.at("data/sam/images").iterdir())) == 2
    assert internet.exchanges == []
    assert cvl("fetch", "sam", "--shards", "7-8", "--from", downloads).code == 2


def test_a_brought_instruction_file_is_its_own_in_the_tree(cvl: Cvl, tree: Root, downloads: Path) -> None:
    brought = downloads / "ALLaVA-Caption-VFLAN-4V.json"
    before = brought.read_bytes()
    assert cvl("fetch", "allava", "--from", downloads).code == 0
    landed = tree.at("data/allava/allava_vflan/ALLaVA-Caption-VFLAN-4V.json")
    assert landed.read_bytes() == before
    landed.unlink()
    assert brought.read_bytes() == before


def test_a_file_of_the_right_name_with_other_bytes_is_not_taken(
    cvl: Cvl, tree: Root, fetched: Root, downloads: Path, internet: Internet
) -> None:
    archive = downloads / "train2017.zip"
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    archive.write_bytes(damaged)
    assert cvl("fetch", "coco", "--from", downloads).code == 0
    assert internet.body_bytes("*train2017.zip") == len(damaged)
    assert contents(tree.at("data/coco")) == contents(fetched.at("data/coco"))
    assert archive.read_bytes() == damaged


def test_a_dry_run_says_what_would_be_taken(cvl: Cvl, downloads: Path) -> None:
    plan = cvl("fetch", "coco", "vg", "--from", downloads, "--dry-run", "--json").json
    assert [step["action"] for step in plan["steps"]] == ["unpack", "unpack", "unpack"]
    assert {step["transfer_bytes"] for step in plan["steps"]} == {0}

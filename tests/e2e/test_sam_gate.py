"""SAM's licence: what happens without a list of links, with an old one, with a good one, and on the ways around."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import Cvl, contents

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.manifest import Catalog
from cvl.root import Root

PAGE = "https://ai.meta.com/datasets/segment-anything-downloads/"
IMAGES = "data/sam/images"


def names(tree: Root) -> list[str]:
    return sorted(path.name for path in tree.at(IMAGES).rglob("*"))


def test_without_a_list_the_page_is_named_and_nothing_moves(cvl: Cvl, tree: Root, internet: Internet) -> None:
    done = cvl("fetch", "coco", "sam", "--shards", "0-50")
    assert (done.code, done.stdout) == (2, "")
    assert "error: `sam` needs a list of signed links, and there is none\n" in done.stderr
    assert PAGE in done.stderr
    assert internet.exchanges == []
    assert not tree.path.exists()


def test_an_expired_list_says_when_it_expired(cvl: Cvl, tree: Root, internet: Internet) -> None:
    tree.path.mkdir()
    tree.sam_links.write_text(internet.links_file(datetime(2024, 2, 29, 12, 30, tzinfo=UTC)))
    done = cvl("fetch", "sam")
    assert (done.code, done.stdout) == (2, "")
    assert f"the links in {tree.sam_links} expired on 2024-02-29 12:30 UTC (51 of 51)" in done.stderr
    assert PAGE in done.stderr
    assert internet.exchanges == []


def test_a_list_without_the_shard_is_refused(cvl: Cvl, links: Path, internet: Internet) -> None:
    rows = [row for row in links.read_text().splitlines() if "sa_000002.tar" not in row]
    links.write_text("\n".join(rows))
    done = cvl("fetch", "sam", "--shards", "0-2")
    assert done.code == 2
    assert f"{links} has no link for sa_000002.tar (1 missing in all)" in done.stderr
    assert internet.exchanges == []
    assert cvl("fetch", "sam", "--shards", "0-1").code == 0


def test_a_list_that_is_a_web_page_is_refused(cvl: Cvl, links: Path) -> None:
    links.write_text("<!DOCTYPE html><html>Please log in</html>")
    done = cvl("fetch", "sam")
    assert done.code == 2
    assert "has no row of a file name, a tab and a link" in done.stderr


@pytest.mark.usefixtures("links")
def test_a_good_list_brings_pictures_and_nothing_else(cvl: Cvl, tree: Root) -> None:
    assert cvl("fetch", "sam").code == 0
    assert len(names(tree)) == 102
    assert all(name.endswith(".jpg") for name in names(tree))
    assert list(tree.archives.iterdir()) == []


@pytest.mark.usefixtures("links")
def test_three_shards_are_three_shards(cvl: Cvl, tree: Root, internet: Internet, catalog: Catalog) -> None:
    assert cvl("fetch", "sam", "--shards", "0-2").code == 0
    shards = {exchange.url.partition("?")[0].rpartition("/")[2] for exchange in internet.exchanges}
    assert shards == {"sa_000000.tar", "sa_000001.tar", "sa_000002.tar"}
    unpack = catalog.sources["sam"].files[0].unpack
    assert unpack is not None
    assert len(names(tree)) == 3 * (unpack.members or 0)


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    ("shards", "said"),
    [
        ("0-60", ("shard 51-60", "hint: sam has 0-50")),
        ("sam=51", ("shard 51", "hint: sam has 0-50")),
        ("5-2", ("--shards 5-2: ", "5-2 runs backwards", "hint: write --shards 0-50, or --shards sam=0-2")),
        ("coco=0", ("--shards", "`coco`", "is not sharded", "hint: sam has 0-50")),
    ],
)
def test_shards_that_do_not_exist_are_refused(cvl: Cvl, internet: Internet, shards: str, said: tuple[str, ...]) -> None:
    done = cvl("fetch", "sam", "--shards", shards)
    assert (done.code, done.stdout) == (2, "")
    assert [words for words in said if words not in done.stderr] == []
    assert internet.exchanges == []


def test_what_is_gated_may_be_left_out(cvl: Cvl, tree: Root, fetched: Root) -> None:
    done = cvl("fetch", "coco", "sam", "--skip-gated")
    assert done.code == 0
    assert "sam: skipped: `sam` needs a list of signed links, and there is none\n" in done.stderr
    assert contents(tree.at("data/coco")) == contents(fetched.at("data/coco"))
    assert not tree.at("data/sam").exists()


def test_what_is_left_out_is_told_by_a_dry_run_and_to_scripts(cvl: Cvl) -> None:
    plan = cvl("fetch", "coco", "sam", "--skip-gated", "--dry-run", "--json")
    assert plan.code == 0
    assert [step["remote"]["source"] for step in plan.json["steps"]] == ["coco"]
    assert "sam: skipped: " in plan.stderr
    done = cvl("fetch", "coco", "sam", "--skip-gated", "--json")
    notes = [line for line in done.lines if line["kind"] == "note"]
    assert [(note["source"], PAGE in note["hint"]) for note in notes] == [("sam", True)]


@pytest.mark.parametrize("way", ["option", "environment"])
def test_the_list_may_lie_elsewhere(cvl: Cvl, tree: Root, internet: Internet, tmp_path: Path, way: str) -> None:
    elsewhere = tmp_path / "my links.txt"
    elsewhere.write_text(internet.links_file(datetime.now(UTC) + timedelta(hours=1)))
    if way == "option":
        done = cvl("fetch", "sam", "--shards", "0", "--sam-links", elsewhere)
    else:
        done = cvl("fetch", "sam", "--shards", "0", env={"CVL_SAM_LINKS": str(elsewhere)})
    assert done.code == 0
    assert len(names(tree)) == 2


def test_a_named_list_that_is_not_there_is_refused_although_there_is_another(cvl: Cvl, links: Path) -> None:
    done = cvl("fetch", "sam", "--sam-links", links.with_name("none.txt"))
    assert done.code == 2
    assert f"cannot read the list of links {links.with_name('none.txt')}" in done.stderr


def test_the_backup_on_the_hub_needs_no_list(cvl: Cvl, tree: Root, fetched: Root, internet: Internet) -> None:
    assert cvl("fetch", "sam", "--mirror", "hub-backup").code == 0
    assert contents(tree.at(IMAGES)) == contents(fetched.at(IMAGES))
    assert internet.body_bytes("https://scontent.*") == 0


def test_what_is_here_needs_no_list(cvl: Cvl, complete: Root, internet: Internet) -> None:
    complete.sam_links.unlink()
    assert cvl("fetch", "sam").code == 0
    assert internet.exchanges == []


def test_a_list_that_runs_out_on_the_way_is_told_and_a_fresh_one_goes_on(
    cvl: Cvl, tree: Root, links: Path, internet: Internet
) -> None:
    """Meta's servers may refuse a link before its time: what has come stays, the rest waits for a new list."""
    good = links.read_text()
    stale = internet.signed_link("sa_000001.tar", datetime(2024, 1, 1, tzinfo=UTC)).replace("oe=", "signed=")
    rows = [f"sa_000001.tar\t{stale}" if row.startswith("sa_000001.tar") else row for row in good.splitlines()]
    links.write_text("\n".join(rows))
    done = cvl("fetch", "sam", "--shards", "0-2")
    assert done.code == 1
    assert "the signed link of sa_000001.tar is no longer good" in done.stderr
    assert f"hint: save a fresh list as {links}" in done.stderr
    assert len(names(tree)) == 4
    links.write_text(good)
    assert cvl("fetch", "sam", "--shards", "0-2").code == 0
    assert len(names(tree)) == 6


def test_with_patience_a_fresh_list_is_asked_for_once_the_rest_is_done_and_taken_up_by_itself(
    cvl: Cvl, tree: Root, links: Path, internet: Internet
) -> None:
    good = links.read_text()
    stale = internet.signed_link("sa_000001.tar", datetime(2024, 1, 1, tzinfo=UTC)).replace("oe=", "signed=")
    rows = [f"sa_000001.tar\t{stale}" if row.startswith("sa_000001.tar") else row for row in good.splitlines()]
    links.write_text("\n".join(rows))
    process = cvl.start("fetch", "sam", "--shards", "0-2", "--wait-for-links")
    assert process.stderr is not None
    said = next(line for line in process.stderr if "have expired" in line)
    assert f"the signed links in {links} have expired, 1 file is still to come: save a fresh list there" in said
    assert len(names(tree)) == 4
    links.write_text(good)
    assert process.wait(60) == 0
    process.communicate()
    assert len(names(tree)) == 6


def test_a_list_that_runs_out_on_the_way_and_is_renewed_meanwhile_is_read_again_by_itself(
    cvl: Cvl, tree: Root, links: Path, internet: Internet
) -> None:
    good = links.read_text()
    internet.inject(Fault("*sa_000001.tar*", FaultKind.STALL, after=100))
    process = cvl.start("fetch", "sam", "--shards", "1", "--timeout", "2")
    deadline = time.monotonic() + 60
    while internet.body_bytes("*sa_000001.tar*") < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    # The link that the fetch has in its hands is refused from now on; the list on the disk has another one.
    refused = good.split("sa_000001.tar\t")[1].split("\n")[0]
    internet.inject(Fault(refused, FaultKind.STATUS, status=403, times=1000))
    fresh = internet.links_file(datetime.now(UTC) + timedelta(days=20))
    links.write_text(fresh)
    assert process.wait(60) == 0
    process.communicate()
    assert len(names(tree)) == 2

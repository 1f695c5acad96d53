"""`cvl fetch --part I/N`, as in a Slurm array: parts at once on one tree bring what one command brings, once."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import Cvl, contents

from cvl.demo.internet import Internet
from cvl.exclusive import exclusive, shared
from cvl.files import beside
from cvl.root import Root

FETCH = ("fetch", "coco", "sam", "gqa", "vg", "llava", "webdata", "vflan", "textvqa", "--shards", "0-50")
PARTS = ("1/3", "2/3", "3/3")
WAIT = 60  # seconds: an upper bound for a busy machine, reached only where a test fails

pytestmark = pytest.mark.usefixtures("links")


def brought(root: Root) -> dict[str, str]:
    """What lies in the tree, but for our notes, which tell of times."""
    return {name: it for name, it in contents(root.path).items() if not name.startswith("data/.cvl/") and "/" in name}


def receipts(root: Root) -> dict[str, Any]:
    """All receipts, but for when files were written."""
    found = {path.name: json.loads(path.read_bytes()) for path in root.receipts.iterdir()}
    return {name: {key: it for key, it in each.items() if "mtime" not in key} for name, each in found.items()}


def seen(root: Root) -> dict[str, Any]:
    """What the lock holds, but for when it was seen."""
    files = json.loads(root.lock.read_bytes())["files"]
    return {name: {key: it for key, it in each.items() if key != "time"} for name, each in files.items()}


def moved(internet: Internet) -> int:
    """Bytes of files; every command asks the hub for itself what there is."""
    return internet.body_bytes() - internet.body_bytes("*/api/*")


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WAIT)
    return process.returncode, out, err


@pytest.fixture
def expected(cvl: Cvl, tmp_path: Path, tree: Root) -> Root:
    """A tree that one command has filled."""
    other = Root(tmp_path / "one")
    done = cvl(*FETCH, "--root", other.path, "--sam-links", tree.sam_links)
    assert done.code == 0, done.stderr
    return other


@pytest.mark.parametrize("at_once", [True, False])
def test_parts_bring_what_one_command_brings_each_byte_once(
    cvl: Cvl, tree: Root, expected: Root, internet: Internet, at_once: bool
) -> None:
    for_one = moved(internet)
    if at_once:
        ended = [finish(process) for process in [cvl.start(*FETCH, "--part", part) for part in PARTS]]
        assert [code for code, _, _ in ended] == [0, 0, 0], ended
    else:
        assert [cvl(*FETCH, "--part", part).code for part in PARTS] == [0, 0, 0]
    assert brought(tree) == brought(expected)
    assert receipts(tree) == receipts(expected)
    assert seen(tree) == seen(expected)
    assert moved(internet) == 2 * for_one


def test_a_whole_command_finds_what_parts_have_brought(cvl: Cvl, tree: Root, internet: Internet) -> None:
    for part in PARTS:
        assert cvl(*FETCH, "--part", part).code == 0
    before = len(internet.exchanges)
    done = cvl(*FETCH)
    assert (done.code, done.stdout.startswith("0 files fetched (0 B), ")) == (0, True), done.stdout
    assert len(internet.exchanges) == before


def test_a_part_shows_its_share_alone(cvl: Cvl) -> None:
    plans = [cvl(*FETCH, "--part", part, "--dry-run", "--json").json for part in PARTS]
    names = [{step["remote"]["name"] for step in plan["steps"]} for plan in plans]
    whole = {step["remote"]["name"] for step in cvl(*FETCH, "--dry-run", "--json").json["steps"]}
    assert set.union(*names) == whole
    assert sum(map(len, names)) == len(whole)
    assert all(names)


def test_a_part_does_not_wait_for_others_and_a_whole_command_does(cvl: Cvl, tree: Root) -> None:
    with ExitStack() as held:
        held.enter_context(shared(tree))
        part = cvl("fetch", "coco", "gqa", "--part", "1/2")
        assert part.code == 0
        assert "another cvl" not in part.stderr
        whole = cvl.start("fetch", "coco", "gqa")
        assert whole.stderr is not None
        assert "another cvl is at work" in whole.stderr.readline()
        held.close()
        assert finish(whole)[0] == 0


def test_a_part_waits_for_a_whole_command(cvl: Cvl, tree: Root) -> None:
    with ExitStack() as held:
        held.enter_context(exclusive(tree))
        part = cvl.start("fetch", "coco", "gqa", "--part", "2/2")
        assert part.stderr is not None
        assert "another cvl is at work" in part.stderr.readline()
        held.close()
        assert finish(part)[0] == 0


def test_what_others_write_is_left_alone_and_what_killed_ones_left_goes_when_nobody_is_at_work(
    cvl: Cvl, tree: Root
) -> None:
    folder = tree.at("data/coco/train2017")
    folder.mkdir(parents=True)
    half = beside(folder / "unpacking")
    half.write_bytes(b"half of it")
    fetch = ("fetch", "coco", "--part")
    mine = next(part for part in ("1/2", "2/2") if cvl(*fetch, part, "--dry-run", "--json").json["steps"])
    with shared(tree):
        assert cvl(*fetch, mine).code == 0
    assert half.exists()
    (tree.receipts / "coco-train2017.zip.json").unlink()
    next(folder.glob("*.jpg")).unlink()
    assert cvl(*fetch, mine).code == 0
    assert not half.exists()


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_what_is_no_part_is_refused(cvl: Cvl, part: str) -> None:
    done = cvl("fetch", "coco", "--part", part)
    assert done.code == 2
    assert "expected I/N" in done.stderr

"""Stopped by a user, by the machine, or without a word: the next run goes on, and the tree is the same in the end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from support import Cvl, contents

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature import World
from cvl.download.transport.part import Part
from cvl.root import Root

_PATIENCE = 60.0
STALLS = {
    "http": ("coco", "*train2017.zip", "data/coco"),
    "hub": ("llava", "https://cdn-lfs.huggingface.co/*mix665k.json*", "data/llava/llava_v1_5_mix665k.json"),
    "Drive": ("webdata", "https://drive.usercontent.google.com/*", "data/wikiart"),
    "signed links": ("sam", "https://scontent.*sa_000002.tar*", "data/sam"),
}


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened while `process` runs, or until it has ended."""
    deadline = time.monotonic() + _PATIENCE
    while not happened() and process.poll() is None:
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def send(process: subprocess.Popen[str], wish: signal.Signals) -> None:
    """What a terminal or a scheduler does: the whole process group is told, unless it has just ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, wish)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=_PATIENCE)
    return process.returncode, out, err


def leftovers(root: Root) -> list[str]:
    """What a run that ended well must not leave behind: half-written files, parts, archives."""
    half = [path for path in root.path.rglob(".cvl-*") if path.is_file()]
    return [str(path) for path in (*half, *root.downloads.glob("*"), *root.archives.glob("*"))]


def assert_same(root: Root, reference: Root) -> None:
    """The tree holds what the reference holds, bit for bit, but for notes."""
    for folder in ("data", "models"):
        mine, theirs = (
            {k: v for k, v in contents(tree.at(folder)).items() if k[0] != "."} for tree in (root, reference)
        )
        assert mine.keys() == theirs.keys()
        assert mine == theirs
    assert leftovers(root) == []


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("transport", STALLS)
def test_a_wish_to_stop_is_heard_while_a_server_is_silent(
    cvl: Cvl, tree: Root, fetched: Root, internet: Internet, transport: str, wish: signal.Signals
) -> None:
    source, url, landed = STALLS[transport]
    internet.inject(Fault(url, FaultKind.STALL, after=1000))
    process = cvl.start("fetch", source)
    wait_until(lambda: internet.body_bytes(url) >= 1000, process)
    send(process, wish)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert err.endswith("error: stopped; what is done stays done\n\nhint: run the same command again to go on\n")

    internet.heal()
    assert cvl("fetch", source).code == 0
    mine, theirs = (
        contents(root.at(landed)) if root.at(landed).is_dir() else root.at(landed).read_bytes()
        for root in (tree, fetched)
    )
    assert mine == theirs
    assert leftovers(tree) == []


def test_an_interrupted_transfer_goes_on_where_it_stood(cvl: Cvl, tree: Root, internet: Internet, world: World) -> None:
    url = "*train2017.zip"
    internet.inject(Fault(url, FaultKind.STALL, after=50_000))
    process = cvl.start("fetch", "coco")
    part = tree.downloads / "coco-train2017.zip.part"
    whole = world.path("http://images.cocodataset.org/zips/train2017.zip").read_bytes()
    wait_until(lambda: part.exists() and part.read_bytes()[:50_000] == whole[:50_000], process)
    send(process, signal.SIGINT)
    assert finish(process)[0] == 130
    assert Part(part).size == 50_000
    internet.heal()
    assert cvl("fetch", "coco").code == 0
    last = len(whole) - 1
    assert [exchange.range for exchange in internet.exchanges] == [f"bytes=0-{last}", f"bytes=50000-{last}"]


def test_a_wish_to_stop_reaches_a_command_in_json_form_too(cvl: Cvl, internet: Internet) -> None:
    internet.inject(Fault("*train2017.zip", FaultKind.STALL, after=1000))
    process = cvl.start("fetch", "coco", "--json")
    wait_until(lambda: internet.body_bytes("*train2017.zip") >= 1000, process)
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process)
    assert code == 130
    assert '"kind":"start"' in out
    assert "hint: run the same command again" in err


def test_a_second_fetch_waits_for_the_first_and_finds_its_work_done(cvl: Cvl, internet: Internet) -> None:
    url = "*train2017.zip"
    internet.inject(Fault(url, FaultKind.STALL, after=1000))
    first = cvl.start("fetch", "coco")
    wait_until(lambda: internet.body_bytes(url) >= 1000, first)
    second = cvl.start("fetch", "coco")
    assert second.stderr is not None
    assert "waiting for it to end" in second.stderr.readline()
    send(first, signal.SIGKILL)
    finish(first)
    assert finish(second)[0] == 0


def kill_at(cvl: Cvl, command: str, happened: Callable[[], bool]) -> None:
    process = cvl.start(*command.split())
    wait_until(happened, process)
    send(process, signal.SIGKILL)
    finish(process)


def test_killed_between_the_last_byte_from_drive_and_its_renaming(cvl: Cvl, tree: Root, world: World) -> None:
    """gdown's unfinished file is then a whole one, and the server has nothing to send beyond it."""
    whole = world.path("gdrive://1FxB2Nw-vWUcTUSI_dBpPIykb-uGYoEqV")
    tree.downloads.mkdir(parents=True)
    shutil.copyfile(
        whole, tree.downloads / "webdata-wikiart.zip.part.drive-1FxB2Nw-vWUcTUSI_dBpPIykb-uGYoEqVabcdefgh.part"
    )
    assert cvl("fetch", "webdata").code == 0
    assert leftovers(tree) == []


def test_what_a_killed_run_left_half_written_is_removed_by_the_next(cvl: Cvl, tree: Root) -> None:
    line = ("fetch", "coco", "llava", "ocrvqa", "--alternative", "urls")
    places = ("", "data/.cvl/receipts", "data/coco/train2017", "data/llava", "data/ocr_vqa/images")
    for place in places:
        tree.at(place).mkdir(parents=True, exist_ok=True)
        (tree.at(place) / ".cvl-name-1234-5678.tmp").write_bytes(b"half of it")
    (tree.at("data/coco") / "of-the-user.tmp").write_bytes(b"not ours")
    assert cvl(*line).code == 0
    assert leftovers(tree) == []
    assert (tree.at("data/coco") / "of-the-user.tmp").exists()


@pytest.mark.usefixtures("links")
def test_killed_at_several_instants_the_tree_is_whole_in_the_end(
    cvl: Cvl, tree: Root, fetched: Root, internet: Internet
) -> None:
    for more in (1, 12, 40, 60):
        seen = len(internet.exchanges)
        kill_at(cvl, "fetch all", lambda enough=seen + more: len(internet.exchanges) >= enough)  # type: ignore[misc]
    assert cvl("fetch", "all").code == 0
    kill_at(cvl, "convert ocrvqa", lambda: tree.originals.exists())
    assert cvl("convert", "ocrvqa").code == 0
    kill_at(cvl, "verify-layout", lambda: tree.indexes.exists())
    assert cvl("verify-layout").code == 0
    assert_same(tree, fetched)


def kill_at_random(cvl: Cvl, command: str, rng: random.Random) -> None:
    """Run a command six times, each time for a while only, and then to its end."""
    for _ in range(6):
        process = cvl.start(*command.split())
        try:
            process.communicate(timeout=rng.uniform(0.2, 3.0))
        except subprocess.TimeoutExpired:
            send(process, rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
            finish(process)
    assert cvl(*command.split()).code == 0


@pytest.mark.soak
@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_random_instants_the_tree_is_whole_in_the_end(cvl: Cvl, tree: Root, fetched: Root, seed: int) -> None:
    rng = random.Random(seed)
    for command in ("fetch all --jobs 2", "convert ocrvqa", "verify-layout"):
        kill_at_random(cvl, command, rng)
    assert_same(tree, fetched)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_a_list_of_single_pictures_killed_at_random_instants_is_whole_in_the_end(
    cvl: Cvl, tree: Root, fetched: Root, seed: int
) -> None:
    rng = random.Random(seed)
    for command in ("fetch ocrvqa --alternative urls", "convert ocrvqa"):
        kill_at_random(cvl, command, rng)
    mine, theirs = (contents(root.at("data/ocr_vqa/images")) for root in (tree, fetched))
    assert {name: digest for name, digest in mine.items() if name.endswith(".jpg")} == theirs
    assert leftovers(tree) == []

"""A list of many small files through the command line: killed, stopped, refused, and asked for again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Cvl, traces

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.root import Root

HOST = "https://host.example"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))
COUNT = 120
STALLED = "*/many/004[0-3]"
"""As many addresses as there are connections, in the middle of the list."""
FETCH = ("fetch", "mine", "--connections", "4")
_PATIENCE = 60.0
_SOURCE = """
title = "A list of pictures"

[[files]]
name = "mine-list.json"
url = "https://host.example/list.json"
path = "data/mine/list.json"
expand = { into = "data/mine/images", url_field = "address", count = 120, approximate_size = 260 }
"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Internet]:
    """The internet with a list of pictures, every one of them another, and nothing else."""
    site = Publisher(tmp_path / "internet")
    urls = {f"{number:04}": f"{HOST}/many/{number:04}" for number in range(COUNT)}
    for key, url in urls.items():
        site.put(url, JPEG + key.encode())
    site.put(f"{HOST}/list.json", json.dumps({key: {"address": url} for key, url in urls.items()}).encode())
    with Internet(site.folder) as web:
        yield web


@pytest.fixture
def mine(tmp_path: Path, tree: Root, web: Internet) -> Cvl:
    """The command line with a source `mine` that is the list."""
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "mine.toml").write_text(_SOURCE)
    own = {"CVL_ROOT": str(tree.path), "CVL_MANIFESTS": str(manifests)}
    return Cvl(tmp_path, web.environment() | own)


def images(tree: Root) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tree.at("data/mine/images").iterdir()}


def all_images() -> dict[str, bytes]:
    return {f"{number:04}.jpg": JPEG + b"%04d" % number for number in range(COUNT)}


def asked(web: Internet) -> Counter[str]:
    """How often each picture was asked for, by its key."""
    return Counter(each.url[-4:] for each in web.exchanges if "/many/" in each.url)


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def end_in_the_middle(mine: Cvl, tree: Root, web: Internet, how: signal.Signals) -> tuple[int, str]:
    """Let the first forty come, and end the command while the servers of the next four are silent."""
    web.inject(Fault(STALLED, FaultKind.STALL, times=4, after=100))
    process = mine.start(*FETCH)
    folder = tree.at("data/mine/images")
    wait_until(lambda: folder.exists() and len(list(folder.glob("*.jpg"))) == 40 and len(asked(web)) == 44, process)
    os.killpg(process.pid, how)
    error = process.communicate(timeout=_PATIENCE)[1]
    web.heal()
    return process.returncode, error


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_ended_in_the_middle_goes_on_and_nothing_comes_twice_but_what_was_under_way(
    mine: Cvl, tree: Root, web: Internet, how: signal.Signals
) -> None:
    code, error = end_in_the_middle(mine, tree, web, how)
    assert code == (130 if how is signal.SIGTERM else -how)
    assert ("run the same command again" in error) == (how is signal.SIGTERM)
    assert images(tree).items() <= all_images().items()
    assert mine(*FETCH).code == 0
    assert images(tree) == all_images()
    assert {key: times for key, times in asked(web).items() if times > 1} == {f"004{n}": 2 for n in range(4)}


def test_a_run_that_finds_everything_asks_and_writes_nothing(mine: Cvl, tree: Root, web: Internet) -> None:
    assert mine(*FETCH).code == 0
    before, exchanges = traces(tree.path), len(web.exchanges)
    done = mine(*FETCH)
    assert (done.code, traces(tree.path), len(web.exchanges)) == (0, before, exchanges)


def test_what_is_gone_is_told_with_its_reason_and_asked_again_only_on_demand(
    mine: Cvl, tree: Root, web: Internet
) -> None:
    web.inject(Fault("*/many/00[0-4]*", FaultKind.STATUS, status=404, times=999))
    done = mine(*FETCH)
    assert (done.code, len(images(tree))) == (0, 70)
    missing = tree.ledgers / "mine-list.json.missing.tsv"
    header, *lines = missing.read_text().splitlines()
    assert header == "key\turl\tstate\treason"
    assert lines == [f"{n:04}\t{HOST}/many/{n:04}\tgone\t404 Not Found" for n in range(50)]

    web.heal()
    exchanges = len(web.exchanges)
    assert mine(*FETCH).code == 0
    assert len(web.exchanges) == exchanges

    assert mine(*FETCH, "--retry-failed").code == 0
    assert images(tree) == all_images()
    assert not missing.exists()


def test_what_failed_for_now_fails_the_command_and_comes_with_the_next(mine: Cvl, tree: Root, web: Internet) -> None:
    web.inject(Fault("*/many/0007", FaultKind.HTML, times=9))
    assert mine(*FETCH).code == 1
    assert len(images(tree)) == COUNT - 1
    web.heal()
    assert mine(*FETCH).code == 0
    assert images(tree) == all_images()
    assert asked(web) == Counter({f"{number:04}": 1 for number in range(COUNT)}) + Counter(["0007"])


def test_the_pictures_come_in_peace_where_the_user_wants_one_connection_at_a_low_rate(
    mine: Cvl, tree: Root, web: Internet
) -> None:
    web.inject(Fault("*/many/*", FaultKind.CROWDED, status=429, limit=1, times=999))
    assert mine("fetch", "mine", "--connections", "1", "--limit-rate", "200k").code == 0
    assert images(tree) == all_images()
    assert set(asked(web).values()) == {1}

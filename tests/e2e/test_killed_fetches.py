"""A fetch of every kind of source, killed without a word at a random instant and then finished: nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mixture import Mixture, publish_mixture
from support import Cvl, contents

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.root import Root

CONNECTIONS = 16
COMMAND = ("fetch", "mixed", "--connections", str(CONNECTIONS))
RATE = 20e6
"""Bytes a second of each connection."""
AGAIN_PER_CONNECTION = 1 << 20
"""Bytes that each connection may have to fetch again after a kill."""


@contextmanager
def served(mixture: Mixture) -> Iterator[Internet]:
    """The mixture on a network that gives each connection so much and no more.

    Without that, loopback is faster than any client, and what the kernel holds for a killed one is megabytes.
    """
    with Internet(mixture.folder) as internet:
        internet.inject(Fault("*", FaultKind.RATE, rate=RATE))
        yield internet


class Ground:
    """A mixture that is served, and the tree that a fetch makes of it when nothing goes wrong."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self.mixture: Mixture = publish_mixture(folder, megabytes)
        with served(self.mixture) as internet:
            root = self.new_tree(internet, "reference")
            began = time.monotonic()
            done = self.cvl(root, internet)(*COMMAND)
            self.seconds = time.monotonic() - began
            assert done.code == 0, done.stderr
            self.sent = sent_by_url(internet)
        self.reference = tree_of(root)
        shutil.rmtree(root.path)

    def new_tree(self, internet: Internet, name: str) -> Root:
        root = Root(self.folder / name)
        root.path.mkdir()
        root.sam_links.write_text(internet.links_file(datetime.now(UTC) + timedelta(days=30)))
        return root

    def cvl(self, root: Root, internet: Internet) -> Cvl:
        own = {"CVL_ROOT": str(root.path), "CVL_MANIFESTS": str(self.mixture.manifests)}
        return Cvl(self.folder, internet.environment() | own)


def tree_of(root: Root) -> dict[str, str]:
    """Everything in the tree but cvl's notes, each file by its digest."""
    found = contents(root.path)
    return {name: digest for name, digest in found.items() if name.startswith(("data/mixed/", "models/"))}


def sent_by_url(internet: Internet) -> Counter[str]:
    """Body bytes that the stand-in has sent, by address without signature."""
    sent: Counter[str] = Counter()
    for exchange in internet.exchanges:
        sent[exchange.url.partition("?")[0]] += exchange.bytes_sent
    return sent


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("ground")
    yield Ground(folder, 60)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wide_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("ground")
    yield Ground(folder, 1050)
    shutil.rmtree(folder)


def kill_and_finish(ground: Ground, seed: int) -> Counter[str]:
    """Kill a fetch at a random instant, finish it, compare; returns the bytes that were fetched again, by address."""
    delay = random.Random(seed).uniform(0.2, ground.seconds)
    with served(ground.mixture) as internet:
        while True:
            root = ground.new_tree(internet, f"tree-{seed}")
            cvl = ground.cvl(root, internet)
            before = sent_by_url(internet)
            if killed(cvl.start(*COMMAND), delay):
                break
            # It was faster than the one whose time was taken.
            delay /= 2
            shutil.rmtree(root.path)
        finished = cvl(*COMMAND)
        assert finished.code == 0, finished.stderr
        assert tree_of(root) == ground.reference
        assert [path.name for path in root.downloads.iterdir()] == []
        sent = sent_by_url(internet) - before
    shutil.rmtree(root.path)
    return sent - ground.sent


def killed(process: subprocess.Popen[str], delay: float) -> bool:
    """Kill a process after so many seconds; False if it had ended by then."""
    try:
        process.communicate(timeout=delay)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_fetch_ends_with_the_same_tree_and_fetches_hardly_anything_again(ground: Ground, seed: int) -> None:
    again = kill_and_finish(ground, seed)
    assert again.total() <= CONNECTIONS * AGAIN_PER_CONNECTION, again.most_common(3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(200))
def test_two_hundred_kills_of_a_gigabyte(
    wide_ground: Ground, seed: int, record_property: Callable[[str, object], None]
) -> None:
    again = kill_and_finish(wide_ground, seed)
    record_property("bytes_fetched_again", again.total())
    print(f"seed {seed}: {again.total():,} bytes fetched again")  # noqa: T201 (the soak's figures)
    assert again.total() <= CONNECTIONS * AGAIN_PER_CONNECTION, again.most_common(3)

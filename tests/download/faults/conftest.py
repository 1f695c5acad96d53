"""Fixtures of the fault table: every row is a real `cvl fetch` of one source against the stand-in."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Cvl

from cvl.demo.internet import Internet
from cvl.demo.miniature.publish import Publisher
from cvl.root import Root

# What a helper asserts is worth as many words as what a test does.
pytest.register_assert_rewrite("mine")

from mine import Mine, send  # noqa: E402 - only now


@pytest.fixture
def mine(site: Publisher, tree: Root, tmp_path: Path) -> Iterator[Mine]:
    """A source `mine`, published and described by the test, and a tree to fetch it into."""
    manifests = tmp_path / "own"
    manifests.mkdir()
    with Internet(site.folder) as internet:
        own = {"CVL_ROOT": str(tree.path), "CVL_MANIFESTS": str(manifests)}
        mine = Mine(site, internet, Cvl(tmp_path, internet.environment() | own), tree, manifests)
        yield mine
        for process in mine.started:
            if process.poll() is None:
                send(process, signal.SIGKILL)
            process.communicate()

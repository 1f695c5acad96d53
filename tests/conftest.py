"""Fixtures of all tests: the miniature of every source, the loopback internet that serves it, and a tree to fill."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from nginx import nginx as nginx  # the fixture
from support import Cvl, is_personal

from cvl.demo.internet import Internet
from cvl.demo.manifests import write_manifests
from cvl.demo.miniature import World, build_world
from cvl.manifest import Catalog, load_catalog
from cvl.root import Root

SCALE = 0.1


@pytest.fixture(scope="session", autouse=True)
def plain_environment() -> Iterator[None]:
    """Keeps the tester's own wishes out: for colours, for another tree, for other manifests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if is_personal(name)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, which the workers of pytest-xdist have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def world(shared: Path) -> World:
    """The miniature of every source, small. Not to be changed."""
    with FileLock(shared / "world.lock"):
        return build_world(shared / "world", scale=SCALE)


@pytest.fixture(scope="session")
def manifests(shared: Path, world: World) -> Path:
    """A folder of manifests that fit the miniature, for `--manifests`. Not to be changed."""
    folder = shared / "manifests"
    with FileLock(shared / "manifests.lock"):
        if not folder.exists():
            write_manifests(shared / "manifests.new", world)
            (shared / "manifests.new").rename(folder)
    return folder


@pytest.fixture(scope="session")
def catalog(manifests: Path) -> Catalog:
    """Our manifests with the miniature's numbers."""
    return load_catalog(manifests)


@pytest.fixture
def internet(world: World) -> Iterator[Internet]:
    """The running stand-in of every host, serving the miniature; nothing is recorded and nothing is broken yet."""
    with Internet(world.folder) as internet:
        yield internet


@pytest.fixture
def tree(tmp_path: Path) -> Root:
    """A tree that is not there yet."""
    return Root(tmp_path / "ShareGPT4V")


@pytest.fixture
def links(tree: Root, internet: Internet) -> Path:
    """A list of signed SAM links in the tree's usual place, good for a month."""
    tree.path.mkdir(exist_ok=True)
    tree.sam_links.write_text(internet.links_file(datetime.now(UTC) + timedelta(days=30)))
    return tree.sam_links


@pytest.fixture
def cvl(tmp_path: Path, tree: Root, manifests: Path, internet: Internet) -> Cvl:
    """The command line as a process, working on `tree` against `internet`."""
    own = {"CVL_ROOT": str(tree.path), "CVL_MANIFESTS": str(manifests)}
    return Cvl(tmp_path, internet.environment() | own)


@pytest.fixture(scope="session")
def fetched(shared: Path, world: World, manifests: Path) -> Root:
    """A tree with everything in it, converted and proven. Not to be changed; `complete` is a copy."""
    root = Root(shared / "fetched" / "ShareGPT4V")
    with FileLock(shared / "fetched.lock"):
        if not root.report.exists():
            _fetch_all(root, world, manifests)
    return root


def _fetch_all(root: Root, world: World, manifests: Path) -> None:
    root.path.mkdir(parents=True)
    with Internet(world.folder) as internet:
        root.sam_links.write_text(internet.links_file(datetime.now(UTC) + timedelta(days=30)))
        own = {"CVL_ROOT": str(root.path), "CVL_MANIFESTS": str(manifests)}
        cvl = Cvl(root.path.parent, internet.environment() | own)
        for command in ("fetch all", "convert ocrvqa", "verify-layout"):
            done = cvl(*command.split())
            assert done.code == 0, done.stderr


@pytest.fixture
def complete(fetched: Root, tree: Root) -> Root:
    """`tree`, filled with a copy of everything."""
    shutil.copytree(fetched.path, tree.path, symlinks=True)
    return tree

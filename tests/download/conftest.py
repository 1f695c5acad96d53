"""Fixtures of the download's tests: a small internet that each test fills itself, and a session that uses it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fetching import MakeSession, Told
from huggingface_hub import close_session

from cvl.demo.internet import Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.lock import Lock
from cvl.download.session import Session
from cvl.download.transport.connections import Connections
from cvl.download.transport.policy import Policy
from cvl.download.transport.wire import Wire, open_wire
from cvl.root import Root

SWIFT = Policy(attempts=3, base=0.01, outage=0)
"""Gives up after three failures and hardly waits between them."""


@pytest.fixture
def site(tmp_path: Path) -> Publisher:
    """Where a test publishes what the internet is to have."""
    folder = tmp_path / "internet"
    (folder / "http" / "host.example").mkdir(parents=True)
    (folder / "http" / "mirror.example").mkdir(parents=True)
    return Publisher(folder)


@pytest.fixture
def web(site: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    """The internet that serves `site`; this process finds nothing else."""
    with Internet(site.folder) as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", "")
        # The user's own token and cookies stay out of it.
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HOME", str(tmp_path))
        close_session()
        yield internet
        close_session()


@pytest.fixture
def wire(web: Internet) -> Iterator[Wire]:
    """The wire as fetches use it."""
    with open_wire() as wire:
        yield wire


@pytest.fixture
def told() -> Told:
    """What `session` reported."""
    return Told()


@pytest.fixture
def session(tree: Root, wire: Wire, told: Told) -> Session:
    """A session on `tree` that waits for nothing and remembers what it says."""
    return Session(
        root=tree, wire=wire, lock=Lock(tree.lock), policy=SWIFT, report=told, jobs=2, connections=Connections(4)
    )


@pytest.fixture
def impatient(session: Session) -> Iterator[Session]:
    """`session`, but it gives up soon on a server that says nothing."""
    with open_wire(timeout=1) as wire:
        yield replace(session, wire=wire, timeout=1.0)


@pytest.fixture
def make_session(session: Session) -> MakeSession:
    """`session` with some fields changed, as another process would begin it: with the lock as the disk has it."""

    def make(**changes: Any) -> Session:
        fresh: dict[str, Any] = {
            "lock": Lock(session.root.lock),
            "cancel": threading.Event(),
            "connections": Connections(session.connections.total),
        }
        return replace(session, **(fresh | changes))

    return make

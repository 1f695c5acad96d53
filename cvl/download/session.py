"""What every transfer of one `cvl fetch` shares."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cvl.download.links import LinkList
from cvl.download.lock import Lock
from cvl.download.transport.connections import Connections
from cvl.download.transport.mirrors import Speeds
from cvl.download.transport.policy import Policy
from cvl.download.transport.throttle import Throttle
from cvl.download.transport.wire import TIMEOUT, Wire
from cvl.errors import Cancelled
from cvl.events import Event, EventKind, Reporter, TransferProgress, silent
from cvl.parallel import WHOLE, Engine, Part
from cvl.root import Root

# Often enough for a live view, rarely enough to cost nothing.
_REPORT_EVERY = 0.1


@dataclass(frozen=True)
class Session:
    """The tools and wishes of one run.

    Args:
        root: the tree.
        wire: the HTTP clients.
        lock: what was seen at first contact.
        links: the list of signed links, where the user has one.
        policy: when to try again.
        report: told of everything that happens.
        cancel: set when the user wants to stop.
        accept_digest: take single-source digests for wrong where the bytes differ at the right size.
        keep_archives: leave archives on the disk after they are unpacked.
        downloads: a folder of files that the user downloaded by hand.
        wait_for_links: ask for a fresh list of signed links once the rest is done, and wait for it.
        retry_failed: try addresses again that were once given up for good.
        jobs: files in flight at once.
        connections: the budget of connections that all share.
        speeds: what hosts gave so far.
        limit_rate: bytes a second over all, None for as many as come.
        timeout: seconds without a byte after which a connection is given up.
        part: the share of the files that this run fetches, while others fetch theirs.
        engine: who unpacks.
    """

    root: Root
    wire: Wire
    lock: Lock
    links: LinkList | None = None
    policy: Policy = field(default_factory=Policy)
    report: Reporter = silent
    cancel: threading.Event = field(default_factory=threading.Event)
    accept_digest: bool = False
    keep_archives: bool = False
    downloads: Path | None = None
    wait_for_links: bool = False
    retry_failed: bool = False
    jobs: int = 4
    connections: Connections = field(default_factory=Connections)
    speeds: Speeds = field(default_factory=Speeds)
    limit_rate: int | None = None
    timeout: float = TIMEOUT
    part: Part = WHOLE
    engine: Engine = Engine.LOCAL

    @cached_property
    def throttle(self) -> Throttle:
        """What holds all transfers to the rate that the user set."""
        return Throttle(self.limit_rate, self.cancel)

    def check_cancelled(self) -> None:
        """Raise Cancelled once the user wants to stop."""
        if self.cancel.is_set():
            raise Cancelled("stopped; what is done stays done", hint="run the same command again to go on")

    def progress(self, kind: EventKind, name: str, source: str, expected: int | None = None) -> TransferProgress:
        """A callback for the work on one file: stops it once the user wants to, and reports now and then.

        It takes what is done and what there is in all; `expected` stands for the latter where it is None.
        """
        told = 0.0

        def progress(done: int, total: int | None, connections: int = 1, /) -> None:
            nonlocal told
            self.check_cancelled()
            now = time.monotonic()
            if now - told >= _REPORT_EVERY or done == total:
                told = now
                in_all = total if total is not None else expected
                used = connections if kind is EventKind.PROGRESS else 0
                self.report(Event(kind, name, source, done, in_all, connections=used))

        return progress

    def sleep(self, seconds: float) -> None:
        """Wait, but not past the user's wish to stop."""
        self.cancel.wait(seconds)
        self.check_cancelled()

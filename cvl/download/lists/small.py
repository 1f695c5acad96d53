"""Many small files at once: connections fetch into memory, one thread writes.

A thread for each connection asks one address after another; how many there are is agreed with all else that is being
fetched. The calling thread alone creates files: threads that create files in one folder wait for each other, for the
system lets only one of them change a folder at a time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from cvl.download.lists import reasons
from cvl.download.lists.asking import Landed, ask, is_of_host
from cvl.download.lists.filing import Filing
from cvl.download.lists.handover import Handover
from cvl.download.lists.ledger import Row, State
from cvl.download.lists.listing import host_of
from cvl.download.lists.queues import Asked, HostQueue
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.transport.connections import Member
from cvl.errors import TransferError
from cvl.events import Event, EventKind

_MOST_HOSTS = 8
"""Hosts that are asked at once: each counts as much as one big file in the sharing of connections."""
_TICK = 0.05
"""Seconds after which connections are asked for again, and a wish to stop is heard."""
_GRACE = 0.5
"""Seconds that answers under way have once the user wants to stop."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that were settled since the last batch, and the number of connections at that time."""

    rows: list[Row]
    connections: int


def fetch_small(rows: Iterable[Row], folder: Path, remote: Remote, session: Session) -> Generator[Batch]:
    """Ask every address and write what comes into `folder`, which exists; yields each row once, in batches.

    A picture is named by its row's key and by what its content is; it is there whole, or not at all. Once the user
    wants to stop, there is one batch more, of what was under way.

    Raises:
        Cancelled: the user wants to stop. CvlError: what stops all transfers of this process.
        OSError: the disk is full, or the like.
    """
    with Crew(rows, remote, session) as crew, Filing(folder) as filing:
        while not crew.finished:
            stopping = session.cancel.is_set()
            crew.hire()
            landed = crew.last() if stopping else crew.landed()
            yield Batch([_written(each, filing) for each in landed], crew.connections)
            if stopping:
                session.check_cancelled()


def _written(landed: Landed, filing: Filing) -> Row:
    if landed.row.name is not None:
        filing.put(landed.row.name, landed.content)
    return landed.row


class Crew:
    """The threads that ask, and what they have brought."""

    def __init__(self, rows: Iterable[Row], remote: Remote, session: Session) -> None:
        self._session = session
        self._remote = remote
        self._handover = Handover()
        self._hosts = deque(self._by_host(rows).items())
        self._queues: dict[HostQueue, tuple[Member, ExitStack]] = {}
        self._mutex = threading.Lock()
        self._hired = 0.0

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_error: object) -> None:
        """Threads that wait for a silent server are left behind; what they bring is dropped."""
        self._handover.close()
        for queue in list(self._queues):
            self._close(queue)

    @property
    def finished(self) -> bool:
        """Whether `landed` has given every row."""
        return not self._hosts and not self._queues and self._handover.empty

    @property
    def connections(self) -> int:
        """How many there are now."""
        return sum(member.used for member, _ in self._queues.values())

    def landed(self) -> list[Landed]:
        """What has come since the last call; waits a moment if there is nothing."""
        return self._handover.take(_TICK)

    def last(self) -> list[Landed]:
        """What has come, and what still comes within a moment of all that is being asked."""
        landed = self.landed()
        deadline = time.monotonic() + _GRACE
        while any(queue.asking for queue in self._queues) and time.monotonic() < deadline:
            landed += self.landed()
        return landed + self._handover.take(0)

    def hire(self) -> None:
        """Now and then, bring the threads up to the number of connections that may be had."""
        now = time.monotonic()
        if now - self._hired < _TICK or self._session.cancel.is_set():
            return
        self._hired = now
        for queue in list(self._queues):
            for row in queue.abandoned():
                self._handover.put(Landed(replace(row, state=State.FAILED, reason=queue.given_up)))
            if queue.finished:
                self._close(queue)
        while self._hosts and len(self._queues) < _MOST_HOSTS:
            self._open(*self._hosts.popleft())
        for queue, (member, _) in self._queues.items():
            self._man(queue, member)

    def _by_host(self, rows: Iterable[Row]) -> dict[str, list[Row]]:
        hosts: dict[str, list[Row]] = {}
        for row in rows:
            host = host_of(row.url)
            if host is None:
                self._handover.put(Landed(replace(row, state=State.GONE, reason=reasons.NO_ADDRESS)))
            else:
                hosts.setdefault(host, []).append(row)
        return hosts

    def _open(self, host: str, rows: list[Row]) -> None:
        stack = ExitStack()
        member = stack.enter_context(self._session.connections.join(host))
        queue = HostQueue(host, rows, self._session.policy, lambda text, wait: self._tell(f"{host}: {text}", wait))
        with self._mutex:
            self._queues[queue] = member, stack

    def _close(self, queue: HostQueue) -> None:
        with self._mutex:
            _, stack = self._queues.pop(queue)
            stack.close()

    def _man(self, queue: HostQueue, member: Member) -> None:
        ready = queue.ready
        member.want = member.used + ready
        for _ in range(min(ready, self._session.connections.total)):
            if not member.take():
                return
            threading.Thread(target=self._work, args=(queue, member), name="cvl-small", daemon=True).start()

    def _work(self, queue: HostQueue, member: Member) -> None:
        """Ask one address after another, until there is none to ask or somebody else is owed the connection."""
        try:
            while not self._stopped and (asked := queue.next()) is not None:
                self._ask(asked, queue, member)
                queue.back()
                if member.crowded:
                    break
        except BaseException as error:
            # Whatever it is, the thread that leads has to know.
            self._handover.fail(error)
        finally:
            with self._mutex:
                if queue in self._queues:
                    member.give()

    @property
    def _stopped(self) -> bool:
        return self._handover.closed or self._session.cancel.is_set()

    def _ask(self, asked: Asked, queue: HostQueue, member: Member) -> None:
        try:
            landed = ask(asked.row, self._session)
        except TransferError as error:
            reached = self._session.connections.reached(queue.host)
            if is_of_host(error):
                member.pressure(queue.trouble(asked, error, reached=reached))
            elif not queue.again(asked, error, reached=reached):
                self._handover.put(Landed(replace(asked.row, state=State.FAILED, reason=str(error))))
        else:
            queue.settled()
            member.relieved()
            self._handover.put(landed)

    def _tell(self, text: str, wait: float) -> None:
        if not self._session.cancel.is_set():
            self._session.report(Event(EventKind.RETRY, self._remote.name, self._remote.source, text=text, wait=wait))

"""One host's part of a list of many small files: what waits, when it may be asked, and when the host is given up.

What goes wrong with one address (500, a broken answer) is tried again later, while the others go on. What goes wrong
with the host (429, Retry-After, no connection, many failures without one good answer) holds all of its addresses: after
a pause one of them probes, and a good answer opens the way for the rest. A host that stays bad is given up for this
run, so that it costs one back-off and not one for each of its thousands of addresses.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

from cvl.download.lists.ledger import Row
from cvl.download.transport.policy import Budget, Policy
from cvl.errors import TransferError

_STREAK = 32
"""Failures without a good answer in between that are the host's and not the addresses'."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An address that is being asked, since `begun` on the monotonic clock."""

    row: Row
    begun: float


class HostQueue:
    """The addresses of one host. Safe to use from threads.

    Args:
        host: its name.
        rows: what is to be asked.
        policy: when to try again.
        tell: is told when the host is in trouble, in words and with the seconds of the wait that follows.

    `given_up` is the reason why the host is not asked any more, None while it is.
    """

    def __init__(self, host: str, rows: Iterable[Row], policy: Policy, tell: Callable[[str, float], None]) -> None:
        self.host = host
        self.given_up: str | None = None
        self._policy = policy
        self._budget = Budget(policy, tell)
        self._mutex = threading.Lock()
        self._waiting = deque(rows)
        self._later: list[tuple[float, str, Row]] = []
        self._failures: dict[str, int] = {}
        self._asking = 0
        self._streak = 0
        self._troubled = 0.0
        self._paused_until = 0.0
        self._probing = False

    @property
    def ready(self) -> int:
        """How many addresses could be asked now."""
        with self._mutex:
            now = time.monotonic()
            if self.given_up is not None or now < self._paused_until:
                return 0
            if self._probing:
                return int(not self._asking)
            due = bool(self._later) and self._later[0][0] <= now
            return len(self._waiting) + due

    @property
    def asking(self) -> int:
        """How many addresses are being asked."""
        with self._mutex:
            return self._asking

    @property
    def finished(self) -> bool:
        """Whether nothing waits and nothing is being asked."""
        with self._mutex:
            return not (self._waiting or self._later or self._asking)

    def next(self) -> Asked | None:
        """An address to ask now, None if there is none just now; `settled`, `again` or `trouble` and `back` follow."""
        with self._mutex:
            now = time.monotonic()
            if self.given_up is not None or now < self._paused_until or (self._probing and self._asking):
                return None
            if self._later and self._later[0][0] <= now:
                row = heappop(self._later)[2]
            elif self._waiting:
                row = self._waiting.popleft()
            else:
                return None
            self._asking += 1
            return Asked(row, now)

    def settled(self) -> None:
        """The host gave an answer that says all about an address: whatever was wrong with the host is over."""
        with self._mutex:
            self._streak = 0
            if self._probing:
                self._probing = False
                self._budget.refill()

    def again(self, asked: Asked, error: TransferError, *, reached: bool) -> bool:
        """One address failed: whether it is asked again later, for its retries are not used up."""
        with self._mutex:
            self._streak += 1
            if self._streak >= _STREAK:
                self._pause(asked, error, reached=reached)
            row = asked.row
            failures = self._failures[row.key] = self._failures.get(row.key, 0) + 1
            wait = self._policy.wait(failures, None)
            if wait is not None:
                heappush(self._later, (time.monotonic() + wait, row.key, row))
            return wait is not None

    def trouble(self, asked: Asked, error: TransferError, *, reached: bool) -> float:
        """The host itself is in trouble: the address waits without blame. Seconds for which the host is left alone.

        `reached` says whether it has answered before in this run.
        """
        with self._mutex:
            # At the end of the row: the same few are not the unlucky ones each time.
            self._waiting.append(asked.row)
            self._pause(asked, error, reached=reached)
            return max(self._paused_until - time.monotonic(), 0.0)

    def _pause(self, asked: Asked, error: TransferError, *, reached: bool) -> None:
        if asked.begun < self._troubled or self.given_up is not None:
            # Begun before the last trouble was known, and a part of it.
            return
        wait = self._budget.spend(error, reached=reached)
        self._troubled = time.monotonic()
        self._probing = True
        if wait is None:
            self.given_up = f"{error}: the host was given up for this run"
        else:
            self._paused_until = self._troubled + wait

    def back(self) -> None:
        """What became of an address is known, and kept where it is looked for: it is not being asked any more."""
        with self._mutex:
            self._asking -= 1

    def abandoned(self) -> list[Row]:
        """Take out what waits although the host was given up."""
        with self._mutex:
            if self.given_up is None:
                return []
            rows = [*self._waiting, *(row for _, _, row in self._later)]
            self._waiting.clear()
            self._later.clear()
            return rows

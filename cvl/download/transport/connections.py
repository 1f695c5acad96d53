"""Who may open how many connections: one budget for all that is fetched at once, shared fairly, and kept per host.

A file asks for each further connection and gives it back when it has no more work for it. What a file may have is an
equal share of the budget, and of what its host bears, and more while the others leave theirs; one that has more is told
so, and gives one back after its present piece. A host that says 429 or 503, or breaks off, gets half as many, and one
more again after each quiet while: additive increase, multiplicative decrease, within the budget and the limit that the
manifests set for the host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

TOTAL = 16
"""Connections at once over all files, unless the user says otherwise."""

_QUIET = 5.0
"""Seconds without trouble after which a host gets one connection more."""
_SETTLE = 1.0
"""Seconds within which several connections that break are one and the same trouble."""


@dataclass
class _Host:
    """What one host bears, as far as we have seen."""

    ceiling: int
    allowed: int
    used: int = 0
    peak: int = 0
    paused_until: float = 0.0
    changed: float = 0.0
    reached: bool = False

    def is_open(self, now: float) -> bool:
        """Whether it takes one connection more."""
        return self.used < self.allowed and now >= self.paused_until


class Connections:
    """The budget of one run. Safe to use from threads."""

    def __init__(self, total: int = TOTAL, limits: Mapping[str, int] | None = None) -> None:
        self.total = total
        self._limits = dict(limits or {})
        self._mutex = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._members: list[Member] = []

    @contextmanager
    def join(self, host: str) -> Iterator[Member]:
        """Take part in the budget with a file of `host`; at the end what is still taken is given back."""
        with self._mutex:
            member = Member(self, self._hosts.setdefault(host, self._new(host)))
            self._members.append(member)
        try:
            yield member
        finally:
            with self._mutex:
                self._members.remove(member)
                member.host.used -= member.used
                # What a thread that is left behind gives back later was given back here.
                member.used = 0

    @property
    def used(self) -> int:
        """Connections that are taken, over all files."""
        return sum(member.used for member in self._members)

    def reached(self, host: str) -> bool:
        """Whether the host has answered in this run: if it cannot be reached later, the network may be down."""
        with self._mutex:
            return host in self._hosts and self._hosts[host].reached

    def _new(self, host: str) -> _Host:
        ceiling = min(self._limits.get(host, self.total), self.total)
        return _Host(ceiling, ceiling)

    def _share(self, host: _Host) -> int:
        """What a file of this host may have, whatever the others want."""
        of_host = sum(other.host is host for other in self._members)
        return max(min(self.total // max(len(self._members), 1), host.allowed // max(of_host, 1)), 1)

    def _is_short(self, member: Member, taking: int = 0) -> bool:
        """Whether too few would be left for the shares of the others, if `member` took so many."""
        host, now = member.host, time.monotonic()
        others = [other for other in self._members if other is not member]
        owed = sum(self._owed(other) for other in others if other.host.is_open(now))
        owed_of_host = sum(self._owed(other) for other in others if other.host is host)
        return self.total - self.used - taking < owed or host.allowed - host.used - taking < owed_of_host

    def _owed(self, member: Member) -> int:
        """Connections that a file could use and has not yet had of its share."""
        return max(min(member.want, self._share(member.host)) - member.used, 0)


@dataclass(eq=False)
class Member:
    """One file's part in the budget.

    Args:
        want: how many connections it could use now; it is owed no more than that.
        used: how many it has.
    """

    connections: Connections
    host: _Host
    want: int = 1
    used: int = field(default=0)

    def take(self) -> bool:
        """Ask for one further connection; whether it may be had now."""
        budget, host = self.connections, self.host
        with budget._mutex:
            if budget.used >= budget.total or not host.is_open(time.monotonic()):
                return False
            if self.used >= budget._share(host) and budget._is_short(self, taking=1):
                return False
            self.used += 1
            host.used += 1
            host.peak = max(host.peak, host.used)
            return True

    def give(self) -> None:
        """Give one connection back; nothing once the file has left the budget."""
        with self.connections._mutex:
            if self.used:
                self.used -= 1
                self.host.used -= 1

    @property
    def crowded(self) -> bool:
        """Whether a connection should be given back: it is more than the share, or more than the host bears."""
        budget = self.connections
        with budget._mutex:
            if self.host.used > self.host.allowed:
                return True
            return self.used > budget._share(self.host) and budget._is_short(self)

    def pressure(self, pause: float = 0.0) -> None:
        """The host said that it is too much, or broke off; nothing new is opened to it for `pause` seconds."""
        now, host = time.monotonic(), self.host
        with self.connections._mutex:
            host.paused_until = max(host.paused_until, now + pause)
            if now - host.changed >= _SETTLE:
                # Of the connections that it had lately: those that broke have been given back by now.
                host.allowed = max(min(host.peak, host.allowed) // 2, 1)
                host.peak = host.used
                host.changed = now

    def relieved(self) -> None:
        """The host gave what it was asked for."""
        now, host = time.monotonic(), self.host
        with self.connections._mutex:
            host.reached = True
            if host.allowed < host.ceiling and now - host.changed >= _QUIET:
                host.allowed += 1
                host.changed = now

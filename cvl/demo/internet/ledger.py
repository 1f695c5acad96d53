"""The record of what was answered, kept while it is being answered."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cvl.demo.internet.exchange import Exchange, Request


@dataclass
class Tally:
    """One answer on its way; `sent` is the number of body bytes so far. Only the thread that answers changes it."""

    request: Request
    status: int
    sent: int = 0


class Ledger:
    """All answers in the order in which they began. Safe to use from several threads."""

    def __init__(self) -> None:
        self._tallies: list[Tally] = []
        self._lock = threading.Lock()

    def open(self, request: Request, status: int) -> Tally:
        """Begin a record. It is visible from now on, so that a client which has its answer also finds the record."""
        tally = Tally(request, status)
        with self._lock:
            self._tallies.append(tally)
        return tally

    def exchanges(self) -> list[Exchange]:
        """A copy of the records as they are now."""
        with self._lock:
            tallies = list(self._tallies)
        return [
            Exchange(each.request.method, each.request.url, each.request.headers.get("range"), each.status, each.sent)
            for each in tallies
        ]

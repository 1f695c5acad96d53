"""The faults that still wait for their requests: how many they have let pass, how many are left."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from cvl.demo.internet.exchange import Request
from cvl.demo.internet.faults import Fault, FaultKind
from cvl.demo.internet.resource import Answer


@dataclass
class _Pending:
    fault: Fault
    left: int
    passed: Counter[str] = field(default_factory=Counter)
    inside: list[Request] = field(default_factory=list)

    def strikes(self, request: Request, answer: Answer) -> bool:
        """Whether the fault meets this request now, rather than leaving it alone once more."""
        if self.left <= 0 or not self.fault.meets(request, answer):
            return False
        address = request.url if self.fault.kind is FaultKind.EXPIRE else "any"
        if self.passed[address] < self.fault.skip:
            self.passed[address] += 1
            return False
        if self.fault.kind is FaultKind.CROWDED and len(self.inside) < self.fault.limit:
            self.inside.append(request)
            return False
        return True


class Faults:
    """The faults that still wait, in the order of their injection. Safe to use from several threads."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []
        self._lock = threading.Lock()

    def inject(self, fault: Fault) -> None:
        """Add one to the end of the queue."""
        with self._lock:
            self._pending.append(_Pending(fault, fault.times))

    def heal(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._pending.clear()

    def standing(self, request: Request, answer: Answer) -> list[Fault]:
        """Those that stay until heal() and meet this request."""
        with self._lock:
            return [each.fault for each in self._pending if each.fault.stands and each.strikes(request, answer)]

    def take(self, request: Request, answer: Answer) -> Fault | None:
        """The first of the others that meets this request; it counts as used once more."""
        with self._lock:
            for pending in self._pending:
                if not pending.fault.stands and pending.strikes(request, answer):
                    pending.left -= 1
                    return pending.fault
            return None

    def finished(self, request: Request) -> None:
        """This request is answered, and leaves room for another one where there are only so many at once."""
        with self._lock:
            for pending in self._pending:
                with suppress(ValueError):
                    pending.inside.remove(request)

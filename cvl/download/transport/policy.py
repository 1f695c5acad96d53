"""When to try again, and how long to wait before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from cvl.errors import TransferError, UnreachableError


@dataclass(frozen=True)
class Policy:
    """Exponential back-off with full jitter.

    Args:
        attempts: failures in a row without progress before an address is given up.
        base: seconds; the wait before the n-th new attempt is drawn from 0 to `base` times 2 to the n.
        cap: seconds that no drawn wait exceeds. A server's Retry-After does, up to `patience`.
        patience: seconds; a server that asks for more is given up for now.
        outage: seconds for which a host that was reached before is waited for once it cannot be reached any more.
    """

    attempts: int = 5
    base: float = 1.0
    cap: float = 30.0
    patience: float = 600.0
    outage: float = 1800.0

    def wait(self, failures: int, retry_after: float | None) -> float | None:
        """Seconds to wait after so many failures in a row, or None to give up."""
        if failures >= self.attempts or (retry_after or 0) > self.patience:
            return None
        return retry_after if retry_after is not None else self.drawn(failures)

    def drawn(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, drawn anew each time."""
        return random.uniform(0, min(self.base * 2 ** min(failures - 1, 16), self.cap))


class Budget:
    """The retries of one file. Spent by failures, refilled by progress. Used by one thread.

    `spent` says that the last failure was one too many.

    Args:
        policy: when to try again.
        tell: is told of every failure that is not the last, and of the seconds that follow.
    """

    def __init__(self, policy: Policy, tell: Callable[[str, float], None]) -> None:
        self._policy = policy
        self._tell = tell
        self._failures = 0
        self._down_since: float | None = None
        self.spent = False

    def refill(self) -> None:
        """There was progress: what went wrong before is forgotten."""
        self._failures = 0
        self._down_since = None

    def spend(self, error: TransferError, *, reached: bool) -> float | None:
        """Seconds to wait before the next attempt, None to give up.

        `reached` says that the host has answered before in this run. If it cannot be reached now, the network is down
        rather than the address wrong, and the wait goes on for as long as an outage may last.
        """
        self._failures += 1
        wait = self._wait(error, reached=reached)
        self.spent = wait is None
        if error.retry_after is not None and error.retry_after > self._policy.patience:
            minutes = f"{error.retry_after / 60:.0f} min"
            error.hint = f"the server wants to be left alone for {minutes}: run the same command again after that"
        if wait is not None:
            self._tell(f"{error}; again in {wait:.0f} s", wait)
        return wait

    def _wait(self, error: TransferError, *, reached: bool) -> float | None:
        if reached and isinstance(error, UnreachableError):
            now = time.monotonic()
            self._down_since = self._down_since or now
            if now - self._down_since < self._policy.outage:
                return self._policy.drawn(self._failures)
        return self._policy.wait(self._failures, error.retry_after)

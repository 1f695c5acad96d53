"""When to try again, and how long to wait before."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """Exponential back-off with full jitter.

    Args:
        attempts: failures in a row without a byte of progress before a file is given up.
        base: seconds; the wait before the n-th new attempt is drawn from 0 to `base` times 2 to the n.
        cap: seconds that no drawn wait exceeds. A server's Retry-After does, up to `patience`.
        patience: seconds; a server that asks for more is given up for now.
    """

    attempts: int = 5
    base: float = 1.0
    cap: float = 30.0
    patience: float = 600.0

    def wait(self, failures: int, retry_after: float | None) -> float | None:
        """Seconds to wait after so many failures in a row, or None to give up."""
        if failures >= self.attempts or (retry_after or 0) > self.patience:
            return None
        if retry_after is not None:
            return retry_after
        return random.uniform(0, min(self.base * 2 ** (failures - 1), self.cap))

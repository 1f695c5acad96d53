"""`--limit-rate`: one allowance of bytes a second for all that is fetched at once."""

from __future__ import annotations

import threading
import time

_BURST = 0.1
"""Seconds of allowance that may be saved up, so that a short wait is made good."""


class Throttle:
    """Holds the sum of all transfers to a rate. Safe to use from threads.

    Args:
        rate: bytes a second; None lets everything pass.
        cancel: ends every wait at once when it is set.
    """

    def __init__(self, rate: int | None, cancel: threading.Event) -> None:
        self.rate = rate
        self._cancel = cancel
        self._mutex = threading.Lock()
        self._paid_until = 0.0

    def take(self, size: int) -> None:
        """Wait until `size` more bytes are within the allowance."""
        if self.rate is None:
            return
        with self._mutex:
            now = time.monotonic()
            self._paid_until = max(self._paid_until, now - _BURST) + size / self.rate
            wait = self._paid_until - now
        if wait > 0:
            self._cancel.wait(wait)

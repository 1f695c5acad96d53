"""A clock that stands still until a test lets time pass."""

from __future__ import annotations

import threading
from types import ModuleType

import pytest


class Clock:
    """Monotonic seconds for one module. Safe to use from threads."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._mutex = threading.Lock()

    @classmethod
    def of(cls, patch: pytest.MonkeyPatch, module: ModuleType) -> Clock:
        """The clock that `module` sees from now on, in place of its `time`."""
        clock = cls()
        patch.setattr(module, "time", clock)
        return clock

    def monotonic(self) -> float:
        """What `time.monotonic` stands for."""
        with self._mutex:
            return self._now

    def pass_by(self, seconds: float) -> None:
        """Let so much time pass."""
        with self._mutex:
            self._now += seconds

"""How fast something moves, as a mean that neither jumps nor lags for long. Knows no clock: it is told the time."""

from __future__ import annotations

import math


class Meter:
    """An exponentially weighted mean of a rate.

    What was seen `constant` seconds ago weighs 1/e of what is seen now, which is as smooth as a plain mean over twice
    that time. Any number of senders may share one meter: only the sum of what they move counts.

    Args:
        constant: the time constant, seconds.
        warm_up: seconds of movement that must be seen before there is a rate at all.
        silence: seconds without a single amount after which nothing moves, for all that we know.
    """

    def __init__(self, constant: float, *, warm_up: float, silence: float) -> None:
        self._constant = constant
        self._warm_up = warm_up
        self._silence = silence
        self._last: float | None = None
        self._seen = 0.0
        self._mean = 0.0
        self._mass = 0.0
        self._pending = 0.0

    def moved(self, amount: float, now: float) -> None:
        """Take note that `amount` has moved since the last note, at `now`, seconds on any clock that does not go back.

        No more than `silence` counts of a longer one: when a network comes back after an hour, its rate is that of now.
        """
        if self._last is None:
            # Nobody knows how long it took for this one to come.
            self._last = now
            return
        self._pending += amount
        passed = min(now - self._last, self._silence)
        if passed <= 0:
            return
        weight = -math.expm1(-passed / self._constant)
        self._mean += weight * (self._pending / passed - self._mean)
        self._mass += weight * (1 - self._mass)
        self._seen += passed
        self._pending, self._last = 0.0, now

    def rate(self, now: float) -> float | None:
        """The mean amount a second, None in the first seconds and while nothing moves."""
        if self._last is None or self._seen < self._warm_up or now - self._last > self._silence:
            return None
        # The mean began at zero, not at what was seen first; the mass says how much of it is real.
        return self._mean / self._mass

    def left(self, amount: float, now: float) -> float | None:
        """Seconds until `amount` more has moved at this rate, None where there is no rate to tell by."""
        per_second = self.rate(now)
        return amount / per_second if per_second else None

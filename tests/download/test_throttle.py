"""`--limit-rate`: the sum of all transfers stays within the allowance."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from clock import Clock
from hypothesis import given
from hypothesis import strategies as st

from cvl.download.transport import throttle
from cvl.download.transport.throttle import Throttle

RATE = 1000
BURST = 0.1
"""Seconds of allowance that may be saved up."""


class Waits(threading.Event):
    """A wish to stop that nobody has, which lets the clock pass as long as it is waited for."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.asked: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.asked.append(timeout)
        self._clock.pass_by(timeout)
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of(monkeypatch, throttle)


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 3)), min_size=1, max_size=50))
def test_what_has_passed_is_within_the_allowance_at_every_moment(pieces: list[tuple[int, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock.of(patch, throttle)
        began = clock.monotonic()
        held = Throttle(RATE, Waits(clock))
        passed = 0
        for size, pause in pieces:
            held.take(size)
            passed += size
            assert passed <= RATE * (clock.monotonic() - began + BURST) + 1e-3
            clock.pass_by(pause)


def test_a_steady_flow_gets_all_of_the_rate(clock: Clock) -> None:
    began = clock.monotonic()
    held = Throttle(RATE, Waits(clock))
    for _ in range(100):
        held.take(RATE)
    assert clock.monotonic() - began == pytest.approx(100 - BURST)


def test_a_long_silence_saves_up_a_moment_only(clock: Clock) -> None:
    waits = Waits(clock)
    held = Throttle(RATE, waits)
    clock.pass_by(3600)
    held.take(RATE)
    assert waits.asked == [pytest.approx(1 - BURST)]


def test_threads_share_one_allowance(clock: Clock) -> None:
    """Each is told to wait until all that was taken before it and by it is paid for."""
    asked: list[float] = []

    class Still(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            asked.append(timeout)
            return False

    held = Throttle(RATE, Still())
    barrier = threading.Barrier(8)

    def take() -> None:
        barrier.wait()
        for _ in range(50):
            held.take(RATE)

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(take) for _ in range(8)]:
            each.result()
    assert sorted(asked) == pytest.approx([number - BURST for number in range(1, 401)])


def test_without_a_rate_everything_passes_at_once(clock: Clock) -> None:
    waits = Waits(clock)
    Throttle(None, waits).take(10**12)
    assert waits.asked == []


def test_a_wish_to_stop_ends_every_wait() -> None:
    cancel = threading.Event()
    held = Throttle(1, cancel)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(held.take, 10**9) for _ in range(4)]
        assert not any(each.done() for each in waiting)
        cancel.set()
        for each in waiting:
            each.result(timeout=60)


def test_after_a_wish_to_stop_nobody_waits() -> None:
    cancel = threading.Event()
    cancel.set()
    Throttle(1, cancel).take(10**9)

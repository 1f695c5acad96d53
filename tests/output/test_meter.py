"""The meter: a rate that is true, smooth, and silent where there is nothing to tell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.output.meter import Meter

gaps = st.floats(0.001, 9.0)
amounts = st.floats(1.0, 1e9)


def meter(constant: float = 15.0) -> Meter:
    return Meter(constant, warm_up=4.0, silence=10.0)


def told(notes: Sequence[tuple[float, float]], constant: float = 15.0) -> tuple[Meter, float]:
    """A meter that was told of these gaps and amounts, and the time at the end."""
    told, now = meter(constant), 1000.0
    told.moved(1.0, now)
    for gap, amount in notes:
        now += gap
        told.moved(amount, now)
    return told, now


@given(st.lists(gaps, min_size=1, max_size=50), amounts, st.floats(0.1, 60.0))
def test_a_steady_rate_is_told_exactly_however_it_is_cut_up(
    pauses: list[float], per_second: float, constant: float
) -> None:
    held, now = told([(4.0, 4.0 * per_second), *((gap, gap * per_second) for gap in pauses)], constant)
    assert held.rate(now) == pytest.approx(per_second)


@given(st.lists(st.tuples(gaps, amounts), min_size=1, max_size=50))
def test_a_mean_lies_between_the_slowest_and_the_fastest_that_was_seen(notes: list[tuple[float, float]]) -> None:
    held, now = told([(4.0, 4e6), *notes])
    seen = [1e6, *(amount / gap for gap, amount in notes)]
    rate = held.rate(now)
    assert rate is not None
    assert min(seen) * 0.999 <= rate <= max(seen) * 1.001


@given(st.integers(1, 32), amounts)
def test_senders_that_speak_at_the_same_instant_are_summed(senders: int, per_second: float) -> None:
    held, now = meter(3.0), 0.0
    for _ in range(200):
        now += 0.1
        for _ in range(senders):
            held.moved(per_second / 10 / senders, now)
    assert held.rate(now) == pytest.approx(per_second, rel=0.01)


def test_a_change_is_followed_smoothly_and_within_the_time_that_was_promised() -> None:
    held, now = told([(1.0, 100.0)] * 60)
    rates = []
    for _ in range(60):
        now += 1.0
        held.moved(50.0, now)
        rates.append(held.rate(now) or 0.0)
    steps = [before - after for before, after in zip([100.0, *rates], rates, strict=False)]
    assert rates == sorted(rates, reverse=True)
    assert max(steps) < 50.0 / 15.0
    assert rates[29] == pytest.approx(50.0, rel=0.15)
    assert rates[-1] == pytest.approx(50.0, rel=0.02)


def test_nothing_is_told_in_the_first_seconds() -> None:
    held = meter()
    assert held.rate(0.0) is None
    for tenth in range(40):
        held.moved(100.0, tenth / 10)
        assert held.rate(tenth / 10) is None
    held.moved(200.0, 4.1)
    assert held.rate(4.1) == pytest.approx(1000.0, rel=0.05)


def test_nothing_is_told_of_a_silence() -> None:
    held, now = told([(1.0, 100.0)] * 10)
    assert held.rate(now + 9.9) == pytest.approx(100.0)
    assert held.rate(now + 10.1) is None
    assert held.left(1e6, now + 10.1) is None


def test_an_hour_of_silence_does_not_weigh_for_half_an_hour() -> None:
    held, now = told([(1.0, 100.0)] * 60)
    now += 3600.0
    held.moved(100.0, now)
    for _ in range(15):
        now += 1.0
        held.moved(100.0, now)
    assert held.rate(now) == pytest.approx(100.0, rel=0.25)


def test_the_first_amount_is_no_rate_for_nobody_knows_how_long_it_took() -> None:
    held = meter()
    held.moved(1e12, 0.0)
    for second in range(1, 8):
        held.moved(10.0, float(second))
    assert held.rate(7.0) == pytest.approx(10.0)


def test_what_is_left_takes_as_long_as_the_rate_says() -> None:
    held, now = told([(1.0, 100.0)] * 10)
    assert held.left(5_000.0, now) == pytest.approx(50.0)
    assert held.left(0.0, now) == 0.0

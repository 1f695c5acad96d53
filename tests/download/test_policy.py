"""When something is tried again, after which wait, and when it is given up."""

from __future__ import annotations

import pytest
from clock import Clock
from hypothesis import given
from hypothesis import strategies as st

from cvl.download.transport import policy as policy_module
from cvl.download.transport.policy import Budget, Policy
from cvl.errors import TransferError, UnreachableError


def test_the_last_failure_is_not_waited_for() -> None:
    policy = Policy(attempts=3)
    assert [policy.wait(failures, None) is None for failures in (1, 2, 3, 4)] == [False, False, True, True]


def test_one_attempt_is_never_repeated() -> None:
    assert Policy(attempts=1).wait(1, None) is None
    assert Policy(attempts=1).wait(1, 0.0) is None


@given(failures=st.integers(1, 4), base=st.floats(0.001, 10), cap=st.floats(0.001, 100))
def test_a_wait_is_drawn_below_a_bound_that_doubles_up_to_the_cap(failures: int, base: float, cap: float) -> None:
    wait = Policy(attempts=5, base=base, cap=cap).wait(failures, None)
    assert wait is not None
    assert 0 <= wait <= min(base * 2 ** (failures - 1), cap)


def test_waits_differ_so_that_clients_do_not_come_back_together() -> None:
    policy = Policy()
    assert len({policy.wait(4, None) for _ in range(20)}) > 1


@pytest.mark.parametrize("asked", [0.0, 5.0, 599.0, 600.0])
def test_a_server_is_waited_for_as_long_as_it_asks(asked: float) -> None:
    assert Policy(cap=1.0, patience=600.0).wait(1, asked) == asked


def test_a_server_that_asks_for_too_much_is_given_up() -> None:
    assert Policy(patience=600.0).wait(1, 601.0) is None


def test_asking_does_not_buy_more_attempts() -> None:
    assert Policy(attempts=2).wait(2, 1.0) is None


class Talk:
    """Remembers what a budget tells."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []

    def __call__(self, text: str, wait: float) -> None:
        self.told.append((text, wait))


BROKEN = TransferError("host.example: connection reset")
DOWN = UnreachableError("host.example: no route to host")


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of(monkeypatch, policy_module)


def test_failures_in_a_row_use_the_budget_up(talk: Talk) -> None:
    budget = Budget(Policy(attempts=3), talk)
    assert [budget.spend(BROKEN, reached=True) is None for _ in range(3)] == [False, False, True]
    assert budget.spent
    assert len(talk.told) == 2


def test_progress_refills_the_budget(talk: Talk) -> None:
    budget = Budget(Policy(attempts=2), talk)
    for _ in range(50):
        assert budget.spend(BROKEN, reached=True) is not None
        assert not budget.spent
        budget.refill()
    assert budget.spend(BROKEN, reached=True) is not None
    assert budget.spend(BROKEN, reached=True) is None


def test_progress_makes_a_spent_budget_good_again(talk: Talk) -> None:
    budget = Budget(Policy(attempts=1), talk)
    assert budget.spend(BROKEN, reached=False) is None
    budget.refill()
    assert budget.spend(BROKEN, reached=False) is None
    assert budget.spent


def test_a_failure_is_told_with_the_wait_that_follows(talk: Talk) -> None:
    wait = Budget(Policy(), talk).spend(TransferError("host: 503", retry_after=7.0), reached=True)
    assert wait == 7.0
    assert talk.told == [("host: 503; again in 7 s", 7.0)]


def test_a_server_that_asks_for_too_much_ends_the_budget(talk: Talk) -> None:
    budget = Budget(Policy(patience=600), talk)
    assert budget.spend(TransferError("host: 429", retry_after=601.0), reached=True) is None
    assert budget.spent
    assert talk.told == []


def test_a_host_that_was_never_reached_is_given_up_as_any_other(talk: Talk) -> None:
    budget = Budget(Policy(attempts=2), talk)
    assert budget.spend(DOWN, reached=False) is not None
    assert budget.spend(DOWN, reached=False) is None


def test_an_outage_is_waited_for_however_many_attempts_it_takes(talk: Talk, clock: Clock) -> None:
    budget = Budget(Policy(attempts=2, outage=100), talk)
    for _ in range(100):
        wait = budget.spend(DOWN, reached=True)
        assert wait is not None
        assert 0 <= wait <= Policy().cap
        clock.pass_by(0.99)
    clock.pass_by(1)
    assert budget.spend(DOWN, reached=True) is None


def test_each_outage_is_timed_anew_after_progress(talk: Talk, clock: Clock) -> None:
    budget = Budget(Policy(attempts=1, outage=100), talk)
    for _ in range(5):
        assert budget.spend(DOWN, reached=True) is not None
        clock.pass_by(99)
        assert budget.spend(DOWN, reached=True) is not None
        budget.refill()
        clock.pass_by(10_000)


def test_without_patience_for_outages_the_attempts_still_count(talk: Talk) -> None:
    budget = Budget(Policy(attempts=3, outage=0), talk)
    assert [budget.spend(DOWN, reached=True) is None for _ in range(3)] == [False, False, True]


def test_waits_of_a_long_outage_stay_below_the_cap(talk: Talk, clock: Clock) -> None:
    policy = Policy(base=1.0, cap=30.0)
    assert all(0 <= policy.drawn(failures) <= 30.0 for failures in (1, 17, 1000, 10**6))

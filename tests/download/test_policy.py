from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.download.policy import Policy


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

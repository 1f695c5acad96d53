from __future__ import annotations

import pytest

from cvl.download.lists.ledger import Row
from cvl.download.lists.queues import Asked, HostQueue
from cvl.download.transport.policy import Policy
from cvl.errors import TransferError, UnreachableError

AT_ONCE = Policy(attempts=3, base=0)
NEVER = Policy(attempts=3, base=1e9, cap=1e9)
BROKEN = TransferError("broken off: reset")
CROWDED = TransferError("429 Too Many Requests: asks to wait 300 s", retry_after=300, overload=True)
NOT_REACHED = UnreachableError("cannot be reached: refused")


class Heard(list[tuple[str, float]]):
    """What a queue told."""

    def __call__(self, text: str, wait: float) -> None:
        self.append((text, wait))


@pytest.fixture
def heard() -> Heard:
    return Heard()


def queue(heard: Heard, keys: str = "abc", policy: Policy = AT_ONCE) -> HostQueue:
    return HostQueue("host.example", [Row(key, f"http://host.example/{key}") for key in keys], policy, heard)


def take(queue: HostQueue) -> Asked:
    asked = queue.next()
    assert asked is not None
    return asked


def settle(queue: HostQueue) -> str:
    """Ask one address and have it settled; its key."""
    asked = take(queue)
    queue.settled()
    queue.back()
    return asked.row.key


def fail(queue: HostQueue, error: TransferError = BROKEN) -> bool:
    """Ask one address, which fails; whether it is asked again."""
    again = queue.again(take(queue), error, reached=True)
    queue.back()
    return again


def trouble(queue: HostQueue, error: TransferError, *, reached: bool = False) -> float:
    pause = queue.trouble(take(queue), error, reached=reached)
    queue.back()
    return pause


def test_each_address_is_asked_once_in_its_order_and_then_the_lane_is_finished(heard: Heard) -> None:
    one = queue(heard)
    assert not one.finished
    assert [settle(one) for _ in "abc"] == ["a", "b", "c"]
    assert (one.next(), one.finished, one.asking) == (None, True, 0)


def test_a_lane_is_not_finished_while_an_address_is_being_asked(heard: Heard) -> None:
    one = queue(heard, "a")
    take(one)
    assert (one.next(), one.ready, one.asking, one.finished) == (None, 0, 1, False)


def test_an_address_that_failed_is_asked_again_as_often_as_the_policy_allows(heard: Heard) -> None:
    one = queue(heard, "a")
    assert [fail(one) for _ in range(3)] == [True, True, False]
    assert one.finished
    assert heard == [], "one address in trouble is no news"


def test_an_address_that_waits_to_be_asked_again_holds_nobody_back(heard: Heard) -> None:
    one = queue(heard, policy=NEVER)
    assert fail(one)
    assert [settle(one) for _ in "bc"] == ["b", "c"]
    assert (one.next(), one.ready, one.finished) == (None, 0, False)


def test_a_pause_that_the_host_wants_holds_all_of_its_addresses(heard: Heard) -> None:
    one = queue(heard)
    assert trouble(one, CROWDED) > 299
    assert (one.next(), one.ready, one.finished) == (None, 0, False)
    assert heard == [("429 Too Many Requests: asks to wait 300 s; again in 300 s", 300)]


def test_after_a_pause_one_address_probes_and_a_good_answer_opens_the_way(heard: Heard) -> None:
    one = queue(heard)
    trouble(one, NOT_REACHED)
    assert one.ready == 1
    probe = take(one)
    assert (one.next(), one.ready) == (None, 0)
    assert probe.row.key == "b", "who met the trouble goes to the end"
    one.settled()
    one.back()
    assert (one.ready, settle(one), settle(one)) == (2, "c", "a")


def test_answers_that_were_under_way_when_the_trouble_began_are_a_part_of_it(heard: Heard) -> None:
    one = queue(heard, "abcdef")
    under_way = [take(one) for _ in "abcdef"]
    for asked in under_way:
        one.trouble(asked, NOT_REACHED, reached=False)
        one.back()
    assert (len(heard), one.given_up) == (1, None)


def test_a_host_that_stays_in_trouble_is_given_up_with_all_that_waits(heard: Heard) -> None:
    one = queue(heard)
    assert one.abandoned() == []
    for _ in range(3):
        trouble(one, NOT_REACHED)
    assert one.given_up == "cannot be reached: refused: the host was given up for this run"
    assert (one.next(), one.ready) == (None, 0)
    assert sorted(row.key for row in one.abandoned()) == ["a", "b", "c"]
    assert one.finished
    assert len(heard) == 2


def test_a_host_that_was_reached_before_is_waited_for_as_long_as_an_outage_may_last(heard: Heard) -> None:
    one = queue(heard)
    for _ in range(20):
        trouble(one, NOT_REACHED, reached=True)
    assert one.given_up is None


def test_a_good_answer_makes_up_for_the_trouble_before(heard: Heard) -> None:
    one = queue(heard, "abcdefghij")
    for _ in range(5):
        trouble(one, NOT_REACHED)
        settle(one)
    assert one.given_up is None


def test_a_wish_for_more_patience_than_there_is_ends_it_at_once(heard: Heard) -> None:
    one = queue(heard, policy=Policy(patience=60))
    trouble(one, CROWDED)
    assert one.given_up == "429 Too Many Requests: asks to wait 300 s: the host was given up for this run"


def test_many_failures_without_one_good_answer_are_the_host_s(heard: Heard) -> None:
    one = queue(heard, "".join(chr(ord("A") + number) for number in range(200)), NEVER)
    for _ in range(31):
        fail(one)
    assert heard == []
    fail(one)
    assert len(heard) == 1
    assert one.next() is None


def test_failures_among_good_answers_are_not(heard: Heard) -> None:
    one = queue(heard, "".join(chr(ord("A") + number) for number in range(200)), NEVER)
    for _ in range(90):
        fail(one)
        settle(one)
    assert heard == []

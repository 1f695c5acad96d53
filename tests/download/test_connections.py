"""One budget of connections: never exceeded, shared fairly, and kept per host."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from clock import Clock
from hypothesis import given
from hypothesis import strategies as st

from cvl.download.transport import connections as connections_module
from cvl.download.transport.connections import Connections, Member

HOSTS = ("a.example", "b.example", "c.example")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of(monkeypatch, connections_module)


def greedily(member: Member, want: int = 1000) -> int:
    """Let a file take what it can use; how many it then has."""
    member.want = want
    while member.used < want and member.take():
        pass
    return member.used


def settled(members: list[Member]) -> list[int]:
    """What each has in the end, if all go on working: after each piece one is given back where it is too many."""
    before: list[int] = []
    while before != (before := [member.used for member in members]):
        for member in members:
            if member.crowded:
                member.give()
            greedily(member, member.want)
    return before


@contextmanager
def joined(budget: Connections, count: int, *, want: int = 1000, host: str | None = None) -> Iterator[list[Member]]:
    """So many files, each of a host of its own by default."""
    with ExitStack() as stack:
        members = [stack.enter_context(budget.join(host or f"{number}.example")) for number in range(count)]
        for member in members:
            member.want = want
        yield members


def test_one_file_alone_may_have_all() -> None:
    budget = Connections(16)
    with budget.join("a.example") as member:
        assert greedily(member) == 16
        assert not member.crowded
        assert budget.used == 16
    assert budget.used == 0


@pytest.mark.parametrize(("count", "shares"), [(2, {8}), (3, {5, 6}), (5, {3, 4}), (16, {1})])
def test_files_that_all_want_much_get_equal_shares(count: int, shares: set[int]) -> None:
    budget = Connections(16)
    with joined(budget, count) as members:
        assert set(settled(members)) == shares
        assert budget.used == 16


@pytest.mark.parametrize("count", [1, 2, 4, 15])
def test_one_that_has_all_makes_room_for_those_who_come(count: int) -> None:
    budget = Connections(16)
    with budget.join("first.example") as first:
        greedily(first)
        with joined(budget, count) as others:
            assert first.crowded
            assert not any(other.take() for other in others)
            final = settled([first, *others])
            assert min(final) == 16 // (count + 1)
            assert not first.crowded
        assert greedily(first) == 16


def test_what_was_given_back_for_another_is_not_taken_again() -> None:
    budget = Connections(16)
    with budget.join("a.example") as first:
        greedily(first)
        with budget.join("b.example") as second:
            first.give()
            assert not first.take()
            assert second.take()


def test_a_file_that_needs_little_leaves_the_rest_to_others() -> None:
    budget = Connections(16)
    with budget.join("a.example") as large, budget.join("b.example") as small:
        large.want, small.want = 1000, 2
        assert settled([large, small]) == [14, 2]


def test_more_files_than_connections_get_one_each_and_the_rest_wait_their_turn() -> None:
    budget = Connections(16)
    with ExitStack() as rest:
        members = rest.enter_context(joined(budget, 4))
        with joined(budget, 16) as first:
            settled([*first, *members])
            assert [member.used for member in first] == [1] * 16
            assert not any(member.take() for member in members)
        assert settled(members) == [4] * 4


@pytest.mark.parametrize("total", [1, 2, 3, 16])
@pytest.mark.parametrize("count", [2, 3, 20])
def test_every_file_comes_to_its_end(total: int, count: int) -> None:
    """Each connection brings one piece a turn: all of it takes as long as the budget needs, for nobody idles."""
    budget, chance = Connections(total), random.Random(count)
    files = {number: ExitStack() for number in range(count)}
    members = {number: stack.enter_context(budget.join(f"{number}.example")) for number, stack in files.items()}
    left = dict.fromkeys(files, 50)
    turns = 0
    while left:
        for number in left:
            members[number].want = left[number]
        for number in chance.sample(list(left), len(left)):
            greedily(members[number], left[number])
        assert budget.used == min(total, sum(left.values()))
        for number in chance.sample(list(left), len(left)):
            for _ in range(members[number].used):
                left[number] -= 1
                if left[number] < members[number].used or members[number].crowded:
                    members[number].give()
            if not left[number]:
                del left[number]
                files[number].close()
        turns += 1
    assert turns == pytest.approx(50 * count / total, rel=0.2, abs=2)


def test_a_host_has_its_own_limit_over_all_files() -> None:
    budget = Connections(16, {"polite.example": 3})
    with joined(budget, 2, host="polite.example") as polite, budget.join("other.example") as other:
        other.want = 1000
        final = settled([*polite, other])
        assert sum(final[:2]) == 3
        assert min(final[:2]) == 1
        assert final[2] == 13


def test_a_limit_above_the_budget_is_the_budget() -> None:
    with Connections(4, {"a.example": 64}).join("a.example") as member:
        assert greedily(member) == 4


def test_pressure_halves_what_a_host_gets(clock: Clock) -> None:
    budget = Connections(16)
    with budget.join("a.example") as member:
        greedily(member)
        member.pressure()
        assert member.crowded
        assert settled([member]) == [8]
        clock.pass_by(2)
        member.pressure()
        assert settled([member]) == [4]


def test_connections_that_have_already_broken_count_for_the_half(clock: Clock) -> None:
    """A host that says 503 to all of them at once: by the time that it is heard none is left."""
    budget = Connections(16)
    with budget.join("a.example") as member:
        greedily(member)
        for _ in range(16):
            member.give()
        member.pressure()
        assert greedily(member) == 8


def test_half_is_of_what_was_used_and_not_of_what_was_allowed(clock: Clock) -> None:
    with Connections(16).join("a.example") as member:
        greedily(member, 4)
        member.pressure()
        assert settled([member]) == [2]


def test_many_failures_at_once_are_one_pressure(clock: Clock) -> None:
    with Connections(16).join("a.example") as member:
        greedily(member)
        for _ in range(16):
            member.pressure()
            clock.pass_by(0.01)
        assert settled([member]) == [8]


def test_pressure_leaves_one_connection_always(clock: Clock) -> None:
    with Connections(16).join("a.example") as member:
        greedily(member)
        for _ in range(20):
            member.pressure()
            clock.pass_by(2)
        assert settled([member]) == [1]


def test_a_host_that_is_quiet_again_gets_one_more_now_and_then(clock: Clock) -> None:
    with Connections(16).join("a.example") as member:
        greedily(member)
        member.pressure()
        settled([member])
        for number in range(9, 17):
            member.relieved()
            assert greedily(member) == number - 1
            clock.pass_by(5)
            member.relieved()
            assert greedily(member) == number
        clock.pass_by(100)
        member.relieved()
        assert greedily(member) == 16


def test_relief_does_not_go_beyond_a_host_s_own_limit(clock: Clock) -> None:
    with Connections(16, {"a.example": 4}).join("a.example") as member:
        greedily(member)
        for _ in range(10):
            clock.pass_by(10)
            member.relieved()
        assert greedily(member) == 4


def test_pressure_is_of_the_host_and_not_of_the_file(clock: Clock) -> None:
    budget = Connections(16)
    with joined(budget, 2, host="a.example") as (first, second), budget.join("b.example") as other:
        other.want = 1000
        settled([first, second, other])
        first.pressure()
        final = settled([first, second, other])
        assert sum(final[:2]) == 5
        assert final[2] == 11
    with budget.join("a.example") as later:
        assert greedily(later) == 5


def test_a_paused_host_gets_no_new_connection_until_it_is_over(clock: Clock) -> None:
    budget = Connections(16)
    with budget.join("a.example") as member, budget.join("a.example") as same, budget.join("b.example") as other:
        member.pressure(10)
        clock.pass_by(9)
        assert not member.take()
        assert not same.take()
        assert other.take()
        member.pressure(0)
        clock.pass_by(1)
        assert member.take()


def test_nobody_makes_room_for_a_file_whose_host_is_paused(clock: Clock) -> None:
    budget = Connections(16)
    with budget.join("a.example") as member, budget.join("b.example") as paused:
        paused.pressure(600)
        paused.want = 1000
        assert greedily(member) == 16
        assert not member.crowded
        clock.pass_by(600)
        assert member.crowded


def test_a_host_is_reached_once_it_has_given_something() -> None:
    budget = Connections()
    assert not budget.reached("a.example")
    with budget.join("a.example") as member:
        assert not budget.reached("a.example")
        member.relieved()
    assert budget.reached("a.example")
    assert not budget.reached("b.example")


def test_what_a_file_leaves_taken_is_given_back_once() -> None:
    """Threads that wait for a silent server give their connections back long after their file has left."""
    budget = Connections(16, {"a.example": 4})
    with budget.join("a.example") as left:
        greedily(left)
    for _ in range(4):
        left.give()
    with joined(budget, 2, host="a.example") as members:
        assert sum(settled(members)) == 4


actions = st.sampled_from(
    ["take", "take", "take", "give", "leave", "join", "pressure", "relieved", "late give", "pass"]
)


@given(
    st.integers(1, 20),
    st.lists(st.tuples(actions, st.integers(0, 99), st.floats(0, 12)), max_size=200),
    st.integers(1, 8),
)
def test_whatever_happens_no_limit_is_exceeded(total: int, played: list[tuple[str, int, float]], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock.of(patch, connections_module)
        budget = Connections(total, {HOSTS[0]: limit})
        here: list[tuple[ExitStack, Member, str]] = []
        gone: list[Member] = []
        for action, number, amount in played:
            if action == "join":
                stack, host = ExitStack(), HOSTS[number % len(HOSTS)]
                here.append((stack, stack.enter_context(budget.join(host)), host))
            elif action == "pass":
                clock.pass_by(amount)
            elif action == "late give" and gone:
                gone[number % len(gone)].give()
            elif here:
                stack, member, _ = here[number % len(here)]
                match action:
                    case "take":
                        member.want = number
                        member.take()
                    case "give":
                        member.give()
                    case "pressure":
                        member.pressure(amount)
                    case "relieved":
                        member.relieved()
                    case "leave":
                        stack.close()
                        here = [each for each in here if each[1] is not member]
                        gone.append(member)
            used = {name: sum(member.used for _, member, host in here if host == name) for name in HOSTS}
            assert budget.used == sum(used.values()) <= total
            assert used[HOSTS[0]] <= limit
            assert all(member.used >= 0 for _, member, _ in here)
            assert all(member.host.used == used[host] for _, member, host in here)
        # Nothing that was taken is lost: whoever is left alone can have everything again.
        for stack, _, _ in here:
            stack.close()
        clock.pass_by(100)
        with budget.join("fresh.example") as alone:
            assert greedily(alone) == total


@given(st.integers(1, 16), st.lists(st.integers(1, 20), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_nobody_waits_while_another_has_more_than_its_share(
    total: int, wishes: list[int], chance: random.Random
) -> None:
    budget = Connections(total)
    with joined(budget, len(wishes)) as members:
        for member, want in zip(members, wishes, strict=True):
            member.want = want
        for _ in range(100):
            member = chance.choice(members)
            if member.used and chance.random() < 0.3:
                member.give()
            else:
                greedily(member, member.want)
        final = settled(members)
        assert sum(final) == min(total, sum(wishes))
        share = total // len(wishes)
        assert all(used >= min(want, share) for used, want in zip(final, wishes, strict=True))


def test_threads_never_exceed_the_budget() -> None:
    budget = Connections(5, {"a.example": 3})
    mutex, open_now, most = threading.Lock(), {"a.example": 0, "b.example": 0}, {"a.example": 0, "all": 0}

    def work(number: int) -> None:
        host = "ab"[number % 2] + ".example"
        with budget.join(host) as member:
            brought = 0
            while brought < 100:
                if not member.take():
                    continue
                with mutex:
                    open_now[host] += 1
                    most["a.example"] = max(most["a.example"], open_now["a.example"])
                    most["all"] = max(most["all"], sum(open_now.values()))
                brought += 1
                with mutex:
                    open_now[host] -= 1
                member.give()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most["a.example"] <= 3
    assert most["all"] <= 5
    assert budget.used == 0

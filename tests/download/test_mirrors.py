"""Addresses are tried in the manifest's order, unless a host has shown itself to be slow; one that crawls is left."""

from __future__ import annotations

import pytest
from clock import Clock

from cvl.download.transport import mirrors
from cvl.download.transport.mirrors import Hurry, SlowError, Speeds

FAST, SLOW, NEW = "https://fast.example/f", "https://slow.example/f", "https://new.example/f"
MIB = 1 << 20


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of(monkeypatch, mirrors)


def test_without_knowledge_the_manifest_s_order_holds() -> None:
    assert Speeds().order([SLOW, FAST, NEW]) == [SLOW, FAST, NEW]
    assert Speeds().order([]) == []


def test_a_host_that_was_much_slower_goes_behind() -> None:
    speeds = Speeds()
    speeds.note(FAST, 100 * MIB, 1)
    speeds.note(SLOW, 10 * MIB, 1)
    assert speeds.order([SLOW, FAST]) == [FAST, SLOW]
    assert speeds.order([SLOW, NEW, FAST]) == [NEW, FAST, SLOW]


def test_a_host_that_was_somewhat_slower_keeps_its_place() -> None:
    speeds = Speeds()
    speeds.note(FAST, 100 * MIB, 1)
    speeds.note(SLOW, 30 * MIB, 1)
    assert speeds.order([SLOW, FAST]) == [SLOW, FAST]


def test_the_best_is_the_best_of_these_addresses() -> None:
    speeds = Speeds()
    speeds.note(FAST, 100 * MIB, 1)
    speeds.note(SLOW, 10 * MIB, 1)
    assert speeds.order([SLOW, NEW]) == [SLOW, NEW]


def test_the_last_transfer_counts() -> None:
    speeds = Speeds()
    speeds.note(FAST, 100 * MIB, 1)
    speeds.note(SLOW, 10 * MIB, 1)
    speeds.note(SLOW, 100 * MIB, 1)
    assert speeds.order([SLOW, FAST]) == [SLOW, FAST]


@pytest.mark.parametrize(("size", "seconds"), [(MIB - 1, 1.0), (0, 1.0), (-5, 1.0), (MIB, 0.0)])
def test_a_transfer_that_says_nothing_is_not_noted(size: int, seconds: float) -> None:
    speeds = Speeds()
    speeds.note(FAST, 100 * MIB, 1)
    speeds.note(SLOW, size, seconds)
    assert speeds.order([SLOW, FAST]) == [SLOW, FAST]


def test_transports_without_hosts_are_told_apart() -> None:
    speeds = Speeds()
    speeds.note("gdrive://1AbCdEfGhIj", 10 * MIB, 1)
    speeds.note("hf://datasets/a/b/f", 100 * MIB, 1)
    assert speeds.order(["gdrive://1AbCdEfGhIj", "hf://datasets/a/b/f"]) == [
        "hf://datasets/a/b/f",
        "gdrive://1AbCdEfGhIj",
    ]
    assert speeds.order(["links:sa_1.tar", "hf://datasets/a/b/f"]) == ["links:sa_1.tar", "hf://datasets/a/b/f"]


def test_what_is_no_address_is_nobody_s_trouble() -> None:
    assert Speeds().order(["https://[", FAST]) == ["https://[", FAST]


def test_progress_is_passed_on() -> None:
    told: list[tuple[int, int | None, int]] = []
    hurry = Hurry(FAST, lambda done, total, connections=1, /: told.append((done, total, connections)))
    hurry(5, None)
    hurry(7, 10, 3)
    assert told == [(5, None, 1), (7, 10, 3)]


def paced(clock: Clock, rate: float, seconds: int, *, begin: int = 0) -> None:
    """A transfer at so many bytes a second."""
    hurry = Hurry(SLOW, lambda done, total, connections=1, /: None)
    for second in range(seconds + 1):
        hurry(begin + int(rate * second), None)
        clock.pass_by(1)


def test_an_address_that_crawls_is_left_after_a_while(clock: Clock) -> None:
    paced(clock, 90e3, 29)
    with pytest.raises(SlowError, match=r"slow\.example/f: only 90 kB/s"):
        paced(clock, 90e3, 31)


def test_an_address_that_gives_enough_is_kept(clock: Clock) -> None:
    paced(clock, 110e3, 200)


def test_what_was_here_before_does_not_count_for_an_address(clock: Clock) -> None:
    with pytest.raises(SlowError):
        paced(clock, 0, 31, begin=10**9)


def test_a_file_that_is_begun_anew_is_no_negative_speed(clock: Clock) -> None:
    hurry = Hurry(SLOW, lambda done, total, connections=1, /: None)
    hurry(10**9, None)
    clock.pass_by(31)
    with pytest.raises(SlowError, match="only 0 kB/s"):
        hurry(0, None)


def test_a_fast_beginning_does_not_excuse_a_crawl(clock: Clock) -> None:
    hurry = Hurry(SLOW, lambda done, total, connections=1, /: None)
    hurry(0, None)
    clock.pass_by(30)
    hurry(10**9, None)
    clock.pass_by(30)
    with pytest.raises(SlowError):
        hurry(10**9 + 1000, None)

"""The tally: what is known of a fetch at an instant, whatever order the events come in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.download.plan import Action, Plan, Step
from cvl.download.select import Remote
from cvl.download.survey import Found, Presence
from cvl.events import Event, EventKind
from cvl.manifest.source import Expand
from cvl.output.tally import Phase, Row, Tally, Totals

MB = 1_000_000


def step(name: str, left: int | None = 10 * MB, *, action: Action = Action.FETCH, listed: bool = False) -> Step:
    expand = Expand(into="data/x", url_field="url") if listed else None
    return Step(Remote("coco", name, ("http://host.example/a",), expand=expand), action, Found(Presence.ABSENT), left)


def plan(*steps: Step) -> Plan:
    return Plan(steps, (), False, 0, 0)


def started(name: str, done: int = 0, total: int | None = 10 * MB) -> Event:
    return Event(EventKind.START, name, "coco", done, total)


def moved(name: str, done: int, total: int | None = 10 * MB, connections: int = 1) -> Event:
    return Event(EventKind.PROGRESS, name, "coco", done, total, connections=connections)


def members(name: str, done: int, total: int | None = 1000) -> Event:
    return Event(EventKind.UNPACK, name, "coco", done, total)


def ended(name: str, done: int = 0, kind: EventKind = EventKind.DONE) -> Event:
    return Event(kind, name, "coco", done)


class Clock:
    """A tally with a clock that moves by a second with each event."""

    def __init__(self, *steps: Step) -> None:
        self.tally = Tally(plan(*steps))
        self.now = 0.0

    def hear(self, *events: Event, seconds: float = 1.0) -> Clock:
        for event in events:
            self.now += seconds
            self.tally.hear(event, self.now)
        return self

    @property
    def rows(self) -> list[Row]:
        return self.tally.rows(self.now)

    @property
    def row(self) -> Row:
        (row,) = self.rows
        return row

    @property
    def totals(self) -> Totals:
        return self.tally.totals(self.now)


def steady(name: str, seconds: int, *, start: int = 0, total: int | None = 10 * MB) -> Iterable[Event]:
    """A file at 100 kB a second."""
    return (moved(name, start + second * 100_000, total) for second in range(1, seconds + 1))


class TestPhases:
    @pytest.mark.parametrize(
        ("event", "phase"),
        [
            (started("a"), Phase.CONNECT),
            (moved("a", 1), Phase.DOWNLOAD),
            (Event(EventKind.RETRY, "a", wait=12.0), Phase.WAIT),
            (Event(EventKind.RETRY, "a", text="trying the next mirror"), Phase.CONNECT),
            (Event(EventKind.CHECK, "a"), Phase.CHECK),
            (members("a", 5), Phase.UNPACK),
        ],
    )
    def test_each_event_says_what_a_file_is_busy_with(self, event: Event, phase: Phase) -> None:
        assert Clock(step("a")).hear(event).row.phase is phase

    def test_a_wait_counts_down_and_ends_by_itself(self) -> None:
        clock = Clock(step("a")).hear(started("a"), Event(EventKind.RETRY, "a", wait=12.0))
        clock.now += 5.0
        assert (clock.row.phase, clock.row.left) == (Phase.WAIT, 7.0)
        clock.now += 8.0
        assert (clock.row.phase, clock.row.left) == (Phase.CONNECT, None)

    def test_a_wait_is_not_ended_by_word_that_nothing_has_come(self) -> None:
        clock = Clock(step("a")).hear(started("a"), moved("a", 5), Event(EventKind.RETRY, "a", wait=12.0))
        assert clock.hear(moved("a", 5, connections=0)).row.phase is Phase.WAIT
        assert clock.hear(moved("a", 6)).row.phase is Phase.DOWNLOAD

    def test_a_list_waits_until_its_next_file_comes(self) -> None:
        clock = Clock(step("books", listed=True)).hear(members("books", 3), Event(EventKind.RETRY, "books", wait=12.0))
        assert clock.hear(members("books", 3)).row.phase is Phase.WAIT
        assert clock.hear(members("books", 4)).row.phase is Phase.DOWNLOAD

    def test_a_file_that_was_just_begun_connects_until_a_byte_comes(self) -> None:
        clock = Clock(step("a")).hear(started("a"), moved("a", 0))
        assert clock.row.phase is Phase.CONNECT

    def test_only_what_downloads_has_connections(self) -> None:
        told = Event(EventKind.UNPACK, "a", done=5, total=9, connections=1)
        clock = Clock(step("a"), step("books", listed=True)).hear(told, replace(told, name="books", connections=32))
        assert [row.connections for row in clock.rows] == [0, 32]

    def test_a_list_downloads_what_it_names_where_an_archive_is_unpacked(self) -> None:
        clock = Clock(step("books", listed=True), step("a")).hear(members("books", 3), members("a", 4))
        assert [(row.phase, row.done, row.total, row.files) for row in clock.rows] == [
            (Phase.DOWNLOAD, 3, 1000, True),
            (Phase.UNPACK, 4, 1000, True),
        ]

    def test_connections_are_those_of_the_last_word(self) -> None:
        clock = Clock(step("a"), step("b")).hear(moved("a", 1, connections=7), moved("b", 1, connections=4))
        assert ([row.connections for row in clock.rows], clock.totals.connections) == ([7, 4], 11)
        clock.hear(Event(EventKind.CHECK, "a"))
        assert ([row.connections for row in clock.rows], clock.totals.connections) == ([0, 4], 4)

    def test_rows_stay_in_the_order_in_which_files_were_begun(self) -> None:
        clock = Clock().hear(started("b"), started("a"), moved("b", 1), started("c"), ended("a"))
        assert [row.name for row in clock.rows] == ["b", "c"]

    def test_a_note_is_not_a_file(self) -> None:
        assert Clock().hear(Event(EventKind.NOTE, "a", text="skipped"), Event(EventKind.CHECK)).rows == []


class TestBytes:
    def test_files_that_wait_count_with_what_the_plan_says(self) -> None:
        totals = Clock(step("a"), step("b", 5 * MB), step("c", 0, action=Action.KEEP)).totals
        assert (totals.files, totals.bytes, totals.total, totals.unknown) == (2, 0, 15 * MB, 0)

    def test_what_an_earlier_run_brought_is_of_the_file_and_not_of_this_run(self) -> None:
        clock = Clock(step("a", 4 * MB)).hear(started("a", 6 * MB), moved("a", 7 * MB))
        assert (clock.row.done, clock.row.total) == (7 * MB, 10 * MB)
        assert (clock.totals.bytes, clock.totals.total) == (1 * MB, 4 * MB)

    def test_resumed_bytes_are_no_rate(self) -> None:
        clock = Clock(step("a", 4 * MB)).hear(started("a", 6 * MB), *steady("a", 10, start=6 * MB))
        assert clock.row.rate == pytest.approx(100_000)
        assert clock.totals.rate == pytest.approx(100_000)

    def test_a_part_that_was_dropped_is_to_be_moved_again(self) -> None:
        clock = Clock(step("a", 4 * MB)).hear(started("a", 6 * MB), moved("a", 7 * MB), moved("a", 0))
        assert (clock.totals.bytes, clock.totals.total) == (0, 10 * MB)
        assert clock.hear(moved("a", 3 * MB)).totals.bytes == 3 * MB

    def test_bytes_that_go_back_are_no_rate_below_nothing(self) -> None:
        clock = Clock(step("a")).hear(started("a"), *steady("a", 10), moved("a", 0), *steady("a", 10))
        assert clock.row.rate == pytest.approx(100_000, rel=0.1)

    def test_a_size_that_is_learnt_replaces_the_estimate(self) -> None:
        clock = Clock(step("a", 5 * MB)).hear(started("a", 0, 5 * MB), moved("a", 1 * MB, 8 * MB))
        assert (clock.totals.total, clock.row.total) == (8 * MB, 8 * MB)

    def test_an_estimate_that_proves_too_small_is_none_any_more(self) -> None:
        clock = Clock(step("a", 5 * MB)).hear(started("a", 0, 5 * MB), moved("a", 6 * MB, 5 * MB))
        assert (clock.row.done, clock.row.total) == (6 * MB, None)
        assert (clock.totals.bytes, clock.totals.total, clock.totals.unknown) == (6 * MB, 6 * MB, 1)

    def test_a_file_of_unknown_size_is_said_to_be_one_until_it_is_here(self) -> None:
        clock = Clock(step("a", None))
        assert clock.totals.unknown == 1
        clock.hear(started("a", 0, None), moved("a", 3 * MB, None))
        assert (clock.totals.unknown, clock.totals.bytes, clock.row.total) == (1, 3 * MB, None)
        clock.hear(Event(EventKind.CHECK, "a"))
        assert (clock.totals.unknown, clock.row.total) == (0, 3 * MB)
        clock.hear(ended("a"))
        assert (clock.totals.unknown, clock.totals.bytes, clock.totals.total) == (0, 3 * MB, 3 * MB)

    def test_a_file_that_failed_is_no_longer_waited_for(self) -> None:
        clock = Clock(step("a"), step("b"), step("c")).hear(started("a"), moved("a", MB))
        clock.hear(ended("a", kind=EventKind.FAILED), ended("b"))
        totals = clock.totals
        assert (totals.done, totals.failed, totals.files) == (1, 1, 3)
        assert (totals.bytes, totals.total) == (MB, 11 * MB)

    def test_what_is_unpacked_is_not_to_be_moved(self) -> None:
        clock = Clock(step("a")).hear(started("a"), moved("a", 10 * MB), members("a", 10))
        assert (clock.totals.bytes, clock.totals.total, clock.totals.unknown) == (10 * MB, 10 * MB, 0)

    def test_the_bytes_of_a_list_are_known_when_it_ends(self) -> None:
        clock = Clock(step("books", 2 * MB, listed=True)).hear(started("books", 0, 2 * MB), moved("books", 2 * MB))
        assert clock.totals.unknown == 1
        clock.hear(members("books", 900), ended("books", 50 * MB))
        assert (clock.totals.bytes, clock.totals.total, clock.totals.unknown) == (50 * MB, 50 * MB, 0)

    def test_files_of_a_repository_are_moved_but_not_counted(self) -> None:
        clock = Clock(step("tower", None)).hear(started("tower", 0, None), moved("tower--a.bin", 0, 3 * MB))
        clock.hear(moved("tower--a.bin", 3 * MB, 3 * MB), ended("tower--a.bin", 3 * MB), ended("tower", 3 * MB))
        assert (clock.totals.done, clock.totals.files, clock.totals.bytes) == (1, 1, 3 * MB)

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10 * MB)), max_size=40), st.integers(0, 10 * MB))
    def test_whatever_comes_the_sums_stay_sound(self, told: list[tuple[str, int]], here: int) -> None:
        clock = Clock(*(step(name) for name in "abc")).hear(started("a", here))
        for name, done in told:
            clock.hear(moved(name, done), seconds=0.1)
            totals = clock.totals
            assert 0 <= totals.bytes <= totals.total <= 30 * MB
            assert totals.rate is None or totals.rate > 0
            assert all(0 <= row.done <= (row.total or row.done) for row in clock.rows)


class TestTimes:
    def test_nothing_is_told_in_the_first_seconds(self) -> None:
        clock = Clock(step("a")).hear(started("a"), *steady("a", 4))
        assert clock.totals.left is None
        assert clock.hear(moved("a", 500_000)).totals.left is not None

    def test_what_is_left_is_the_rest_of_the_plan_at_the_rate_of_lately(self) -> None:
        clock = Clock(step("a"), step("b", 2 * MB)).hear(started("a"), *steady("a", 20))
        assert clock.totals.left == pytest.approx((8 * MB + 2 * MB) / 100_000)
        assert clock.row.left == pytest.approx(80.0)

    def test_a_file_that_ends_makes_no_jump(self) -> None:
        clock = Clock(step("a", MB), step("b")).hear(started("a", 0, MB), started("b"), seconds=0.0)
        for second in range(1, 11):
            clock.hear(moved("a", second * 100_000, MB), moved("b", second * 100_000), seconds=0.5)
        before = clock.totals.left
        clock.hear(ended("a"), moved("b", 1_100_000), seconds=0.5)
        after = clock.totals.left
        assert before is not None
        assert after == pytest.approx(before, rel=0.1)

    def test_nothing_is_told_while_nothing_moves(self) -> None:
        clock = Clock(step("a")).hear(started("a"), *steady("a", 20))
        clock.now += 30.0
        assert (clock.totals.rate, clock.totals.left, clock.row.rate) == (None, None, None)

    def test_when_only_members_are_left_their_time_is_told(self) -> None:
        clock = Clock(step("a")).hear(started("a"), moved("a", 10 * MB))
        clock.hear(*(members("a", done * 10) for done in range(1, 11)))
        assert clock.row.rate == pytest.approx(10.0)
        assert clock.totals.left == clock.row.left == pytest.approx(90.0)

    def test_a_list_tells_of_the_time_that_its_files_take(self) -> None:
        clock = Clock(step("books", 0, action=Action.EXPAND, listed=True)).hear(started("books", 0, None))
        clock.hear(*(members("books", done * 100, 20_000) for done in range(1, 11)))
        assert clock.totals.left == pytest.approx(190.0)
        assert clock.totals.unknown == 0

    def test_the_later_of_two_ends_is_told(self) -> None:
        clock = Clock(step("a"), step("b")).hear(started("a"), moved("a", 10 * MB), started("b"))
        for second in range(1, 31):
            clock.hear(members("a", second), moved("b", second * 200_000), seconds=0.5)
        unpacking, downloading = clock.rows
        assert unpacking.left is not None
        assert downloading.left is not None
        assert clock.totals.left == pytest.approx(max(unpacking.left, downloading.left))

    def test_when_all_is_here_there_is_no_time_left_to_tell(self) -> None:
        clock = Clock(step("a", MB)).hear(started("a", 0, MB), *steady("a", 10, total=MB), ended("a"))
        assert (clock.totals.left, clock.totals.done) == (None, 1)


def test_files_are_counted_without_a_plan_too() -> None:
    clock = Clock()
    clock.tally = Tally()
    for done in range(1, 8):
        clock.hear(Event(EventKind.PROGRESS, "ocrvqa", "ocrvqa", done * 10, 100, "files"))
    assert (clock.row.done, clock.row.total, clock.row.files) == (70, 100, True)
    assert clock.row.left == pytest.approx(3.0)
    assert clock.totals.files == 0

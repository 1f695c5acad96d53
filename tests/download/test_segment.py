"""A connection's span: written in order, shortened and taken away by others while it is written."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clock import Clock
from fetching import noise

from cvl.download.transport import segment as segment_module
from cvl.download.transport.journal import Version
from cvl.download.transport.part import Part
from cvl.download.transport.ranges import Ranges, Span
from cvl.download.transport.segment import Segment

SIZE = 3_000_000
CONTENT = noise(SIZE)
NOTED = segment_module._NOTE_EVERY
"""Bytes after which the journal is told."""


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    part = Part(tmp_path / "file.part")
    part.begin(Version("https://host.example/file", None, SIZE))
    yield part
    part.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of(monkeypatch, segment_module)


def bring(segment: Segment, part: Part, width: int) -> bool:
    """Put the next bytes of the file; whether more are wanted."""
    return segment.put(CONTENT[segment.at : segment.at + width], part)


def is_borne_out(part: Part) -> bool:
    """Whether every byte that counts as here is the file's."""
    content, have = part.path.read_bytes(), part.missing().gaps(SIZE)
    return all(content[start:stop] == CONTENT[start:stop] for start, stop in have)


def test_bytes_land_where_they_belong(part: Part) -> None:
    segment = Segment(Span(1_000_000, 2_000_000))
    while segment.at < segment.stop:
        assert bring(segment, part, 70_000)
    assert segment.halt(part) == Span(2_000_000, 2_000_000)
    assert part.missing() == Ranges([Span(0, 1_000_000), Span(2_000_000, SIZE)])
    assert is_borne_out(part)


def test_nothing_is_put_beyond_the_stop(part: Part) -> None:
    segment = Segment(Span(0, 1000))
    assert segment.put(CONTENT[:5000], part)
    assert not segment.put(CONTENT[1000:2000], part)
    segment.halt(part)
    assert part.path.read_bytes() == CONTENT[:1000] + bytes(SIZE - 1000)
    assert part.size == 1000


def test_an_empty_piece_is_no_end(part: Part) -> None:
    segment = Segment(Span(0, 1000))
    assert segment.put(b"", part)
    assert segment.put(CONTENT[:1000], part)
    assert segment.put(b"", part)


def test_a_view_of_bytes_is_as_good_as_bytes(part: Part) -> None:
    segment = Segment(Span(0, SIZE))
    segment.put(memoryview(CONTENT), part)
    segment.halt(part)
    assert part.path.read_bytes() == CONTENT


def test_the_journal_is_told_now_and_then_and_at_the_end(part: Part) -> None:
    segment = Segment(Span(0, SIZE))
    bring(segment, part, NOTED - 1)
    assert part.size == 0
    bring(segment, part, 1)
    assert part.size == NOTED
    bring(segment, part, 10)
    assert part.size == NOTED
    segment.halt(part)
    assert part.size == NOTED + 10


def test_what_drips_in_is_told_to_the_journal_soon(part: Part, clock: Clock) -> None:
    segment = Segment(Span(0, SIZE))
    for second in range(10):
        bring(segment, part, 10)
        assert part.size >= 10 * second
        clock.pass_by(1)


def test_an_answer_may_begin_elsewhere_than_it_was_asked_to(part: Part) -> None:
    segment = Segment(Span(500, 2000))
    segment.begin(Span(0, 1500))
    segment.put(CONTENT[:1500], part)
    assert segment.halt(part) == Span(1500, 1500)
    assert part.prefix == 1500


def test_a_halted_segment_takes_nothing(part: Part) -> None:
    segment = Segment(Span(0, 1000))
    bring(segment, part, 400)
    assert segment.halt(part) == Span(400, 1000)
    assert not bring(segment, part, 100)
    assert segment.halt(part) == Span(400, 1000)
    assert segment.halve(1) is None
    assert part.size == 400


def test_the_second_half_is_given_away(part: Part) -> None:
    segment = Segment(Span(0, 1000))
    bring(segment, part, 200)
    assert segment.halve(400) == Span(600, 1000)
    assert segment.halve(201) is None
    assert segment.halve(200) == Span(400, 600)
    assert segment.stop == 400


def test_what_was_given_away_is_not_put_any_more(part: Part) -> None:
    segment = Segment(Span(0, 1000))
    given = segment.halve(1)
    assert given == Span(500, 1000)
    assert segment.put(CONTENT[:1000], part)
    assert not segment.put(CONTENT[1000:1001], part)
    assert segment.halt(part).size == 0
    assert part.size == 500


def test_a_segment_with_nothing_to_come_cannot_be_halved(part: Part) -> None:
    segment = Segment(Span(0, 1000))
    segment.put(CONTENT[:1000], part)
    assert segment.halve(1) is None


def test_a_disk_that_fails_while_a_segment_is_halted_is_told_once(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no room")

    segment = Segment(Span(0, 1000))
    bring(segment, part, 400)
    monkeypatch.setattr(part, "note", full)
    with pytest.raises(OSError, match="no room"):
        segment.halt(part)
    assert not bring(segment, part, 100)
    segment.halt(part)
    assert part.size == 0


class Writer(threading.Thread):
    """Brings a segment in pieces of random width, as fast as it can, whatever happens to it meanwhile."""

    def __init__(self, segment: Segment, part: Part, seed: int) -> None:
        super().__init__()
        self.begin = segment.at
        self.segment, self.part, self.random = segment, part, random.Random(seed)

    def run(self) -> None:
        while self.segment.at < SIZE:
            if not bring(self.segment, self.part, self.random.randrange(1, 20_000)):
                return


@pytest.mark.parametrize("seed", range(5))
def test_halves_that_are_given_away_while_it_is_written_make_the_file(part: Part, seed: int) -> None:
    """As connections do: each new one halves the segment of another that is being written."""
    writers = [Writer(Segment(Span(0, SIZE)), part, seed)]
    writers[0].start()
    chance = random.Random(seed)
    for number in range(30):
        given = chance.choice(writers).segment.halve(2)
        if given is not None:
            writers.append(Writer(Segment(given), part, 100 * seed + number))
            writers[-1].start()
    for writer in writers:
        writer.join()
        assert writer.segment.halt(part).size == 0
    assert not part.missing()
    assert part.path.read_bytes() == CONTENT
    spans = sorted((writer.begin, writer.segment.at) for writer in writers)
    assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])]


@pytest.mark.parametrize("seed", range(30))
def test_once_it_is_halted_no_byte_is_written(part: Part, seed: int) -> None:
    """The writer goes on with other bytes after the halt: not one of them may reach the file."""
    segment = Segment(Span(0, SIZE))
    halted = threading.Event()

    def write() -> None:
        chance = random.Random(seed)
        after = 0
        while after < 50 and segment.at < SIZE:
            if halted.is_set():
                after += 1
                segment.put(b"\xee" * 5000, part)
            else:
                bring(segment, part, chance.randrange(1, 20_000))

    writer = threading.Thread(target=write)
    writer.start()
    goal = random.Random(-seed).randrange(SIZE // 2)
    while segment.at < goal:
        pass
    rest = segment.halt(part)
    content = part.path.read_bytes()
    halted.set()
    # Whoever takes the rest over writes there at once.
    part.write(CONTENT[rest.start :], rest.start)
    part.note(rest.start, SIZE)
    writer.join()
    assert content[: rest.start] == CONTENT[: rest.start]
    assert not any(content[rest.start :])
    assert part.path.read_bytes() == CONTENT
    assert part.complete


def test_speed_is_told_once_it_says_something(part: Part, clock: Clock) -> None:
    segment = Segment(Span(0, SIZE))
    bring(segment, part, 1000)
    clock.pass_by(0.1)
    assert segment.speed(clock.monotonic()) == 0.0
    clock.pass_by(0.9)
    assert segment.speed(clock.monotonic()) == 1000.0


def test_time_left_is_told_by_the_speed_so_far(part: Part, clock: Clock) -> None:
    segment = Segment(Span(0, SIZE))
    clock.pass_by(2)
    assert segment.seconds_left(clock.monotonic()) == 2.0
    bring(segment, part, 1_000_000)
    assert segment.seconds_left(clock.monotonic()) == pytest.approx(4.0)
    segment.halve(1)
    assert segment.seconds_left(clock.monotonic()) == pytest.approx(2.0)


def test_time_left_is_as_long_as_it_took_while_nothing_is_known(part: Part, clock: Clock) -> None:
    segment = Segment(Span(0, SIZE))
    bring(segment, part, 1_000_000)
    clock.pass_by(0.1)
    assert segment.seconds_left(clock.monotonic()) == pytest.approx(0.1)


def test_silence_is_the_time_since_the_last_byte(part: Part, clock: Clock) -> None:
    segment = Segment(Span(0, SIZE))
    clock.pass_by(5)
    bring(segment, part, 1)
    clock.pass_by(3)
    assert segment.silent(clock.monotonic()) == 3.0


def test_a_crawl_is_noticed_window_by_window(part: Part, clock: Clock) -> None:
    segment = Segment(Span(0, SIZE))
    clock.pass_by(29)
    assert not segment.crawls(clock.monotonic(), 30, 1000)
    bring(segment, part, 30_000)
    clock.pass_by(1)
    assert not segment.crawls(clock.monotonic(), 30, 1000)
    bring(segment, part, 29_000)
    clock.pass_by(30)
    assert segment.crawls(clock.monotonic(), 30, 1000)

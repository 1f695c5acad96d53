"""One file over several connections: every byte once, from one version, whatever breaks, and an end in every case."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest
from fetching import Told, noise, sha256, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from origin import Ask, Origin, Reply, once, ranged, served, status, watched

from cvl.download.lock import Lock
from cvl.download.session import Session
from cvl.download.transport import swarm
from cvl.download.transport.connections import Connections
from cvl.download.transport.http import ENDLESS, Address, Arrival, StaleError
from cvl.download.transport.journal import Version
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Budget, Policy
from cvl.download.transport.ranges import Ranges, Span
from cvl.download.transport.swarm import download
from cvl.download.transport.wire import Wire, open_wire
from cvl.errors import (
    Cancelled,
    GoneError,
    RefusedError,
    TransferError,
    UnreachableError,
    WebPageError,
    WrongContentError,
)
from cvl.root import Root

PATIENT = Policy(attempts=5, base=0.0, outage=0.0)
PIECE = 4096
CONTENT = noise(200_000)
SIZE = len(CONTENT)


def nothing(_done: int, _total: int | None, _connections: int = 1, /) -> None:
    pass


@pytest.fixture(autouse=True)
def fine() -> Iterator[None]:
    """Pieces so small that a file of some kB is divided as one of some GB is otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        fine_pieces(patch)
        yield


def fine_pieces(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(swarm, "_SHORTEST", PIECE // 4)
    patch.setattr(swarm, "_FIRST", PIECE)
    patch.setattr(swarm, "_LONGEST", 4 * PIECE)
    patch.setattr(swarm, "_TICK", 0.005)
    patch.setattr(swarm, "_WORTH_DIVIDING", 0.0)


@pytest.fixture
def undivided(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a connection has begun is left to it, so that no byte is asked for twice."""
    monkeypatch.setattr(swarm, "_WORTH_DIVIDING", 1e9)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with served(Origin(CONTENT)) as origin:
        yield origin


@dataclass
class Place:
    """Where a download goes, and how it is done."""

    session: Session
    part: Part
    told: Told

    def bring(self, origin: Origin | str, progress: Any = nothing, part: Part | None = None, **known: Any) -> Arrival:
        """The file, under the watch."""
        url = origin if isinstance(origin, str) else origin.url
        budget = Budget(self.session.policy, lambda *_: None)
        address = Address(url, **known)
        done = watched(lambda: download(address, part or self.part, self.session, progress, budget))
        assert isinstance(done, Arrival)
        return done

    def again(self) -> Part:
        """The part as a new process finds it."""
        return Part(self.part.path)

    def having(self, url: str, *spans: tuple[int, int], etag: str | None = '"one"', content: bytes = CONTENT) -> None:
        """The part as a killed process left it."""
        left(self.part, Version(url, etag, len(content)), content, spans)

    @property
    def bytes(self) -> bytes:
        return self.part.path.read_bytes()


def left(part: Part, version: Version, content: bytes, spans: Any) -> None:
    part.begin(version)
    for start, stop in spans:
        part.write(content[start:stop], start)
        part.note(start, stop)
    part.close()


def session_of(root: Root, wire: Wire, connections: int = 4, **changes: Any) -> Session:
    fields: dict[str, Any] = {"policy": PATIENT, "timeout": 20.0} | changes
    return Session(root=root, wire=wire, lock=Lock(root.lock), connections=Connections(connections), **fields)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """One for all: it takes longer to make than a file to bring."""
    with open_wire(timeout=20) as wire:
        yield wire


@pytest.fixture
def place(tree: Root, wire: Wire, told: Told, tmp_path: Path) -> Place:
    return Place(session_of(tree, wire, report=told), Part(tmp_path / "downloads" / "file.bin.part"), told)


@pytest.fixture
def hasty(place: Place) -> Iterator[Place]:
    """`place`, but half a second of silence is too much."""
    with open_wire(timeout=0.5) as wire:
        yield replace(place, session=replace(place.session, wire=wire, timeout=0.5))


def open_files() -> list[Path]:
    """What this process holds open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(descriptor.readlink())
    return found


def open_parts() -> list[Path]:
    """The files of parts that this process holds open."""
    return [path for path in open_files() if ".part" in path.name]


def swarm_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cvl-range"]


# Well


@pytest.mark.usefixtures("undivided")
def test_a_file_comes_in_ranges_that_neither_overlap_nor_leave_gaps(place: Place, origin: Origin) -> None:
    arrival = place.bring(origin)
    assert place.bytes == CONTENT
    assert (arrival.url, arrival.etag) == (origin.url, '"one"')
    assert origin.asked_bytes() == Ranges([Span(0, SIZE)])
    assert origin.sent == SIZE
    assert place.part.digests()["sha256"] == sha256(CONTENT)


def test_several_connections_are_at_work_at_the_same_time(place: Place, origin: Origin) -> None:
    # Each body waits for all four to have been asked for: one after another they would wait for ever.
    gates = {number: threading.Event() for number in range(1, 5)}

    def meet(ask: Ask, reply: Reply) -> Reply:
        if ask.number in gates:
            gates[ask.number].set()
            assert all(gate.wait(20) for gate in gates.values())
        return reply

    origin.bend = meet
    place.bring(origin)
    assert place.bytes == CONTENT
    assert origin.most_busy == 4


def test_no_more_connections_are_used_than_may_be(place: Place, origin: Origin) -> None:
    for allowed in (1, 2, 3):
        origin.most_busy = 0
        session = replace(place.session, connections=Connections(allowed))
        replace(place, session=session).bring(origin)
        assert origin.most_busy <= allowed
        place.part.discard()


def test_connections_are_kept_for_the_next_range(place: Place, origin: Origin) -> None:
    place.bring(origin)
    assert len(origin.asked) > 10
    assert origin.connections <= 4


def test_what_is_taken_of_the_budget_is_given_back(place: Place, origin: Origin) -> None:
    place.bring(origin)
    with place.session.connections.join("127.0.0.1") as member:
        assert (place.session.connections.used, member.host.used) == (0, 0)


def test_further_connections_name_the_version_that_the_first_one_found(place: Place, origin: Origin) -> None:
    place.bring(origin)
    assert [ask.if_range for ask in origin.asked] == [None, *['"one"'] * (len(origin.asked) - 1)]


@pytest.mark.usefixtures("undivided")
@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1])
@pytest.mark.parametrize("known", [True, False])
def test_small_files_cost_no_more_requests_than_they_must(place: Place, origin: Origin, size: int, known: bool) -> None:
    origin.exchange(CONTENT[:size], '"one"')
    told: dict[str, Any] = {"size": size} if known else {}
    place.bring(origin, **told)
    assert place.bytes == CONTENT[:size]
    assert len(origin.asked) == (2 if size > PIECE else 1)


def test_an_empty_file_whose_server_answers_with_a_page_about_it_is_empty(place: Place, origin: Origin) -> None:
    origin.exchange(b"", '"one"')
    page = b"<html><head><title>416 Requested Range Not Satisfiable</title></head></html>"
    origin.bend = lambda _, reply: replace(reply, body=page, headers=reply.headers | {"Content-Type": "text/html"})
    place.bring(origin)
    assert place.bytes == b""


def test_progress_grows_and_ends_with_the_whole(place: Place, origin: Origin) -> None:
    seen: list[tuple[int, int | None, int]] = []
    place.bring(origin, lambda done, total, connections=1: seen.append((done, total, connections)))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][:2] == (SIZE, SIZE)
    assert {connections for _, _, connections in seen} <= {0, 1, 2, 3, 4}


def test_nothing_is_left_open(place: Place, origin: Origin) -> None:
    place.bring(origin)
    assert open_parts() == []
    until(lambda: not swarm_threads())


def test_failures_leave_nothing_open(place: Place, origin: Origin) -> None:
    origin.bend = lambda ask, reply: replace(reply, cut=0, reset=True) if ask.number % 5 == 4 else reply
    session = replace(place.session, policy=Policy(attempts=1))
    open_after = []
    for _ in range(20):
        with pytest.raises(TransferError):
            replace(place, session=session).bring(origin, part=place.again())
        until(lambda: not swarm_threads())
        open_after.append(len(open_files()))
        place.again().discard()
    assert open_parts() == []
    assert open_after[-1] <= open_after[2] + 4, "connections that are kept for later, a few"


def test_what_has_come_is_made_to_outlive_the_machine_now_and_then(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    syncing = Part.syncing

    def noted(part: Part) -> Callable[[], None]:
        synced.append(part.size)
        return syncing(part)

    monkeypatch.setattr(swarm, "_SYNC_EVERY", 0.0)
    monkeypatch.setattr(Part, "syncing", noted)
    place.bring(origin)
    assert synced
    assert place.bytes == CONTENT


# Whatever a server does


FAULTS = (
    "cut",
    "reset",
    "403",
    "404",
    "429",
    "500",
    "page",
    "ignore",
    "short",
    "excess",
    "shifted",
    "longer",
    "chunked",
    "nonsense",
    "416",
    "exchange",
)


@st.composite
def scenarios(draw: st.DrawFn) -> dict[str, Any]:
    near = st.sampled_from([0, PIECE // 4, PIECE, 4 * PIECE, 10 * PIECE]).flatmap(
        lambda middle: st.integers(max(middle - 2, 0), middle + 2)
    )
    size = draw(near | st.integers(0, 12 * PIECE))
    faults = draw(
        st.dictionaries(st.integers(0, 12), st.tuples(st.sampled_from(FAULTS), st.integers(0, PIECE)), max_size=5)
    )
    return {
        "sizes": [size, draw(st.just(size) | st.integers(0, 8 * PIECE))],
        "faults": faults,
        "connections": draw(st.integers(1, 5)),
        "anew": draw(st.booleans()),
        "proven": draw(st.booleans()),
        "tagged": draw(st.sampled_from([True, True, False])),
    }


class Trouble:
    """Bends the answers to some requests, and exchanges the file at others."""

    def __init__(self, origin: Origin, faults: dict[int, tuple[str, int]], versions: list[tuple[bytes, str | None]]):
        self.origin, self.faults, self.versions = origin, faults, versions

    def __call__(self, ask: Ask, reply: Reply) -> Reply:
        kind, number = self.faults.get(ask.number, ("", 0))
        content = self.origin.content
        if kind in ("cut", "reset"):
            return replace(reply, cut=number, reset=kind == "reset")
        if kind.isdecimal() and kind != "416":
            return status(int(kind), Retry_After="0")
        if kind == "page":
            return Reply(200, {"Content-Type": "text/html"}, b"<html>come back later</html>")
        if kind == "exchange":
            self.origin.exchange(*self.versions[-1])
            return reply
        if kind == "ignore":
            return Reply(200, {"ETag": self.origin.etag} if self.origin.etag else {}, content)
        if kind == "chunked":
            return replace(reply, chunked=True)
        if kind == "416":
            return Reply(416, {"Content-Range": f"bytes */{number}"})
        return self._ranged(kind, number, reply, content) if reply.status == 206 and ask.span else reply

    def _ranged(self, kind: str, number: int, reply: Reply, content: bytes) -> Reply:
        found = reply.headers["Content-Range"].removeprefix("bytes ")
        start, stop = int(found.split("-")[0]), int(found.split("-")[1].split("/")[0]) + 1
        tag = {"ETag": self.origin.etag} if self.origin.etag else {}
        if kind == "short":
            return ranged(content, start, max(stop - number, start + 1), tag)
        if kind == "excess":
            return replace(reply, body=content[start : stop + number])
        if kind == "shifted" and start:
            return ranged(content, start - 1, stop, tag)
        if kind == "longer":
            return replace(
                reply, headers=reply.headers | {"Content-Range": f"{found.split('/')[0]}/{len(content) + 1}"}
            )
        if kind == "nonsense":
            return replace(reply, headers=reply.headers | {"Content-Range": "bytes 7-3/5"})
        return reply


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_whatever_a_server_does_the_file_is_one_of_its_versions_and_whole(wire: Wire, scenario: dict[str, Any]) -> None:
    tags = ('"one"', '"two"') if scenario["tagged"] else (None, None)
    versions = [(noise(size, seed), tag) for seed, (size, tag) in enumerate(zip(scenario["sizes"], tags, strict=True))]
    exchanged = any(kind == "exchange" for kind, _ in scenario["faults"].values())
    with TemporaryDirectory() as folder, served(Origin(*versions[0])) as origin:
        origin.bend = Trouble(origin, scenario["faults"], versions)
        session = session_of(Root(Path(folder)), wire, scenario["connections"])
        path = Path(folder) / "file.part"
        part, error = Part(path), TransferError("")
        # A digest holds for one version only, so that a part under a digest may be gone on with.
        proven = scenario["proven"] and not exchanged
        # Every fault may end an attempt, and begin the next in one piece, which a fault may end too.
        for attempt in itertools.count():
            # That a server cannot be trusted with ranges is known to the process that found it out.
            part = Part(path) if scenario["anew"] and not isinstance(error, StaleError) else part
            try:
                Place(session, part, Told()).bring(origin, proven=proven)
            except TransferError as raised:
                error = raised
                assert attempt < 2 * len(scenario["faults"]) + 2, scenario
                continue
            break
        whole = path.read_bytes()
        assert whole in [content for content, _ in versions]
        assert part.digests()["sha256"] == sha256(whole)
        assert part.size == len(whole)


@pytest.mark.usefixtures("undivided")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cuts=st.lists(st.integers(0, 20 * PIECE), max_size=12).map(sorted),
    sized=st.booleans(),
    proven=st.booleans(),
    connections=st.integers(1, 5),
)
def test_after_a_kill_exactly_what_is_missing_is_asked_for(
    wire: Wire, cuts: list[int], sized: bool, proven: bool, connections: int
) -> None:
    content = noise(20 * PIECE + 17)
    have = Ranges(Span(start, stop) for start, stop in zip(cuts[::2], cuts[1::2], strict=False))
    with TemporaryDirectory() as folder, served(Origin(content)) as origin:
        part = Part(Path(folder) / "file.part")
        left(part, Version(origin.url, '"one"', len(content)), content, have)
        part = Part(part.path)
        session = session_of(Root(Path(folder)), wire, connections)
        known: dict[str, Any] = {"size": len(content)} if sized else {}
        Place(session, part, Told()).bring(origin, proven=proven, **known)
        assert part.path.read_bytes() == content
        assert origin.asked_bytes() == have.gaps(len(content))
        assert part.digests()["sha256"] == sha256(content)


# Every answer is held against the question, on every connection


@pytest.mark.parametrize("number", [0, 1, 5])
@pytest.mark.parametrize(
    "bent",
    [
        lambda _, reply: replace(reply, headers=reply.headers | {"Content-Range": "bytes 1-5/200000"}),
        lambda _, reply: replace(reply, headers=reply.headers | {"Content-Range": "bytes */200000"}),
        lambda _, reply: replace(reply, headers=reply.headers | {"Content-Range": "bytes 0-99999999/200000"}),
        lambda _, reply: replace(reply, headers={"ETag": '"one"'}),
    ],
    ids=["shifted", "unsatisfied", "beyond the end", "not named"],
)
def test_a_range_that_is_not_what_was_asked_for_makes_the_server_one_without_ranges(
    place: Place, origin: Origin, number: int, bent: Callable[[Ask, Reply], Reply]
) -> None:
    origin.bend = once(number, bent)
    with pytest.raises(StaleError) as caught:
        place.bring(origin)
    assert caught.value.whole
    assert (place.part.size, place.part.path.exists()) == (0, False)
    until(lambda: not swarm_threads())
    asked = len(origin.asked)
    place.bring(origin)
    assert place.bytes == CONTENT
    assert origin.spans[asked:] == [None]


def test_the_whole_file_in_place_of_a_later_range_is_not_written_where_the_range_belongs(
    place: Place, origin: Origin
) -> None:
    origin.bend = once(3, lambda _, reply: replace(reply, status=200, headers={"ETag": '"one"'}, body=CONTENT))
    with pytest.raises(StaleError, match="now the whole file") as caught:
        place.bring(origin)
    assert caught.value.whole
    place.bring(origin)
    assert place.bytes == CONTENT


@pytest.mark.parametrize("number", [1, 4, 9])
@pytest.mark.parametrize("honest", [True, False], ids=["if-range heard", "if-range ignored"])
def test_two_versions_are_never_spliced(place: Place, origin: Origin, number: int, honest: bool) -> None:
    newer = noise(SIZE, seed=7)

    def exchange(ask: Ask, reply: Reply) -> Reply:
        if ask.number == number:
            origin.exchange(newer, '"two"')
        if ask.number < number:
            return reply
        return origin.answer(ask.span, ask.if_range if honest else None)

    origin.bend = exchange
    with pytest.raises(StaleError, match="the server's file has changed") as caught:
        place.bring(origin)
    assert (place.part.size, caught.value.whole) == (0, False)
    place.bring(origin)
    assert place.bytes == newer
    assert origin.spans[-1] is not None, "the server has done nothing wrong: it is asked for ranges still"
    assert place.part.digests()["sha256"] == sha256(newer)


def test_without_tag_date_and_digest_the_file_comes_in_one_piece(place: Place, origin: Origin) -> None:
    """Two ranges of it might be of two versions, and nobody could tell."""
    newer = noise(SIZE, seed=7)

    def exchange(ask: Ask, reply: Reply) -> Reply:
        if ask.number == 2:
            origin.exchange(newer, None)
        return reply

    origin.exchange(CONTENT, None)
    origin.bend = exchange
    with pytest.raises(StaleError):
        place.bring(origin)
    place.bring(origin)
    assert place.bytes in (CONTENT, newer)
    assert origin.spans[-1] is None


def test_without_tag_and_date_a_digest_is_enough_for_ranges(place: Place, origin: Origin) -> None:
    origin.exchange(CONTENT, None)
    place.bring(origin, proven=True)
    assert place.bytes == CONTENT
    assert None not in origin.spans


@pytest.mark.parametrize("number", [0, 3])
def test_another_total_than_the_known_one_is_refused(place: Place, origin: Origin, number: int) -> None:
    def longer(_ask: Ask, reply: Reply) -> Reply:
        found = reply.headers["Content-Range"].replace(f"/{SIZE}", f"/{SIZE + 1}")
        return replace(reply, headers=reply.headers | {"Content-Range": found})

    origin.bend = once(number, longer)
    with pytest.raises((WrongContentError, StaleError)):
        place.bring(origin, size=SIZE)


def test_416_in_mid_file_means_that_the_file_has_changed(place: Place, origin: Origin) -> None:
    """A server that says of the very byte that it is asked for that the file ends there."""

    def shrunk(ask: Ask, reply: Reply) -> Reply:
        return Reply(416, {"Content-Range": f"bytes */{ask.span.start}"}) if ask.number >= 2 and ask.span else reply

    origin.bend = shrunk
    with pytest.raises(StaleError):
        place.bring(origin)
    assert place.part.size == 0


def test_a_server_that_refuses_every_range_is_asked_for_the_whole(place: Place, origin: Origin) -> None:
    origin.bend = lambda ask, reply: Reply(416) if ask.span else reply
    with pytest.raises(StaleError):
        place.bring(origin)
    place.bring(origin)
    assert place.bytes == CONTENT


def test_a_range_that_nobody_asked_for_is_not_taken_for_the_whole_file(place: Place, origin: Origin) -> None:
    place.part.ranged = False
    origin.bend = lambda _, __: ranged(CONTENT, 0, 1000, {"ETag": '"one"'})
    with pytest.raises(TransferError):
        place.bring(origin)
    assert place.part.size == 0


def test_a_web_page_in_mid_file_is_not_written_into_it(place: Place, origin: Origin) -> None:
    page = Reply(200, {"Content-Type": "text/html"}, b"<html>quota</html>")
    origin.bend = once(3, lambda *_: page)
    with pytest.raises(WebPageError):
        place.bring(origin)
    origin.bend = lambda _, reply: reply
    part = place.again()
    place.bring(origin, part=part)
    assert place.bytes == CONTENT


def test_less_than_was_asked_for_is_no_failure(place: Place, origin: Origin) -> None:
    content = CONTENT[:20_000]
    origin.exchange(content, '"one"')

    def short(ask: Ask, _reply: Reply) -> Reply:
        assert ask.span is not None
        stop = min(ask.span.start + 999, ask.span.stop, len(content))
        return ranged(content, ask.span.start, stop, {"ETag": '"one"'})

    origin.bend = short
    session = replace(place.session, policy=Policy(attempts=1))
    replace(place, session=session).bring(origin)
    assert place.bytes == content


def test_more_than_was_asked_for_is_left_unread(place: Place, origin: Origin) -> None:
    def generous(ask: Ask, reply: Reply) -> Reply:
        assert ask.span is not None
        return replace(reply, body=CONTENT[ask.span.start :])

    origin.bend = generous
    place.bring(origin)
    assert place.bytes == CONTENT


def test_a_server_that_knows_no_ranges_is_asked_once(place: Place, origin: Origin) -> None:
    origin.bend = lambda _, __: Reply(200, {"ETag": '"one"'}, CONTENT)
    place.bring(origin)
    assert place.bytes == CONTENT
    assert len(origin.asked) == 1


# Sizes that nobody tells


def test_a_chunked_file_ends_where_the_server_says(place: Place, origin: Origin) -> None:
    origin.bend = lambda _, __: Reply(200, {"ETag": '"one"'}, CONTENT, chunked=True)
    place.bring(origin)
    assert place.bytes == CONTENT
    version = place.again().version
    assert version is not None
    assert version.size == SIZE


def test_a_chunked_file_that_breaks_is_gone_on_with_where_ranges_are_given_after_all(
    place: Place, origin: Origin
) -> None:
    origin.bend = once(0, lambda _, __: Reply(200, {"ETag": '"one"'}, CONTENT, chunked=True, cut=70_000))
    place.bring(origin)
    assert place.bytes == CONTENT
    assert origin.spans[1] == Span(70_000, ENDLESS)
    assert len(origin.asked) == 2


def test_a_chunked_file_that_changed_since_the_kill_is_not_divided_at_a_place_beyond_its_end(
    place: Place, origin: Origin
) -> None:
    place.having(origin.url, (0, 1000), etag='"old"')
    gate = threading.Event()
    origin.bend = lambda _, reply: replace(reply, chunked=True, gate=gate) if reply.status == 200 else reply
    threading.Timer(0.3, gate.set).start()
    place.bring(origin)
    assert place.bytes == CONTENT
    assert len(origin.asked) == 1


def test_a_part_of_unknown_size_is_gone_on_with_from_its_end(place: Place, origin: Origin) -> None:
    left(place.part, Version(origin.url, '"one"', None), CONTENT, [(0, 70_000)])
    place.bring(origin)
    assert place.bytes == CONTENT
    assert origin.asked_bytes() == Ranges([Span(70_000, SIZE)])
    assert origin.sent == SIZE - 70_000


@pytest.mark.parametrize("extra", [0, 5])
def test_a_part_of_unknown_size_to_which_nothing_seems_to_be_missing_is_asked_about(
    place: Place, origin: Origin, extra: int
) -> None:
    content = CONTENT + bytes(extra)
    left(place.part, Version(origin.url, '"one"', None), content, [(0, len(content))])
    if extra:
        with pytest.raises(StaleError):
            place.bring(origin, size=SIZE)
    place.bring(origin, size=SIZE)
    assert place.bytes == CONTENT
    assert origin.sent == (SIZE if extra else 0) + len(b"no such bytes")


def test_a_part_that_has_more_than_its_journal_s_size_begins_anew(place: Place, origin: Origin) -> None:
    left(place.part, Version(origin.url, '"one"', 1000), CONTENT, [(0, 2000)])
    place.bring(origin)
    assert place.bytes == CONTENT


# Slow connections


def test_the_segment_of_a_slow_connection_is_divided_among_idle_ones(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At its speed the first piece alone would take minutes; it is never given up, for it does bring bytes.
    monkeypatch.setattr(swarm, "_FIRST", 50_000)
    monkeypatch.setattr(swarm, "_CRAWL", 0.0)
    origin.bend = once(0, lambda _, reply: replace(reply, drip=0.1))
    place.bring(origin)
    assert place.bytes == CONTENT
    assert origin.sent < SIZE + PIECE, "what others bring is not brought by the slow one too"


def test_a_segment_that_was_shortened_to_what_is_here_waits_for_no_further_byte(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow server goes on to send what another connection has brought long ago; that is nobody's concern."""
    monkeypatch.setattr(swarm, "_FIRST", SIZE)
    monkeypatch.setattr(swarm, "_TAIL_PATIENCE", 1e6)
    first = threading.Event()

    def slow(ask: Ask, reply: Reply) -> Reply:
        if ask.number:
            # What comes first goes up to the middle, where the segment was cut by this request; then nothing more.
            first.set()
            return reply
        return replace(reply, cut=SIZE // 2, silent=True)

    origin.bend = slow
    session = replace(place.session, policy=Policy(attempts=1))
    replace(place, session=session).bring(origin)
    assert place.bytes == CONTENT


def test_a_connection_that_hangs_holds_up_nobody(place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm, "_TAIL_PATIENCE", 0.3)
    origin.bend = once(2, lambda _, reply: replace(reply, cut=100, silent=True))
    place.bring(origin)
    assert place.bytes == CONTENT


def test_a_lone_connection_that_is_given_up_makes_room_for_another(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hang for as long as it likes: it is no longer counted."""
    monkeypatch.setattr(swarm, "_FIRST", SIZE)
    origin.bend = once(0, lambda _, reply: replace(reply, cut=100, silent=True))
    with open_wire(timeout=1000) as wire:
        session = replace(place.session, wire=wire, timeout=0.3, connections=Connections(1))
        replace(place, session=session).bring(origin)
        assert place.bytes == CONTENT
        assert len(swarm_threads()) == 1, "the one that hangs"
        assert session.connections.used == 0
        origin.closing.set()
        until(lambda: not swarm_threads())
    assert session.connections.used == 0


def test_a_server_that_is_slow_to_answer_is_given_more_time_each_time(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first byte takes longer than idle connections like to wait, every time."""
    monkeypatch.setattr(swarm, "_TAIL_PATIENCE", 0.1)

    def late(ask: Ask, reply: Reply) -> Reply:
        threading.Event().wait(0.6 if ask.number else 0)
        return reply

    origin.exchange(CONTENT[: 2 * PIECE], '"one"')
    origin.bend = late
    place.bring(origin)
    assert place.bytes == CONTENT[: 2 * PIECE]


def test_a_file_in_one_piece_is_not_given_up_for_a_short_silence(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without ranges would have to send all of it again."""
    monkeypatch.setattr(swarm, "_TAIL_PATIENCE", 0.1)
    gate = threading.Event()
    origin.bend = lambda _, __: Reply(200, {"ETag": '"one"'}, CONTENT, gate=gate)
    threading.Timer(0.6, gate.set).start()
    place.bring(origin)
    assert place.bytes == CONTENT
    assert len(origin.asked) == 1


def test_a_server_that_only_drips_is_given_up(hasty: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm, "_CRAWL", 1e9)
    origin.bend = lambda _, reply: replace(reply, drip=0.2)
    session = replace(hasty.session, policy=Policy(attempts=2, base=0.0))
    with pytest.raises(TransferError, match="hardly a byte"):
        replace(hasty, session=session).bring(origin, size=SIZE)
    with hasty.session.connections.join("127.0.0.1") as member:
        until(lambda: not swarm_threads())
        assert (hasty.session.connections.used, member.host.used) == (0, 0)


# Failures and the budget


@pytest.mark.parametrize("kind", ["cut", "reset", "429"])
def test_connections_that_break_at_the_same_moment_are_one_failure(place: Place, origin: Origin, kind: str) -> None:
    together = threading.Barrier(4, timeout=20)

    def breaking(ask: Ask, reply: Reply) -> Reply:
        if not 1 <= ask.number <= 4:
            return reply
        together.wait()
        return status(429, Retry_After="0") if kind == "429" else replace(reply, cut=0, reset=kind == "reset")

    origin.bend = breaking
    failures: list[str] = []
    budget = Budget(Policy(attempts=2, base=0.0), lambda text, _: failures.append(text))
    address = Address(origin.url)
    watched(lambda: download(address, place.part, place.session, nothing, budget))
    assert place.bytes == CONTENT
    assert len(failures) == 1


def test_so_many_failures_in_a_row_are_the_end_and_what_came_is_kept(place: Place, origin: Origin) -> None:
    origin.bend = lambda ask, reply: status(500) if ask.number >= 4 else reply
    with pytest.raises(TransferError, match="500"):
        place.bring(origin)
    asked = len(origin.asked)
    assert asked < 4 + 5 * 4
    kept = place.again()
    assert 0 < kept.size < SIZE
    origin.bend = lambda _, reply: reply
    place.bring(origin, part=kept)
    assert place.bytes == CONTENT
    assert origin.sent <= SIZE + len(b"sorry") * asked + 4 * 4 * PIECE, "all but what was in flight"


def test_as_long_as_bytes_come_failures_do_not_add_up(place: Place, origin: Origin) -> None:
    origin.bend = lambda _, reply: replace(reply, cut=PIECE // 2) if len(reply.body) >= PIECE else reply
    place.bring(origin)
    assert place.session.policy.attempts < 20 < len(origin.asked)
    assert place.bytes == CONTENT
    assert origin.sent == SIZE


def test_a_server_that_refuses_further_connections_is_asked_over_those_that_it_gives(
    place: Place, origin: Origin
) -> None:
    origin.bend = lambda _, reply: reply if origin.busy <= 2 else status(403)
    session = replace(place.session, policy=Policy(attempts=6, base=0.02))
    replace(place, session=session).bring(origin)
    assert place.bytes == CONTENT


def test_a_refusal_at_first_contact_is_final(place: Place, origin: Origin) -> None:
    origin.bend = lambda *_: status(403)
    with pytest.raises(RefusedError, match="403"):
        place.bring(origin)
    assert len(origin.asked) == 1


def test_a_refusal_that_stays_is_told_as_one(place: Place, origin: Origin) -> None:
    origin.bend = lambda ask, reply: reply if ask.number < 3 else status(403)
    with pytest.raises(RefusedError, match="403"):
        place.bring(origin)
    assert place.again().size > 0


@pytest.mark.parametrize("code", [401, 403, 410])
def test_an_address_that_can_be_renewed_is_given_up_at_once_and_what_came_is_kept(
    place: Place, origin: Origin, code: int
) -> None:
    origin.bend = lambda ask, reply: reply if ask.number < 3 else status(code)
    failures: list[str] = []
    budget = Budget(PATIENT, lambda text, _: failures.append(text))
    address = Address(origin.url, renewable=True)
    with pytest.raises((RefusedError, GoneError), match=str(code)):
        watched(lambda: download(address, place.part, place.session, nothing, budget))
    assert failures == []
    kept = place.again()
    assert kept.size > 0
    origin.bend = lambda _, reply: reply
    place.bring(origin, part=kept)
    assert place.bytes == CONTENT


@pytest.mark.parametrize("comes_back", [True, False])
def test_an_outage_is_waited_for_however_many_attempts_fail(place: Place, comes_back: bool) -> None:
    """Nothing listens for a while: the network is down, which is no fault of the address."""
    origin = Origin(CONTENT)
    failures: list[str] = []
    policy = Policy(attempts=3, base=0.02, cap=0.02, outage=60.0 if comes_back else 1.0)
    budget = Budget(policy, lambda text, _: failures.append(text))
    with ThreadPoolExecutor(1) as pool:
        with served(origin):
            origin.bend = lambda ask, reply: replace(reply, cut=0, silent=True) if ask.number >= 3 else reply
            port = urlsplit(origin.url).port or 0
            address = Address(origin.url, size=SIZE)
            brought = pool.submit(download, address, place.part, place.session, nothing, budget)
            until(lambda: len(origin.asked) > 3)
        until(lambda: len(failures) > 2 * policy.attempts)
        origin.bend = lambda _, reply: reply
        if comes_back:
            with served(origin, port):
                brought.result(60)
            assert place.bytes == CONTENT
        else:
            with pytest.raises(UnreachableError):
                brought.result(60)
            assert 0 < place.again().size < SIZE


def test_a_host_that_was_never_reached_is_no_outage(place: Place) -> None:
    with served(Origin(CONTENT)) as origin:
        url = origin.url
    failures: list[str] = []
    budget = Budget(Policy(attempts=3, base=0.0, outage=60.0), lambda text, _: failures.append(text))
    with pytest.raises(UnreachableError):
        watched(lambda: download(Address(url), place.part, place.session, nothing, budget))
    assert len(failures) == 2


# No byte after the end


def test_no_thread_writes_once_a_download_has_ended(place: Place, origin: Origin) -> None:
    """Connections that still bring bytes are left behind, and must not touch what may be another's by then."""

    def dripping(ask: Ask, reply: Reply) -> Reply:
        return replace(reply, drip=0.01) if ask.number < 4 else status(404)

    origin.bend = dripping
    with pytest.raises(GoneError):
        place.bring(origin)
    content, journal = place.bytes, place.part.path.with_name("file.bin.part.journal").read_bytes()
    assert open_parts() == []
    threading.Event().wait(0.3)
    assert place.bytes == content
    assert place.part.path.with_name("file.bin.part.journal").read_bytes() == journal
    kept = place.again()
    assert kept.size > 0
    assert all(content[start:stop] == CONTENT[start:stop] for start, stop in kept.missing().gaps(SIZE))
    until(lambda: not swarm_threads())


def test_what_was_left_behind_gives_nothing_back_twice(place: Place, origin: Origin) -> None:
    """A host's count that falls below zero would let the next file open more connections than the host bears."""
    origin.bend = lambda ask, reply: replace(reply, drip=0.01) if ask.number < 4 else status(404)
    with pytest.raises(GoneError):
        place.bring(origin)
    until(lambda: not swarm_threads())
    with place.session.connections.join("127.0.0.1") as member:
        assert (place.session.connections.used, member.host.used) == (0, 0)


def test_a_wish_to_stop_is_heard_while_the_server_is_silent(place: Place, origin: Origin) -> None:
    origin.bend = lambda ask, reply: replace(reply, cut=10, silent=True) if ask.number else reply
    stop = threading.Event()

    def progress(done: int, _total: int | None, _connections: int = 1, /) -> None:
        if stop.is_set():
            raise Cancelled("stopped")

    def wish() -> None:
        until(lambda: origin.busy >= 4)
        stop.set()

    wishing = threading.Thread(target=wish)
    wishing.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        place.bring(origin, progress)
    assert time.monotonic() - began < place.session.timeout / 2, "not the server's silence ends it"
    wishing.join()
    assert open_parts() == []
    assert place.again().size >= PIECE


def test_a_wish_to_stop_at_any_moment_keeps_what_came(place: Place, origin: Origin) -> None:
    for after in range(0, SIZE, 50_000):

        def progress(done: int, _total: int | None, _connections: int = 1, /, after: int = after) -> None:
            if done > after:
                raise Cancelled("stopped")

        part = place.again()
        if part.size > after:
            continue
        with pytest.raises(Cancelled):
            place.bring(origin, progress, part=part)
        assert place.again().size > after
    place.bring(origin, part=place.again())
    assert place.bytes == CONTENT
    assert origin.sent < 2 * SIZE


# The disk


@pytest.mark.parametrize("method", ["write", "note", "begin"])
@pytest.mark.parametrize("after", [0, 5])
def test_what_the_disk_says_comes_out_and_nothing_hangs(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch, method: str, after: int
) -> None:
    calls = itertools.count()
    real = getattr(Part, method)

    def full(part: Part, *arguments: Any) -> Any:
        if next(calls) >= after or method == "begin":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part.path))
        return real(part, *arguments)

    monkeypatch.setattr(Part, method, full)
    with pytest.raises(OSError, match="No space left"):
        place.bring(origin)
    assert open_parts() == []
    monkeypatch.undo()
    place.bring(origin, part=place.again())
    assert place.bytes == CONTENT


def test_bytes_that_could_not_be_noted_when_a_connection_broke_are_not_taken_for_here(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection's own error may pass; that of the disk must come out, or the file would lack these bytes."""
    monkeypatch.setattr(swarm, "_FIRST", SIZE)
    monkeypatch.setattr(swarm, "_SHORTEST", SIZE)
    origin.bend = once(0, lambda _, reply: replace(reply, cut=SIZE // 2))
    real = Part.note

    def full(part: Part, start: int, stop: int) -> None:
        if start == 0 < stop:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part.path))
        real(part, start, stop)

    monkeypatch.setattr(Part, "note", full)
    with pytest.raises(OSError, match="No space left"):
        place.bring(origin)


# Versions and parts


def test_a_part_of_another_mirror_is_gone_on_with_under_a_digest(place: Place, origin: Origin) -> None:
    """Its tag is another one's: asked for under it, the mirror would send all of the file."""
    place.having("http://mirror.example/copy.bin", (0, 50_000), (100_000, 120_000), etag='"of the mirror"')
    place.bring(origin, proven=True, size=SIZE)
    assert place.bytes == CONTENT
    assert origin.sent == SIZE - 70_000


def test_a_part_of_another_address_is_not_gone_on_with_without_a_digest(place: Place, origin: Origin) -> None:
    place.having("http://mirror.example/copy.bin", (0, 50_000))
    place.bring(origin)
    assert place.bytes == CONTENT
    assert origin.sent == SIZE


def test_the_digest_of_a_file_that_changed_since_the_kill_is_that_of_the_new_one(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest of what is here is taken while the server is asked, and what is here may turn out to be of no use."""
    older = noise(SIZE, seed=3)
    left(place.part, Version(origin.url, '"old"', SIZE), older, [(0, SIZE - 1)])
    part = place.again()
    real = hashlib.new

    class Slow:
        """A digest that takes its time, as one of gigabytes does."""

        def __init__(self, name: str) -> None:
            self._state = real(name)

        def update(self, piece: bytes) -> None:
            threading.Event().wait(0.3 if piece[:100] == older[:100] else 0)
            self._state.update(piece)

        def hexdigest(self) -> str:
            return self._state.hexdigest()

    monkeypatch.setattr("cvl.download.transport.part.hashlib.new", Slow)
    part._reset_digests()
    place.bring(origin, part=part)
    assert part.path.read_bytes() == CONTENT
    assert part.digests()["sha256"] == sha256(CONTENT)


def test_a_part_that_is_complete_asks_nothing(place: Place, origin: Origin) -> None:
    place.having(origin.url, (0, SIZE))
    place.bring(origin)
    assert origin.asked == []

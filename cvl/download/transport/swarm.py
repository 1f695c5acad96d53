"""One file over several connections at once, into its part.

The calling thread leads: it hands out work, takes the digests of what has come, and watches. Each connection has a
thread and a segment, which is a span of the file that it brings in order. Segments are taken from the file's front, so
long that a connection is busy for some seconds; when none is left, the segment that would take longest is divided among
the connections that have nothing to do. What breaks goes back to be handed out again.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from cvl.download.session import Session
from cvl.download.transport.answers import looks_like_html
from cvl.download.transport.connections import Member
from cvl.download.transport.http import ENDLESS, Address, Arrival, Opened, StaleError, opened
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Budget
from cvl.download.transport.ranges import Ranges, Span
from cvl.download.transport.segment import Segment
from cvl.download.transport.wire import chunks, translated
from cvl.errors import GoneError, RefusedError, TransferError, WebPageError, WrongContentError
from cvl.events import TransferProgress

_MIB = 1 << 20
_SHORTEST, _FIRST, _LONGEST = _MIB, 8 * _MIB, 64 * _MIB
"""Bytes of a segment: near the end of the file, before its connection's speed is known, and ever."""
_BUSY = 4.0
"""Seconds for which a segment should keep its connection busy."""
_WORTH_DIVIDING = 1.0
"""Seconds that a segment must still take for another connection to be worth its handshake."""
_TAIL_PATIENCE = 5.0
"""Seconds of silence of a connection that all others wait for; twice as long after each time that it was too long."""
_CRAWL = 1000.0
"""Bytes a second that a connection must bring."""
_SYNC_EVERY = 30.0
"""Seconds after which what has come is made to outlive the machine."""
_TICK = 0.05
_FINAL = (GoneError, RefusedError, WrongContentError, StaleError)


def download(address: Address, part: Part, session: Session, progress: TransferProgress, budget: Budget) -> Arrival:
    """Bring `part` to its full length, going on with what is here of it.

    `progress(bytes so far, bytes in all, connections)` is called all the while; what it raises ends the transfer. What
    breaks is tried again within `budget`, while the other connections go on.

    Raises:
        TransferError: the budget is used up; what came is kept, except by a StaleError, which drops it.
        GoneError, RefusedError, WrongContentError: trying again at this address is of no use.
        OSError: the disk is full, or the like.
    """
    swarm = _Swarm(address, part, session, budget)
    if swarm.resumed and part.complete and part.version is not None:
        return Arrival(address.name, part.version.validator)
    try:
        return swarm.run(progress)
    except StaleError as error:
        part.ranged = part.ranged and not error.whole
        part.discard()
        raise
    finally:
        part.close()


class _Swarm:
    """The state of one download. What is handed out, and to whom, changes under `_mutex` only."""

    def __init__(self, address: Address, part: Part, session: Session, budget: Budget) -> None:
        self._address = address
        self._part = part
        self._session = session
        self._budget = budget
        self._mutex = threading.Lock()
        self._changed = threading.Event()
        self._running: list[Segment] = []
        self._given_up: set[Segment | None] = set()
        self._errors: list[tuple[float, BaseException]] = []
        self._known = False
        self._ranged = False
        self._shared = False
        self._stopped = False
        self._etag: str | None = None
        self._speed = 0.0
        self._failed_at = 0.0
        self._hold_until = 0.0
        self._patience = _TAIL_PATIENCE
        self._synced = time.monotonic()
        self._counted = part.size
        self.resumed = _can_go_on(address, part)
        self._todo = _to_do(address, part, self.resumed)

    def run(self, progress: TransferProgress) -> Arrival:
        """Lead until all bytes are here."""
        with self._session.connections.join(_host(self._address.url)) as member:
            try:
                while not self._finished():
                    self._heed_errors(member)
                    self._watch(member)
                    self._sync()
                    self._hand_out(member)
                    # Not before the first answer, which may say that what is here is of no use.
                    if not (self._known and self._part.digest()):
                        self._changed.wait(_TICK)
                        self._changed.clear()
                    self._tell(progress, member)
                self._tell(progress, member)
            finally:
                self._stop()
        if self._part.version is not None and self._part.version.size is None:
            self._part.ends_here()
        return Arrival(self._address.name, self._etag)

    def _tell(self, progress: TransferProgress, member: Member) -> None:
        progress(self._part.size, self._total(), member.used)

    def _total(self) -> int | None:
        version = self._part.version
        return version.size if version is not None else self._address.size

    def _finished(self) -> bool:
        with self._mutex:
            return self._known and not self._todo and not self._running and not self._errors

    def _stop(self) -> None:
        """Let no thread touch the part any more. One that waits for a silent server is left behind."""
        with self._mutex:
            self._stopped = True
            running = list(self._running)
        for segment in running:
            # What cannot be noted is fetched again.
            with suppress(OSError):
                segment.halt(self._part)

    # What the leading thread does

    def _heed_errors(self, member: Member) -> None:
        with self._mutex:
            errors = list(self._errors)
            self._errors.clear()
        for began, error in errors:
            if not self._may_pass(error):
                raise error
            assert isinstance(error, TransferError)
            if began <= self._failed_at or time.monotonic() < self._hold_until:
                # Connections that break at the same time are one failure.
                continue
            self._spend(error, member)

    def _may_pass(self, error: BaseException) -> bool:
        """Whether an error may be over by the next attempt."""
        if isinstance(error, RefusedError) and self._known and not self._address.renewable:
            # It gave us some of the file: so it is the number of requests that it refuses.
            return True
        return isinstance(error, TransferError) and not isinstance(error, _FINAL)

    def _spend(self, error: TransferError, member: Member) -> None:
        came = self._part.size
        if came - self._counted >= min(64 << 10, max((self._total() or 0) // 100, 1)):
            self._budget.refill()
        self._counted = came
        reached = self._known or self._session.connections.reached(_host(self._address.url))
        wait = self._budget.spend(error, reached=reached)
        if wait is None:
            raise error
        member.pressure(wait if error.overload else 0.0)
        self._failed_at = time.monotonic()
        self._hold_until = self._failed_at + wait

    def _watch(self, member: Member) -> None:
        """Give up connections that bring next to nothing, and silent ones that all others wait for."""
        if self._session.throttle.rate is not None:
            # Then it is us who are slow.
            return
        now = time.monotonic()
        with self._mutex:
            # Of several connections only: a lone one may be all that the server grants.
            idle = self._shared and not self._todo
            for segment in list(self._running):
                silent = idle and segment.silent(now) > min(self._patience, self._session.timeout)
                if silent or segment.crawls(now, self._session.timeout, _CRAWL):
                    self._drop(segment)
                    # The connection may hang for long: another one takes its place.
                    self._given_up.add(segment)
                    member.give()
                    said = f"{self._address.name}: hardly a byte in {now - segment.heard:.0f} s"
                    self._errors.append((segment.began, TransferError(said)))
                    self._patience *= 2 if silent else 1

    def _sync(self) -> None:
        if self._known and time.monotonic() - self._synced > _SYNC_EVERY:
            # On a slow disk it may take longer than who wants to stop will wait.
            threading.Thread(target=self._part.syncing(), daemon=True, name="cvl-sync").start()
            self._synced = time.monotonic()

    def _drop(self, segment: Segment) -> None:
        """Take a segment's rest back from a connection that may hang for long."""
        self._running.remove(segment)
        self._todo.add(*segment.halt(self._part))

    def _hand_out(self, member: Member) -> None:
        """Open connections while there is work for them, and while they may be had."""
        if time.monotonic() < self._hold_until:
            return
        with self._mutex:
            member.want = self._could_use()
        while (self._known or not self._running) and not self._errors and member.take():
            segment = self._claim()
            if segment is None:
                member.give()
                return
            threading.Thread(target=self._work, args=(segment, member), daemon=True, name="cvl-range").start()

    def _could_use(self) -> int:
        if not self._known:
            return 1
        return len(self._running) + -(-self._todo.size // _SHORTEST)

    # What the connections' threads do

    def _work(self, segment: Segment | None, member: Member) -> None:
        try:
            while segment is not None and self._bring(segment):
                member.relieved()
                segment = None if member.crowded else self._claim()
        except BaseException as error:  # raised again by the leading thread
            self._failed(segment, error)
        finally:
            with self._mutex:
                # What was given up, and what is taken still at the end, is given back by others.
                if not self._stopped and segment not in self._given_up:
                    member.give()
            self._changed.set()

    def _failed(self, segment: Segment | None, error: BaseException) -> None:
        with self._mutex:
            # Of a segment that was taken away the leader knows already.
            if self._stopped or (segment is not None and segment not in self._running):
                return
            self._errors.append((segment.began if segment else time.monotonic(), error))
            if segment is not None:
                try:
                    self._drop(segment)
                except OSError as of_disk:
                    # What came is not noted, and would never be asked for again.
                    self._errors.append((segment.began, of_disk))

    def _claim(self) -> Segment | None:
        """The next segment, None if there is no work left that is worth a connection."""
        with self._mutex:
            if self._stopped:
                return None
            span = self._todo.take(self._length()) or self._divide()
            if span is None:
                return None
            segment = Segment(span)
            self._running.append(segment)
            self._shared = self._shared or len(self._running) > 1
            return segment

    def _length(self) -> int:
        if self._known and self._todo.end == ENDLESS:
            # Where it ends only an answer will tell.
            return ENDLESS
        fair = self._todo.size // (2 * self._session.connections.total) if self._known else _FIRST
        return max(min(int(self._speed * _BUSY) or _FIRST, fair, _LONGEST), _SHORTEST)

    def _divide(self) -> Span | None:
        """The second half of the segment that would take longest."""
        if not self._running or not self._ranged:
            return None
        now = time.monotonic()
        slowest = max(self._running, key=lambda segment: segment.seconds_left(now))
        if slowest.seconds_left(now) < _WORTH_DIVIDING:
            return None
        return slowest.halve(_SHORTEST)

    def _bring(self, segment: Segment) -> bool:
        """Bring a segment to its end; False if it was taken away meanwhile."""
        version = self._part.version if self._known or self.resumed else None
        wish = Span(segment.at, segment.stop) if self._part.ranged else None
        # Once the server has told the right size, another one is another version.
        address = replace(self._address, size=None) if self._known else self._address
        with translated(address.name), opened(self._session.wire.client, address, wish, version) as answer:
            self._learn(segment, answer)
            for chunk in chunks(answer.response):
                if segment.at == 0 < segment.stop and looks_like_html(bytes(chunk[:512])):
                    raise WebPageError(f"{self._address.name}: expected a file, found a web page")
                if not segment.put(chunk, self._part):
                    break
                self._session.throttle.take(len(chunk))
                if segment.at >= segment.stop < answer.span.stop:
                    # It was shortened: what the server goes on to send is another's to bring.
                    break
        return self._end(segment)

    def _learn(self, segment: Segment, answer: Opened) -> None:
        """Take in what an answer says; the first one decides what file this is, and whether it comes in ranges."""
        with self._mutex:
            if self._stopped or segment not in self._running:
                return
            if not self._known:
                self._begin(segment, answer)
            elif not answer.ranged:
                raise self._stale(answer)
            elif answer.span.stop < segment.stop:
                # It gives less at once than it is asked for, which it may.
                self._todo.add(answer.span.stop, min(segment.stop, answer.version.size or 0))
                segment.stop = answer.span.stop

    def _begin(self, segment: Segment, answer: Opened) -> None:
        if answer.ranged and not self._can_tell(answer):
            said = "the server gives nothing by which two versions of the file could be told apart"
            raise StaleError(f"{self._address.name}: {said}; asking for it in one piece", whole=True)
        resumed = answer.ranged and self.resumed
        (self._part.go_on if resumed else self._part.begin)(answer.version)
        self._etag = answer.response.headers.get("etag")
        self._known = True
        # Who sends the whole because ours is of another version would have sent a range of its own.
        able = answer.response.headers.get("accept-ranges") == "bytes"
        self._ranged = answer.ranged or (self.resumed and able and answer.version.size is not None)
        segment.begin(answer.span)
        self._todo = Ranges()
        if answer.ranged:
            self._todo = self._part.missing()
            self._todo.remove(*answer.span)

    def _stale(self, answer: Opened) -> StaleError:
        """Why the whole file comes in place of a range: that is what If-Range asks for if it has changed."""
        kept, found = self._part.version.validator if self._part.version else None, answer.version.validator
        if None not in (kept, found) and kept != found:
            return StaleError(f"{self._address.name}: the server's file has changed; beginning anew")
        said = "the server gave ranges, and now the whole file"
        return StaleError(f"{self._address.name}: {said}; beginning anew", whole=True)

    def _can_tell(self, answer: Opened) -> bool:
        """Whether bytes of another version could be told from these, if further ones are asked for."""
        is_all = answer.span.size == answer.version.size
        return is_all or self.resumed or self._address.proven or answer.version.validator is not None

    def _end(self, segment: Segment) -> bool:
        with self._mutex:
            if self._stopped or segment not in self._running:
                return False
            rest = segment.halt(self._part)
            if rest.size and rest.stop != ENDLESS:
                total = self._part.version.size if self._part.version else 0
                said = f"the answer ended after {rest.start:,} of {total:,} bytes"
                raise TransferError(f"{self._address.name}: {said}")
            self._running.remove(segment)
            self._speed = segment.speed(time.monotonic()) or self._speed
            return True


def _can_go_on(address: Address, part: Part) -> bool:
    """Whether what is here may be continued: its version can be asked for, or a digest will tell."""
    version = part.version
    if version is None or not part.size or not part.ranged:
        return False
    if address.size is not None and version.size not in (None, address.size):
        return False
    if version.size is not None and part.size > version.size:
        return False
    return address.proven or (version.url == address.name and version.validator is not None)


def _to_do(address: Address, part: Part, resumed: bool) -> Ranges:
    """What is to be asked for, before the server has said anything."""
    if resumed and part.version is not None and part.version.size is not None:
        return part.missing()
    start = part.prefix if resumed else 0
    stop = address.size or ENDLESS
    # Where nothing seems to be missing, the server is asked whether that is so.
    return Ranges([Span(start, stop if start < stop else ENDLESS)])


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        # No address at all, as the one who asks there will say.
        return ""

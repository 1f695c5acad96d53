"""Members of a tar on their way to the disk: one thread reads and inflates, this one writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Queue

from cvl.download.archives.landing import Landing, StoppedError
from cvl.download.archives.names import Places, shown
from cvl.download.archives.outcome import Tally

# Pieces are of at most 256 KiB: sixteen megabytes wait at most.
_WAITING = 64


@dataclass(frozen=True)
class _Begin:
    place: str


_KEEP, _DROP, _END = object(), object(), object()


class _DroppedError(Exception):
    """The member that is being written is not whole."""


class Writer:
    """A `Sink` that writes in a thread of its own, in the order in which members come.

    Args:
        landing: where.
        tally: what is counted and lost.
    """

    def __init__(self, landing: Landing, tally: Tally) -> None:
        self.places = Places(folds_case=landing.folds_case)
        self._landing = landing
        self._tally = tally
        self._queue: Queue[object] = Queue(_WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._place, self._size, self._stands = "", 0, False

    def start(self) -> None:
        """Begin to take."""
        self._thread.start()

    def end(self) -> None:
        """Write what was given, unless the landing was stopped; a member that was not kept is gone."""
        self._queue.put(_END)
        self._thread.join()

    def finish(self) -> None:
        """Write all that was given.

        Raises:
            OSError: the disk is full or not ours.
        """
        self.end()
        self._raise()

    def begin(self, place: str, size: int) -> None:
        """See `Sink`."""
        self.places.add(place)
        self._place, self._size = place, size
        self._stands = self._landing.stands(place, size)
        self._put(_Begin(place))

    def piece(self, piece: memoryview) -> None:
        """See `Sink`."""
        self._put(piece)

    def keep(self) -> None:
        """See `Sink`."""
        self._put(_KEEP)
        self._tally.lost.pop(self._place, None)
        self._tally.land(self._size, written=not self._stands)

    def drop(self, reason: str) -> None:
        """See `Sink`."""
        self._put(_DROP)
        # It may come again, whole.
        self.places.drop(self._place)
        self._tally.lose(self._place, f"{shown(self._place)}: {reason}")

    def lose(self, place: str) -> None:
        """See `Sink`."""
        # A damaged header may have the name of another member.
        if place not in self.places:
            self._tally.lost[place] = None

    def gap(self, text: str) -> None:
        """See `Sink`."""
        self._tally.gaps.append(text)

    def damage(self, reason: str) -> None:
        """See `Sink`."""
        self._tally.damage.append(reason)

    def _put(self, what: object) -> None:
        self._raise()
        if not self._stands:
            self._queue.put(what)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (what := self._queue.get()) is not _END:
            if not isinstance(what, _Begin) or self._error is not None:
                continue
            try:
                self._landing.write(what.place, self._content())
            except (_DroppedError, StoppedError):
                continue
            except BaseException as error:
                # Nothing more is written, and the queue is emptied, so that nobody waits for room in it.
                self._error = error

    def _content(self) -> Iterator[memoryview]:
        """What comes until the member is kept."""
        while (what := self._queue.get()) is not _KEEP:
            if what is _DROP:
                raise _DroppedError
            if what is _END:
                # The work ends within a member.
                self._queue.put(_END)
                raise StoppedError
            assert isinstance(what, memoryview)
            yield what

"""Where many threads lay down what they brought, and one takes it away; bounded in bytes."""

from __future__ import annotations

import threading

from cvl.download.lists.asking import Landed

_MOST_BYTES = 16 << 20


class Handover:
    """What has landed and was not taken yet. Safe to use from threads.

    Args:
        most: bytes that lie here; who brings more waits, but one thing of any size always finds room.

    `closed` says whether nobody takes anything any more.
    """

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self.closed = False
        self._most = most
        self._landed: list[Landed] = []
        self._bytes = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        with self._changed:
            return not self._landed and self._error is None

    def put(self, landed: Landed) -> None:
        """Lay something down, as soon as there is room. After `close` it is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or not self._bytes or self._bytes < self._most)
            if not self.closed:
                self._landed.append(landed)
                self._bytes += len(landed.content)
                self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Let the next `take` raise an error."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def take(self, seconds: float) -> list[Landed]:
        """All that lies here, in the order in which it came; waits so many seconds at most if there is nothing."""
        with self._changed:
            if not self._landed and self._error is None:
                self._changed.wait(seconds)
            if self._error is not None:
                raise self._error
            landed, self._landed, self._bytes = self._landed, [], 0
            self._changed.notify_all()
            return landed

    def close(self) -> None:
        """Nobody takes anything any more; who waits for room goes on."""
        with self._changed:
            self.closed = True
            self._landed.clear()
            self._changed.notify_all()

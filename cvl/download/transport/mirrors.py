"""Which of a file's addresses comes next: the manifest's order, unless a host has shown itself to be slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from cvl.errors import TransferError
from cvl.events import TransferProgress

_MUCH_SLOWER = 4.0
"""A host goes behind the others if one of them was so many times as fast."""
_TELLING = 1 << 20
"""Bytes below which a transfer says nothing about a host's speed."""
_CRAWL = 100e3
"""Bytes a second of a whole file below which another address is worth a try."""
_WINDOW = 30.0
"""Seconds over which that is measured."""


class Speeds:
    """Bytes a second that hosts gave in this run. Safe to use from threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._by_host: dict[str, float] = {}

    def note(self, url: str, size: int, seconds: float) -> None:
        """A transfer from `url` moved `size` bytes in so many seconds. The last one counts."""
        if size >= _TELLING and seconds > 0:
            with self._mutex:
                self._by_host[_host(url)] = size / seconds

    def order(self, urls: Sequence[str]) -> list[str]:
        """The addresses in their order, those of hosts that were much slower than another of these behind."""
        with self._mutex:
            known = {url: self._by_host[_host(url)] for url in urls if _host(url) in self._by_host}
        best = max(known.values(), default=0.0)
        return sorted(urls, key=lambda url: known.get(url, best) * _MUCH_SLOWER < best)


class SlowError(TransferError):
    """An address gives so little that the next one is worth a try. What came is kept."""


class Hurry:
    """TransferProgress that gives a crawling address up for the next one.

    Raises:
        SlowError: from the call that finds it crawling.
    """

    def __init__(self, url: str, progress: TransferProgress) -> None:
        self._url = url
        self._progress = progress
        self._mark: tuple[float, int] | None = None

    def __call__(self, done: int, total: int | None, connections: int = 1, /) -> None:
        """Pass on how the work goes."""
        self._progress(done, total, connections)
        if done == total:
            return
        now = time.monotonic()
        began, before = self._mark or (now, done)
        if now - began >= _WINDOW:
            if done - before < _CRAWL * (now - began):
                raise SlowError(f"{self._url}: only {max(done - before, 0) / (now - began) / 1e3:,.0f} kB/s")
            began, before = now, done
        self._mark = (began, before)


def _host(url: str) -> str:
    """The host of an address; of a transport that knows its own, such as `gdrive://ID`, what is before the colon."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # No address at all, as the one who asks there will say.
        return url
    return parts.netloc if parts.scheme in ("http", "https") else parts.scheme

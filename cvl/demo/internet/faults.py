"""Faults that a test can ask of the stand-in: which there are, which requests they meet, and how often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from http import HTTPStatus

from cvl.demo.internet.drive import DRIVE_HOSTS
from cvl.demo.internet.exchange import Reply, Request
from cvl.demo.internet.resource import Answer

HOP = "_hop"


class FaultKind(Enum):
    """What goes wrong. Faults of the body meet only a GET that would be answered with one (status 200 or 206)."""

    STATUS = "another status in place of the reply, with Retry-After if the fault names one"
    HTML = "status 200 and a web page in place of the body"
    TRUNCATE = "Content-Length counts all bytes, but the connection is closed after `after` of them"
    RESET = "the connection is reset after `after` bytes"
    STALL = "nothing more comes after `after` bytes, until the client gives up or the stand-in stops"
    IGNORE_RANGE = "a request for a range is answered with status 200 and the whole file"
    WRONG_CONTENT_RANGE = "status 206 with other bytes than were asked for; Content-Range says so"
    CHANGED_ETAG = "from this request on the file has another entity tag, until heal() whatever `times` says"
    FLIP = "all bits of the body's byte number `after` are inverted"
    NO_CONTENT_LENGTH = "no length is given, the end of the connection is the end of the body"
    CHUNKED = "no length is given, the body comes in HTTP's chunks"
    CONTENT_ENCODING = "the body is gzipped, and Content-Encoding says so, although nobody asked for it"
    REDIRECT = "`hops` redirects before the reply, told apart by a query field `_hop`"
    REDIRECT_LOOP = "a redirect that leads to itself for ever"
    NO_HEAD = "status 405 on HEAD"
    QUOTA = "Google Drive's page of a used-up download quota in place of the reply"


@dataclass(frozen=True)
class Fault:
    """One fault that waits for its requests.

    Args:
        pattern: glob over the whole url that the client meant, query included; `*` matches slashes too.
        kind: what goes wrong.
        times: how many requests it meets before all is well again.
        after: body bytes that are still sent, or the place of the flipped byte. A body that is no longer than this
            is left alone and does not count.
        method: only requests of this method; None for every method that the kind can meet.
        status: the status of STATUS.
        retry_after: the Retry-After header of STATUS: seconds, or a date as HTTP writes it.
        hops: number of redirects of REDIRECT.
    """

    pattern: str
    kind: FaultKind
    times: int = 1
    after: int = 0
    method: str | None = None
    status: int = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after: str | int | None = None
    hops: int = 1

    @property
    def stands(self) -> bool:
        """Whether it stays until heal(), and leaves room for a second fault on the same request."""
        return self.kind is FaultKind.CHANGED_ETAG

    def meets(self, request: Request, answer: Answer) -> bool:
        """Whether this request, which would be answered with `answer`, is one of its own."""
        named = self.method in (None, request.method) and fnmatchcase(request.url, self.pattern)
        return named and _CONDITIONS.get(self.kind, _has_body)(Case(self, request, answer))


@dataclass(frozen=True)
class Case:
    """A fault, a request, and what would be answered without the fault."""

    fault: Fault
    request: Request
    answer: Answer

    @property
    def reply(self) -> Reply:
        """The answer as it would be sent to this request."""
        return self.answer.render(self.request)


def _has_body(case: Case) -> bool:
    reply = case.reply
    with_body = reply.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
    return case.request.method == "GET" and with_body and reply.body.size > case.fault.after


def _has_range(case: Case) -> bool:
    return case.reply.status == HTTPStatus.PARTIAL_CONTENT


def _is_no_hop(case: Case) -> bool:
    return HOP not in case.request.query


_CONDITIONS: dict[FaultKind, Callable[[Case], bool]] = {
    FaultKind.STATUS: lambda _: True,
    FaultKind.IGNORE_RANGE: _has_range,
    FaultKind.WRONG_CONTENT_RANGE: _has_range,
    FaultKind.CHANGED_ETAG: lambda case: "ETag" in case.reply.headers,
    FaultKind.REDIRECT: _is_no_hop,
    FaultKind.REDIRECT_LOOP: _is_no_hop,
    FaultKind.NO_HEAD: lambda case: case.request.method == "HEAD",
    FaultKind.QUOTA: lambda case: case.request.host in DRIVE_HOSTS,
}


@dataclass
class _Pending:
    fault: Fault
    left: int


class Faults:
    """The faults that still wait, in the order of their injection. Safe to use from several threads."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []
        self._lock = threading.Lock()

    def inject(self, fault: Fault) -> None:
        """Add one to the end of the queue."""
        with self._lock:
            self._pending.append(_Pending(fault, fault.times))

    def heal(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._pending.clear()

    def standing(self, request: Request, answer: Answer) -> list[Fault]:
        """Those that stay until heal() and meet this request."""
        with self._lock:
            faults = [pending.fault for pending in self._pending]
        return [fault for fault in faults if fault.stands and fault.meets(request, answer)]

    def take(self, request: Request, answer: Answer) -> Fault | None:
        """The first of the others that meets this request; it counts as used once more."""
        with self._lock:
            for pending in self._pending:
                if pending.left > 0 and not pending.fault.stands and pending.fault.meets(request, answer):
                    pending.left -= 1
                    return pending.fault
            return None

"""Faults that a test can ask of the stand-in: which there are, and which requests they meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path

from cvl.demo.internet.drive import DRIVE_HOSTS
from cvl.demo.internet.exchange import Reply, Request
from cvl.demo.internet.resource import Answer, Resource

HOP = "_hop"


class FaultKind(Enum):
    """What goes wrong. Faults of the body meet only a GET that would be answered with one (status 200 or 206)."""

    STATUS = "another status in place of the reply, with Retry-After if the fault names one"
    EXPIRE = "as STATUS, once an address has answered `skip` requests; a fresh one, with another query, is good again"
    CROWDED = "as STATUS, for a request that comes while `limit` others of its pattern are being answered"
    HTML = "status 200 and a web page in place of the body"
    TRUNCATE = "Content-Length counts all bytes, but the connection is closed after `after` of them"
    RESET = "the connection is reset after `after` bytes"
    STALL = "nothing more comes after `after` bytes, until the client gives up or the stand-in stops"
    SLOW = "after `after` bytes the body comes at `rate` bytes a second"
    RATE = "every body comes at `rate` bytes a second, until heal() whatever `times` says"
    NO_RANGES = "the server knows no ranges and does not claim to, until heal() whatever `times` says"
    IGNORE_RANGE = "a request for a range is answered with status 200 and the whole file"
    WRONG_CONTENT_RANGE = "status 206 with other bytes than were asked for; Content-Range says so"
    WRONG_TOTAL = "status 206 with the right bytes, but by Content-Range the file has one byte more than it has"
    EXCESS = "status 206 and a Content-Range as asked for, but all bytes to the end of the file come"
    CHANGED_ETAG = "from this request on the file has another entity tag, until heal() whatever `times` says"
    REPLACED = "from this request on the file is `replacement`, with its own entity tag, until heal() likewise"
    FLIP = "all bits of the body's byte number `after` are inverted"
    NO_CONTENT_LENGTH = "no length is given, the end of the connection is the end of the body"
    CHUNKED = "no length is given, the body comes in HTTP's chunks"
    CONTENT_ENCODING = "the body is gzipped, and Content-Encoding says so, although nobody asked for it"
    REDIRECT = "`hops` redirects before the reply, or one to each host of `across` and back; `_hop` tells them apart"
    REDIRECT_LOOP = "a redirect that leads to itself for ever"
    NO_HEAD = "status 405 on HEAD"
    QUOTA = "Google Drive's page of a used-up download quota in place of the reply"
    PROXY_AUTH = "the proxy answers 407 to all that bring no credentials; any will do"
    UNKNOWN_AUTHORITY = "the host's certificate is issued by an authority that nobody knows"
    OTHER_NAME = "the host's certificate is issued for another name"


_STANDING = frozenset({FaultKind.CHANGED_ETAG, FaultKind.REPLACED, FaultKind.RATE, FaultKind.NO_RANGES})
_OF_TUNNELS = frozenset({FaultKind.PROXY_AUTH, FaultKind.UNKNOWN_AUTHORITY, FaultKind.OTHER_NAME})


@dataclass(frozen=True)
class Fault:
    """One fault that waits for its requests.

    Args:
        pattern: glob over the whole url that the client meant, query included; `*` matches slashes too. The url of
            a tunnel is `https://host`.
        kind: what goes wrong.
        times: how many requests it meets before all is well again.
        skip: how many requests that it could meet are left alone first; of EXPIRE, how many to each address.
        after: body bytes that are still sent in good order, or the place of the flipped byte. A body that is no
            longer than this is left alone and does not count.
        method: only requests of this method; None for every method that the kind can meet.
        status: the status of STATUS, EXPIRE and CROWDED.
        retry_after: the Retry-After header of these three: seconds, or a date as HTTP writes it.
        hops: number of redirects of REDIRECT.
        across: hosts that REDIRECT leads through, in place of `hops`.
        rate: bytes a second of SLOW and RATE.
        limit: answers at once of CROWDED.
        replacement: the file of REPLACED.
    """

    pattern: str
    kind: FaultKind
    times: int = 1
    skip: int = 0
    after: int = 0
    method: str | None = None
    status: int = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after: str | int | None = None
    hops: int = 1
    across: tuple[str, ...] = ()
    rate: float = 1.0
    limit: int = 1
    replacement: Path | None = None

    @property
    def stands(self) -> bool:
        """Whether it stays until heal(), and leaves room for a second fault on the same request."""
        return self.kind in _STANDING

    def meets(self, request: Request, answer: Answer) -> bool:
        """Whether this request, which would be answered with `answer`, is one of its own."""
        if request.method == "CONNECT" and self.kind not in _OF_TUNNELS and self.method != "CONNECT":
            return False
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


def _has_etag(case: Case) -> bool:
    return "ETag" in case.reply.headers


def _is_no_hop(case: Case) -> bool:
    return HOP not in case.request.query


def _is_tunnel(case: Case) -> bool:
    return case.request.method == "CONNECT"


def _lacks_credentials(case: Case) -> bool:
    # What comes through a tunnel is none of the proxy's business.
    for_the_proxy = _is_tunnel(case) or case.request.url.startswith("http://")
    return for_the_proxy and "proxy-authorization" not in case.request.headers


_CONDITIONS: dict[FaultKind, Callable[[Case], bool]] = {
    FaultKind.STATUS: lambda _: True,
    FaultKind.EXPIRE: lambda _: True,
    FaultKind.CROWDED: lambda _: True,
    FaultKind.NO_RANGES: lambda case: isinstance(case.answer, Resource),
    FaultKind.IGNORE_RANGE: _has_range,
    FaultKind.WRONG_CONTENT_RANGE: _has_range,
    FaultKind.WRONG_TOTAL: _has_range,
    FaultKind.EXCESS: _has_range,
    FaultKind.CHANGED_ETAG: _has_etag,
    FaultKind.REPLACED: _has_etag,
    FaultKind.REDIRECT: _is_no_hop,
    FaultKind.REDIRECT_LOOP: _is_no_hop,
    FaultKind.NO_HEAD: lambda case: case.request.method == "HEAD",
    FaultKind.QUOTA: lambda case: case.request.host in DRIVE_HOSTS,
    FaultKind.PROXY_AUTH: _lacks_credentials,
    FaultKind.UNKNOWN_AUTHORITY: _is_tunnel,
    FaultKind.OTHER_NAME: _is_tunnel,
}

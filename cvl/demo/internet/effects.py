"""What each kind of fault does to an answer."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from cvl.demo.internet.drive import quota_page
from cvl.demo.internet.exchange import Body, Data, Ending, Framing, Reply, Request, page, redirect, text
from cvl.demo.internet.faults import HOP, Case, Fault, FaultKind
from cvl.demo.internet.resource import Answer, Resource, Span, parse_range

_ENDLESS = "endless"


@dataclass(frozen=True)
class Flipped:
    """A body with all bits of one byte inverted."""

    body: Body
    offset: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.body.size

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, in the pieces of the body beneath."""
        start = 0
        for chunk in self.body.chunks():
            place = self.offset - start
            start += len(chunk)
            if 0 <= place < len(chunk):
                yield chunk[:place] + bytes([chunk[place] ^ 0xFF]) + chunk[place + 1 :]
            else:
                yield chunk


def apply(fault: Fault, request: Request, answer: Answer) -> Answer:
    """What is answered under the fault in place of `answer`."""
    return _EFFECTS[fault.kind](Case(fault, request, answer))


def next_hop(request: Request) -> Reply | None:
    """The redirect for a request that is on its way through a chain of them, None for every other request."""
    hop = request.query.get(HOP, "0")
    if hop == _ENDLESS:
        return redirect(request.url)
    return redirect(_with_hop(request.url, str(int(hop) - 1))) if hop.isdecimal() and int(hop) > 0 else None


def _with_hop(url: str, hop: str) -> str:
    split = urlsplit(url)
    fields = [(name, value) for name, value in parse_qsl(split.query, keep_blank_values=True) if name != HOP]
    return urlunsplit(split._replace(query=urlencode([*fields, (HOP, hop)])))


def _status(case: Case) -> Answer:
    wish = {} if case.fault.retry_after is None else {"Retry_After": str(case.fault.retry_after)}
    return text(case.fault.status, "The stand-in was told to fail here.\n", **wish)


def _ending(case: Case, ending: Ending) -> Answer:
    return replace(case.reply, ending=ending, cut=case.fault.after)


def _wrong_content_range(case: Case) -> Answer:
    if not isinstance(case.answer, Resource):
        return case.answer
    asked = parse_range(case.request.headers["range"], case.answer.size) or Span(0, 0)
    end = case.answer.size - 1
    shift = -1 if asked.first > 0 else 1
    return case.answer.part(Span(min(asked.first + shift, end), min(asked.last + shift, end)))


def _changed_etag(case: Case) -> Answer:
    tag = '"changed-' + case.reply.headers["ETag"].strip('"') + '"'
    if isinstance(case.answer, Resource):
        return replace(case.answer, etag=tag)
    return replace(case.answer, headers={**case.answer.headers, "ETag": tag})


def _flip(case: Case) -> Answer:
    return replace(case.reply, body=Flipped(case.reply.body, case.fault.after))


def _content_encoding(case: Case) -> Answer:
    packed = Data(gzip.compress(b"".join(case.reply.body.chunks()), mtime=0))
    return replace(case.reply, headers={**case.reply.headers, "Content-Encoding": "gzip"}, body=packed)


_LOGIN = page(HTTPStatus.OK, "Sign in", "<p>Please sign in to this network to go on.</p>")
_NO_HEAD = text(HTTPStatus.METHOD_NOT_ALLOWED, "This server knows GET only.\n", Allow="GET")

_EFFECTS: dict[FaultKind, Callable[[Case], Answer]] = {
    FaultKind.STATUS: _status,
    FaultKind.HTML: lambda _: _LOGIN,
    FaultKind.TRUNCATE: lambda case: _ending(case, Ending.CLOSED),
    FaultKind.RESET: lambda case: _ending(case, Ending.RESET),
    FaultKind.STALL: lambda case: _ending(case, Ending.STALLED),
    FaultKind.IGNORE_RANGE: lambda case: case.answer.render(case.request.without("range")),
    FaultKind.WRONG_CONTENT_RANGE: _wrong_content_range,
    FaultKind.CHANGED_ETAG: _changed_etag,
    FaultKind.FLIP: _flip,
    FaultKind.NO_CONTENT_LENGTH: lambda case: replace(case.reply, framing=Framing.CLOSE),
    FaultKind.CHUNKED: lambda case: replace(case.reply, framing=Framing.CHUNKED),
    FaultKind.CONTENT_ENCODING: _content_encoding,
    FaultKind.REDIRECT: lambda case: redirect(_with_hop(case.request.url, str(case.fault.hops - 1))),
    FaultKind.REDIRECT_LOOP: lambda case: redirect(_with_hop(case.request.url, _ENDLESS)),
    FaultKind.NO_HEAD: lambda _: _NO_HEAD,
    FaultKind.QUOTA: lambda _: quota_page(),
}

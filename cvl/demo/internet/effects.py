"""What each kind of fault does to an answer."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from cvl.demo.internet.drive import quota_page
from cvl.demo.internet.exchange import Body, Certificate, Data, Ending, Framing, Reply, Request, page, redirect, text
from cvl.demo.internet.faults import HOP, Case, Fault, FaultKind
from cvl.demo.internet.pace import Pace
from cvl.demo.internet.resource import Answer, Resource, Span, parse_range

_ENDLESS = "endless"
_VIA = "via:"


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
    if hop.startswith(_VIA):
        return _redirect_to(request.url, hop.removeprefix(_VIA).split(","))
    return redirect(_with_hop(request.url, str(int(hop) - 1))) if hop.isdecimal() and int(hop) > 0 else None


def _redirect_to(url: str, hosts: Sequence[str]) -> Reply:
    """A redirect to the first of the hosts, where the next one will lead on to the second."""
    there = urlunsplit(urlsplit(url)._replace(netloc=hosts[0]))
    return redirect(_with_hop(there, _VIA + ",".join(hosts[1:]) if hosts[1:] else "0"))


def _with_hop(url: str, hop: str) -> str:
    split = urlsplit(url)
    fields = [(name, value) for name, value in parse_qsl(split.query, keep_blank_values=True) if name != HOP]
    return urlunsplit(split._replace(query=urlencode([*fields, (HOP, hop)])))


def _redirect(case: Case) -> Answer:
    if case.fault.across:
        return _redirect_to(case.request.url, (*case.fault.across, case.request.host))
    return redirect(_with_hop(case.request.url, str(case.fault.hops - 1)))


def _status(case: Case) -> Answer:
    wish = {} if case.fault.retry_after is None else {"Retry_After": str(case.fault.retry_after)}
    return text(case.fault.status, "The stand-in was told to fail here.\n", **wish)


def _ending(case: Case, ending: Ending) -> Answer:
    return replace(case.reply, ending=ending, cut=case.fault.after)


def _no_ranges(case: Case) -> Answer:
    reply = case.answer.render(case.request.without("range"))
    return replace(reply, headers={name: value for name, value in reply.headers.items() if name != "Accept-Ranges"})


def _wrong_content_range(case: Case) -> Answer:
    if not isinstance(case.answer, Resource):
        return case.answer
    asked = parse_range(case.request.headers["range"], case.answer.size) or Span(0, 0)
    end = case.answer.size - 1
    shift = -1 if asked.first > 0 else 1
    return case.answer.part(Span(min(asked.first + shift, end), min(asked.last + shift, end)))


def _wrong_total(case: Case) -> Answer:
    span, _, total = case.reply.headers["Content-Range"].rpartition("/")
    return _with_headers(case.reply, {"Content-Range": f"{span}/{int(total) + 1}"})


def _excess(case: Case) -> Answer:
    if not isinstance(case.answer, Resource):
        return case.answer
    asked = parse_range(case.request.headers["range"], case.answer.size) or Span(0, 0)
    return replace(case.reply, body=case.answer.part(Span(asked.first, case.answer.size - 1)).body)


def _replaced(case: Case) -> Answer:
    if not isinstance(case.answer, Resource) or case.fault.replacement is None:
        return case.answer
    return replace(Resource.of(case.fault.replacement, headers=case.answer.headers), pace=case.answer.pace)


def _changed_etag(case: Case) -> Answer:
    tag = '"changed-' + case.reply.headers["ETag"].strip('"') + '"'
    if isinstance(case.answer, Resource):
        return replace(case.answer, etag=tag)
    return _with_headers(case.answer, {"ETag": tag})


def _flip(case: Case) -> Answer:
    return replace(case.reply, body=Flipped(case.reply.body, case.fault.after))


def _content_encoding(case: Case) -> Answer:
    packed = Data(gzip.compress(b"".join(case.reply.body.chunks()), mtime=0))
    return replace(_with_headers(case.reply, {"Content-Encoding": "gzip"}), body=packed)


def _with_headers(reply: Reply, headers: Mapping[str, str]) -> Reply:
    return replace(reply, headers={**reply.headers, **headers})


def _certificate(case: Case, certificate: Certificate) -> Answer:
    return replace(case.reply, certificate=certificate)


_LOGIN = page(HTTPStatus.OK, "Sign in", "<p>Please sign in to this network to go on.</p>")
_NO_HEAD = text(HTTPStatus.METHOD_NOT_ALLOWED, "This server knows GET only.\n", Allow="GET")

_PROXY_AUTH = text(
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "Who are you?\n", Proxy_Authenticate='Basic realm="the stand-in"'
)

_EFFECTS: dict[FaultKind, Callable[[Case], Answer]] = {
    FaultKind.STATUS: _status,
    FaultKind.EXPIRE: _status,
    FaultKind.CROWDED: _status,
    FaultKind.HTML: lambda _: _LOGIN,
    FaultKind.TRUNCATE: lambda case: _ending(case, Ending.CLOSED),
    FaultKind.RESET: lambda case: _ending(case, Ending.RESET),
    FaultKind.STALL: lambda case: _ending(case, Ending.STALLED),
    FaultKind.SLOW: lambda case: replace(case.reply, pace=Pace(case.fault.rate, case.fault.after)),
    FaultKind.RATE: lambda case: replace(case.answer, pace=Pace(case.fault.rate)),
    FaultKind.NO_RANGES: _no_ranges,
    FaultKind.IGNORE_RANGE: lambda case: case.answer.render(case.request.without("range")),
    FaultKind.WRONG_CONTENT_RANGE: _wrong_content_range,
    FaultKind.WRONG_TOTAL: _wrong_total,
    FaultKind.EXCESS: _excess,
    FaultKind.CHANGED_ETAG: _changed_etag,
    FaultKind.REPLACED: _replaced,
    FaultKind.FLIP: _flip,
    FaultKind.NO_CONTENT_LENGTH: lambda case: replace(case.reply, framing=Framing.CLOSE),
    FaultKind.CHUNKED: lambda case: replace(case.reply, framing=Framing.CHUNKED),
    FaultKind.CONTENT_ENCODING: _content_encoding,
    FaultKind.REDIRECT: _redirect,
    FaultKind.REDIRECT_LOOP: lambda case: redirect(_with_hop(case.request.url, _ENDLESS)),
    FaultKind.NO_HEAD: lambda _: _NO_HEAD,
    FaultKind.QUOTA: lambda _: quota_page(),
    FaultKind.PROXY_AUTH: lambda _: _PROXY_AUTH,
    FaultKind.UNKNOWN_AUTHORITY: lambda case: _certificate(case, Certificate.UNKNOWN_AUTHORITY),
    FaultKind.OTHER_NAME: lambda case: _certificate(case, Certificate.OTHER_NAME),
}

"""What passes between a client and the stand-in: requests, replies with their bodies, and the record of both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from cvl.demo.internet.pace import Pace

CHUNK = 256 * 1024


@dataclass(frozen=True)
class Request:
    """One request, as the host that the client meant would see it.

    Args:
        method: `GET` or `HEAD`; `CONNECT` for a tunnel to a host, whose url is `https://host`.
        url: the whole url with scheme and host, also where the client spoke to the loopback address.
        headers: by lower-case name.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The host's name in lower case, without a port."""
        return urlsplit(self.url).hostname or ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's segments, decoded one by one: an encoded slash stays inside of its segment."""
        return tuple(unquote(part) for part in urlsplit(self.url).path.split("/")[1:])

    @property
    def query(self) -> dict[str, str]:
        """The query's fields; the last one counts where a name comes twice."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    def without(self, *names: str) -> Request:
        """The same request without these headers."""
        return replace(self, headers={name: value for name, value in self.headers.items() if name not in names})


class Body(Protocol):
    """The bytes of a reply. They can be read more than once."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, in pieces of at most `CHUNK`."""


@dataclass(frozen=True)
class Data:
    """A body that is held in memory."""

    content: bytes = b""

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.content)

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, in pieces of at most `CHUNK`."""
        for start in range(0, len(self.content), CHUNK):
            yield self.content[start : start + CHUNK]


@dataclass(frozen=True)
class FilePart:
    """`size` bytes of a file from offset `first`, read when they are sent."""

    path: Path
    first: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, in pieces of at most `CHUNK`; fewer of them if the file was cut meanwhile."""
        with self.path.open("rb") as file:
            file.seek(self.first)
            left = self.size
            while left and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk


class Framing(Enum):
    """How the client learns where the body ends."""

    LENGTH = "Content-Length"
    CHUNKED = "Transfer-Encoding: chunked"
    CLOSE = "the connection is closed"


class Ending(Enum):
    """What happens to a body after its first `cut` bytes."""

    WHOLE = "all of it is sent"
    CLOSED = "the connection is closed in good order"
    RESET = "the connection is reset"
    STALLED = "nothing more is sent, the connection stays open"


class Certificate(Enum):
    """What the host at the other end of a tunnel shows of itself."""

    GOOD = "issued for its name by the authority of `ca.pem`"
    UNKNOWN_AUTHORITY = "issued for its name by an authority that nobody knows"
    OTHER_NAME = "issued by the authority of `ca.pem`, but for another name"


@dataclass(frozen=True)
class Reply:
    """A reply that is ready to be sent.

    Args:
        status: as HTTP numbers them; 200 to a `CONNECT` opens the tunnel.
        headers: those that say what comes; how long the body is, `framing` says.
        body: the bytes.
        framing: how the client learns where they end.
        ending: what becomes of the body after its first `cut` bytes.
        cut: see `ending`.
        pace: the speed of the body; None for as fast as it can.
        certificate: of the host at the other end, for a reply that opens a tunnel.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=Data)
    framing: Framing = Framing.LENGTH
    ending: Ending = Ending.WHOLE
    cut: int = 0
    pace: Pace | None = None
    certificate: Certificate = Certificate.GOOD

    def render(self, request: Request) -> Reply:  # noqa: ARG002 - a Resource's render looks at the request
        """Itself: the reply is the same whatever was asked."""
        return self


@dataclass(frozen=True)
class Exchange:
    """The record of one answered request.

    Args:
        method: `GET`, `HEAD`, or `CONNECT` where the tunnel was refused.
        url: the whole url that the client meant.
        range: the `Range` header as it was sent, or None.
        status: the reply's status.
        bytes_sent: body bytes handed to the network, without headers and framing.
    """

    method: str
    url: str
    range: str | None
    status: int
    bytes_sent: int


def text(status: int, words: str, **headers: str) -> Reply:
    """A reply of plain text; an underscore in a keyword stands for the hyphen of the header's name."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"Content-Type": "text/plain; charset=utf-8", **named}, Data(words.encode()))


def page(status: int, title: str, content: str) -> Reply:
    """A web page; `content` is the HTML inside of its body."""
    html = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body>{content}</body></html>\n"
    return Reply(status, {"Content-Type": "text/html; charset=utf-8"}, Data(html.encode()))


def json_reply(value: object) -> Reply:
    """A reply of status 200 whose body is `value` as JSON."""
    return Reply(HTTPStatus.OK, {"Content-Type": "application/json"}, Data(json.dumps(value).encode()))


def redirect(url: str, **headers: str) -> Reply:
    """A 302 to `url` without a body; keywords as in `text`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(HTTPStatus.FOUND, {"Location": url, **named})

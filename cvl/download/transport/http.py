"""The http transport: what is asked of a server for some bytes of a file, and which answers may be used.

Every answer is held to what was asked: a 206 must begin where it was asked to and be of the same version of the file, a
web page is refused, a transport encoding is refused, a body that ends early is never taken for a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import httpx

from cvl.download.lock import unsigned
from cvl.download.transport.answers import check_status
from cvl.download.transport.journal import Version
from cvl.download.transport.ranges import Span
from cvl.download.transport.wire import is_framed
from cvl.errors import TransferError, WebPageError, WrongContentError

ENDLESS = 2**63 - 1
"""Where a span stops whose file's size nobody knows."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PUBLISHER_CHANGED = (
    "the publisher changed the file: look for a newer cvl, or put the new size and digest into a manifest"
)


@dataclass(frozen=True)
class Address:
    """Where a file can be had right now.

    Args:
        url: with its signature, if it has one.
        headers: to send along, such as a token.
        size: bytes that the whole file must have, None where only the server knows.
        proven: whether a digest will be held against the bytes, so that a part may be continued without a validator.
        certain: whether that digest is beyond doubt.
        renewable: whether a refusal means that a fresh address must be asked for.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    proven: bool = False
    certain: bool = False
    renewable: bool = False

    @property
    def name(self) -> str:
        """The address without its signature, for messages and records."""
        return unsigned(self.url)


@dataclass(frozen=True)
class Arrival:
    """What the server said of the file that has arrived.

    Args:
        url: without signature.
        etag: as sent, None without one.
        revision: the hub's commit.
    """

    url: str
    etag: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Opened:
    """An answer that may be used.

    Args:
        response: its body is still to be read.
        span: the bytes of the file that the body holds, as far as they were asked for.
        version: of the file.
        ranged: whether the server gave the range that it was asked for, and not the whole file.
    """

    response: httpx.Response
    span: Span
    version: Version
    ranged: bool


class StaleError(TransferError):
    """What is here of the file cannot be continued with this server: it must be begun anew.

    `whole` says that the server cannot be trusted with ranges, so that the file must be asked for in one piece.
    """

    def __init__(self, message: str, *, whole: bool = False) -> None:
        super().__init__(message)
        self.whole = whole


@contextmanager
def opened(client: httpx.Client, address: Address, wish: Span | None, version: Version | None) -> Iterator[Opened]:
    """Ask for the bytes of `wish`, or for the whole file without one, and hold the answer against the question.

    `version` is the one that the bytes must be of, None where any will do.

    Raises:
        StaleError: the server has another version, or does not give what it is asked for.
        TransferError: it gave nothing of use now. GoneError, RefusedError, WrongContentError: nor will it.
    """
    headers = dict(address.headers)
    if wish is not None:
        last = "" if wish.stop == ENDLESS else wish.stop - 1
        headers["Range"] = f"bytes={wish.start}-{last}"
        validator = _validator_for(address, version)
        if validator is not None:
            headers["If-Range"] = validator
    with client.stream("GET", address.url, headers=headers) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and wish is not None:
            found = _nothing_there(response, address, wish, version)
            _check_size(found, address)
            yield found
            return
        check_status(response.status_code, response.headers, unsigned(str(response.url)))
        _check_kind(response, address)
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            found = _ranged(response, address, wish or Span(0, ENDLESS), version)
            if wish is None:
                found = _all_of_it(found, address)
        else:
            found = _whole(response, address)
        _check_size(found, address)
        yield found


def _nothing_there(response: httpx.Response, address: Address, wish: Span, version: Version | None) -> Opened:
    """The server has no byte at all where some were asked for: the file is empty, or ends where ours does."""
    expected = version is None or version.size in (None, wish.start)
    if expected and response.headers.get("content-range") == f"bytes */{wish.start}":
        found = Version(address.name, _validator(response), wish.start)
        return Opened(response, Span(wish.start, wish.start), found, ranged=True)
    said = "the server has fewer bytes than it should have" if wish.start else "the server gives no range at all"
    raise StaleError(f"{address.name}: {said}; beginning anew", whole=not wish.start)


def _check_kind(response: httpx.Response, address: Address) -> None:
    if response.headers.get("content-type", "").startswith("text/html"):
        hint = "open the address in a browser"
        raise WebPageError(f"{address.name}: expected a file, found a web page", hint=hint)
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise WrongContentError(f"{address.name}: the server sends the file as {encoding}, not as it is")


def _ranged(response: httpx.Response, address: Address, wish: Span, version: Version | None) -> Opened:
    found = response.headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(found)
    if match is None:
        raise StaleError(f"{address.name}: expected a range, found Content-Range `{found}`; beginning anew", whole=True)
    start, last, total = map(int, match.groups())
    if start != wish.start or not start <= last < total:
        asked = f"asked for bytes from {wish.start:,} on, the server sent those from {start:,} on as `{found}`"
        raise StaleError(f"{address.name}: {asked}; beginning anew", whole=True)
    _check_version(response, address, total, version)
    span = Span(start, min(last + 1, wish.stop))
    # What is given under a date need not name it again.
    kept = version.validator if version is not None and version.url == address.name else None
    return Opened(response, span, Version(address.name, _validator(response) or kept, total), ranged=True)


def _all_of_it(found: Opened, address: Address) -> Opened:
    """A range that nobody asked for will do if it is all of the file."""
    if found.span.stop != found.version.size:
        raise WrongContentError(f"{address.name}: asked for the whole file, the server sent a part of it")
    return replace(found, ranged=False)


def _check_version(response: httpx.Response, address: Address, total: int, version: Version | None) -> None:
    """Hold the answer against the version of the bytes that are here; a server may have ignored If-Range."""
    kept, found = _validator_for(address, version), None
    if kept is not None:
        found = response.headers.get("etag" if kept.startswith('"') else "last-modified")
    # Where the size is known, another one is no new version but the wrong file.
    resized = address.size is None and version is not None and version.size not in (None, total)
    if found not in (None, kept) or resized:
        raise StaleError(f"{address.name}: the server's file has changed; beginning anew")


def _validator_for(address: Address, version: Version | None) -> str | None:
    """What the server must still call the bytes that are here.

    Another mirror names the same bytes otherwise, and so may another machine behind the same address: under a digest
    that is beyond doubt names are no matter.
    """
    if version is None or version.url != address.name or address.certain:
        return None
    return version.validator


def _whole(response: httpx.Response, address: Address) -> Opened:
    length = response.headers.get("content-length", "")
    total = int(length) if length.isdigit() else address.size
    if total is None and not is_framed(response) and not address.proven:
        said = "the server does not say how long the file is, so a cut one could not be told"
        raise WrongContentError(f"{address.name}: {said}")
    stop = ENDLESS if total is None else total
    return Opened(response, Span(0, stop), Version(address.name, _validator(response), total), ranged=False)


def _check_size(found: Opened, address: Address) -> None:
    total = found.version.size
    if address.size is not None and total is not None and total != address.size:
        said = f"{address.name}: expected {address.size:,} bytes, the server has {total:,}"
        raise WrongContentError(said, hint=_PUBLISHER_CHANGED)


def _validator(response: httpx.Response) -> str | None:
    etag = response.headers.get("etag")
    if etag is not None and not etag.startswith("W/"):
        return str(etag)
    date = response.headers.get("last-modified")
    return str(date) if date is not None else None

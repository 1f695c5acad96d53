"""The http transport: one file from one address into its part, exactly.

Every answer is held to what was asked: a 206 must begin where the part ends and be of a file of the right size, a web
page is refused, a body that ends early is never taken for a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from cvl import __version__
from cvl.download.lock import unsigned
from cvl.download.part import Journal, Part
from cvl.errors import GoneError, RefusedError, TransferError, WrongContentError
from cvl.events import Progress

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_TIMEOUT = httpx.Timeout(connect=20, read=60, write=60, pool=None)


@dataclass(frozen=True)
class Address:
    """Where a file can be had right now.

    Args:
        url: with its signature, if it has one.
        headers: to send along, such as a token.
        size: bytes that the whole file must have, None where only the server knows.
        proven: whether a digest will be held against the bytes, so that a part may be continued without a validator.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    proven: bool = False


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


def make_client(connections: int) -> httpx.Client:
    """The client that all transfers share: proxies and certificates from the environment, redirects followed."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    # Archives must come as they are: a transport encoding would change their bytes.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"cvl/{__version__}"}
    return httpx.Client(limits=limits, timeout=_TIMEOUT, headers=headers, follow_redirects=True)


def download(client: httpx.Client, address: Address, part: Part, progress: Progress) -> Arrival:
    """Bring `part` to its full length, going on where it ends.

    `progress(bytes so far, bytes in all)` is called after every chunk; what it raises ends the transfer.

    Raises:
        TransferError: the transfer broke; what came is kept, and trying again is of use.
        GoneError, RefusedError, WrongContentError: trying again at this address is of no use.
    """
    url = unsigned(address.url)
    offset, validator = _resume_point(address, part, url)
    if address.size is not None and offset == address.size and offset > 0:
        return Arrival(url)
    headers = dict(address.headers)
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    with translated(url), client.stream("GET", address.url, headers=headers) as response:
        if offset and response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _nothing_left(response, part, offset, url)
        total = _accept(response, address, part, offset)
        if not offset or response.status_code == HTTPStatus.OK:
            part.begin(Journal(url, _validator(response)))
        received = _receive(response, part, total, progress)
        if total is not None and received != total:
            raise TransferError(f"{url}: the answer ended after {received:,} of {total:,} bytes")
        return Arrival(url, response.headers.get("etag"))


def _resume_point(address: Address, part: Part, url: str) -> tuple[int, str | None]:
    """Where to go on, and the validator that the server must still hold; (0, None) to begin anew."""
    size = part.size
    if size == 0 or (address.size is not None and size > address.size):
        return 0, None
    journal = part.journal
    validator = journal.validator if journal is not None and journal.url == url else None
    if validator is None and not address.proven:
        return 0, None
    return size, validator


def _nothing_left(response: httpx.Response, part: Part, offset: int, url: str) -> Arrival:
    """The server has no byte after those that are here: either they are the whole file, or another one's."""
    if response.headers.get("content-range") == f"bytes */{offset}":
        return Arrival(url, response.headers.get("etag"))
    part.discard()
    raise TransferError(f"{url}: the server has fewer than the {offset:,} bytes that are here; beginning anew")


def _accept(response: httpx.Response, address: Address, part: Part, offset: int) -> int | None:
    """The length of the whole file according to an answer that may be used; everything else is raised."""
    raise_for_status(response)
    url = unsigned(address.url)
    if response.headers.get("content-type", "").startswith("text/html"):
        raise WrongContentError(f"{url}: expected a file, found a web page", hint="open the address in a browser")
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise WrongContentError(f"{url}: the server sends the file as {encoding}, not as it is")
    total = _total(response, offset, part, url)
    if address.size is not None and total is not None and total != address.size:
        raise WrongContentError(
            f"{url}: expected {address.size:,} bytes, the server has {total:,}",
            hint="the publisher changed the file: look for a newer cvl, or put the new size and digest into a manifest",
        )
    if total is None and address.size is None and not is_framed(response) and not address.proven:
        raise WrongContentError(f"{url}: the server does not say how long the file is, so a cut one could not be told")
    return total if total is not None else address.size


def is_framed(response: httpx.Response) -> bool:
    """Whether the end of a body without length is marked, so that one that ends early is an error of the transport."""
    return response.http_version == "HTTP/2" or "chunked" in response.headers.get("transfer-encoding", "")


def _total(response: httpx.Response, offset: int, part: Part, url: str) -> int | None:
    if response.status_code == HTTPStatus.OK:
        length = response.headers.get("content-length")
        return int(length) if length is not None and length.isdigit() else None
    found = response.headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(found)
    if response.status_code != HTTPStatus.PARTIAL_CONTENT or match is None:
        raise TransferError(
            f"{url}: expected a range, found status {response.status_code} with Content-Range `{found}`"
        )
    if _is_of_another_version(response, part, url):
        # It ignored If-Range: these would be bytes of another version behind those that are here.
        part.discard()
        raise TransferError(f"{url}: the server's file has changed; beginning anew")
    if int(match[1]) != offset:
        # The server cannot be trusted with ranges, so the next attempt asks for the whole.
        part.discard()
        raise TransferError(
            f"{url}: asked for bytes from {offset:,} on, the server sent those from {int(match[1]):,} on"
        )
    return int(match[3])


def _is_of_another_version(response: httpx.Response, part: Part, url: str) -> bool:
    """Whether the answer bears another validator, of the same sort, than the one under which the part was begun."""
    journal = part.journal
    # Another mirror names the same bytes otherwise; a digest is held against them in the end.
    if journal is None or journal.url != url or journal.validator is None:
        return False
    kept = journal.validator
    found = response.headers.get("etag" if kept.startswith('"') else "last-modified")
    return found is not None and found != kept


def _receive(response: httpx.Response, part: Part, total: int | None, progress: Progress) -> int:
    """Append the body to the part; returns the part's length."""
    received = part.size
    with part.open() as file:
        # As they come from the network: of pieces of our own size, the one that the cut falls into would be lost.
        for chunk in response.iter_raw():
            if received == 0 and looks_like_html(chunk):
                raise WrongContentError(f"{unsigned(str(response.url))}: expected a file, found a web page")
            part.append(file, chunk)
            received += len(chunk)
            progress(received, total)
    return received


def looks_like_html(head: bytes) -> bool:
    """Whether a body begins as a web page does."""
    start = head[:512].lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml"))


def raise_for_status(response: httpx.Response) -> None:
    """Turn an answer without a file into the error that says whether trying again is of use.

    Raises:
        GoneError: 404, 410. RefusedError: 401, 403, 407, 451. TransferError: all else but 200 and 206.
    """
    status = response.status_code
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    said = f"{unsigned(str(response.url))}: the server says {status} {response.reason_phrase}".rstrip()
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise GoneError(said)
    if status in (401, 403, 407, 451):
        raise RefusedError(said)
    raise TransferError(said, retry_after=retry_after(response.headers))


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn httpx's errors into ours, in one place.

    Raises:
        WrongContentError: redirects without end, or an address that is none. TransferError: everything on the wire.
    """
    try:
        yield
    except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise WrongContentError(f"{url}: {error}") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise TransferError(f"{url}: {str(error) or type(error).__name__}") from error


def _validator(response: httpx.Response) -> str | None:
    etag = response.headers.get("etag")
    if etag is not None and not etag.startswith("W/"):
        return str(etag)
    date = response.headers.get("last-modified")
    return str(date) if date is not None else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: a number or a date; None if it says nothing that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None

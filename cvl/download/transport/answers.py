"""What servers say: which statuses are of use, when to come back, and what is a web page in place of a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from cvl.errors import GoneError, RefusedError, TransferError

_REFUSALS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
)
_TOO_MUCH = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def check_status(status: int, headers: Mapping[str, str], url: str) -> None:
    """Turn an answer without a file into the error that says whether trying again is of use.

    Args:
        status: of HTTP.
        headers: by name in lower case.
        url: for the message, without its signature.

    Raises:
        GoneError: 404, 410. RefusedError: 401, 403, 407, 451.
        TransferError: all else but 200 and 206; it says when to come back, if the server did.
    """
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    said = f"{url}: the server says {status} {_phrase(status)}".rstrip()
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise proxy_refusal(url)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise GoneError(said)
    if status in _REFUSALS:
        raise RefusedError(said)
    raise TransferError(said, retry_after=retry_after(headers), overload=status in _TOO_MUCH)


def proxy_refusal(url: str) -> RefusedError:
    """What to tell where a proxy wants credentials and has none, or wrong ones."""
    hint = "put them into HTTPS_PROXY and HTTP_PROXY: http://user:password@host:port"
    return RefusedError(f"{url}: the proxy asks for credentials (407 Proxy Authentication Required)", hint=hint)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: a number or a date; None if it says nothing that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


def looks_like_html(head: bytes) -> bool:
    """Whether a body begins as a web page does."""
    start = head[:512].lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml"))

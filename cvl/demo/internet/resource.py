"""A file as a web server offers it: entity tag, date, and any single range of its bytes."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path

from cvl.demo.internet.exchange import FilePart, Reply, Request, text
from cvl.demo.internet.pace import Pace

_SINGLE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Span:
    """Bytes `first` to `last` of a file, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.last - self.first + 1


class UnsatisfiableRangeError(ValueError):
    """The range is well formed, but no byte of the file lies in it."""


def parse_range(header: str, size: int) -> Span | None:
    """The bytes that a `Range` header asks of a file of `size` bytes, as RFC 9110 reads it.

    Returns:
        The span, cut to the file's end; None for a header that a server ignores: another unit, several ranges,
        a last byte before the first one.

    Raises:
        UnsatisfiableRangeError: nothing of the file lies in the range, the answer is 416.
    """
    match = _SINGLE_RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        span = Span(max(0, size - int(match[2])), size - 1)
    else:
        if match[2] and int(match[2]) < int(match[1]):
            return None
        span = Span(int(match[1]), min(int(match[2] or size), size - 1))
    if span.size < 1:
        raise UnsatisfiableRangeError(f"range {header!r} lies outside of {size} bytes")
    return span


@dataclass(frozen=True)
class Resource:
    """A file that can be asked for as a whole or in parts.

    Args:
        path: the file.
        size: its bytes when the request came.
        etag: strong entity tag, with its quotes.
        modified: date of its last change, as HTTP writes it.
        headers: further headers of every reply, such as Content-Disposition.
        pace: the speed at which its bytes are sent; None for as fast as they can.
    """

    path: Path
    size: int
    etag: str
    modified: str
    headers: Mapping[str, str] = field(default_factory=dict)
    pace: Pace | None = None

    @classmethod
    def of(cls, path: Path, *, etag: str | None = None, headers: Mapping[str, str] | None = None) -> Resource:
        """The file as it is now; without `etag`, one is made of its size and the nanosecond of its last change."""
        stat = path.stat()
        tag = etag or f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"'
        return cls(path, stat.st_size, tag, formatdate(stat.st_mtime, usegmt=True), headers or {})

    def render(self, request: Request) -> Reply:
        """The reply to a request: the whole file, the part that it asks for, or 416.

        A range counts for GET only, and under `If-Range` only if the tag or date named there is still the file's own.
        """
        header = request.headers.get("range")
        if header is None or request.method != "GET" or not self._is_unchanged(request):
            return self.whole()
        try:
            span = parse_range(header, self.size)
        except UnsatisfiableRangeError as error:
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            return text(status, str(error), Content_Range=f"bytes */{self.size}", Accept_Ranges="bytes")
        return self.whole() if span is None else self.part(span)

    def whole(self) -> Reply:
        """Status 200 with all bytes."""
        return Reply(HTTPStatus.OK, self._headers(), FilePart(self.path, 0, self.size), pace=self.pace)

    def part(self, span: Span) -> Reply:
        """Status 206 with the bytes of `span`, which has to lie within the file."""
        headers = self._headers() | {"Content-Range": f"bytes {span.first}-{span.last}/{self.size}"}
        return Reply(HTTPStatus.PARTIAL_CONTENT, headers, FilePart(self.path, span.first, span.size), pace=self.pace)

    def _headers(self) -> dict[str, str]:
        kind = mimetypes.guess_type(self.path.name)[0] or "application/octet-stream"
        standard = {"Content-Type": kind, "ETag": self.etag, "Last-Modified": self.modified, "Accept-Ranges": "bytes"}
        return {**standard, **self.headers}

    def _is_unchanged(self, request: Request) -> bool:
        return request.headers.get("if-range", self.etag) in (self.etag, self.modified)


Answer = Resource | Reply

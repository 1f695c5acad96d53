"""One small file: what its address answers, and what that says of the address or of its host."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from http import HTTPStatus

from cvl.download.lists import reasons
from cvl.download.lists.ledger import Row, State
from cvl.download.session import Session
from cvl.download.transport.answers import check_status
from cvl.download.transport.wire import Answer
from cvl.errors import GoneError, RefusedError, TransferError, UnreachableError, WrongContentError
from cvl.images import sniff

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_ONLY = 31
_MOST_UNPACKED = 64 << 20


@dataclass(frozen=True, slots=True)
class Landed:
    """What came of one address: a settled row, and the picture where there is one to be written under its name."""

    row: Row
    content: bytes = b""


def ask(row: Row, session: Session) -> Landed:
    """Ask one address; an answer that says all about it settles its row.

    Raises:
        TransferError: it may answer another time. `overload` says that its host wants to be left alone.
        UnreachableError: so it is with all of its host.
        Their message is a reason for the ledger.
    """
    try:
        return _picture(row, _get(row.url, session))
    except GoneError as error:
        return Landed(replace(row, state=State.GONE, reason=reasons.of_error(error, row.url)))
    except (RefusedError, WrongContentError) as error:
        # A proxy or a host that is angry for a day refuses everything: that is no reason to give up for good.
        return Landed(replace(row, state=State.FAILED, reason=reasons.of_error(error, row.url)))


def is_of_host(error: TransferError) -> bool:
    """Whether what `ask` raised says something of the host rather than of one address."""
    return error.overload or isinstance(error, UnreachableError)


def _get(url: str, session: Session) -> Answer:
    try:
        answer = session.wire.get(url)
    except (UnreachableError, RefusedError) as error:
        # Nothing was asked yet: no connection, or a certificate that is not trusted.
        raise UnreachableError(reasons.of_error(error, url)) from error
    except WrongContentError:
        raise
    except TransferError as error:
        raise TransferError(reasons.of_error(error, url)) from error
    session.throttle.take(len(answer.content))
    try:
        check_status(answer.status, answer.headers, url)
    except (GoneError, RefusedError):
        raise
    except TransferError as error:
        # A bare 503 may be of one address only; of 429 and of Retry-After the host says what it wants.
        overload = answer.status == HTTPStatus.TOO_MANY_REQUESTS or error.retry_after is not None
        reason = reasons.of_error(error, url)
        raise TransferError(reason, retry_after=error.retry_after, overload=overload) from error
    return answer


def _picture(row: Row, answer: Answer) -> Landed:
    if "content-length" not in answer.headers and not answer.framed:
        raise TransferError(reasons.NO_LENGTH)
    content = _unpacked(answer)
    kind = sniff(content)
    if kind is None:
        raise WrongContentError(reasons.of_content(content))
    done = replace(row, state=State.DONE, name=row.key + kind.suffix, bytes=len(content), reason=None)
    return Landed(done, content)


def _unpacked(answer: Answer) -> bytes:
    """The content as it was before a server packed it that was not asked to; some do."""
    content = answer.content
    if "gzip" not in answer.headers.get("content-encoding", "") or not content.startswith(_GZIP_MAGIC):
        return content
    unpacker = zlib.decompressobj(wbits=_GZIP_ONLY)
    try:
        unpacked = unpacker.decompress(content, _MOST_UNPACKED)
    except zlib.error as error:
        raise TransferError(f"broken off: its packed content cannot be unpacked: {error}") from error
    if not unpacker.eof:
        raise TransferError("broken off: its packed content ends early, or is far larger than a picture")
    return unpacked

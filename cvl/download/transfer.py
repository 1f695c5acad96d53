"""One file from wherever it can be had to a finished, proven file on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cvl.download import drive, hub, openxlab
from cvl.download.check import algorithms, check
from cvl.download.http import Address, Arrival, download
from cvl.download.lock import Seen, unsigned
from cvl.download.part import Part
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.errors import DigestError, GoneError, RefusedError, TransferError, WrongContentError
from cvl.events import Event, EventKind, Progress


@dataclass(frozen=True)
class Arrived:
    """A finished file that has passed its checks.

    Args:
        path: where it lies: still in the folder of downloads.
        seen: for the lock and the receipt.
    """

    path: Path
    seen: Seen


def transfer(remote: Remote, session: Session) -> Arrived:
    """Bring `remote`, from the first of its addresses that gives it.

    Raises:
        TransferError: no address gave it; the message is the last one's, and what came is kept.
        Cancelled: the user wants to stop; what came is kept.
    """
    part = Part(session.root.downloads / f"{remote.name}.part", algorithms(remote))
    failures: list[TransferError] = []
    urls = _usable(remote, session)
    for url in urls:
        try:
            return _from(url, remote, part, session)
        except TransferError as error:
            failures.append(error)
            if url != urls[-1]:
                _tell(session, remote, EventKind.RETRY, f"{error}; trying the next mirror")
    raise failures[-1]


def _usable(remote: Remote, session: Session) -> tuple[str, ...]:
    """The addresses to try: without a list of links those of a mirror only, if there is one."""
    if session.links is not None:
        return remote.urls
    return tuple(url for url in remote.urls if not url.startswith("links:")) or remote.urls


def _from(url: str, remote: Remote, part: Part, session: Session) -> Arrived:
    """Bring `remote` from one address, trying again as long as the policy allows."""
    failures, damaged = 0, False
    while True:
        before = part.size
        try:
            arrival, learned = _attempt(url, remote, part, session)
            return _accept(arrival, learned, part, session)
        except DigestError as error:
            if remote.certainty != "confirmed":
                raise
            part.discard()
            if damaged:
                raise
            damaged = True
            _tell(session, remote, EventKind.RETRY, f"{error}; fetching it once more")
        except (GoneError, RefusedError, WrongContentError):
            raise
        except TransferError as error:
            # Once the user wants to stop, what breaks is nobody's concern any more.
            session.check_cancelled()
            failures = 1 if part.size > before else failures + 1
            wait = session.policy.wait(failures, error.retry_after)
            if wait is None:
                raise
            _tell(session, remote, EventKind.RETRY, f"{error}; again in {wait:.0f} s")
            session.sleep(wait)


def _accept(arrival: Arrival, remote: Remote, part: Part, session: Session) -> Arrived:
    """Hold what has come against what is known; what is no such file at all is not kept."""
    _tell(session, remote, EventKind.CHECK, "checking")
    try:
        sha256 = check(remote, part, accept_digest=session.accept_digest)
    except WrongContentError:
        part.discard()
        raise
    seen = Seen(arrival.url, part.size, sha256, arrival.etag, arrival.revision)
    return Arrived(part.finish(), seen)


def _attempt(url: str, remote: Remote, part: Part, session: Session) -> tuple[Arrival, Remote]:
    progress = session.progress(EventKind.PROGRESS, remote.name, remote.source, remote.expected_bytes)
    proven = remote.sha256 is not None or remote.md5 is not None
    if remote.size is not None and part.size == remote.size:
        return Arrival(unsigned(url)), remote
    match url.partition(":")[0]:
        case "http" | "https":
            return download(session.client, Address(url, {}, remote.size, proven), part, progress), remote
        case "hf":
            return hub.fetch(url, remote, part, session, progress)
        case "gdrive":
            return drive.fetch(url, part, session, progress), remote
        case "openxlab":
            return openxlab.fetch(url, part, session), remote
        case _:
            return _signed(url, remote, part, session, progress), remote


def _signed(url: str, remote: Remote, part: Part, session: Session, progress: Progress) -> Arrival:
    """Bring a file of a list of signed links."""
    if session.links is None:
        raise RefusedError(f"{remote.name}: there is no list of signed links", hint="name it with --sam-links")
    name = url.removeprefix("links:")
    link = session.links.links.get(name)
    if link is None:
        hint = "name a list that has it with --sam-links"
        raise RefusedError(f"{remote.name}: {session.links.path} has no link for {name}", hint=hint)
    proven = remote.sha256 is not None or remote.md5 is not None
    try:
        return download(session.client, Address(link, {}, remote.size, proven), part, progress)
    except RefusedError as error:
        hint = "get a fresh list of links from the source's page and run the command again: it goes on where it stood"
        raise RefusedError(f"{error}: the signed link is no longer good", hint=hint) from error


def _tell(session: Session, remote: Remote, kind: EventKind, text: str) -> None:
    session.report(Event(kind, remote.name, remote.source, text=text))

"""One file from wherever it can be had to a finished, proven file on disk."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from cvl.download.lock import Seen, unsigned
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.transport import drive, hub, openxlab
from cvl.download.transport.check import algorithms, check
from cvl.download.transport.http import Address, Arrival, StaleError
from cvl.download.transport.mirrors import Hurry, SlowError
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Budget
from cvl.download.transport.swarm import download
from cvl.errors import (
    DigestError,
    ExpiredError,
    GoneError,
    RefusedError,
    TransferError,
    WebPageError,
    WrongContentError,
)
from cvl.events import Event, EventKind, TransferProgress


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

    An address that crawls is left for the next one, and comes back last if no other gives the file.

    Raises:
        TransferError: no address gave it; the message is the last one's, and what came is kept.
        Cancelled: the user wants to stop; what came is kept.
    """
    part = Part(session.root.downloads / f"{remote.name}.part", algorithms(remote))
    failures: list[TransferError] = []
    waiting = deque(session.speeds.order(_usable(remote, session)))
    crawled: set[str] = set()
    try:
        while waiting:
            url = waiting.popleft()
            try:
                arrived = _from(url, remote, part, session, may_leave=bool(waiting) and url not in crawled)
                drive.forget(part.path)
                openxlab.forget(part.path)
                return arrived
            except TransferError as error:
                failures.append(error)
                if isinstance(error, SlowError):
                    crawled.add(url)
                    waiting.append(url)
                if waiting:
                    _tell(session, remote, EventKind.RETRY, f"{error}; trying the next mirror")
        raise failures[-1]
    finally:
        part.close()


def _usable(remote: Remote, session: Session) -> tuple[str, ...]:
    """The addresses to try: without a list of links those of a mirror only, if there is one."""
    if session.links is not None:
        return remote.urls
    return tuple(url for url in remote.urls if not url.startswith("links:")) or remote.urls


def _from(url: str, remote: Remote, part: Part, session: Session, *, may_leave: bool) -> Arrived:
    """Bring `remote` from one address, trying again as long as the policy allows."""
    budget = Budget(session.policy, lambda text, wait: _tell(session, remote, EventKind.RETRY, text, wait))
    damaged, paged, here = False, False, part.size
    part.ranged = True
    begun_anew = 0
    while True:
        before, began = part.size, time.monotonic()
        try:
            arrival, learned = _attempt(url, remote, part, session, budget, may_leave)
            session.speeds.note(url, part.size - before, time.monotonic() - began)
            return _accept(arrival, learned, part, session)
        except DigestError as error:
            if remote.certainty != "confirmed":
                raise
            part.discard()
            if damaged:
                raise
            damaged = True
            _tell(session, remote, EventKind.RETRY, f"{error}; fetching it once more")
        except WebPageError as error:
            # Servers in trouble show pages too: once more, for that.
            wait = None if paged else budget.spend(error, reached=True)
            if wait is None:
                raise
            paged = True
            session.sleep(wait)
        except (GoneError, RefusedError, WrongContentError, SlowError):
            raise
        except TransferError as error:
            # Once the user wants to stop, what breaks is nobody's concern any more.
            session.check_cancelled()
            # What a file brings that keeps changing is no progress.
            begun_anew += isinstance(error, StaleError)
            if budget.spent or begun_anew >= session.policy.attempts:
                raise
            if part.size > before:
                budget.refill()
            wait = budget.spend(error, reached=part.size > here)
            if wait is None:
                raise
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


def _attempt(
    url: str, remote: Remote, part: Part, session: Session, budget: Budget, may_leave: bool
) -> tuple[Arrival, Remote]:
    hurries = may_leave and remote.proven and session.limit_rate is None
    told = session.progress(EventKind.PROGRESS, remote.name, remote.source, remote.expected_bytes)
    progress: TransferProgress = Hurry(url, told) if hurries else told
    if remote.size is not None and part.complete and part.size == remote.size:
        return Arrival(unsigned(url)), remote
    match url.partition(":")[0]:
        case "http" | "https":
            address = Address(url, {}, remote.size, remote.proven, remote.certain)
            return download(address, part, session, progress, budget), remote
        case "hf":
            return hub.fetch(url, remote, part, session, progress, budget)
        case "gdrive":
            return drive.fetch(url, part, session, progress, budget), remote
        case "openxlab":
            return openxlab.fetch(url, part, session, progress), remote
        case _:
            return _signed(url, remote, part, session, progress, budget), remote


def _signed(
    url: str, remote: Remote, part: Part, session: Session, progress: TransferProgress, budget: Budget
) -> Arrival:
    """Bring a file of a list of signed links."""
    if session.links is None:
        raise RefusedError(f"{remote.name}: there is no list of signed links", hint="name it with --sam-links")
    name = url.removeprefix("links:")
    if name not in session.links.links:
        hint = "name a list that has it with --sam-links"
        raise RefusedError(f"{remote.name}: {session.links.path} has no link for {name}", hint=hint)
    refused: set[str] = set()
    while (link := session.links.again().good(name)) is not None and link not in refused:
        address = Address(link, {}, remote.size, remote.proven, remote.certain, renewable=True)
        try:
            return download(address, part, session, progress, budget)
        except (GoneError, RefusedError):
            # The user may have saved a fresh list meanwhile: then it goes on where it stood.
            refused.add(link)
    hint = f"save a fresh list as {session.links.path} and run the command again: it goes on where it stood"
    raise ExpiredError(f"{remote.name}: the signed link of {name} is no longer good", hint=hint)


def _tell(session: Session, remote: Remote, kind: EventKind, text: str, wait: float = 0.0) -> None:
    session.report(Event(kind, remote.name, remote.source, text=text, wait=wait))

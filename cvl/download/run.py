"""Carry out a plan: files in parallel, each transferred, checked, unpacked and receipted before the next begins."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from cvl.download.lists.expand import Expanded, expand
from cvl.download.lock import Seen
from cvl.download.place import adopt, land, place_links, receipt_snapshot, saved_archives
from cvl.download.plan import Action, Plan, Step, check_disk, plan
from cvl.download.select import Remote, Wanted
from cvl.download.session import Session
from cvl.download.snapshot import list_snapshot, record_snapshot
from cvl.download.survey import lands_in, matches, survey
from cvl.download.transport.part import forget_orphans
from cvl.download.transport.transfer import Arrived, transfer
from cvl.errors import Cancelled, CvlError, DiskError, ExpiredError
from cvl.events import Event, EventKind
from cvl.exclusive import exclusive, shared
from cvl.files import disk_errors, sweep
from cvl.manifest import Catalog
from cvl.parallel import ready

_LISTEN = 0.1
"""Seconds after which a signal is heard at the latest."""
_LOOK_AGAIN = 1.0
"""Seconds between two looks at the user's list of links."""
_GRACE = 1.5
"""Seconds that running transfers have to stop in an orderly way. One that waits for a silent server is left behind: it
holds nothing that the next run does not find again."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Args:
        remote: the file.
        error: why it is not here, None if it is.
        expanded: what became of its list, for lists.
        bytes: that were moved.
        seconds: that it took, unpacking included.
    """

    remote: Remote
    error: CvlError | None = None
    expanded: Expanded | None = None
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Result:
    """What became of a plan.

    Args:
        outcomes: of every file that there was something to do for.
        kept: files that were here already.
        links: second names that were made.
        link_errors: why others were not.
        seconds: that all of it took.
    """

    outcomes: tuple[Outcome, ...] = ()
    kept: int = 0
    links: int = 0
    link_errors: tuple[CvlError, ...] = field(default=())
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Files that are not here, lists that are not complete for now, and lists of which nothing could be had."""
        return tuple(o for o in self.outcomes if o.error is not None or (o.expanded is not None and o.expanded.short))

    @property
    def bytes(self) -> int:
        """Bytes that were moved."""
        return sum(outcome.bytes for outcome in self.outcomes)


def run(plan_: Plan, catalog: Catalog, session: Session) -> Result:
    """Carry out a plan. A file that fails does not stop the others.

    Raises:
        DiskError: it will not fit, or a folder cannot be written.
        Cancelled: the user wants to stop.
    """
    if plan_.idle and not _can_tidy(plan_, session):
        return Result(kept=len(plan_.steps))
    check_disk(plan_)
    began = time.monotonic()
    with _held(plan_, session), ready(session.engine):
        # Another process may have worked on the tree since the plan was made.
        plan_ = _plan_again(plan_, catalog, session)
        check_disk(plan_)
        with disk_errors(session.root.path):
            adopt(session.root, plan_.steps)
            for archive in _to_remove(plan_, session):
                archive.unlink()
        outcomes = _with_fresh_links(_carry_out(plan_.work, catalog, session), catalog, session)
        with disk_errors(session.root.path):
            made, errors = place_links(session.root, plan_.links)
        kept = len(plan_.steps) - len(plan_.work)
        return Result(tuple(outcomes), kept, made, errors, time.monotonic() - began)


@contextmanager
def _held(plan_: Plan, session: Session) -> Iterator[None]:
    """The tree, held alone or, for a part, together with the other parts; swept, unless others are at work on it."""
    root, report, sweep_all = session.root, session.report, partial(_sweep, plan_, session)
    if session.part.whole:
        with exclusive(root, report, session.check_cancelled):
            sweep_all()
            yield
    else:
        with shared(root, report, session.check_cancelled, alone=sweep_all):
            yield


def _to_remove(plan_: Plan, session: Session) -> list[Path]:
    """Archives that a kill saved, unless archives are to be kept."""
    return [] if session.keep_archives else saved_archives(session.root, plan_.steps)


def _can_tidy(plan_: Plan, session: Session) -> bool:
    """Whether there are receipts to write or archives to remove, and a tree that takes it; neither must be."""
    due = any(step.found.adopted and step.remote.path is not None for step in plan_.steps)
    return (due or bool(_to_remove(plan_, session))) and os.access(session.root.data, os.W_OK)


def _plan_again(plan_: Plan, catalog: Catalog, session: Session) -> Plan:
    """The plan for what is left to do now that nobody else works on the tree."""
    session.lock.refresh()
    wanted = Wanted((), tuple(session.lock.pin(step.remote) for step in plan_.steps), plan_.links)
    found = survey(session.root, catalog, wanted, session.downloads, retry_failed=session.retry_failed)
    return plan(wanted, found, jobs=session.jobs, keep_archives=session.keep_archives)


def _sweep(plan_: Plan, session: Session) -> None:
    """Remove what a killed run left half written where this one is going to write."""
    remotes = [step.remote for step in plan_.work]
    filled = {lands_in(remote) for remote in remotes if remote.unpack is not None}
    filled |= {remote.expand.into for remote in remotes if remote.expand is not None}
    single = {str(Path(remote.path).parent) for remote in remotes if remote.path is not None}
    root = session.root
    with disk_errors(root.path):
        # Not all of our notes: an index or a report may be written just now by who holds no lock.
        for folder in (root.downloads, root.archives, root.receipts, root.ledgers, *map(root.at, sorted(filled))):
            sweep(folder)
        forget_orphans(root.downloads)
        # Beside single files and the lock: what lies below may be all the rest of a huge tree.
        for folder in (root.path, *map(root.at, sorted(single))):
            sweep(folder, below=False)


def _carry_out(steps: Sequence[Step], catalog: Catalog, session: Session) -> list[Outcome]:
    """The outcomes of all steps, in their order. A wish to stop and a full disk end the run; other failures do not."""
    pool = ThreadPoolExecutor(session.jobs, thread_name_prefix="cvl-fetch")
    futures = [pool.submit(_one, step, catalog, session) for step in steps]
    try:
        # By turns: the system may tell another thread of a wish to stop, and this one, which must heed it, sleeps on.
        while wait(futures, timeout=_LISTEN, return_when=FIRST_EXCEPTION).not_done and not _raised(futures):
            continue
        if raised := _raised(futures):
            # The others stop because of the first, which is the one to tell of.
            raise next((error for error in raised if not isinstance(error, Cancelled)), raised[0])
        return [future.result() for future in futures]
    except BaseException:
        session.cancel.set()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in futures if not future.cancelled()], timeout=_GRACE)


def _raised(futures: Sequence[Future[Outcome]]) -> list[BaseException]:
    return [error for future in futures if future.done() and (error := future.exception()) is not None]


def _with_fresh_links(outcomes: list[Outcome], catalog: Catalog, session: Session) -> list[Outcome]:
    """Once all else is done: ask for a fresh list where signed links have expired, and go on with it."""
    while session.wait_for_links and (waiting := [o.remote for o in outcomes if isinstance(o.error, ExpiredError)]):
        _await_links(waiting, session)
        found = survey(session.root, catalog, Wanted((), tuple(waiting), ()), session.downloads)
        steps = plan(Wanted((), tuple(waiting), ()), found, jobs=session.jobs).work
        done = {outcome.remote.name: outcome for outcome in _carry_out(steps, catalog, session)}
        outcomes = [done.get(outcome.remote.name, outcome) for outcome in outcomes]
    return outcomes


def _await_links(remotes: Sequence[Remote], session: Session) -> None:
    """Wait until the user's list has a link that it had not, for one of these at least."""
    assert session.links is not None
    names = [url.removeprefix("links:") for remote in remotes for url in remote.urls if url.startswith("links:")]
    before = session.links.again()
    count = f"{len(remotes)} files are" if len(remotes) > 1 else "1 file is"
    text = (
        f"the signed links in {session.links.path} have expired, {count} still to come: "
        "save a fresh list there, and this goes on by itself; Ctrl-C stops it, with everything kept"
    )
    session.report(Event(EventKind.NOTE, source=remotes[0].source, text=text))
    while True:
        now = session.links.again()
        if any(now.good(name) not in (None, before.links.get(name)) for name in names):
            return
        session.sleep(_LOOK_AGAIN)


def _one(step: Step, catalog: Catalog, session: Session) -> Outcome:
    """Do one step; a failure is an outcome, only a wish to stop and a full disk are raised."""
    remote = step.remote
    session.check_cancelled()
    session.report(Event(EventKind.START, remote.name, remote.source, step.found.bytes, remote.expected_bytes))
    began = time.monotonic()
    try:
        with disk_errors(session.root.path):
            outcome = _do(step, catalog, session)
    except (Cancelled, DiskError):
        # The run ends with it; were the others told from here, one of them might be the first to end it, as cancelled.
        raise
    except CvlError as error:
        outcome = Outcome(remote, error)
    outcome = replace(outcome, seconds=time.monotonic() - began)
    _tell(outcome, session)
    return outcome


def _do(step: Step, catalog: Catalog, session: Session) -> Outcome:
    remote = step.remote
    if remote.snapshot is not None:
        return _snapshot(remote, catalog, session)
    moved = 0
    if step.action is not Action.EXPAND:
        arrived, moved = _have(step, session)
        land(step, arrived, session)
    if remote.expand is None:
        return Outcome(remote, bytes=moved)
    expanded = expand(remote, session)
    return Outcome(remote, expanded=expanded, bytes=moved + expanded.bytes)


def _have(step: Step, session: Session) -> tuple[Arrived, int]:
    """The finished file: one that was here, or one that is fetched now; and the bytes that were moved for it."""
    remote, found = step.remote, step.found
    if found.at is not None:
        session.report(Event(EventKind.CHECK, remote.name, remote.source, text=f"checking {found.at}"))
        if matches(remote, found.at):
            # The lock speaks of what we fetched, not of what the user brought.
            seen = session.lock.seen(remote.name) if found.at.parent == session.root.archives else None
            return Arrived(found.at, seen or Seen("", found.bytes, remote.sha256 or "")), 0
        text = f"{found.at} has another digest than the one that is wanted; fetching it"
        session.report(Event(EventKind.RETRY, remote.name, remote.source, text=text))
    # What was brought has other bytes: now it would be fetched.
    session.lock.require([remote.name])
    arrived = transfer(remote, session)
    session.lock.record(remote.name, arrived.seen)
    return arrived, max(arrived.seen.size - (found.bytes if step.action is Action.RESUME else 0), 0)


def _snapshot(remote: Remote, catalog: Catalog, session: Session) -> Outcome:
    """List a repository and fetch its files: a small plan of its own, one file after another."""
    files = list_snapshot(remote, session)
    wanted = Wanted((remote.source,), files, ())
    inner = plan(wanted, survey(session.root, catalog, wanted, session.downloads), jobs=1)
    check_disk(inner)
    moved = 0
    for step in inner.work:
        session.check_cancelled()
        arrived, bytes_moved = _have(step, session)
        land(step, arrived, session)
        moved += bytes_moved
        session.report(Event(EventKind.DONE, step.remote.name, remote.source, bytes_moved))
    record_snapshot(remote, files, session)
    receipt_snapshot(remote, files, session)
    return Outcome(remote, bytes=moved)


def _tell(outcome: Outcome, session: Session) -> None:
    remote = outcome.remote
    if outcome.error is not None:
        text, hint = str(outcome.error), outcome.error.hint or ""
        session.report(Event(EventKind.FAILED, remote.name, remote.source, text=text, hint=hint))
        return
    text = ""
    if outcome.expanded is not None:
        text = f"{outcome.expanded.done:,} here, {outcome.expanded.gone:,} gone, {outcome.expanded.failed:,} failed"
    session.report(Event(EventKind.DONE, remote.name, remote.source, outcome.bytes, text=text))

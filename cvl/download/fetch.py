"""`cvl fetch`, from what the user typed to a result: select, survey, gates, plan, run."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from cvl.download.links import LinkList, check_links, read_links
from cvl.download.lock import Lock
from cvl.download.plan import Action, Plan, plan
from cvl.download.run import Result, run
from cvl.download.select import Remote, Request, Wanted, select
from cvl.download.session import Session
from cvl.download.snapshot import list_locked
from cvl.download.survey import Presence, Survey, survey
from cvl.download.transport.connections import TOTAL, Connections
from cvl.download.transport.policy import Policy
from cvl.download.transport.wire import TIMEOUT, open_wire
from cvl.errors import GateError, UsageError
from cvl.events import Event, EventKind, Reporter, silent
from cvl.manifest import Catalog
from cvl.parallel import WHOLE, Engine, Part
from cvl.root import Root

_TURN = 1 << 20
"""Bytes that a connection may bring at once, which are then paid for."""


@dataclass(frozen=True)
class Options:
    """How to fetch.

    Args:
        jobs: files in flight at once.
        sam_links: the list of signed links, where it does not lie in its usual place.
        downloads: a folder of files that the user downloaded by hand.
        skip_gated: go on without the sources that want something of the user first.
        accept_digest: take single-source digests for wrong where the bytes differ at the right size.
        keep_archives: leave archives on the disk after they are unpacked.
        retry_failed: try addresses of lists again that were given up for good.
        policy: when to try again.
        wait_for_links: ask for a fresh list of signed links once the rest is done, and wait for it.
        connections: at once, over all files.
        limit_rate: bytes a second over all, None for as many as come.
        timeout: seconds without a byte after which a connection is given up.
        locked: fetch only what the lock names, and exactly that; the lock is not written.
        part: the share of the files that is fetched, each with all that is in it.
        engine: who unpacks.
    """

    jobs: int = 4
    sam_links: Path | None = None
    downloads: Path | None = None
    skip_gated: bool = False
    accept_digest: bool = False
    keep_archives: bool = False
    retry_failed: bool = False
    policy: Policy = field(default_factory=Policy)
    wait_for_links: bool = False
    connections: int = TOTAL
    limit_rate: int | None = None
    timeout: float = TIMEOUT
    locked: bool = False
    part: Part = WHOLE
    engine: Engine = Engine.LOCAL


@dataclass(frozen=True)
class Prepared:
    """A plan, and what is needed to carry it out.

    Args:
        plan: what is to be done.
        skipped: why sources were left out, by name.
        lock: what was seen at first contact.
        links: the list of signed links, if there is one.
    """

    plan: Plan
    skipped: dict[str, GateError]
    lock: Lock
    links: LinkList | None


def prepare(catalog: Catalog, root: Root, request: Request, options: Options) -> Prepared:
    """The plan for a request. Nothing is written and nothing is asked of the network.

    Raises:
        UsageError: the request names something that does not exist, or differs from a lock that is held to.
        GateError: a source wants something of the user first, and gated sources are not skipped.
    """
    lock = _lock(root, options)
    wanted = select(catalog, request)
    mine = (remote for remote in wanted.remotes if options.part.takes(remote.name))
    wanted = replace(wanted, remotes=tuple(map(lock.pin, mine)))
    found = survey(root, catalog, wanted, options.downloads, retry_failed=options.retry_failed)
    links, skipped = _gates(catalog, root, wanted, found, options)
    remotes = tuple(r for r in wanted.remotes if r.source not in skipped or not _needs_link(r, found))
    made = plan(replace(wanted, remotes=remotes), found, jobs=options.jobs, keep_archives=options.keep_archives)
    _check_locked(made, lock)
    return Prepared(made, skipped, lock, links)


def execute(
    prepared: Prepared,
    catalog: Catalog,
    root: Root,
    options: Options,
    *,
    report: Reporter = silent,
    cancel: threading.Event | None = None,
) -> Result:
    """Carry out what was prepared.

    Raises:
        DiskError: it will not fit, or a folder cannot be written.
        Cancelled: the user wants to stop.
    """
    for name, error in prepared.skipped.items():
        report(Event(EventKind.NOTE, source=name, text=f"skipped: {error}", hint=error.hint or ""))
    with open_wire(timeout=options.timeout) as wire:
        session = Session(
            root=root,
            wire=wire,
            lock=prepared.lock,
            links=prepared.links,
            policy=options.policy,
            report=report,
            cancel=cancel or threading.Event(),
            accept_digest=options.accept_digest,
            keep_archives=options.keep_archives,
            downloads=options.downloads,
            retry_failed=options.retry_failed,
            wait_for_links=options.wait_for_links,
            jobs=options.jobs,
            connections=Connections(_affordable(options), catalog.polite_connections),
            limit_rate=options.limit_rate,
            timeout=options.timeout,
            part=options.part,
            engine=options.engine,
        )
        return run(prepared.plan, catalog, session)


def _lock(root: Root, options: Options) -> Lock:
    if options.locked and options.accept_digest:
        hint = "leave one of them out"
        raise UsageError("--locked takes no other bytes than the lock's, --accept-digest does", hint=hint)
    return Lock(root.lock, root.notes / "cvl.lock.guard", frozen=options.locked)


def _check_locked(plan_: Plan, lock: Lock) -> None:
    """Refuse a plan that a frozen lock does not cover. What is here already, or was brought, needs no entry."""
    if not lock.frozen:
        return
    due = [step.remote for step in plan_.work if step.action is not Action.UNPACK]
    lock.require(remote.name for remote in due)
    for remote in due:
        if remote.snapshot is not None:
            list_locked(remote, lock)


def _gates(
    catalog: Catalog, root: Root, wanted: Wanted, found: Survey, options: Options
) -> tuple[LinkList | None, dict[str, GateError]]:
    """Look at every gate before a byte moves: the list of links, and the sources to leave out."""
    links: LinkList | None = None
    skipped: dict[str, GateError] = {}
    for name in wanted.sources:
        gate = catalog.sources[name].gate
        needed = [remote for remote in wanted.remotes if remote.source == name and _needs_link(remote, found)]
        if gate is None or not needed:
            continue
        try:
            path = options.sam_links or root.sam_links
            links = read_links(path, gate) if options.sam_links is not None or path.exists() else None
            check_links(links, (remote.urls[0].removeprefix("links:") for remote in needed), gate, name)
        except GateError as error:
            if not options.skip_gated:
                raise
            skipped[name] = error
    return links, skipped


def _needs_link(remote: Remote, found: Survey) -> bool:
    here = found.found[remote.name].presence in (Presence.LANDED, Presence.ARCHIVE)
    return remote.urls[0].startswith("links:") and not here


def _affordable(options: Options) -> int:
    """Connections that the rate allows to be kept busy: one that must wait for its turn looks silent to its server."""
    if options.limit_rate is None:
        return options.connections
    turns = int(options.limit_rate * options.timeout / 2 / _TURN)
    return max(min(options.connections, turns), 1)

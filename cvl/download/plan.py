"""What is to be done: a pure function of the wanted files and of what was found. `fetch` and its dry run share it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cvl.download.select import Remote, Wanted
from cvl.download.survey import Found, Presence, Survey
from cvl.errors import DiskError
from cvl.manifest import Link


class Action(StrEnum):
    """What is done with one file; the value is the word that a plan shows."""

    KEEP = "is here"
    EXPAND = "fetch what it lists"
    UNPACK = "unpack"
    RESUME = "resume"
    FETCH = "fetch"


@dataclass(frozen=True)
class Step:
    """What is done with one file.

    Args:
        remote: the file.
        action: the first thing to do; unpacking follows a transfer by itself.
        found: what is here of it.
        transfer_bytes: bytes to move, None where only first contact will tell.
    """

    remote: Remote
    action: Action
    found: Found
    transfer_bytes: int | None


@dataclass(frozen=True)
class Plan:
    """All steps, the links to make, and what they cost.

    Args:
        steps: in the order of the manifests.
        links: second names that are still to be made.
        links_due: whether one of them could be made now.
        peak_bytes: the most that the disk must take on top of what is there, as far as sizes are known.
        free_bytes: what it has left.
    """

    steps: tuple[Step, ...]
    links: tuple[Link, ...]
    links_due: bool
    peak_bytes: int
    free_bytes: int

    @property
    def work(self) -> tuple[Step, ...]:
        """The steps that do something."""
        return tuple(step for step in self.steps if step.action is not Action.KEEP)

    @property
    def transfer_bytes(self) -> int:
        """Bytes to move, as far as known."""
        return sum(step.transfer_bytes or 0 for step in self.steps)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do. A link to something that another fetch will bring is not due yet."""
        return not self.work and not self.links_due


def plan(wanted: Wanted, survey: Survey, *, jobs: int, keep_archives: bool = False) -> Plan:
    """The plan for `wanted`, given what `survey` found. `jobs` files are in flight at once."""
    steps = tuple(_step(remote, survey.found[remote.name]) for remote in wanted.remotes)
    peak = _peak(steps, jobs, keep_archives)
    return Plan(steps, survey.missing_links, survey.links_due, peak, survey.free_bytes)


def check_disk(plan: Plan) -> None:
    """Refuse a plan that will not fit.

    Raises:
        DiskError: names what is needed and what is free.
    """
    if plan.peak_bytes > plan.free_bytes:
        needed, free = plan.peak_bytes / 1e9, plan.free_bytes / 1e9
        raise DiskError(
            f"the plan needs {needed:,.1f} GB at its peak, the disk has {free:,.1f} GB free",
            hint="free some room, fetch fewer sources or shards, or choose another --root; `--dry-run` shows each file",
        )


def _step(remote: Remote, found: Found) -> Step:
    match found.presence:
        case Presence.LANDED:
            if not found.pending:
                return Step(remote, Action.KEEP, found, 0)
            each = remote.expand.approximate_size if remote.expand is not None else None
            return Step(remote, Action.EXPAND, found, found.pending * (each or 0))
        case Presence.ARCHIVE:
            return Step(remote, Action.UNPACK, found, 0)
        case Presence.PART:
            expected = remote.expected_bytes
            left = None if expected is None else max(expected - found.bytes, 0)
            return Step(remote, Action.RESUME, found, left)
        case Presence.ABSENT:
            return Step(remote, Action.FETCH, found, remote.expected_bytes)


def _peak(steps: Iterable[Step], jobs: int, keep_archives: bool) -> int:
    """Bytes that stay in the tree, and beside them the archives that are in flight at the same time.

    Pictures do not shrink in archives, so an archive is counted as large as what comes out of it.
    """
    stay, archives = 0, []
    for step in steps:
        if step.action is Action.KEEP:
            continue
        size = step.remote.expected_bytes or 0
        stay += size + _expansion(step.remote)
        if step.remote.unpack is not None and step.found.presence is not Presence.ARCHIVE:
            archives.append(size)
        stay -= step.found.reserved
    return stay + sum(archives if keep_archives else heapq.nlargest(jobs, archives))


def _expansion(remote: Remote) -> int:
    expand = remote.expand
    return (expand.count or 0) * (expand.approximate_size or 0) if expand is not None else 0

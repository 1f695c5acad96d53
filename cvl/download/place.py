"""From a finished file to its place in the tree, and the receipt that says so."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cvl.download.archives.unpack import unpack_with
from cvl.download.plan import Action, Step
from cvl.download.receipts import Receipt, read_receipt, write_receipt
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.survey import recipe, single_file_receipt, targets
from cvl.download.transport.part import forget_journal
from cvl.download.transport.transfer import Arrived
from cvl.errors import ArchiveError, CvlError, DiskError
from cvl.events import Event, EventKind
from cvl.files import publish, take
from cvl.manifest import Link
from cvl.root import Root


def land(step: Step, arrived: Arrived, session: Session) -> None:
    """Bring a finished file to its place: move it there, or unpack it there, and write the receipt.

    A file that the user brought is left where it is. An archive of ours is deleted after its unpacking is complete,
    unless archives are kept.
    """
    remote = step.remote
    brought = arrived.path == step.found.at and arrived.path.parent != session.root.archives
    if remote.path is not None:
        place = session.root.at(remote.path)
        (take if brought else publish)(arrived.path, place)
        forget_journal(arrived.path)
        receipt = single_file_receipt(remote, place, sha256=arrived.seen.sha256 or None, url=arrived.seen.url)
        write_receipt(session.root, remote.name, receipt)
        return
    archive = arrived.path if brought else session.root.archives / remote.name
    if archive != arrived.path:
        # From here on a kill finds a proven archive, not an unfinished transfer.
        publish(arrived.path, archive)
        forget_journal(arrived.path)
    try:
        _unpack(step, archive, arrived, session)
    except ArchiveError as error:
        raise ArchiveError(str(error), hint=_after_damage(remote, archive, session, brought=brought)) from error
    if not brought and not session.keep_archives:
        archive.unlink()


def _after_damage(remote: Remote, archive: Path, session: Session, *, brought: bool) -> str:
    """Keep a damaged archive only where another download would bring the same; returns what to do next."""
    if brought:
        return f"download {archive} again, or leave --from out"
    if (remote.sha256 or remote.md5) and not session.accept_digest:
        return (
            f"these are the publisher's own bytes, kept as {archive}: what can be read of them is in the tree, and "
            "`cvl verify-layout` names what is missing"
        )
    archive.unlink()
    return "run the same command again to fetch it anew"


def _unpack(step: Step, archive: Path, arrived: Arrived, session: Session) -> None:
    remote = step.remote
    assert remote.unpack is not None
    folder = session.root.at(remote.unpack.into)
    progress = session.progress(EventKind.UNPACK, remote.name, remote.source)
    # Where a receipt says that everything stood once only what is lost is written, and what may be converted stays.
    keep = remote.converts or step.found.lost > 0
    # The archive goes next: what came out of it is on the disk when this returns.
    unpacked = unpack_with(session.engine, archive, remote.unpack, folder, progress, keep_existing=keep)
    if unpacked.doubt:
        session.report(Event(EventKind.NOTE, remote.name, remote.source, text=unpacked.doubt))
    receipt = Receipt(
        url=arrived.seen.url,
        size=arrived.seen.size,
        sha256=arrived.seen.sha256 or None,
        recipe=recipe(remote),
        folder=remote.unpack.into,
        members=list(unpacked.members),
        bytes=unpacked.bytes,
        keeps_archive=session.keep_archives,
    )
    write_receipt(session.root, remote.name, receipt)


def saved_archives(root: Root, steps: Iterable[Step]) -> list[Path]:
    """Archives that a kill saved: their receipts are written, and say that they were to go."""
    return [root.archives / step.remote.name for step in steps if step.action is Action.KEEP and _was_to_go(root, step)]


def _was_to_go(root: Root, step: Step) -> bool:
    if step.remote.unpack is None or not (root.archives / step.remote.name).is_file():
        return False
    receipt = read_receipt(root, step.remote.name)
    # Without a receipt it was still being unpacked, into a folder that is full by now.
    return receipt is None or not receipt.keeps_archive


def adopt(root: Root, steps: Iterable[Step]) -> None:
    """Write receipts for single files that were found in the tree, so that they are not hashed again each time."""
    for step in steps:
        remote = step.remote
        if step.found.adopted and remote.path is not None:
            receipt = single_file_receipt(remote, root.at(remote.path), sha256=remote.sha256, url="")
            write_receipt(root, remote.name, receipt)


def receipt_snapshot(remote: Remote, files: tuple[Remote, ...], session: Session) -> None:
    """The receipt of a whole repository, after each of its files has come."""
    assert remote.snapshot is not None
    into = remote.snapshot.into
    seen = session.lock.seen(remote.name)
    sizes = [session.root.at(file.path or "").stat().st_size for file in files]
    receipt = Receipt(
        url=remote.urls[0],
        size=sum(sizes),
        sha256=seen.sha256 if seen is not None else None,
        recipe=recipe(remote),
        folder=into,
        members=[(file.path or "").removeprefix(into + "/") for file in files],
        bytes=sum(sizes),
    )
    write_receipt(session.root, remote.name, receipt)


def place_links(root: Root, links: tuple[Link, ...]) -> tuple[int, tuple[CvlError, ...]]:
    """Make the second names; returns how many were made, and why others were not.

    A link whose target is not here yet is left for the fetch that brings it.
    """
    made, errors = 0, []
    for link in links:
        try:
            made += _place_link(root, link)
        except CvlError as error:
            errors.append(error)
    return made, tuple(errors)


def _place_link(root: Root, link: Link) -> bool:
    found = targets(root, link)
    if not found:
        return False
    if len(found) > 1:
        raise DiskError(f"{link.path} should stand for one file, but {len(found)} match {link.target}")
    path = root.at(link.path)
    if path.is_symlink():
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(found[0] if Path(link.target).is_absolute() else _relative(found[0], path.parent))
    except FileExistsError:
        if path.is_symlink():
            return False  # another part was quicker
        raise
    return True


def _relative(target: Path, folder: Path) -> str:
    """`target` as seen from `folder`, so that the tree can be moved or mounted elsewhere.

    The system reads it from where the folder really is, which for a source on another disk is not below the tree.
    """
    return os.path.relpath(target.parent.resolve() / target.name, folder.resolve())

"""What is here already: the disk looked at once, for the plan to be made from values."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from cvl.download.lists.expand import ledger_path, pending
from cvl.download.receipts import Receipt, read_receipt
from cvl.download.select import Remote, Wanted
from cvl.download.transport.part import Part
from cvl.files import count_files
from cvl.manifest import Catalog, Expect, Link
from cvl.root import Root

_BLOCK = 512
"""Bytes that `st_blocks` counts in."""


class Presence(StrEnum):
    """How much of a file is here."""

    LANDED = "landed"
    ARCHIVE = "archive"
    PART = "part"
    ABSENT = "absent"


@dataclass(frozen=True)
class Found:
    """What is here of one file.

    Args:
        presence: how far it came.
        bytes: of the archive or of the unfinished transfer.
        at: the archive, where it is complete: ours or one that the user downloaded.
        lost: how many files of it stood in the tree once and are gone.
        adopted: whether it was found in the tree without a receipt of ours.
        pending: for a list of small files, how many are still to be fetched.
        reserved: bytes of the disk that an unfinished transfer holds already.
    """

    presence: Presence
    bytes: int = 0
    at: Path | None = None
    lost: int = 0
    adopted: bool = False
    pending: int = 0
    reserved: int = 0


@dataclass(frozen=True)
class Survey:
    """What is here of every wanted file, which links are missing, and the room that is left.

    Args:
        found: by name of the file.
        missing_links: second names that are still to be made.
        links_due: whether one of them could be made now, because what it stands for is here.
        free_bytes: on the disk of `data/`.
    """

    found: Mapping[str, Found]
    missing_links: tuple[Link, ...]
    links_due: bool
    free_bytes: int


def survey(
    root: Root, catalog: Catalog, wanted: Wanted, downloads: Path | None = None, *, retry_failed: bool = False
) -> Survey:
    """Look at the disk.

    A file counts as here if its receipt is borne out by the disk, if it lies in its place with the digest or size that
    is known of it, or if its folder holds as many files as the manifest expects. `downloads` is a folder of files that
    the user brought; they are told by size and digest, never by name alone. With `retry_failed`, entries of lists that
    were given up for good count as still to be fetched.
    """
    scout = _Scout(root, catalog, downloads, retry_failed)
    found = {remote.name: scout.look(remote) for remote in wanted.remotes}
    links = tuple(link for link in wanted.links if not (root.at(link.path)).exists())
    due = any(targets(root, link) for link in links)
    return Survey(found, links, due, _free_bytes(root.data))


def targets(root: Root, link: Link) -> list[Path]:
    """What a link may stand for, as far as it is here."""
    pattern = root.at(link.target)
    return sorted(pattern.parent.glob(pattern.name))


class _Scout:
    """Looks for files, listing every folder once."""

    def __init__(self, root: Root, catalog: Catalog, downloads: Path | None, retry_failed: bool) -> None:
        self._root = root
        self._retry_failed = retry_failed
        self._catalog = catalog
        self._brought = _Brought(downloads)
        # 51 shards land in one folder of half a million files: it is looked at once.
        self._listing = cache(_listing)
        self._count = cache(count_files)

    def look(self, remote: Remote) -> Found:
        """What is here of one file, and for a list how much of what it names is still to be fetched."""
        try:
            return self._look(remote)
        except FileNotFoundError:
            # Nobody holds the tree yet: another fetch has just moved the file to where it is found now.
            return self._look(remote)

    def _look(self, remote: Remote) -> Found:
        found = self._look_at_file(remote)
        if remote.expand is None or found.presence is not Presence.LANDED:
            return found
        folder = self._root.at(remote.expand.into)
        entries = pending(ledger_path(self._root, remote.name), folder, retry_failed=self._retry_failed)
        return replace(found, pending=entries if entries is not None else remote.expand.count or 1)

    def _look_at_file(self, remote: Remote) -> Found:
        receipt = read_receipt(self._root, remote.name)
        lost = 0
        if receipt is not None and _speaks_of(receipt, remote):
            lost = self._lost(receipt, remote)
            if not lost:
                # A single file that was touched or copied is proven by its digest, and gets a receipt of its new time.
                touched = remote.path is not None and not _unchanged(self._root.at(remote.path), receipt)
                return Found(Presence.LANDED, receipt.size, adopted=touched)
        if not lost and self._stands(remote):
            return Found(Presence.LANDED, remote.size or 0, adopted=True)
        return self._archive_or_part(remote, lost)

    def _archive_or_part(self, remote: Remote, lost: int) -> Found:
        own = self._root.archives / remote.name
        if own.is_file() and matches(remote, own):
            return Found(Presence.ARCHIVE, own.stat().st_size, own, lost)
        brought = self._brought_by_user(remote)
        if brought is not None:
            return Found(Presence.ARCHIVE, brought.stat().st_size, brought, lost)
        part = self._root.downloads / f"{remote.name}.part"
        if part.is_file():
            return Found(Presence.PART, Part(part).size, None, lost, reserved=part.stat().st_blocks * _BLOCK)
        return Found(Presence.ABSENT, 0, None, lost)

    def _lost(self, receipt: Receipt, remote: Remote) -> int:
        """How many of the files that a receipt lists are not in the tree any more."""
        if remote.path is not None and _unchanged(self._root.at(remote.path), receipt):
            return 0
        if remote.path is not None:
            # Another time is not yet another content: a copied tree keeps the bytes only. Without a digest it is lost.
            return int(not self._proven(remote, receipt))
        folder, converted = self._root.at(receipt.folder), self._converted(remote.source)
        lost = 0
        for member in receipt.members:
            head, _, tail = member.rpartition("/")
            parent = folder / head if head else folder
            here = self._listing(parent)
            if tail not in here:
                # Where `cvl convert` works, the JPEG that it made stands for an original that is removed by now.
                lost += parent != converted or f"{tail.rpartition('.')[0]}.jpg" not in here
        return lost

    def _converted(self, source: str) -> Path | None:
        convert = self._catalog.sources[source].convert
        return self._root.at(convert.folder) if convert is not None else None

    def _proven(self, remote: Remote, receipt: Receipt) -> bool:
        path = self._root.at(remote.path or "")
        known = replace(remote, size=receipt.size, sha256=remote.sha256 or receipt.sha256)
        return path.is_file() and matches(known, path)

    def _stands(self, remote: Remote) -> bool:
        """Whether a file without receipt is in the tree all the same: brought by hand, or a shared disk."""
        if remote.path is not None:
            path = self._root.at(remote.path)
            # A file of which nothing is known may be anything: a cut one would be kept for good.
            return is_known(remote) and path.is_file() and matches(remote, path)
        if remote.unpack is None:
            return False
        if self._alternative_stands(remote):
            return True
        expected = [entry for entry in self._catalog.sources[remote.source].expect if entry.folder == lands_in(remote)]
        return bool(expected) and all(self._holds(entry) for entry in expected)

    def _alternative_stands(self, remote: Remote) -> bool:
        """Whether the folder was filled by a list of small files instead, every one of them."""
        for alternative in self._catalog.sources[remote.source].alternatives:
            for file in alternative.files:
                if file.expand is not None and file.expand.into == lands_in(remote):
                    folder = self._root.at(file.expand.into)
                    return pending(ledger_path(self._root, file.name), folder, retry_failed=True) == 0
        return False

    def _holds(self, expect: Expect) -> bool:
        return expect.files is not None and self._count(self._root.at(expect.folder), expect.suffix) >= expect.files

    def _brought_by_user(self, remote: Remote) -> Path | None:
        """A file of the user's that may be this one: it has its size, or its name where only a digest is known.

        The digest itself is held against it when it is taken, with progress: it may be of half a terabyte.
        """
        if not is_known(remote):
            return None
        if remote.size is not None:
            candidates = self._brought.of_size(remote.size)
        else:
            candidates = self._brought.called(_names(remote))
        if len(candidates) > 1:
            return next((path for path in candidates if matches(remote, path)), None)
        return candidates[0] if candidates else None


def _names(remote: Remote) -> set[str]:
    """What a file may be called that the user downloaded by hand."""
    published = {urlsplit(url).path.rsplit("/", 1)[-1] or url.partition(":")[2] for url in remote.urls}
    # Drive addresses carry no name: there, the cache name without the source's is the publisher's.
    return {remote.name, remote.name.removeprefix(f"{remote.source}-"), *published}


class _Brought:
    """The files of a folder that the user brought, by name and by size."""

    def __init__(self, folder: Path | None) -> None:
        walked = os.walk(folder) if folder is not None else ()
        self._paths = sorted(Path(parent) / name for parent, _, names in walked for name in names)
        self._sizes = {path: path.stat().st_size for path in self._paths if path.is_file()}

    def of_size(self, size: int) -> list[Path]:
        """Files of exactly so many bytes, under whatever name."""
        return [path for path, found in self._sizes.items() if found == size]

    def called(self, names: set[str]) -> list[Path]:
        """Files of one of these names."""
        return [path for path in self._sizes if path.name in names]


def recipe(remote: Remote) -> str:
    """How a file goes into the tree, as text: a receipt made under another recipe is void."""
    # What says nothing about places is left out, and so are defaults: a release that knows one more key must not have
    # everybody unpack everything again.
    if remote.unpack is not None:
        return remote.unpack.model_dump_json(exclude_defaults=True, exclude={"members"})
    if remote.snapshot is not None:
        return remote.snapshot.model_dump_json(exclude_defaults=True)
    return remote.path or ""


def lands_in(remote: Remote) -> str:
    """The folder of the tree that an archive's members land in, as far as its first pattern tells."""
    assert remote.unpack is not None
    kept = remote.unpack.include[0].split("/")[:-1][remote.unpack.strip :]
    fixed = [] if remote.unpack.flatten else [part for part in kept if not set(part) & set("*?[")]
    return "/".join([remote.unpack.into, *fixed])


def matches(remote: Remote, path: Path) -> bool:
    """Whether the file at `path` has the size and the digest that are known of `remote`."""
    if remote.size is not None and path.stat().st_size != remote.size:
        return False
    known = {"sha256": remote.sha256, "md5": remote.md5}
    algorithm = next((name for name, digest in known.items() if digest is not None), None)
    return algorithm is None or digest_of(path, algorithm) == known[algorithm]


def is_known(remote: Remote) -> bool:
    """Whether a size or a digest is known by which the file can be told from another."""
    return remote.size is not None or remote.sha256 is not None or remote.md5 is not None


def digest_of(path: Path, algorithm: str) -> str:
    """The digest of a file, in hexadecimal. A file that has not changed since is not read again."""
    status = path.stat()
    return _digest(path, algorithm, status.st_size, status.st_mtime_ns)


@cache
def _digest(path: Path, algorithm: str, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def single_file_receipt(remote: Remote, path: Path, *, sha256: str | None, url: str) -> Receipt:
    """The receipt of a file that lies in the tree as it came."""
    status = path.stat()
    return Receipt(
        url=url,
        size=status.st_size,
        sha256=sha256,
        recipe=recipe(remote),
        folder=str(Path(remote.path or "").parent),
        members=[path.name],
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def _speaks_of(receipt: Receipt, remote: Remote) -> bool:
    """Whether a receipt is of this file and this recipe; a manifest with a newer digest wants other bytes."""
    known = receipt.sha256 is not None and remote.sha256 is not None and remote.certainty == "confirmed"
    return receipt.recipe == recipe(remote) and (not known or receipt.sha256 == remote.sha256)


def _unchanged(path: Path, receipt: Receipt) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return status.st_size == receipt.size and status.st_mtime_ns == receipt.mtime_ns


def _listing(folder: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize

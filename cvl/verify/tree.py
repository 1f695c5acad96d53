"""The tree's folders, each listed once: a listing answers for a million files what a `stat` answers for one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cvl.files import disk_errors
from cvl.parallel import run_shards

if TYPE_CHECKING:
    # Workers that list folders begin sooner without numpy.
    from cvl.annotations.grouped import Grouped

_LARGE = 1 << 20
"""Bytes of a folder's own entry on the disk, which grows with its names: some 25,000 of them."""

_WORTH_IT = 8 << 20
"""Bytes of all folders' entries below which processes would take longer to start than one to list them."""

_TOGETHER = 64

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


@dataclass(frozen=True)
class Listing:
    """What is in one folder, without hidden names and without links whose target is gone.

    Args:
        exists: whether there is such a folder.
        text: names of everything that is not a folder, a zero byte after each: a million of them take 20 MB.
        folders: names of folders, links to folders among them.
        links: the folders that are links.
        empty: names of files without a byte; None if nobody looked at sizes.
    """

    exists: bool
    text: bytes = b""
    folders: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    empty: frozenset[str] | None = None

    @cached_property
    def files(self) -> frozenset[str]:
        """Names of everything that is not a folder."""
        return frozenset(_decoded(self.text))

    def count(self, suffix: str | None) -> int:
        """How many files there are, of one suffix if one is given."""
        return self.text.count(os.fsencode(suffix or "") + b"\0")

    def ending(self, *suffixes: str) -> list[str]:
        """The names of files that end with one of these, in no order; found without looking at the others."""
        if self.count(".jpg") == self.count(None) and ".jpg" not in suffixes:
            return []  # as in nearly every folder: two looks in place of one for each
        return [name for suffix in suffixes for name in self._ending(suffix)]

    def _ending(self, suffix: str) -> list[str]:
        ending, found, at = os.fsencode(suffix) + b"\0", [], -1
        while (at := self.text.find(ending, at + 1)) >= 0:
            begin = self.text.rfind(b"\0", 0, at) + 1
            found.append(os.fsdecode(self.text[begin : at + len(ending) - 1]))
        return found


_ABSENT = Listing(False)


class Tree:
    """Listings of one tree, kept as long as this value lives.

    Args:
        root: the tree's root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, Listing] = {}

    def survey(self, named: Grouped, *, below: str | None, sizes: bool, jobs: int | None = None) -> set[bytes]:
        """Lists many folders ahead, by several processes where there is much to list.

        Args:
            named: for each folder, a path of the tree, the names that it should hold; what is below these folders is
                listed too, if no link leads there.
            below: one more folder; what is in it and in those is listed with them.
            sizes: whether to look for files without a byte, which takes a `stat` for each.
            jobs: processes; None is one a core.

        Returns:
            The named files that are not there, as paths of the tree. A path that climbs out of the tree never is.
        """
        # A folder that is named by two paths, one of which goes through a link, is listed once.
        real = {folder: os.path.realpath(self.root / folder) for folder in named if not _climbs(folder)}
        first = {place: folder for folder, place in reversed(real.items())}
        wanted = dict.fromkeys(first.values(), b"") | ({below: b""} if below is not None else {})
        for folder, place in real.items():
            wanted[first[place]] += named[folder]
        found = self._list_all(wanted, sizes=sizes, jobs=jobs)
        missing = {path for folder in named if _climbs(folder) for path in _paths(folder, named[folder])}
        for folder, place in real.items():
            self._listings[folder] = self._listings[first[place]]
            if gone := found.get(first[place]):
                names = _names(gone) & _names(named[folder])
                missing |= {os.fsencode(folder) + b"/" + name for name in names}
        return missing

    def _list_all(self, wanted: Grouped, *, sizes: bool, jobs: int | None) -> Grouped:
        """Lists these folders; returns for each the names that are not there, if any."""
        shards = _shards(self.root, wanted, sizes)
        alone = sum(_entry_size(self.root / folder) for folder in wanted) < _WORTH_IT
        missing: Grouped = {}
        for listings, gone in run_shards(_list_shard, shards, jobs=1 if alone else jobs):
            self._listings.update(listings)
            missing.update(gone)
        return missing

    def listing(self, folder: str) -> Listing:
        """The names in `folder`, a path of the tree; an absent folder has none."""
        if folder not in self._listings:
            self._listings[folder] = _list(self.root / folder, sizes=False)
        return self._listings[folder]

    @property
    def listings(self) -> dict[str, Listing]:
        """Every folder that has been listed, by its path of the tree."""
        return self._listings

    def has_file(self, path: str) -> bool:
        """Whether a file is there. A path that climbs out of the tree never is."""
        folder, _, name = path.rpartition("/")
        return not _climbs(path) and name in self.listing(folder).files

    def empty(self) -> set[bytes]:
        """The files without a byte, as paths of the tree, in folders where sizes were looked at."""
        return {
            os.fsencode(f"{folder}/{name}")
            for folder, listing in self._listings.items()
            for name in listing.empty or ()
        }

    def count(self, folder: str, suffix: str | None) -> int:
        """How many files lie in `folder` and below, of one suffix if one is given, as `cvl.files.count_files` counts.

        `folder` may be a link; links to folders below it are not followed, so that a circle ends.
        """
        listing = self.listing(folder)
        below = sum(self.count(f"{folder}/{name}", suffix) for name in listing.folders - listing.links)
        return below + listing.count(suffix)


def prefixed(prefix: bytes, text: bytes) -> list[bytes]:
    """The names in `text`, which have a zero byte after each, with `prefix` before each."""
    return (prefix + text[:-1].replace(b"\0", b"\0" + prefix)).split(b"\0") if text else []


def _paths(folder: str, text: bytes) -> list[bytes]:
    return prefixed(os.fsencode(folder) + b"/", text)


@dataclass(frozen=True)
class _Shard:
    """Some folders to list, with what is below them and the names that they should hold; `stop` is others' work."""

    root: Path
    folders: Grouped
    stop: frozenset[str]
    sizes: bool


def _shards(root: Path, wanted: Grouped, sizes: bool) -> list[_Shard]:
    """Large folders alone and first, so that all cores have work to the end."""
    by_size = sorted(wanted, key=lambda folder: _entry_size(root / folder), reverse=True)
    large = [folder for folder in by_size if _entry_size(root / folder) >= _LARGE]
    small = by_size[len(large) :]
    groups = [[folder] for folder in large]
    groups += [small[start : start + _TOGETHER] for start in range(0, len(small), _TOGETHER)]
    stop = frozenset(wanted)
    return [_Shard(root, {folder: wanted[folder] for folder in group}, stop, sizes) for group in groups]


def _entry_size(folder: Path) -> int:
    try:
        return folder.stat().st_size
    except OSError:
        return 0  # what is not there is listed as absent


def _list_shard(shard: _Shard) -> tuple[dict[str, Listing], Grouped]:
    """The listings of a shard's folders and of those below, and the names that are not there."""
    found: dict[str, Listing] = {}
    missing: Grouped = {}
    pending = list(shard.folders)
    while pending:
        folder = pending.pop()
        with disk_errors(shard.root / folder):
            listing = found[folder] = _list(shard.root / folder, sizes=shard.sizes)
        below = (f"{folder}/{name}" for name in listing.folders - listing.links)
        pending += [path for path in below if path not in shard.stop]
        named = shard.folders.get(folder)
        if named and (gone := _names(named) - _names(listing.text)):
            missing[folder] = b"\0".join([*gone, b""])
    return found, missing


def _list(folder: Path, *, sizes: bool) -> Listing:
    try:
        parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return _ABSENT
        raise
    try:
        return _list_open(parent, sizes=sizes)
    finally:
        os.close(parent)


def _list_open(folder: int, *, sizes: bool) -> Listing:
    names: list[str] = []
    empty: list[str] = []
    others: list[os.DirEntry[str]] = []
    # An open folder, because the system then need not find its way there for every file whose size it is asked for.
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_file(follow_symlinks=False):
                others.append(entry)
                continue
            names.append(entry.name)
            # Not by _is_empty: of a million files, each call of a function counts.
            try:
                if sizes and not entry.stat(follow_symlinks=False).st_size:
                    empty.append(entry.name)
            except FileNotFoundError:
                continue  # it went meanwhile
        return _with_others(_visible(names), _visible(empty) if sizes else None, others)


def _visible(names: list[str]) -> list[str]:
    """The names without hidden ones, of which there are few: looked for in all of them at once."""
    return [name for name in names if not name.startswith(".")] if "\0." in "\0".join(["", *names]) else names


def _with_others(names: list[str], empty: list[str] | None, others: list[os.DirEntry[str]]) -> Listing:
    """The listing with what is no plain file: folders, links, and what a program may have left."""
    there = [entry for entry in others if not entry.name.startswith(".") and _leads_somewhere(entry)]
    folders = [entry for entry in there if entry.is_dir()]
    files = [entry for entry in there if not entry.is_dir()]
    if empty is not None:
        empty = [*empty, *(entry.name for entry in files if entry.is_file() and _is_empty(entry))]
    return Listing(
        True,
        text=os.fsencode("\0".join([*names, *(entry.name for entry in files), ""])),
        folders=frozenset(entry.name for entry in folders),
        links=frozenset(entry.name for entry in folders if entry.is_symlink()),
        empty=frozenset(empty) if empty is not None else None,
    )


def _is_empty(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.stat().st_size
    except OSError:
        return False  # it went meanwhile, or a link leads nowhere


def _leads_somewhere(entry: os.DirEntry[str]) -> bool:
    """False of a link whose target is gone: what it stands for is not there."""
    try:
        entry.stat()
    except OSError:
        return not entry.is_symlink()
    return True


def _names(text: bytes) -> set[bytes]:
    """The names in `text`, which have a zero byte after each."""
    return set(text.split(b"\0")[:-1])


def _climbs(path: str) -> bool:
    return ".." in path.split("/")


def _decoded(text: bytes) -> Iterator[str]:
    return iter(os.fsdecode(text).split("\0")[:-1])

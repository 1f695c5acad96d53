"""The tree's folders, each listed once: a listing answers for a million files what a `stat` answers for one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Listing:
    """The names in one folder, without hidden ones and without links whose target is gone.

    Args:
        exists: whether there is such a folder.
        files: names of everything that is not a folder.
        folders: names of folders, links to folders among them.
        links: the folders that are links.
    """

    exists: bool
    files: frozenset[str]
    folders: frozenset[str]
    links: frozenset[str] = frozenset()


_ABSENT = Listing(False, frozenset(), frozenset())


class Tree:
    """Listings of one tree, kept as long as this value lives.

    Args:
        root: the tree's root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, Listing] = {}

    def listing(self, folder: str) -> Listing:
        """The names in `folder`, a path of the tree; an absent folder has none."""
        if folder not in self._listings:
            self._listings[folder] = _list(self.root / folder)
        return self._listings[folder]

    def has_file(self, path: str) -> bool:
        """Whether a file is there. A path that climbs out of the tree never is."""
        folder, _, name = path.rpartition("/")
        if ".." in path.split("/"):
            return False
        return name in self.listing(folder).files

    def count(self, folder: str, suffix: str | None) -> int:
        """How many files lie in `folder` and below, of one suffix if one is given, as `cvl.files.count_files` counts.

        `folder` may be a link; links to folders below it are not followed, so that a circle ends.
        """
        listing = self.listing(folder)
        below = sum(self.count(f"{folder}/{name}", suffix) for name in listing.folders - listing.links)
        return below + sum(name.endswith(suffix or "") for name in listing.files)


def _list(folder: Path) -> Listing:
    files: set[str] = set()
    folders: set[str] = set()
    links: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name[0] != "." and _leads_somewhere(entry):
                    (folders if entry.is_dir() else files).add(entry.name)
                    if entry.is_symlink():
                        links.add(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    return Listing(True, frozenset(files), frozenset(folders), frozenset(links & folders))


def _leads_somewhere(entry: os.DirEntry[str]) -> bool:
    """False of a link whose target is gone: what it stands for is not there."""
    return not entry.is_symlink() or Path(entry.path).exists()

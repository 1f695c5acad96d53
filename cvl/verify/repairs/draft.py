"""The tree's names as they would be after some acts, without touching the disk.

A plan is made on a draft, so that one repair sees what those before it will have done; before acts are carried out or
taken back they are rehearsed on a fresh one, so that either all of them can be done or none is begun. A folder is
listed when it is first looked into.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cvl.errors import CvlError
from cvl.verify.repairs.acts import Act, ActKind

_MOST_LINKS = 16


@dataclass(frozen=True, slots=True)
class File:
    """Whatever is neither folder nor link.

    Args:
        real: where it lies on the disk; empty for the folder's own place and the file's own name.
    """

    real: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link, and what it says."""

    target: str


class Folder:
    """A real folder.

    Args:
        real: where it lies on the disk; empty for one that is still to be made.
    """

    __slots__ = ("_names", "real")

    def __init__(self, real: str) -> None:
        self.real = real
        self._names: dict[str, Entry] | None = None if real else {}

    @property
    def names(self) -> dict[str, Entry]:
        """All that is in it, hidden names too."""
        if self._names is None:
            self._names = _list(self.real)
        return self._names


Entry = File | Link | Folder

_HERE = File()


def _list(folder: str) -> dict[str, Entry]:
    names: dict[str, Entry] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                names[entry.name] = Link(os.readlink(entry.path))  # noqa: PTH115 (its text as it is)
            else:
                names[entry.name] = Folder(entry.path) if entry.is_dir() else _HERE
    return names


class Draft:
    """One tree, to be changed in thought. Paths are relative to its root.

    Args:
        root: the tree's root.
    """

    def __init__(self, root: Path) -> None:
        self._base = os.path.realpath(root)
        self._top = Folder(self._base)
        self._outside: dict[str, Entry | None] = {}
        self._folders: dict[str, Folder | None] = {}

    def entry(self, path: str) -> Entry | None:
        """What has this name: a link is a link."""
        return self._walk(path, _MOST_LINKS)[1]

    def folder(self, path: str) -> Folder | None:
        """The folder at `path`, or at the end of the links there."""
        if path not in self._folders:
            found = self._end(path)[1]
            self._folders[path] = found if isinstance(found, Folder) else None
        return self._folders[path]

    def has_file(self, path: str) -> bool:
        """Whether there is a file, or a link that leads to one."""
        parent, _, name = path.rpartition("/")
        folder = self.folder(parent)
        entry = folder.names.get(name) if folder is not None else None
        return isinstance(entry, File) or (isinstance(entry, Link) and isinstance(self._end(path)[1], File))

    def place(self, path: str) -> str:
        """`path` without links on the way: the same text for all names of one folder."""
        return self._end(path)[0]

    def real(self, path: str) -> str | None:
        """Where on the disk the file lies now that `path` will name; None if there is none."""
        if (here := self.real_file(path)) is not None:
            return here
        place, end = self._end(path)
        return (end.real or place) if isinstance(end, File) else None

    def real_file(self, path: str) -> str | None:
        """The same, but None for a link."""
        parent, _, name = path.rpartition("/")
        folder = self.folder(parent)
        entry = folder.names.get(name) if folder is not None else None
        if folder is None or not isinstance(entry, File):
            return None
        return entry.real or f"{folder.real}/{name}"

    def apply(self, act: Act) -> None:
        """Change the draft as `act` would change the tree.

        Raises:
            CvlError: it could not be done; says why.
        """
        parent, _, name = act.path.rpartition("/")
        folder = self.folder(parent)
        if folder is None:
            raise CvlError(f"{parent} is not there")
        here = folder.names.get(name)
        if act.kind in (ActKind.MAKE_FOLDER, ActKind.LINK):
            if here is not None:
                raise CvlError(f"{act.path} is there already")
            folder.names[name] = Folder("") if act.kind is ActKind.MAKE_FOLDER else Link(act.to)
        elif here is None:
            raise CvlError(f"{act.path} is not there")
        else:
            self._take(act, here)
            if act.kind is ActKind.MOVE:
                self._put(act.to, File(f"{folder.real}/{name}") if here is _HERE else here)
            del folder.names[name]
        if not isinstance(here, File):
            self._folders.clear()

    def _take(self, act: Act, here: Entry) -> None:
        """Refuse to take away what is not what the act speaks of."""
        if act.kind is ActKind.DROP_FOLDER and (not isinstance(here, Folder) or here.names):
            raise CvlError(f"{act.path} is no empty folder: it holds more than the repair knows of")
        if act.kind is ActKind.DROP_LINK and here != Link(act.to):
            raise CvlError(f"{act.path} is no link to {act.to}")

    def _put(self, path: str, entry: Entry) -> None:
        parent, _, name = path.rpartition("/")
        folder = self.folder(parent)
        if folder is None:
            raise CvlError(f"{parent} is not there")
        if name in folder.names:
            raise CvlError(f"{path} is there already")
        folder.names[name] = entry

    def _walk(self, path: str, links: int) -> tuple[str, Entry | None]:
        """Where `path` leads without the link that it may end with, and what is there."""
        place, here = self._base, self._top
        found: Entry | None = here
        for part in filter(None, path.split("/")):
            if isinstance(found, Link):
                place, found = self._follow(place, found, links)
            if not isinstance(found, Folder):
                return f"{place}/{part}", None
            place, found = f"{place}/{part}", found.names.get(part)
        return place, found

    def _end(self, path: str, links: int = _MOST_LINKS) -> tuple[str, Entry | None]:
        place, found = self._walk(path, links)
        return self._follow(place, found, links) if isinstance(found, Link) else (place, found)

    def _follow(self, place: str, link: Link, links: int) -> tuple[str, Entry | None]:
        target = os.path.normpath(os.path.join(os.path.dirname(place), link.target))  # noqa: PTH118, PTH120
        if not links:
            return target, None
        if target == self._base or target.startswith(self._base + "/"):
            return self._end(target[len(self._base) + 1 :], links - 1)
        if target not in self._outside:
            self._outside[target] = _look(target)
        return target, self._outside[target]


def _look(path: str) -> Entry | None:
    """What is at a path outside of the tree, at the end of whatever links are there."""
    if not Path(path).exists():
        return None
    return Folder(path) if Path(path).is_dir() else File(path)

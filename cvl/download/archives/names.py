"""Where a member of an archive lands, and what of a name is refused."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from typing import Protocol

from cvl.errors import ArchiveError

_NO_TEXT = re.compile("[\ud800-\udfff]")
_NEVER_IN_A_NAME = re.compile(r"[\\\0]")

# What file systems take, in bytes: of one name, and of a path with room left for the folder that it lands in.
_LONGEST_NAME = 255
_LONGEST_PATH = 2048

_SHOWN = 100


class Recipe(Protocol):
    """How an archive goes into the tree, as `cvl.manifest.Unpack` says it; that one brings all of pydantic with it."""

    @property
    def include(self) -> tuple[str, ...]:
        """Globs over member names (`*` crosses slashes); nothing else is written."""

    @property
    def exclude(self) -> tuple[str, ...]:
        """Globs over member names that are left out although included."""

    @property
    def strip(self) -> int:
        """Leading folders of a member's name that are dropped."""

    @property
    def flatten(self) -> bool:
        """Whether all folders of a member's name are dropped."""

    @property
    def members(self) -> int | None:
        """How many files must come out, where the publisher's number is known."""


def shown(name: str) -> str:
    """A member's name for a message: one line that a terminal can take, and not all of an endless one."""
    short = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    return short if short.isprintable() else ascii(short)[1:-1]


def included(name: str, spec: Recipe) -> bool:
    """Whether a member is one that the manifest wants."""
    return Selection(spec).wants(name)


def destination(name: str, spec: Recipe) -> str:
    """Where a member lands, relative to the folder that the archive is unpacked into.

    Raises:
        ArchiveError: it would land outside, nothing is left of its name, or no disk would take it.
    """
    if _NO_TEXT.search(name):
        raise ArchiveError(f"the member {name[:_SHOWN]!a} has a name that is not UTF-8")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    leaves = name.startswith("/") or ".." in parts
    # Flattening drops the folders, so ALLaVA's absolute paths are harmless; a backslash is never a name of ours.
    if _NEVER_IN_A_NAME.search(name) or parts[-1:] == [".."] or (leaves and not spec.flatten):
        raise ArchiveError(f"the member `{shown(name)}` would land outside of its folder")
    kept = parts[-1:] if spec.flatten else parts[spec.strip :]
    if not kept:
        raise ArchiveError(
            f"nothing is left of the member `{shown(name)}` after {spec.strip} leading folders are dropped"
        )
    place = "/".join(kept)
    # A character takes at most four bytes.
    if len(place) > _LONGEST_NAME // 4:
        _refuse_too_long(name, kept)
    return place


def _refuse_too_long(name: str, parts: Iterable[str]) -> None:
    lengths = [len(os.fsencode(part)) for part in parts]
    if max(lengths) > _LONGEST_NAME:
        raise ArchiveError(
            f"the member `{shown(name)}` has a name of {max(lengths):,} bytes: file systems take {_LONGEST_NAME}"
        )
    if sum(lengths) + len(lengths) > _LONGEST_PATH:
        raise ArchiveError(f"the member `{shown(name)}` has a path of more than {_LONGEST_PATH:,} bytes")


class Selection:
    """Which members a manifest wants, its globs translated once."""

    def __init__(self, spec: Recipe) -> None:
        self._spec = spec
        self._include = _any_of(spec.include)
        self._exclude = _any_of(spec.exclude) if spec.exclude else None

    def wants(self, name: str) -> bool:
        """Whether a member is included and not excluded."""
        return self._include.match(name) is not None and not (self._exclude and self._exclude.match(name))

    def place(self, name: str) -> str | None:
        """Where a wanted member lands, None for one that nobody wants.

        Raises:
            ArchiveError: it is wanted and must not land anywhere, see `destination`.
        """
        return destination(name, self._spec) if self.wants(name) else None


def _any_of(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))


class Places:
    """Where the members of one archive land, in its order: no two in the same place, none below another.

    Args:
        folds_case: whether names that differ in capital letters only are one name where they land.
    """

    def __init__(self, *, folds_case: bool = False) -> None:
        self._folds_case = folds_case
        self.names: list[str] = []
        self._taken: set[str] = set()
        self._folders: set[str] = {""}

    def add(self, place: str) -> None:
        """Take a place.

        Raises:
            ArchiveError: another member has it, or it would have to be a file and a folder.
        """
        key = self._key(place)
        if key in self._taken:
            raise ArchiveError(self._collision(place, key))
        if key in self._folders or not self._enter(key.rpartition("/")[0]):
            raise ArchiveError(f"`{shown(place)}` would have to be a file and a folder at once")
        self._taken.add(key)
        self.names.append(place)

    def __contains__(self, place: str) -> bool:
        return self._key(place) in self._taken

    def drop(self, place: str) -> None:
        """Give the last place that was taken back."""
        assert self.names.pop() == place
        self._taken.discard(self._key(place))

    def _key(self, place: str) -> str:
        return place.lower() if self._folds_case else place

    def _enter(self, folder: str) -> bool:
        """Note a folder and those above it; False where one of them is a file."""
        while folder not in self._folders:
            if folder in self._taken:
                return False
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]
        return True

    def _collision(self, place: str, key: str) -> str:
        other = next(name for name in self.names if self._key(name) == key)
        if other == place:
            return f"two members would both become {shown(place)}"
        return (
            f"two members would become {shown(other)} and {shown(place)}, which are the same file on a disk that does "
            "not tell capital letters from small ones, such as this one"
        )

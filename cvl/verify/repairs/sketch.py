"""A plan while it is being made: repairs so far, on a draft of the tree that has them all done."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from cvl.manifest import Catalog
from cvl.manifest import Link as Documented
from cvl.verify.repairs.acts import Act, ActKind
from cvl.verify.repairs.draft import Draft, Folder
from cvl.verify.repairs.values import Left, Picture, Plan, Repair, RepairKind


class Missing:
    """The pictures that instruction files name and the tree has not, and the folders of those that it has.

    Args:
        names: of missing pictures, by folder.
        used: folders in which a picture is named and there, without links on the way.
    """

    def __init__(self, names: Mapping[str, Iterable[str]], used: frozenset[str]) -> None:
        self.names = {folder: tuple(sorted(found)) for folder, found in names.items()}
        self._used = used | {str(parent) for folder in used for parent in PurePosixPath(folder).parents}

    def uses(self, place: str) -> bool:
        """Whether a picture that lies in a folder, or below it, is named as it lies."""
        return place in self._used

    def below(self, folder: str) -> list[str]:
        """Missing pictures in a folder and below it, relative to it."""
        inside = (parent for parent in self.names if f"{parent}/".startswith(f"{folder}/"))
        skip = len(folder) + 1
        return [f"{parent}/{name}"[skip:] for parent in inside for name in self.names[parent]]


class Sketch:
    """What all rules have in hand.

    Args:
        catalog: the manifests.
        draft: of the tree, on which every act is tried at once.
    """

    def __init__(self, catalog: Catalog, draft: Draft) -> None:
        self.catalog, self.draft = catalog, draft
        self._acts: list[Act] = []
        self._repairs: list[Repair] = []
        self._left: list[Left] = []
        self._kept = set(_named_folders(catalog))

    @property
    def plan(self) -> Plan:
        """What has been found."""
        return Plan(tuple(self._repairs), tuple(self._left))

    @property
    def links(self) -> list[Documented]:
        """The links that the manifests document."""
        return [link for source in self.catalog.sources.values() for link in source.links]

    def act(self, act: Act) -> None:
        """Add an act to the repair that is being put together."""
        self.draft.apply(act)
        self._acts.append(act)

    def close(self, kind: RepairKind, path: str, to: str, count: int, why: str) -> None:
        """The acts since the last one make a repair."""
        source = self.catalog.owner(to) or self.catalog.owner(path) or ""
        self._repairs.append(Repair(kind, source, path, to, count, why, tuple(self._acts)))
        self._acts.clear()

    def convert(self, pictures: Iterable[Picture], why: str) -> None:
        """A repair that makes JPEGs."""
        found = tuple(pictures)
        path = found[0].path
        source = self.catalog.owner(path) or ""
        self._repairs.append(Repair(RepairKind.NOT_JPEG, source, path, path, len(found), why, pictures=found))

    def leave(self, path: str, reason: str) -> None:
        """Something is not touched."""
        self._left.append(Left(path, reason))

    def make_folders(self, folder: str) -> None:
        """Acts that make a folder and those above it, as far as they are not there."""
        for act in folders_to_make(self.draft, folder):
            self.act(act)

    def drop_empty(self, folder: str) -> None:
        """Acts that drop a folder and those above it as far as they are empty and no manifest speaks of them."""
        while folder and folder not in self._kept:
            entry = self.draft.entry(folder)
            if not isinstance(entry, Folder) or entry.names:
                return
            self.act(drop(folder, entry))
            folder = folder.rpartition("/")[0]

    def same_disk(self, path: str, other: str) -> bool:
        """Whether two folders, or those nearest above them that are there, lie on one disk: renaming knows no other."""
        return len({self._device(folder) for folder in (path, other)}) == 1

    def _device(self, path: str) -> int:
        folder = self.draft.folder(path)
        if folder is None or not folder.real:
            return self._device(path.rpartition("/")[0])
        return Path(folder.real).stat().st_dev

    def is_kept(self, folder: str) -> bool:
        """Whether a folder is one that the manifests speak of, or above such a one."""
        return folder in self._kept


def drop(path: str, folder: Folder) -> Act:
    """The act that drops an empty folder, so that it can be made again as it was."""
    if not folder.real:
        return Act(ActKind.DROP_FOLDER, path)
    return Act(ActKind.DROP_FOLDER, path, mode=stat.S_IMODE(Path(folder.real).stat().st_mode))


def folders_to_make(draft: Draft, folder: str) -> Iterator[Act]:
    """Acts that make a folder and those above it, as far as they are not there."""
    for parent in (*reversed(PurePosixPath(folder).parents[:-1]), PurePosixPath(folder)):
        if draft.folder(str(parent)) is None:
            yield Act(ActKind.MAKE_FOLDER, str(parent))


def _named_folders(catalog: Catalog) -> Iterator[str]:
    """Folders that the manifests speak of, and all above them."""
    for source in catalog.sources.values():
        folders = [expect.folder for expect in source.expect] + [entry.image_root for entry in source.annotations]
        paths = [link.path for link in source.links] + [entry.path for entry in source.annotations]
        yield from folders
        for path in folders + paths:
            yield from map(str, PurePosixPath(path).parents)

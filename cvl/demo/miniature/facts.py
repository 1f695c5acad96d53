"""What is known of a miniature world: the numbers that its manifests take in place of the real ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})


@dataclass(frozen=True)
class FileFacts:
    """One published file.

    Args:
        url: where a manifest says that it is: `http(s)://`, `hf://`, `gdrive://` or `links:`.
        path: where it lies in the world's folder, with forward slashes.
        size: bytes.
        sha256: hexadecimal digest of the published bytes.
        md5: likewise.
        members: files in it, folders' own entries not counted; 0 where it is no archive.
        images: those of them that belong into the tree, empty ones included.
        broken: its container ends in an error although every picture in it can be read.
    """

    url: str
    path: str
    size: int
    sha256: str
    md5: str
    members: int = 0
    images: int = 0
    broken: bool = False


@dataclass(frozen=True)
class FolderFacts:
    """One folder of pictures in a complete tree.

    Args:
        folder: below the tree's root, such as `data/coco/train2017`.
        suffixes: files by suffix, in the folder and below it.
        empty: those of them that have no bytes, as published.
    """

    folder: str
    suffixes: dict[str, int]
    empty: int = 0

    @property
    def files(self) -> int:
        """All files in the folder and below it."""
        return sum(self.suffixes.values())


@dataclass(frozen=True)
class InstructionFacts:
    """One instruction file.

    Args:
        path: below the tree's root.
        url: where it is published.
        image_root: the folder, below the tree's root, that its image names start from.
        records: all of them.
        text_only: those without an image.
        prefixes: the others by the folder that their image name starts with, "" for bare names.
    """

    path: str
    url: str
    image_root: str
    records: int
    text_only: int
    prefixes: dict[str, int]


@dataclass(frozen=True)
class ListFacts:
    """A published list of many small files.

    Args:
        url: of the list itself.
        entries: how many files it names.
        size: bytes of all of them that can be had.
        dead: keys of the entries whose file is gone.
    """

    url: str
    entries: int
    size: int
    dead: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All that is known of a world. `aliases`: image names in instruction files -> what the file is really called."""

    files: tuple[FileFacts, ...] = ()
    folders: tuple[FolderFacts, ...] = ()
    instructions: tuple[InstructionFacts, ...] = ()
    lists: tuple[ListFacts, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)


def file_facts(url: str, path: PurePosixPath, file: Path, names: Iterable[str] = ()) -> FileFacts:
    """Measures a published file; `names` are those of its members, folders' own entries end with a slash."""
    data = file.read_bytes()
    members = [name for name in names if not name.endswith("/")]
    return FileFacts(
        url=url,
        path=str(path),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        members=len(members),
        images=sum(map(_is_picture, members)),
    )


def _is_picture(name: str) -> bool:
    """What a Mac leaves in a zip bears the names of pictures, and is none."""
    return PurePosixPath(name).suffix in PICTURE_SUFFIXES and not name.startswith("__MACOSX/")


def folder_facts(folder: str, names: Iterable[str], empty: int = 0) -> FolderFacts:
    """Counts the files of one folder of the tree by suffix."""
    suffixes = Counter(PurePosixPath(name).suffix for name in names)
    return FolderFacts(folder, dict(sorted(suffixes.items())), empty)


def composition(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The records that have an image, by `prefix_of` that image."""
    return dict(sorted(Counter(prefix_of(record["image"]) for record in records if "image" in record).items()))


def prefix_of(image: str) -> str:
    """The folder of an image's name, without the numbered folders that LLaVA-Pretrain spreads its pictures over."""
    folder = PurePosixPath(image).parent
    if folder.name.isdigit():
        folder = folder.parent
    return "" if folder == PurePosixPath() else str(folder)

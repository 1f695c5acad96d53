"""A picture of the miniature tree: where it belongs, and the scene that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from random import Random

from cvl.demo.miniature.packing import Member
from cvl.demo.miniature.pictures import Encoding, encode
from cvl.demo.miniature.scenes import Scene


@dataclass(frozen=True)
class Photo:
    """One picture.

    Args:
        folder: its folder below `data/`, such as `coco/train2017`.
        name: its name below that folder.
        scene: what it shows.
        encoding: what its bytes are, whatever its suffix says.
    """

    folder: str
    name: str
    scene: Scene
    encoding: Encoding = "jpeg"

    @property
    def path(self) -> str:
        """The picture as instruction files name it when their images start from `data/`."""
        return f"{self.folder}/{self.name}"

    @property
    def stem(self) -> str:
        """The name without folders and suffix: what most sources use as a record's id."""
        return PurePosixPath(self.name).stem

    def data(self) -> bytes:
        """The bytes of the picture's file."""
        return encode(self.scene, self.encoding)

    def renamed(self, name: str) -> Photo:
        """The same picture under another name."""
        return replace(self, name=name)


def photos(folder: str, names: Iterable[str], scenes: Sequence[Scene]) -> tuple[Photo, ...]:
    """One JPEG for each name and scene, which are equally many."""
    return tuple(Photo(folder, name, scene) for name, scene in zip(names, scenes, strict=True))


def packed(pictures: Iterable[Photo], root: str) -> Iterator[Member]:
    """The pictures as an archive holds them: under `root`, which ends with a slash or is empty."""
    return (Member(root + photo.name, photo.data()) for photo in pictures)


def numbers(source: str, count: int, highest: int) -> list[int]:
    """`count` different numbers from 1 to `highest` in rising order, always the same for one source."""
    return sorted(Random(f"{source} numbers").sample(range(1, highest + 1), count))

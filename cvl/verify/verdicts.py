"""What is known of pictures that were decoded before: path, size and time of each, and how closely it was looked at.

    verdicts/RUN.sound     26 bytes a picture: hash of its path, size, time, depth, kind
    verdicts/RUN.damaged   a JSON object a line: path, size, time, reason, text

Both are only ever appended to, so that a run may be killed at any instant: half a record at the end is passed over.
Each run has files of its own, in whose names stands when it began, and several may run at once; `merge` makes one of
those that are finished. A picture that has another size or time than it had is unknown.

The hash has 64 bits. That two paths of a tree share one, with size and time alike, has a chance of one in millions.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from cvl.files import disk_errors, write_atomically

SOUND = np.dtype([("path", "<u8"), ("size", "<u8"), ("mtime_ns", "<i8"), ("depth", "u1"), ("kind", "u1")])


class Damaged(msgspec.Struct, frozen=True):
    """One picture that is not sound: where, its size and time when it was looked at, and what was found."""

    path: str
    size: int
    mtime_ns: int
    reason: str
    text: str


_DAMAGED = msgspec.json.Decoder(Damaged)


def hash_of(path: bytes) -> int:
    """The hash of a picture's path of the tree."""
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "little")


class Verdicts:
    """What was known when this was made. Many processes may ask: it is mapped, and opened once in each of them.

    Args:
        folder: of the verdicts; it need not be there.
    """

    def __init__(self, folder: Path, token: str = "") -> None:
        self._folder = folder
        self._token = token or secrets.token_hex(8)
        self._sound = [_Sorted.of(_mapped(path)) for path in sorted(folder.glob("*.sound"))]

    def __reduce__(self) -> tuple[Callable[[Path, str], Verdicts], tuple[Path, str]]:
        return _opened, (self._folder, self._token)

    def known(self, asked: NDArray[Any], depth: int) -> NDArray[np.uint8]:
        """The kind of each picture that is known to be sound at `depth` or closer, as a number; 0 for the others.

        Args:
            asked: of dtype `SOUND`; `depth` and `kind` are not looked at.
        """
        kinds = np.zeros(asked.size, np.uint8)
        for sound in self._sound:
            for number, row in sound.matches(asked["path"]):
                found, wanted = sound.records[row], asked[number]
                alike = (found["size"] == wanted["size"]) & (found["mtime_ns"] == wanted["mtime_ns"])
                good = alike & (found["depth"] >= depth)
                kinds[number[good]] = found["kind"][good]
        return kinds

    @cached_property
    def damaged(self) -> dict[bytes, Damaged]:
        """`known_damage` of the folder."""
        return known_damage(self._folder)


def known_damage(folder: Path) -> dict[bytes, Damaged]:
    """The latest word on each picture that was not sound; whether it has changed since is not looked at."""
    found: dict[bytes, Damaged] = {}
    for path in sorted(folder.glob("*.damaged")):
        for line in path.read_bytes().split(b"\n"):
            with suppress(msgspec.DecodeError):  # half a line, where a run was killed
                damaged = _DAMAGED.decode(line)
                found[os.fsencode(damaged.path)] = damaged
    return found


@lru_cache(maxsize=2)
def _opened(folder: Path, token: str) -> Verdicts:
    """The same value, for the same token, in every process."""
    return Verdicts(folder, token)


@dataclass(frozen=True, eq=False)
class _Sorted:
    """The records of one file, and how to sort them by path; None for what is sorted, as merged files are."""

    records: NDArray[Any]
    order: NDArray[np.int64] | None

    @classmethod
    def of(cls, records: NDArray[Any]) -> _Sorted:
        paths = records["path"]
        in_order = bool((paths[:-1] <= paths[1:]).all())
        return cls(records, None if in_order else np.argsort(paths, kind="stable"))

    @cached_property
    def paths(self) -> NDArray[np.uint64]:
        """The hashes, sorted."""
        found: NDArray[np.uint64] = self.records["path"]
        return found if self.order is None else found[self.order]

    def matches(self, asked: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Which of `asked` are here, with their records' numbers; again and again, where a path stands here often."""
        first = np.searchsorted(self.paths, asked)
        number = np.arange(asked.size)
        while number.size:
            inside = first < self.paths.size
            number, first = number[inside], first[inside]
            alike = self.paths[first] == asked[number]
            number, first = number[alike], first[alike]
            yield number, first if self.order is None else self.order[first]
            first = first + 1


def _mapped(path: Path) -> NDArray[Any]:
    records = path.stat().st_size // SOUND.itemsize
    return np.memmap(path, dtype=SOUND, mode="r", shape=(records,)) if records else np.empty(0, SOUND)


class VerdictWriter:
    """Appends what one run finds. A context manager; the folder is made if need be.

    Raises:
        DiskError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        name = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._sound = (folder / f"{name}.sound").open("ab", buffering=0)
            self._damaged = (folder / f"{name}.damaged").open("ab", buffering=0)
        self._folder = folder
        with suppress(OSError):  # some network disks have no locks: there, nothing is ever merged
            fcntl.flock(self._sound, fcntl.LOCK_SH)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sound.close()
        self._damaged.close()

    def append(self, sound: bytes, damaged: Sequence[Damaged]) -> None:
        """Notes some pictures: records of `SOUND` as bytes, and those that are not sound."""
        with disk_errors(self._folder):
            self._sound.write(sound)
            self._damaged.write(b"".join(msgspec.json.encode(each) + b"\n" for each in damaged))


def merge(folder: Path) -> None:
    """Makes one sorted file of what finished runs have left, so that the next ones find it quickly.

    Raises:
        DiskError: the folder cannot be written.
    """
    with disk_errors(folder):
        done = [path for path in sorted(folder.glob("*.sound")) if _finished(path)]
        if len(done) < 2:
            return
        together = np.concatenate([_mapped(path) for path in done])
        # What was noted last counts: nothing is noted that was known already.
        order = np.argsort(together["path"], kind="stable")
        together = together[order]
        last = np.append(together["path"][1:] != together["path"][:-1], np.ones(min(1, together.size), np.bool_))
        damaged = b"".join(msgspec.json.encode(each) + b"\n" for each in known_damage(folder).values())
        # Under the latest name, so that it stands before what is noted by now. The new files stand before the old ones
        # go: a kill in between leaves some things twice, and nothing out.
        for path, content in ((done[-1].with_suffix(".damaged"), damaged), (done[-1], together[last].tobytes())):
            write_atomically(path, content)
        for path in done[:-1]:
            path.unlink()
            path.with_suffix(".damaged").unlink(missing_ok=True)


def _finished(path: Path) -> bool:
    """Whether no run is appending to this file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

"""Looks into many pictures on every core, and remembers what it has seen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvl.events import Progress
from cvl.images import ImageKind
from cvl.parallel import WHOLE, Engine, Part, run_shards, shards_of
from cvl.verify.decode import UNREADABLE, Depth, Verdict, look
from cvl.verify.verdicts import SOUND, Damaged, Verdicts, VerdictWriter, hash_of, merge

_SHARD_FILES = 500
"""Pictures that a worker takes at once: half a second of decoding, or of what a kill costs."""

_HEADER_FILES = 5_000

_KINDS: tuple[ImageKind | None, ...] = (None, *ImageKind)


@dataclass(frozen=True)
class Work:
    """How pictures are looked into.

    Args:
        jobs: processes; None is one a core.
        engine: who does the work.
        part: the share of the pictures that is looked into.
    """

    jobs: int | None = None
    engine: Engine = Engine.LOCAL
    part: Part = WHOLE


@dataclass
class Looked:
    """What was found of some pictures, by their paths of the tree.

    Args:
        kinds: of those that are no JPEG although their name says so; None for what is no picture at all.
        flaws: what is wrong with those that are not sound.
        pictures: how many were looked into.
        remembered: of them, how many had not changed since they were looked into before.
    """

    kinds: dict[str, ImageKind | None] = field(default_factory=dict)
    flaws: dict[str, Verdict] = field(default_factory=dict)
    pictures: int = 0
    remembered: int = 0

    def add(self, other: Looked) -> None:
        """Adds what was found of other pictures."""
        self.kinds |= other.kinds
        self.flaws |= other.flaws
        self.pictures += other.pictures
        self.remembered += other.remembered


@dataclass(frozen=True)
class _Found:
    """What a worker found: of its pictures, and what is to be noted of them."""

    looked: Looked
    sound: bytes
    damaged: tuple[Damaged, ...]


def look_at_headers(root: Path, paths: Sequence[bytes], work: Work, progress: Progress) -> dict[str, ImageKind | None]:
    """The kinds of those pictures, named as JPEGs, that are none; None for what is no picture."""
    kinds: dict[str, ImageKind | None] = {}
    done = 0

    def on_result(found: tuple[int, dict[str, ImageKind | None]]) -> None:
        nonlocal done
        done += found[0]
        kinds.update(found[1])
        progress(done, len(paths))

    shards = shards_of(paths, _HEADER_FILES)
    run_shards(partial(_headers, root.absolute()), shards, jobs=work.jobs, engine=work.engine, on_result=on_result)
    return kinds


def look_into(root: Path, paths: Sequence[bytes], depth: Depth, folder: Path, work: Work, progress: Progress) -> Looked:
    """Decodes the pictures of this part, without those that have not changed since they were decoded before.

    Args:
        paths: of the tree.
        folder: of the verdicts; each is noted there as soon as it is known.
        progress: is told how many pictures are done, of how many.

    Raises:
        DiskError: the verdicts cannot be written.
    """
    mine = paths if work.part.whole else [path for path in paths if work.part.takes(os.fsdecode(path))]
    if work.part.whole and folder.is_dir():
        merge(folder)
    looked = Looked()
    with VerdictWriter(folder) as writer:

        def on_result(found: _Found) -> None:
            writer.append(found.sound, found.damaged)
            looked.add(found.looked)
            progress(looked.pictures, len(mine))

        # A worker may be somewhere else.
        function = partial(_look_into_shard, root.absolute(), Verdicts(folder.absolute()), depth)
        run_shards(function, shards_of(mine, _SHARD_FILES), jobs=work.jobs, engine=work.engine, on_result=on_result)
    return looked


def still_damaged(root: Path, suspects: Iterable[Damaged]) -> dict[str, Verdict]:
    """What is wrong with those of the suspects that have not been replaced since they were looked into."""
    return {each.path: Verdict(None, each.reason, each.text) for each in suspects if _is_unchanged(root, each)}


def _is_unchanged(root: Path, damaged: Damaged) -> bool:
    try:
        status = (root / damaged.path).stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (damaged.size, damaged.mtime_ns)


def _headers(root: Path, paths: Sequence[bytes]) -> tuple[int, dict[str, ImageKind | None]]:
    kinds: dict[str, ImageKind | None] = {}
    for path in map(os.fsdecode, paths):
        kind = look(root / path, Depth.HEADER).kind
        if kind is not ImageKind.JPEG:
            kinds[path] = kind
    return len(paths), kinds


def _look_into_shard(root: Path, verdicts: Verdicts, depth: Depth, paths: Sequence[bytes]) -> _Found:
    asked, gone = _statuses(root, paths)
    known = verdicts.known(asked, depth)
    damaged = _known_damage(verdicts, paths, asked)
    looked, noted, fresh = Looked({}, gone, len(paths)), [], []
    for number, path in enumerate(map(os.fsdecode, paths)):
        if path in gone:
            continue
        if known[number]:
            looked.remembered += 1
            verdict = Verdict(_KINDS[known[number]])
        elif path in damaged:
            looked.remembered += 1
            verdict = damaged[path]
        else:
            verdict = look(root / path, depth)
            if verdict.sound:
                fresh.append(number)
                asked["kind"][number] = _KINDS.index(verdict.kind)
            else:
                size, mtime_ns = int(asked["size"][number]), int(asked["mtime_ns"][number])
                noted.append(Damaged(path, size, mtime_ns, verdict.reason, verdict.text))
        _note(looked, path, verdict)
    asked["depth"] = depth
    return _Found(looked, asked[fresh].tobytes(), tuple(noted))


def _note(looked: Looked, path: str, verdict: Verdict) -> None:
    if not verdict.sound:
        looked.flaws[path] = verdict
    elif verdict.kind is not ImageKind.JPEG and path.lower().endswith((".jpg", ".jpeg")):
        looked.kinds[path] = verdict.kind


def _statuses(root: Path, paths: Sequence[bytes]) -> tuple[NDArray[Any], dict[str, Verdict]]:
    """Hash, size and time of each picture, and those that have gone since they were listed."""
    asked = np.zeros(len(paths), SOUND)
    gone = {}
    for number, path in enumerate(paths):
        try:
            status = os.stat(os.path.join(os.fsencode(root), path))  # noqa: PTH116, PTH118 - a million of them
        except OSError as error:
            gone[os.fsdecode(path)] = Verdict(None, UNREADABLE, error.strerror or str(error))
            continue
        asked[number] = (hash_of(path), status.st_size, status.st_mtime_ns, 0, 0)
    return asked, gone


def _known_damage(verdicts: Verdicts, paths: Sequence[bytes], asked: NDArray[Any]) -> Mapping[str, Verdict]:
    found = {}
    known = verdicts.damaged
    for number, path in enumerate(paths if known else ()):
        damaged = known.get(path)
        if damaged and (damaged.size, damaged.mtime_ns) == (asked["size"][number], asked["mtime_ns"][number]):
            found[damaged.path] = Verdict(None, damaged.reason, damaged.text)
    return found

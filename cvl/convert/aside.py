"""Files that leave their place without being lost: originals whose name their JPEG takes, and what cannot be read."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from cvl.files import beside, disk_errors


def keep(source: Path, data: bytes, kept: Path) -> None:
    """Keeps `source`, whose bytes were `data` when they were read, as `kept`, or as `kept.1` where another one is.

    Raises DiskError.
    """
    with disk_errors(kept):
        place = next(place for place in _places(kept) if not place.exists() or place.read_bytes() == data)
        if not place.exists():  # else an earlier run was killed right after it had kept it
            place.parent.mkdir(parents=True, exist_ok=True)
            _second_name(source, data, place)


def _second_name(source: Path, data: bytes, place: Path) -> None:
    temporary = beside(place)
    try:
        # Resolved, because a link to a symbolic link would lead nowhere from another folder.
        os.link(source.resolve(), temporary)
    except OSError:
        temporary.write_bytes(data)
    if temporary.read_bytes() != data:
        # Somebody was faster, and `source` is the JPEG by now: it must not take the original's place.
        temporary.unlink()
        temporary.write_bytes(data)
    temporary.replace(place)


def quarantine_place(source: Path, wanted: Path) -> Path:
    """Where `source` goes: `wanted`, or `wanted.1` where another file is. Raises DiskError."""
    with disk_errors(wanted):
        return next(place for place in _places(wanted) if not os.path.lexists(place) or _equal(source, place))


def move_aside(source: Path, place: Path) -> None:
    """Moves a file, or a link itself, to where `quarantine_place` says, on another disk too. Raises DiskError."""
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(source, place)
            source.unlink()


def _copy(source: Path, place: Path) -> None:
    temporary = beside(place)
    shutil.copy2(source, temporary, follow_symlinks=False)
    if not temporary.is_symlink():
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    temporary.replace(place)


def _equal(source: Path, place: Path) -> bool:
    """Whether a run was killed after it had copied `source` to `place`, and before it removed it."""
    if source.is_symlink() or place.is_symlink() or not place.is_file():
        return False
    return source.stat().st_size == place.stat().st_size and source.read_bytes() == place.read_bytes()


def _places(wanted: Path) -> Iterator[Path]:
    yield wanted
    yield from (wanted.with_name(f"{wanted.name}.{number}") for number in count(1))

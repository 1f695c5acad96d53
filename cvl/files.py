"""Small acts on files that must never be half done."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvl.errors import DiskError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}

# File systems take names of 255 bytes: a name beside the longest of them keeps so many bytes of it.
_KEPT_OF_NAME = 180

# Machines that share a folder give the same numbers to their processes, containers even to their first threads.
_TOKEN = os.urandom(4).hex()


def beside(path: Path) -> Path:
    """A name in the same folder that no other process or thread uses, for a file that will take `path`'s place."""
    name = os.fsencode(path.name)[:_KEPT_OF_NAME].decode(errors="ignore")
    return path.with_name(f".cvl-{name}-{_TOKEN}-{os.getpid()}-{threading.get_ident()}.tmp")


def is_temporary(name: str) -> bool:
    """Whether `beside` gave a file this name."""
    return name.startswith(".cvl-") and name.endswith(".tmp")


def stands_beside(temporary: str) -> str:
    """The name beside which `beside` put this one; of a very long name, its beginning."""
    return temporary.removeprefix(".cvl-").rsplit("-", 3)[0]


def sweep(folder: Path, *, below: bool = True) -> None:
    """Remove what `beside` named and a killed process left, in a folder and below. Only for who holds the tree."""
    for parent, folders, names in os.walk(folder):
        if not below:
            folders.clear()
        for name in filter(is_temporary, names):
            (Path(parent) / name).unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file so that a reader finds the old content or the new, never a part. The folder must exist.

    `durable` makes that true after a power cut as well, for which it waits for the disk.
    """
    temporary = beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def reserve(file: int, size: int) -> None:
    """Give an open file its final length, with room on the disk where the file system can promise it.

    Raises:
        OSError: there is not so much room, or no file may be so long. The file is as long as it was.
    """
    before = os.fstat(file).st_size
    libc = ctypes.CDLL(None, use_errno=True)
    if size and hasattr(libc, "fallocate64"):
        # Not os.posix_fallocate: where the file system cannot, the C library would write into every single block.
        failed = libc.fallocate64(file, 0, ctypes.c_int64(0), ctypes.c_int64(size))
        reason = ctypes.get_errno()
        if failed and reason in _NO_ROOM:
            # Some file systems keep what they had found room for.
            os.ftruncate(file, before)
            raise OSError(reason, os.strerror(reason))
    os.ftruncate(file, size)


def settle(folder: Path) -> None:
    """Bring all that was written to the file system of `folder` to its disk, before what it came from is deleted."""
    file = os.open(folder, os.O_RDONLY)
    try:
        # Python has os.sync only, which would wait for every disk of a machine that others use too.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(file):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(file)


def publish(finished: Path, destination: Path) -> None:
    """Move a finished file to its place in one step, across file systems too. An older file there is replaced."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        finished.replace(destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = beside(destination)
        shutil.copyfile(finished, temporary)
        temporary.replace(destination)
        finished.unlink()


def take(original: Path, destination: Path) -> None:
    """Give `original` a second place at `destination`: a hard link where the file system allows, else a copy."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(destination)
    try:
        # Resolved, because a link to a symbolic link would lead nowhere from another folder.
        os.link(original.resolve(), temporary)
    except OSError:
        shutil.copyfile(original, temporary)
    temporary.replace(destination)


def folds_case(folder: Path) -> bool:
    """Whether the disk of `folder` takes names that differ in capital letters only for one name.

    Raises:
        OSError: the folder, or the first one above it that is there, cannot be written.
    """
    while not folder.is_dir():
        folder = folder.parent
    probe = beside(folder / "case")
    probe.touch()
    try:
        return probe.with_name(probe.name.upper()).exists()
    finally:
        probe.unlink()


def count_files(folder: Path, suffix: str | None = None) -> int:
    """How many files lie in a folder and below it, of one suffix if one is given; hidden ones do not count.

    The folder may be a link; links to folders below it are not followed, so that a circle ends. 0 for a folder that is
    not there.
    """
    return sum(
        name.endswith(suffix or "") and not name.startswith(".") for _, _, names in os.walk(folder) for name in names
    )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk says into our error, in one place.

    Raises:
        DiskError: no room, no permission, a read-only disk, or whatever else the system says of a file.
    """
    try:
        yield
    except BrokenPipeError:
        # Whoever reads our output went away: no fault of the disk.
        raise
    except OSError as error:
        where = error.filename2 or error.filename or path
        if error.errno in _NO_ROOM:
            hint = "free some room and run the same command again: it goes on where it stood"
            raise DiskError(f"no room left on the disk of {where}", hint=hint) from error
        if error.errno in (errno.EMFILE, errno.ENFILE):
            hint = "allow more with `ulimit -n 4096`, or ask for fewer with --connections"
            raise DiskError(f"cannot open {where}: this process may open no more files", hint=hint) from error
        hint = f"check its permissions with `ls -ld {path}`, or choose another --root"
        raise DiskError(f"cannot use {where}: {error.strerror or error}", hint=hint) from error

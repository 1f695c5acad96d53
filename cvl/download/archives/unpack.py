"""From an archive to files in the tree: only what the manifest includes, each file whole or absent.

Zip and tar are told apart by content, and so is gzip: SA-1B's shards are gzip under the name `.tar`. A member that
would land outside of its folder stops the whole archive before anything of it is written (zip) or at that member (tar,
which has no directory to look through first). What is damaged is passed over, and named; `docs/archives.md` says what
becomes of which damage and which attack.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from cvl.download.archives.directory import find_directory
from cvl.download.archives.headers import BLOCK, read_header
from cvl.download.archives.landing import Landing
from cvl.download.archives.names import Recipe, Selection, destination, included
from cvl.download.archives.outcome import Tally, Unpacked
from cvl.download.archives.stream import Stream, is_packed, tar_bytes
from cvl.download.archives.tars import TarReader
from cvl.download.archives.writer import Writer
from cvl.download.archives.zips import unpack_zip
from cvl.errors import ArchiveError
from cvl.events import Progress
from cvl.files import settle
from cvl.parallel import Engine, run_shards

_LOOK_EVERY = 0.1

__all__ = ["Unpacked", "destination", "included", "unpack", "unpack_with"]


def unpack(archive: Path, spec: Recipe, folder: Path, progress: Progress, *, keep_existing: bool = False) -> Unpacked:
    """Write the members that `spec` includes below `folder`, on every core.

    A file that is there with the member's size is left as it is, with `keep_existing` one of any size.
    `progress(members so far, members in all)` is called in this thread ten times a second, and when all is done; what
    it raises ends the work within a second, which can be begun again.

    Raises:
        ArchiveError: the archive is damaged, hostile, or holds another number of files than the manifest says. Of a
            damaged one everything is there that could be had.
        OSError: the disk is full or not ours, or the archive cannot be read.
    """
    stop = threading.Event()
    landing = Landing(folder, keep_existing=keep_existing, stop=stop)
    file = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
    try:
        kind = unpack_zip if _is_zip(file) else _unpack_tar
        return kind(file, spec, landing, progress, stop)
    except ArchiveError as error:
        raise ArchiveError(f"{archive.name}: {error}") from error
    finally:
        os.close(file)


@dataclass(frozen=True)
class _Job:
    archive: Path
    spec: Recipe
    folder: Path
    keep_existing: bool


def unpack_with(
    engine: Engine, archive: Path, spec: Recipe, folder: Path, progress: Progress, *, keep_existing: bool = False
) -> Unpacked:
    """`unpack` where the engine says: here, or on whatever machine of a cluster has a core to spare.

    When it returns, everything is on the disk. From elsewhere it is not heard how far the work is.

    Raises what `unpack` raises, and `run_shards`.
    """
    if engine is Engine.LOCAL:
        unpacked = unpack(archive, spec, folder, progress, keep_existing=keep_existing)
        settle(folder)
        return unpacked
    # A worker may be somewhere else.
    job = _Job(archive.absolute(), spec, folder.absolute(), keep_existing)
    return run_shards(_unpack_there, [job], engine=engine, look=partial(progress, 0, spec.members))[0]


def _unpack_there(job: _Job) -> Unpacked:
    unpacked = unpack(job.archive, job.spec, job.folder, _tell_nobody, keep_existing=job.keep_existing)
    # The machine that wrote it has to: another one knows nothing of what waits here to be written.
    settle(job.folder)
    return unpacked


def _tell_nobody(_done: int, _total: int | None) -> None:
    pass


def _is_zip(file: int) -> bool:
    """Whether it is a zip, by its first bytes; one that something stands before, by its directory."""
    head = os.pread(file, BLOCK, 0)
    if head.startswith(b"PK"):
        return True
    if is_packed(head) or read_header(head):
        return False
    try:
        find_directory(file)
    except ArchiveError:
        return False
    return True


def _unpack_tar(file: int, spec: Recipe, landing: Landing, progress: Progress, stop: threading.Event) -> Unpacked:
    tally = Tally()

    def look() -> None:
        progress(tally.landed, spec.members)

    writer = Writer(landing, tally)
    writer.start()
    try:
        TarReader(_watched(tar_bytes(file), look), Selection(spec), writer).read()
    except ArchiveError:
        # What came before stays.
        writer.finish()
        raise
    except BaseException:
        stop.set()
        writer.end()
        raise
    writer.finish()
    look()
    return tally.verdict(writer.places.names, spec)


def _watched(stream: Stream, look: Callable[[], None]) -> Stream:
    """The stream, with a look ten times a second, whether or not anybody wants what is in it."""
    looked = 0.0
    for piece in stream:
        if monotonic() - looked > _LOOK_EVERY:
            look()
            looked = monotonic()
        yield piece

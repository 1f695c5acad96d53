"""One pass over a JSON array of gigabytes builds its index, and later runs open that.

What an index holds and how it lies on disk is told in `cvl.annotations.index`, what can be wrong with a record in
`cvl.annotations.records`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cvl.annotations.batch import read_batch
from cvl.annotations.buffer import Buffer, forget, instruction_file
from cvl.annotations.cut import bracketed
from cvl.annotations.grouped import Grouped, merged
from cvl.annotations.index import FORMAT, VERSION, AnnotationFile, Header, Index, open_index
from cvl.annotations.pieces import pieces_of, read_columns, read_pieces
from cvl.annotations.records import Problem
from cvl.annotations.scanner import spans
from cvl.annotations.windows import Columns, columns_of
from cvl.annotations.writer import ColumnWriter, publish
from cvl.errors import AnnotationError
from cvl.events import Progress
from cvl.files import disk_errors


def index_of(
    source: AnnotationFile, folder: Path, progress: Progress | None = None, *, jobs: int | None = None
) -> Index:
    """The index of `source` in `folder`, opened, and built before if need be.

    Of several processes that ask at once, one builds and the others wait for it. Where there is a usable index nothing
    is written, so the folder may be read-only. A large file is read by `jobs` processes, None is one a core.

    Raises:
        AnnotationError: the instruction file is absent or is not one array of JSON values.
        DiskError: the index cannot be written.
    """
    ready = open_index(source, folder)
    if ready is not None:
        return ready
    with _alone(source, folder):
        ready = open_index(source, folder)
        return _build(source, folder, progress, jobs) if ready is None else ready


def build_index(
    source: AnnotationFile, folder: Path, progress: Progress | None = None, *, jobs: int | None = None
) -> Index:
    """Builds `folder/source.name` whether there is a usable one or not, and opens it.

    May be killed at any time, and what `progress` raises comes through: an older index then stays what it was.

    Raises:
        AnnotationError: the instruction file is absent or is not one array of JSON values, with the byte offset; or it
            was changed meanwhile.
        DiskError: the index cannot be written.
    """
    with _alone(source, folder):
        return _build(source, folder, progress, jobs)


@contextmanager
def _alone(source: AnnotationFile, folder: Path) -> Iterator[None]:
    """Holds the lock of this index, which spares the others work; what they read needs no lock."""
    from filelock import FileLock  # noqa: PLC0415 - workers, which build nothing, begin sooner without it

    lock = FileLock(folder / f"{source.name}.lock")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(source: AnnotationFile, folder: Path, progress: Progress | None, jobs: int | None) -> Index:
    place = folder / source.name
    report = progress or _silent
    with instruction_file(source.path) as (buffer, stat), ColumnWriter(place) as writer:
        summary = Summary()
        for columns, group, end in _all_columns(source.path, buffer, report, jobs):
            writer.append(summary.add(columns, group))
            report(end, stat.st_size)
        writer.append(summary.by_folder())
        report(stat.st_size, stat.st_size)
        header = Header(
            format=FORMAT,
            version=VERSION,
            name=source.name,
            file=source.path.name,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            records=summary.counts.total(),
            columns=writer.finish(),
            problems=_by_name(summary.counts),
        )
        publish(place, header)
    index = open_index(source, folder)
    if index is None:
        raise AnnotationError(f"{source.path} was changed while it was indexed", hint="start the command again")
    return index


@dataclass
class Summary:
    """What is known of the windows so far: how many records have each mask of problems, pictures, bytes of paths."""

    counts: Counter[int] = field(default_factory=Counter)
    groups: list[Grouped] = field(default_factory=list)
    image_end: int = 0

    def add(self, columns: Columns, group: Grouped) -> Columns:
        """The columns of the next window with `image_start` counted from the file's first path."""
        masks, counts = np.unique(columns["problems"], return_counts=True)
        self.counts.update(dict(zip(masks.tolist(), counts.tolist(), strict=True)))
        self.groups.append(group)
        start, self.image_end = self.image_end, self.image_end + columns["images"].size
        return columns | {"image_start": columns["image_start"] + np.uint64(start)}

    def by_folder(self) -> Columns:
        """The columns that have an item for each folder, or for each byte of its pictures' names."""
        groups = merged(self.groups)
        folders = b"".join(folder.encode() + b"\0" for folder in groups)
        return {
            "folders": np.frombuffer(folders, dtype=np.uint8),
            "names": np.frombuffer(b"".join(groups.values()), dtype=np.uint8),
            "names_end": np.cumsum([len(text) for text in groups.values()], dtype=np.uint64),
        }


def _all_columns(
    path: Path, buffer: Buffer, report: Progress, jobs: int | None
) -> Iterator[tuple[Columns, Grouped, int]]:
    """The columns of all pieces and windows in order, with the offset in the file that each reaches to."""
    pieces = pieces_of(path, buffer)
    number, begin = 0, None
    found = read_pieces(read_columns, pieces, report, len(buffer), jobs)
    for piece, (columns, group) in zip(pieces, found or (), strict=False):
        number += len(columns["offset"])
        yield columns, group, piece.end
        begin = piece.following
    for starts, lengths in spans(buffer, str(path), begin=begin):
        first, end = int(starts[0]), int(starts[-1] + lengths[-1])
        array = bracketed(buffer, first, end)
        columns, group = columns_of(array, str(path), (starts, lengths), number, read_batch(array))
        forget(buffer, first, end)
        number += len(columns["offset"])
        yield columns, group, end


def _silent(_done: int, _total: int | None) -> None:
    pass


def _by_name(counts: Counter[int]) -> dict[str, int]:
    """How many records have each problem, from how many have each mask."""
    by_problem = {problem: sum(n for mask, n in counts.items() if mask & problem) for problem in Problem}
    return {problem.name: count for problem, count in by_problem.items() if problem.name and count}

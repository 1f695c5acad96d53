"""One pass over a JSON array of gigabytes builds its index, and later runs open that.

What an index holds and how it lies on disk is told in `cvl.annotations.index`, what can be wrong with a record in
`cvl.annotations.records`.
"""

from __future__ import annotations

import json
import mmap
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from cvl.annotations.index import FORMAT, VERSION, AnnotationFile, Header, Index, open_index
from cvl.annotations.records import UNREADABLE, Findings, Problem, decode, examine
from cvl.annotations.scanner import AGAIN, Buffer, spans
from cvl.annotations.words import words_in
from cvl.annotations.writer import ColumnWriter, publish
from cvl.errors import AnnotationError
from cvl.events import Progress
from cvl.files import disk_errors

_TURNS_MAX = np.iinfo(np.uint16).max


def index_of(source: AnnotationFile, folder: Path, progress: Progress | None = None) -> Index:
    """The index of `source` in `folder`, opened, and built before if need be.

    Of several processes that ask at once, one builds and the others wait for it. Where there is a usable index nothing
    is written, so the folder may be read-only.

    Raises:
        AnnotationError: the instruction file is absent or is not one array of JSON values.
        DiskError: the index cannot be written.
    """
    ready = open_index(source, folder)
    if ready is not None:
        return ready
    with _alone(source, folder):
        ready = open_index(source, folder)
        return _build(source, folder, progress) if ready is None else ready


def build_index(source: AnnotationFile, folder: Path, progress: Progress | None = None) -> Index:
    """Builds `folder/source.name` whether there is a usable one or not, and opens it.

    May be killed at any time, and what `progress` raises comes through: an older index then stays what it was.

    Raises:
        AnnotationError: the instruction file is absent or is not one array of JSON values, with the byte offset; or it
            was changed meanwhile.
        DiskError: the index cannot be written.
    """
    with _alone(source, folder):
        return _build(source, folder, progress)


@contextmanager
def _alone(source: AnnotationFile, folder: Path) -> Iterator[None]:
    """Holds the lock of this index, which spares the others work; what they read needs no lock."""
    lock = FileLock(folder / f"{source.name}.lock")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(source: AnnotationFile, folder: Path, progress: Progress | None) -> Index:
    place = folder / source.name
    report = progress or _silent
    with _instruction_file(source) as (buffer, stat), ColumnWriter(place) as columns:
        counts: Counter[int] = Counter()
        for window, end in _windows(buffer, str(source.path)):
            columns.append(window)
            counts.update(window["problems"].tolist())
            report(end, stat.st_size)
        report(stat.st_size, stat.st_size)
        header = Header(
            format=FORMAT,
            version=VERSION,
            name=source.name,
            file=source.path.name,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            records=counts.total(),
            columns=columns.finish(),
            problems=_by_name(counts),
        )
        publish(place, header)
    index = open_index(source, folder)
    if index is None:
        raise AnnotationError(f"{source.path} was changed while it was indexed", hint="start the command again")
    return index


def _silent(_done: int, _total: int) -> None:
    pass


@contextmanager
def _instruction_file(source: AnnotationFile) -> Iterator[tuple[Buffer, os.stat_result]]:
    try:
        file = source.path.open("rb")
    except OSError as error:
        message = f"{source.path}: the instruction file cannot be opened: {error.strerror}"
        raise AnnotationError(message, hint="fetch it: `cvl sources` lists what `cvl fetch` knows") from error
    with file:
        stat = os.fstat(file.fileno())
        # An empty file cannot be mapped. The map is not closed by hand: an exception's traceback may still hold views.
        yield (mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if stat.st_size else b""), stat


def _windows(buffer: Buffer, where: str) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
    """Yields the columns of each of the scanner's windows, and the offset in the file that they reach to."""
    number = image_end = 0
    for starts, lengths in spans(buffer, where):
        begin, end = int(starts[0]), int(starts[-1] + lengths[-1])
        _check_text(buffer, begin, end, where)
        found = [
            _findings(buffer[start : start + length], where, number + position, start)
            for position, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True))
        ]
        columns = _columns(found, image_end)
        yield columns | {"offset": starts, "length": lengths}, end
        number += len(found)
        image_end += columns["images"].size
        _forget(buffer, begin, end)


def _check_text(buffer: Buffer, begin: int, end: int, where: str) -> None:
    """Looks at all of the text: the decoder skips fields that the index does not need, but training reads them."""
    try:
        str(memoryview(buffer)[begin:end], "utf-8")
    except UnicodeDecodeError as error:
        at = begin + error.start
        raise AnnotationError(f"{where}: byte {at}: not UTF-8: {error.reason}", hint=AGAIN) from error


def _findings(raw: bytes | bytearray | memoryview, where: str, number: int, start: int) -> Findings:
    try:
        return examine(decode(raw))
    except UNREADABLE as error:
        if _is_lenient_json(raw):
            return Findings("", [], 0, int(Problem.NOT_STRICT_JSON))
        message = f"{where}: record {number}, {len(raw)} bytes at {start}, cannot be read: {error}"
        raise AnnotationError(message, hint=AGAIN) from error


def _is_lenient_json(raw: bytes | bytearray | memoryview) -> bool:
    """Whether Python's own reader takes these bytes: it lets NaN and lone surrogates pass, which are no damage."""
    try:
        json.loads(bytes(raw))
    except (ValueError, RecursionError):
        return False
    return True


def _columns(found: list[Findings], image_end: int) -> dict[str, NDArray[Any]]:
    images = [findings.image.encode() for findings in found]
    ends = np.cumsum([len(image) for image in images], dtype=np.uint64)
    return {
        "image_start": ends + np.uint64(image_end),  # the end of each is the start of the next
        "images": np.frombuffer(b"".join(images), dtype=np.uint8),
        "words": words_in([findings.texts for findings in found]),
        "turns": np.minimum([findings.turns for findings in found], _TURNS_MAX),
        "problems": np.array([findings.problems for findings in found]),
    }


def _forget(buffer: Buffer, begin: int, end: int) -> None:
    """Lets go of the pages that are done with: else a file of gigabytes would seem to fill the memory."""
    if isinstance(buffer, mmap.mmap):
        first, last = begin // mmap.PAGESIZE * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last:
            buffer.madvise(mmap.MADV_DONTNEED, first, last - first)


def _by_name(counts: Counter[int]) -> dict[str, int]:
    """How many records have each problem, from how many have each mask."""
    by_problem = {problem: sum(n for mask, n in counts.items() if mask & problem) for problem in Problem}
    return {problem.name: count for problem, count in by_problem.items() if problem.name and count}

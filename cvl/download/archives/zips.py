"""Unpacking a zip: every name is looked at before anything is written, then the members come on every core."""

from __future__ import annotations

import os
import stat
import threading
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from cvl.download.archives.crew import work_through
from cvl.download.archives.directory import Directory, Entry, find_directory
from cvl.download.archives.inflate import INFLATE_ERRORS, crc32, inflate, inflater, is_bomb
from cvl.download.archives.landing import Landing
from cvl.download.archives.names import Places, Recipe, Selection, shown
from cvl.download.archives.outcome import Tally, Unpacked
from cvl.errors import ArchiveError
from cvl.events import Progress
from cvl.parallel import cores

_HEADER = 30
_HEADER_SIGNATURE = b"PK\3\4"
_STORED = 0
_DEFLATED = 8
_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 99: "AES"}

_PIECE = 1 << 20
# What a member's own header has beyond its name, mostly, so that one read brings a small member whole.
_USUAL_EXTRA = 64
# Entries of the directory.
_LOOK_EVERY = 50_000
# More threads would only wait for the lock of the folder that they all write into.
_MOST_THREADS = 8


class _Job(NamedTuple):
    entry: Entry
    place: str


class _DamagedError(Exception):
    """One member cannot be had; says why."""


def unpack_zip(file: int, spec: Recipe, landing: Landing, progress: Progress, stop: threading.Event) -> Unpacked:
    """Write the wanted members of an open zip.

    A damaged member does not keep the others from being written.

    Raises:
        ArchiveError: it is hostile or cannot be read, and nothing was written; or members are damaged.
    """
    directory = find_directory(file)
    selection = Selection(spec)
    places = _places(directory, selection, landing, progress)
    tally = Tally()

    def look() -> None:
        progress(tally.landed, len(places.names))

    # The directory is read anew, so that a million entries are never in memory at once.
    jobs = map(_Job, _wanted(directory, selection), places.names)
    threads = min(cores(), _MOST_THREADS, len(places.names))
    work_through(jobs, partial(_do, file, landing, tally), look, threads=threads, stop=stop)
    return tally.verdict(places.names, spec)


def _wanted(directory: Directory, selection: Selection) -> Iterator[Entry]:
    return (entry for entry in directory if not entry.is_folder and selection.wants(entry.name))


def _places(directory: Directory, selection: Selection, landing: Landing, progress: Progress) -> Places:
    """Where the wanted members land, when nothing speaks against any of them."""
    places, spans, size = Places(folds_case=landing.folds_case), _Spans(directory.start), 0
    for number, entry in enumerate(directory, start=1):
        if number % _LOOK_EVERY == 0:
            progress(0, None)
        place = None if entry.is_folder else selection.place(entry.name)
        if place is None:
            continue
        _check_readable(entry)
        places.add(place)
        spans.add(entry)
        size += entry.size
    spans.check()
    if is_bomb(spans.packed, size):
        raise ArchiveError(f"its {spans.packed:,} bytes would become {size:,}, which no pictures do: it is a bomb")
    return places


def _check_readable(entry: Entry) -> None:
    name = shown(entry.name)
    if entry.kind not in (0, stat.S_IFREG):
        raise ArchiveError(f"the member `{name}` is a link or a device")
    if entry.encrypted:
        raise ArchiveError(f"the member `{name}` is encrypted")
    if entry.method not in (_STORED, _DEFLATED):
        method = _METHODS.get(entry.method, f"method {entry.method}")
        raise ArchiveError(f"the member `{name}` has a compression that is not read here: {method}")
    if entry.method == _STORED and entry.packed != entry.size:
        raise ArchiveError(
            f"damaged: the member `{name}` is stored, as {entry.packed:,} bytes that should be {entry.size:,}"
        )


class _Spans:
    """The stretches of the archive that members take: none may reach into another's, or into the directory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._starts = array("Q")
        self._ends = array("Q")
        self._in_order = True
        self.packed = 0

    def add(self, entry: Entry) -> None:
        """Note a member's stretch.

        Raises:
            ArchiveError: it reaches into the directory.
        """
        end = entry.offset + _HEADER + len(entry.raw) + entry.packed
        if entry.offset < 0 or end > self._limit:
            raise ArchiveError(
                f"damaged: the member `{shown(entry.name)}` should end at byte {end:,} of {self._limit:,}"
            )
        self._in_order &= not self._ends or entry.offset >= self._ends[-1]
        self._starts.append(entry.offset)
        self._ends.append(end)
        self.packed += entry.packed

    def check(self) -> None:
        """Compare them all.

        Raises:
            ArchiveError: two members overlap, which is how small bombs are built.
        """
        if self._in_order:
            return
        import numpy as np  # noqa: PLC0415 (a tenth of a second for what zips hardly ever need)

        starts, ends = (np.frombuffer(each, np.uint64) for each in (self._starts, self._ends))
        order = np.argsort(starts, kind="stable")
        if (starts[order[1:]] < ends[order[:-1]]).any():
            raise ArchiveError("members overlap each other: it is damaged, or a bomb")


def _do(file: int, landing: Landing, tally: Tally, job: _Job) -> None:
    entry, place = job
    if landing.stands(place, entry.size):
        tally.land(entry.size, written=False)
        return
    try:
        landing.write(place, _content(file, entry))
    except _DamagedError as error:
        tally.lose(place, f"{shown(entry.name)}: {error}")
    else:
        tally.land(entry.size, written=True)


def _content(file: int, entry: Entry) -> Iterator[bytes | memoryview]:
    """A member's bytes, which are those that the directory promises once the last of them was taken."""
    size, crc = 0, 0
    for piece in _PIECES[entry.method](file, entry):
        size += len(piece)
        if size > entry.size:
            raise _DamagedError(f"it holds more than the {entry.size:,} bytes that the directory says")
        crc = crc32(piece, crc)
        yield piece
    if size != entry.size:
        raise _DamagedError(f"it ends after {size:,} of {entry.size:,} bytes")
    if crc != entry.crc:
        raise _DamagedError(f"expected CRC {entry.crc:08x}, found {crc:08x}")


def _packed(file: int, entry: Entry) -> Iterator[bytes | memoryview]:
    """A member's bytes as they are in the archive."""
    head = _HEADER + len(entry.raw)
    first = os.pread(file, min(head + _USUAL_EXTRA + entry.packed, _PIECE), entry.offset)
    if not first.startswith(_HEADER_SIGNATURE) or first[_HEADER:head] != entry.raw:
        raise _DamagedError("its own header is not the one that the directory says")
    # What the header says of its own length: of the name, and of the extra field behind it.
    if int.from_bytes(first[26:28], "little") != len(entry.raw):
        raise _DamagedError("its own header is not the one that the directory says")
    begin = head + int.from_bytes(first[28:30], "little")
    at, end = entry.offset + begin, entry.offset + begin + entry.packed
    piece = memoryview(first)[begin : begin + entry.packed]
    while at < end:
        if piece:
            yield piece
            at += len(piece)
        if at < end:
            piece = memoryview(os.pread(file, min(end - at, _PIECE), at))
            if not piece:
                raise _DamagedError("the archive ends within it")


def _inflated(file: int, entry: Entry) -> Iterator[bytes]:
    stream = inflater()
    # One piece for what is small; and one byte more than there should be tells that there is more.
    most = min(entry.size + 1, _PIECE)
    try:
        for packed in _packed(file, entry):
            yield from inflate(stream, packed, most)
    except INFLATE_ERRORS as error:
        raise _DamagedError(f"its deflate stream is damaged: {error}") from error
    if not stream.eof:
        raise _DamagedError("its deflate stream has no end")


_PIECES: dict[int, Callable[[int, Entry], Iterator[bytes | memoryview]]] = {_STORED: _packed, _DEFLATED: _inflated}

"""The index of one instruction file: what verification and training ask of a record without reading the record.

Format version 3. A folder with one file a column, little-endian numbers one after the other, and `index.json`:

    column        type  items   meaning
    offset        u64   n       first byte of the record in the instruction file
    length        u32   n       bytes of the record
    image_start   u64   n + 1   where the record's image path begins in `images`; the next value is its end
    images        u8            image paths as written in the records, UTF-8, a zero byte after each; "" is text-only
    folders       u8            the folders of these paths, each once and in order, a zero byte after each
    names         u8            the last parts of the paths, a zero byte after each, folder after folder
    names_end     u64           where each folder's end in `names`
    words         u32   n       parts between white space over the values of all turns
    turns         u16   n       turns; 65,535 stands for that many or more
    problems      u16   n       `cvl.annotations.records.Problem` as a bit mask

`index.json` (`Header`) names the columns' files, `COLUMN.BUILD.bin`, and the size and modification time of the
instruction file that they describe. Every build has new file names and the header is replaced last, in one step: a
reader finds the old index or the new one, and a build that was killed is not seen at all.

The columns are memory-mapped, so the processes of a node share them, and a record is read from the instruction file
when it is asked for: memory does not grow with the number of records.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cvl.annotations.grouped import Grouped
from cvl.annotations.records import UNREADABLE, Problem
from cvl.errors import AnnotationError

FORMAT = "cvl annotation index"
VERSION = 3
HEADER = "index.json"
COLUMNS = {
    "offset": "<u8",
    "length": "<u4",
    "image_start": "<u8",
    "images": "|u1",
    "folders": "|u1",
    "names": "|u1",
    "names_end": "<u8",
    "words": "<u4",
    "turns": "<u2",
    "problems": "<u2",
}


@dataclass(frozen=True)
class AnnotationFile:
    """An instruction file of the tree.

    Args:
        name: of its index, and in reports.
        path: of the JSON file.
        images: the folder that its image paths are relative to, itself relative to the tree's root: `data/allava`.
    """

    name: str
    path: Path
    images: str


class Column(msgspec.Struct, frozen=True):
    """Where a column lies: file name, type as numpy writes it, number of items."""

    file: str
    dtype: str
    items: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """`index.json`.

    Attributes:
        format, version: `FORMAT` and `VERSION`.
        name: the `AnnotationFile`'s.
        file: the instruction file's name, without its folder: an index may move with its tree.
        size, mtime_ns: of the instruction file, in bytes and in nanoseconds since 1970.
        records: how many.
        columns: by name.
        problems: how many records have each problem, by the names of `Problem`; those that none has are left out.
    """

    format: str
    version: int
    name: str
    file: str
    size: int
    mtime_ns: int
    records: int
    columns: dict[str, Column]
    problems: dict[str, int]


class Index:
    """An open index. Get one from `cvl.annotations.index_of`.

    A context manager; what is not closed is closed when it is garbage. It may be pickled and is opened anew where it
    arrives. Forked processes may share it.

    Attributes:
        source: the instruction file.
        header: the numbers of the whole file.
        offset, length, image_start, words, turns, problems: the columns, read-only arrays of shape (records,), one
            more for `image_start`.
    """

    def __init__(self, source: AnnotationFile, folder: Path) -> None:
        """Opens `folder/source.name`.

        Raises:
            AnnotationError, OSError: where `open_index` returns None.
        """
        self.source = source
        self._folder = folder
        self._json = os.open(source.path, os.O_RDONLY)
        self._closer = weakref.finalize(self, os.close, self._json)
        try:
            self._open_columns(folder / source.name)
        except BaseException:
            self.close()
            raise

    def _open_columns(self, place: Path) -> None:
        self.header = _read_header(place / HEADER)
        found = os.fstat(self._json)
        if (found.st_size, found.st_mtime_ns) != (self.header.size, self.header.mtime_ns):
            raise _unusable(place, f"it describes an older {self.source.path}")
        columns = {name: _map_column(place, column) for name, column in self.header.columns.items()}
        self.offset = columns["offset"]
        self.length = columns["length"]
        self.image_start = columns["image_start"]
        self.words = columns["words"]
        self.turns = columns["turns"]
        self.problems = columns["problems"]
        self._images = columns["images"]
        self._folders = columns["folders"]
        self._names = columns["names"]
        self._names_end = columns["names_end"]

    def __reduce__(self) -> tuple[type[Index], tuple[AnnotationFile, Path]]:
        return Index, (self.source, self._folder)

    def __len__(self) -> int:
        return self.header.records

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the instruction file. The columns stay readable as long as somebody holds them."""
        self._closer()

    @property
    def has_image(self) -> NDArray[np.bool_]:
        """For each record, whether it names an image; the others are text-only, or have a problem with theirs."""
        return np.diff(self.image_start) > 1

    @property
    def text_only(self) -> int:
        """How many records name no image, or have a problem with theirs."""
        return len(self) - int(np.count_nonzero(self.has_image))

    @property
    def problem_counts(self) -> dict[Problem, int]:
        """How many records have each problem, without those that none has."""
        return {Problem[name]: count for name, count in self.header.problems.items()}

    def image(self, number: int) -> str | None:
        """The image path of a record as written there, relative to `source.images`; None where it names none."""
        number = range(len(self))[number]
        start, end = self.image_start[number : number + 2].tolist()
        return self._images[start : end - 1].tobytes().decode() or None

    def images(self, start: int = 0, stop: int | None = None, *, chunk: int = 1 << 16) -> Iterator[list[str | None]]:
        """Yields `image(i)` for the records from `start` to before `stop`, in lists of `chunk`; the last is shorter."""
        for text in self.image_text(start, stop, chunk=chunk):
            yield [path or None for path in text.decode().split("\0")[:-1]]

    def image_text(self, start: int = 0, stop: int | None = None, *, chunk: int = 1 << 16) -> Iterator[bytes]:
        """Yields the same as they lie in the index: a zero byte after each path, nothing before it if there is none."""
        start, stop, _ = slice(start, stop).indices(len(self))
        for first in range(start, stop, chunk):
            begin, end = self.image_start[[first, min(first + chunk, stop)]].tolist()
            yield self._images[begin:end].tobytes()

    def by_folder(self) -> Grouped:
        """The last parts of all image paths by folder, in the order of the folders; "" is a folder too."""
        folders = self._folders.tobytes().decode().split("\0")[:-1]
        bounds = [0, *self._names_end.tolist()]
        texts = (self._names[begin:end].tobytes() for begin, end in pairwise(bounds))
        return dict(zip(folders, texts, strict=True))

    def record(self, number: int) -> dict[str, Any]:
        """The whole record, read from the instruction file; a record that is no object comes as what it is.

        Raises:
            AnnotationError: its bytes are no longer what they were when the index was built.
        """
        number = range(len(self))[number]
        offset, length = int(self.offset[number]), int(self.length[number])
        if not self._closer.alive:
            raise ValueError(f"{self.source.path}: the index is closed")
        raw = os.pread(self._json, length, offset)
        try:
            value: dict[str, Any] = msgspec.json.decode(raw)
        except UNREADABLE as error:
            message = f"{self.source.path}: record {number}, {length} bytes at {offset}, cannot be read: {error}"
            raise AnnotationError(message, hint="the file changed while it was in use: start again") from error
        return value


def open_index(source: AnnotationFile, folder: Path) -> Index | None:
    """The index of `source` in `folder`, opened without writing anything.

    None if there is none that can be used: it is absent, incomplete, unreadable or of another format version, or the
    instruction file is absent or has another size or modification time than when the index was built.
    """
    try:
        return Index(source, folder)
    except (AnnotationError, OSError):
        return None


def _unusable(path: Path, reason: str) -> AnnotationError:
    return AnnotationError(f"{path}: this index cannot be used: {reason}", hint="start the command again to rebuild it")


def _read_header(path: Path) -> Header:
    """The header, if it is one of ours and of this version: another version may have other fields."""
    raw = path.read_bytes()
    try:
        header = msgspec.json.decode(raw, type=Header)
    except msgspec.DecodeError as error:
        raise _unusable(path, "it is not the header of an index") from error
    kinds = {name: column.dtype for name, column in header.columns.items()}
    if (header.format, header.version, kinds) != (FORMAT, VERSION, COLUMNS):
        raise _unusable(path, f"it is not of version {VERSION}")
    return header


def _map_column(place: Path, column: Column) -> NDArray[Any]:
    size = column.items * np.dtype(column.dtype).itemsize
    with (place / column.file).open("rb") as file:
        if os.fstat(file.fileno()).st_size != size:
            raise _unusable(place / column.file, f"it is not of {size} bytes")
        # An empty file cannot be mapped. A map that is never closed by hand lives as long as the arrays on it.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    return np.frombuffer(content, dtype=column.dtype)

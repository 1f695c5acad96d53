"""What an instruction file's bytes may be held in, and the places of records in them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import SupportsIndex, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from cvl.errors import AnnotationError


class Mapped(mmap.mmap):
    """A file's bytes, mapped to be searched; a slice is read, which takes less time than to have its pages mapped."""

    _descriptor: int

    @classmethod
    def of(cls, descriptor: int) -> Mapped:
        """Those of an open file, which stays open as long as slices are wanted."""
        mapped = cls(descriptor, 0, access=mmap.ACCESS_READ)
        mapped._descriptor = descriptor
        return mapped

    @overload
    def __getitem__(self, place: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...
    def __getitem__(self, place: SupportsIndex | slice) -> int | bytes:
        if not isinstance(place, slice) or place.step not in (None, 1):
            return super().__getitem__(place)
        begin, end, _ = place.indices(len(self))
        return os.pread(self._descriptor, max(0, end - begin), begin)


Buffer: TypeAlias = bytes | bytearray | mmap.mmap
Spans: TypeAlias = tuple[NDArray[np.uint64], NDArray[np.uint64]]
"""Offsets and lengths in bytes of some records, in order."""


@contextmanager
def instruction_file(path: Path) -> Iterator[tuple[Buffer, os.stat_result]]:
    """The bytes of a file, mapped and not read, and what the system says of it.

    Raises:
        AnnotationError: it cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        message = f"{path}: the instruction file cannot be opened: {error.strerror}"
        raise AnnotationError(message, hint="fetch it: `cvl sources` lists what `cvl fetch` knows") from error
    with file:
        stat = os.fstat(file.fileno())
        # An empty file cannot be mapped. The map is not closed by hand: an exception's traceback may still hold views.
        yield (Mapped.of(file.fileno()) if stat.st_size else b""), stat


def forget(buffer: Buffer, begin: int, end: int) -> None:
    """Lets go of the pages that are done with: else a file of gigabytes would seem to fill the memory."""
    if isinstance(buffer, mmap.mmap):
        first, last = begin // mmap.PAGESIZE * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last:
            buffer.madvise(mmap.MADV_DONTNEED, first, last - first)

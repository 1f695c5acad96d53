"""Writes the files of an index so that no reader ever sees a part of them; `index` tells what they hold."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cvl.annotations.index import COLUMNS, HEADER, Column, Header
from cvl.files import disk_errors, write_atomically


class ColumnWriter:
    """The columns of a new index, written window by window to files of names that nobody else has.

    A context manager: on an exception the files are removed. Those of a process that was killed go with `publish`.

    Args:
        place: the folder of the index; it is made if need be.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._build = secrets.token_hex(4)
        self._items = dict.fromkeys(COLUMNS, 0)

    def __enter__(self) -> ColumnWriter:
        with disk_errors(self._place), ExitStack() as stack:
            self._place.mkdir(parents=True, exist_ok=True)
            self._files = {name: stack.enter_context(self._path(name).open("wb")) for name in COLUMNS}
            self._stack = stack.pop_all()
        self.append({"image_start": np.zeros(1)})
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if kind is None:
            with disk_errors(self._place):
                self._stack.close()
            return
        with suppress(OSError):  # a full disk refuses what the buffers hold once more, and nobody wants it now
            self._stack.close()
        for name in COLUMNS:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._place / f"{name}.{self._build}.bin"

    def append(self, window: Mapping[str, NDArray[Any]]) -> None:
        """Adds the values of some columns at their ends.

        Raises:
            DiskError: they cannot be written.
        """
        with disk_errors(self._place):
            for name, values in window.items():
                self._files[name].write(np.ascontiguousarray(values, COLUMNS[name]).data)
                self._items[name] += values.size

    def finish(self) -> dict[str, Column]:
        """Brings all of it to the disk and says what there is, as the header wants it.

        Raises:
            DiskError: it cannot be written.
        """
        with disk_errors(self._place):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
        return {name: Column(self._path(name).name, COLUMNS[name], items) for name, items in self._items.items()}


def publish(place: Path, header: Header) -> None:
    """Replaces the header: from here on the new index counts, and files that it does not name are removed.

    Raises:
        DiskError: the folder cannot be written.
    """
    keep = {HEADER, *(column.file for column in header.columns.values())}
    with disk_errors(place):
        write_atomically(place / HEADER, msgspec.json.format(msgspec.json.encode(header), indent=2))
        for path in place.iterdir():
            # Only what is ours by its name: the folder is never trusted to hold nothing else.
            if path.name not in keep and path.name.startswith((*COLUMNS, ".cvl-")):
                path.unlink(missing_ok=True)

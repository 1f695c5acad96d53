"""Thousands of files into one folder, with as few calls of the system as it takes for each to be whole or not there.

A file is written under another name of the same folder and renamed: where a name is free, ext4 is no faster with an
unnamed file that gets its name later (O_TMPFILE), nor with one written under its own name at once, and renaming works
on every file system.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cvl.files import beside

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Filing:
    """Puts files into `folder`, which exists. Used by one thread, inside of its `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        # One for all: they are written one after another.
        self._temporary = str(beside(folder / "picture"))

    def __enter__(self) -> Filing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._temporary)  # noqa: PTH108 - as below

    def put(self, name: str, content: bytes) -> None:
        """Make the file `name` of this content. An older one of that name is replaced in one step.

        Raises:
            OSError: the disk is full, or the like; then there is no new file.
        """
        # Strings and descriptors, for building a Path takes as long as creating a file.
        file = os.open(self._temporary, _FLAGS, 0o666)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)
        os.replace(self._temporary, f"{self._folder}/{name}")  # noqa: PTH105 - as above

"""Folders that appear only when they are whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvl.errors import UsageError
from cvl.files import disk_errors


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes `target`'s place when it is full, and vanishes if that fails.

    What a killed process left half filled lies beside `target` under another name, and is removed by the next try.

    Raises:
        UsageError: there is something at `target`.
        DiskError: the disk has no room or refuses.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{target} is there already", hint=f"name another folder, or remove it: rm -r {target}")
    unfinished = target.with_name(f".{target.name}.unfinished")
    with disk_errors(target.parent):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            unfinished.rename(target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

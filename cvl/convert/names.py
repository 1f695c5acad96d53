"""Which files a conversion looks at, and which of them are about one JPEG.

Names are strings, relative to their folder: pathlib would take longer over them than the disk over the files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from cvl.convert.report import Conversion
from cvl.errors import UsageError
from cvl.files import disk_errors, is_temporary, stands_beside
from cvl.parallel import Part

_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
_NUMBERED = re.compile(r"(?i)(\.jpe?g)\.[0-9]+$")

# Of longer names `cvl.files.beside` keeps the beginning only: what was written is not to be known from it.
_TOLD_IN_FULL = 180


def split(name: str) -> tuple[str, str]:
    """A name without its suffix, and the suffix in lower case, with its dot; "" where it has none."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, f".{suffix.lower()}") if dot and "/" not in suffix else (name, "")


def target_of(name: str) -> str:
    """The name that the JPEG of `name` has: its own, if that is a JPEG's."""
    stem, suffix = split(name)
    return name if suffix in _JPEG_SUFFIXES else f"{stem}.jpg"


def jpeg_of_original(name: str) -> str:
    """The JPEG that took the place of what is kept under `name`: `X.jpg`, or `X.jpg.1` where there were two."""
    return _NUMBERED.sub(r"\1", name)


def by_target(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Sorted, and together those that would become the same JPEG, so that one worker decides between them."""
    ordered = sorted((split(name)[0], name) for name in names)
    return [tuple(name for _, name in group) for _, group in groupby(ordered, key=lambda pair: pair[0])]


def names_to_convert(conversion: Conversion, *, clean: bool) -> list[str]:
    """The files of the conversion's part, without what a killed run left half written, which `clean` deletes.

    Raises:
        UsageError: there is no such folder, or the quarantine would lie around it.
        DiskError: a folder cannot be read.
    """
    folder, quarantine = conversion.folder, conversion.quarantine
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="fetch it first, as in: cvl fetch ocrvqa")
    if quarantine is not None and folder.resolve().is_relative_to(quarantine.resolve()):
        hint = "choose a folder of its own, such as: --quarantine damaged"
        raise UsageError(f"{quarantine}: a quarantine for {folder} cannot be around it", hint=hint)
    if clean:
        kept_names(conversion)
    if clean and quarantine is not None:
        _names(quarantine, conversion.part, clean=True)
    aside = {place.resolve() for place in (conversion.originals, quarantine) if place is not None}
    return _names(folder, conversion.part, clean=clean, without=aside)


def kept_names(conversion: Conversion) -> list[str]:
    """The originals of the conversion's part. Deletes what a killed run left half written among them."""
    return _names(conversion.originals, conversion.part, clean=True, jpeg_of=jpeg_of_original)


def _names(
    folder: Path,
    part: Part,
    *,
    clean: bool,
    without: Iterable[Path] = (),
    jpeg_of: Callable[[str], str] = str,
) -> list[str]:
    names = []
    for path in list(_files(folder, frozenset(without))):
        name = path.removeprefix(f"{folder}/")
        parent, slash, last = name.rpartition("/")
        if not is_temporary(last):
            if part.takes(split(jpeg_of(name))[0]):
                names.append(name)
        elif clean and _may_delete(f"{parent}{slash}", last, part):
            with disk_errors(Path(path)):
                Path(path).unlink(missing_ok=True)
    return names


def _may_delete(parent: str, temporary: str, part: Part) -> bool:
    """Whether only this part can have begun to write a temporary file: others may be about to finish theirs."""
    if part.whole:
        return True
    written = stands_beside(temporary)
    known = len(os.fsencode(written)) < _TOLD_IN_FULL
    return known and part.takes(split(jpeg_of_original(f"{parent}{written}"))[0])


def _files(folder: Path, without: frozenset[Path]) -> Iterator[str]:
    """The paths of the regular files, and of links to such, below `folder`, but not below those in `without`."""
    pending = [folder] if folder.is_dir() else []
    while pending:
        parent = pending.pop()
        with disk_errors(parent), os.scandir(parent) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    if _is_file(entry):
                        yield entry.path
                elif not entry.name.startswith(".") and Path(entry.path).resolve() not in without:
                    pending.append(Path(entry.path))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself, or to where we may not look
        return False

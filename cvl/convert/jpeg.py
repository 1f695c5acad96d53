"""Turns whatever is not a real JPEG in a folder into one, by content, never by suffix.

Instruction files call every picture `X.jpg`. What stands in the folder decides what is done, so that a second run finds
nothing left to do:

    X.jpg, X.jpeg that is a JPEG       left as it is
    X.gif that is a GIF, PNG, …        X.jpg is made beside it; X.gif stays
    X.gif that is a JPEG               X.jpg becomes a second name of the same bytes
    X.jpg that is a GIF, PNG, …        kept as `originals/X.jpg`; a JPEG takes its name
    whatever cannot be read            reported with its reason; left as it is, or moved to a quarantine

A JPEG is known by its first bytes and its last two; one that does not end like a JPEG is decoded, as is whatever is not
one. Every file is written under a temporary name and renamed, and an original is kept before its name is given away: a
run that is killed at any instant loses nothing but its time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from cvl.convert.aside import keep, move_aside, quarantine_place
from cvl.convert.names import by_target, names_to_convert, split, target_of
from cvl.convert.originals import remove_originals
from cvl.convert.report import Conversion, ConversionReport, Converted, Left, Removal, merged
from cvl.errors import ImageError
from cvl.files import disk_errors, take, write_atomically
from cvl.images import (
    PICTURE_SUFFIXES,
    ImageKind,
    decode,
    decode_strictly,
    encode_jpeg,
    ends_whole,
    glance,
    identify,
    read,
)
from cvl.parallel import Engine, run_shards, shards_of

__all__ = [
    "Conversion",
    "ConversionReport",
    "Converted",
    "Left",
    "Removal",
    "convert_folder",
    "remove_originals",
]

SHARD_FILES = 125
"""How many names a worker takes at once: a millisecond where all is well, a quarter of a second where all are GIFs."""


def convert_folder(
    conversion: Conversion,
    *,
    jobs: int | None = None,
    engine: Engine = Engine.LOCAL,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> ConversionReport:
    """Makes a JPEG of every picture that is none, as the module's first lines say.

    Not for two runs at once, unless each has another part of the same number.

    Args:
        conversion: the folder.
        jobs: how many workers; None is one a core.
        engine: who does the work.
        dry_run: decode and report the same, but write and move nothing.
        on_progress: is told how many files are done, of how many.

    Raises:
        UsageError: there is no such folder, or the quarantine would lie around it.
        DiskError: a folder cannot be read, or a JPEG or an original cannot be written: no room, no permission.
    """
    conversion = conversion.absolute()  # a worker may be somewhere else
    names = names_to_convert(conversion, clean=not dry_run)
    done = 0

    def on_result(report: ConversionReport) -> None:
        nonlocal done
        done += report.scanned
        if on_progress:
            on_progress(done, len(names))

    work = partial(_convert_shard, conversion, dry_run)
    shards = shards_of(by_target(names), SHARD_FILES)
    return merged(run_shards(work, shards, jobs=jobs, on_result=on_result, engine=engine))


def _convert_shard(conversion: Conversion, dry_run: bool, groups: Sequence[tuple[str, ...]]) -> ConversionReport:
    return merged([report for names in groups for report in _convert_group(conversion, dry_run, names)])


def _convert_group(conversion: Conversion, dry_run: bool, names: tuple[str, ...]) -> list[ConversionReport]:
    """One report for each of some names that differ in the suffix only."""
    reports = {name: _convert_in_place(conversion, dry_run, name) for name in names if target_of(name) == name}
    others = [name for name in names if name not in reports]
    taken = _why_taken(conversion, target_of(others[0]), reports) if others else None
    for name in others:
        reports[name] = _convert_beside(conversion, dry_run, name, taken)
        if reports[name].converted:
            taken = f"{name} comes first"
    return list(reports.values())


def _why_taken(conversion: Conversion, target: str, own: dict[str, ConversionReport]) -> str | None:
    """Why no other picture may become `target`: empty where it was a JPEG all along, None where it is free."""
    if target not in own:
        return _why_impossible(conversion, target)
    if own[target].converted:
        return f"{target} comes first"
    if not own[target].unreadable:
        return ""
    return None if own[target].unreadable[0].moved_to else f"{target} cannot be read"


def _why_impossible(conversion: Conversion, target: str) -> str | None:
    longest = os.pathconf(conversion.folder, "PC_NAME_MAX")
    if (length := len(os.fsencode(target.rpartition("/")[2]))) > longest:
        return f"the name of its JPEG would have {length} bytes, the file system takes {longest}"
    return f"{target} is no file" if os.path.lexists(conversion.folder / target) else None


def _convert_in_place(conversion: Conversion, dry_run: bool, name: str) -> ConversionReport:
    kind, whole = _glance(conversion, name)
    if kind is not ImageKind.JPEG:
        return _convert(conversion, dry_run, name)
    if whole and not conversion.thorough:
        return ConversionReport(scanned=1, already_jpeg=1)
    try:
        data = read(conversion.folder / name)
    except ImageError as error:
        return _unreadable(Left(name, str(error)))
    try:
        decode_strictly(data) if conversion.thorough else decode(data)
    except ImageError as error:
        return _set_aside(conversion, dry_run, name, error)
    return ConversionReport(scanned=1, already_jpeg=1)


def _convert_beside(conversion: Conversion, dry_run: bool, name: str, taken: str | None) -> ConversionReport:
    if split(name)[1] not in PICTURE_SUFFIXES and _glance(conversion, name)[0] is None:
        return ConversionReport(scanned=1, other=1)
    if taken is None:
        return _convert(conversion, dry_run, name)
    if taken:
        return ConversionReport(scanned=1, shadowed=(Left(name, taken),))
    return ConversionReport(scanned=1, already_converted=1)


def _glance(conversion: Conversion, name: str) -> tuple[ImageKind | None, bool]:
    try:
        return glance(f"{conversion.folder}/{name}")
    except OSError:
        return None, True  # the attempt to convert it meets the same error, and reports it


def _convert(conversion: Conversion, dry_run: bool, name: str) -> ConversionReport:
    try:
        data = read(conversion.folder / name)
    except ImageError as error:
        return _unreadable(Left(name, str(error)))
    try:
        kind = identify(data)
        jpeg = _whole_jpeg(data) if kind is ImageKind.JPEG else encode_jpeg(data)
    except ImageError as error:
        return _set_aside(conversion, dry_run, name, error)
    if not dry_run:
        _write(conversion, name, data, jpeg)
    return ConversionReport(scanned=1, converted=(Converted(name, target_of(name), kind, len(jpeg)),))


def _whole_jpeg(data: bytes) -> bytes:
    """The same bytes. Raises ImageError where they are cut."""
    if not ends_whole(data):
        decode(data)
    return data


def _write(conversion: Conversion, name: str, data: bytes, jpeg: bytes) -> None:
    """Puts a JPEG in its place; `data` is the original, whose very bytes it has where that is a JPEG itself."""
    source, target = conversion.folder / name, conversion.folder / target_of(name)
    if source == target:
        keep(source, data, conversion.originals / name)
    with disk_errors(target):
        if jpeg is data:
            take(source.resolve(), target)
        else:
            write_atomically(target, jpeg)


def _set_aside(conversion: Conversion, dry_run: bool, name: str, error: ImageError) -> ConversionReport:
    """Reports a damaged file, and moves it where that is wished; not one that a busy machine could not decode."""
    if conversion.quarantine is None or isinstance(error.__cause__, MemoryError):
        return _unreadable(Left(name, str(error)))
    source = conversion.folder / name
    place = quarantine_place(source, conversion.quarantine / name)
    if not dry_run:
        move_aside(source, place)
    return _unreadable(Left(name, str(error), str(place)))


def _unreadable(left: Left) -> ConversionReport:
    return ConversionReport(scanned=1, unreadable=(left,))

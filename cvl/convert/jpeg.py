"""Turns whatever is not a real JPEG in a folder into one, by content, never by suffix.

Instruction files call every picture `X.jpg`. What stands in the folder decides what is done, so that a second run finds
nothing left to do:

    X.jpg, X.jpeg that is a JPEG       left as it is
    X.gif that is a GIF, PNG, …        X.jpg is made beside it; X.gif stays
    X.gif that is a JPEG               X.jpg becomes a second name of the same bytes
    X.jpg that is a GIF, PNG, …        kept as `originals/X.jpg`; a JPEG takes its name
    whatever cannot be read            reported with its reason, left as it is

Every file is written under a temporary name and renamed, and an original is kept before its name is given away: a run
that is killed at any instant loses nothing but its time.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, count, groupby
from pathlib import Path
from typing import Any

from cvl.errors import ImageError, UsageError
from cvl.files import disk_errors, is_temporary, take, write_atomically
from cvl.images import PICTURE_SUFFIXES, ImageKind, decode, encode_jpeg, identify, kind_of, read
from cvl.parallel import run_shards, shards_of

SHARD_FILES = 250
"""How many names a worker takes at once: two milliseconds where all is well, a second where all are GIFs."""

_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})


@dataclass(frozen=True)
class Conversion:
    """What is converted, and where an original goes whose name its JPEG takes.

    Args:
        folder: its pictures and those of the folders in it, except hidden folders and symbolic links to folders.
        originals: made when the first original needs it.
    """

    folder: Path
    originals: Path


@dataclass(frozen=True)
class Converted:
    """One JPEG that was made. Names are relative to the folder, with forward slashes.

    Args:
        source: the file that it was made from.
        target: the JPEG, which has the name of `source` where the original was moved away.
        kind: what `source` was. A JPEG under a wrong suffix was given a second name, not encoded again.
        bytes: the JPEG's size.
    """

    source: str
    target: str
    kind: ImageKind
    bytes: int


@dataclass(frozen=True)
class Left:
    """One file that was left as it is, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class ConversionReport:
    """What a folder holds and what was made of it. Lists are ordered by name without suffix.

    Args:
        scanned: files that were looked at; each is counted in exactly one of the fields that follow.
        already_jpeg: real JPEGs under a JPEG's name.
        already_converted: other files whose JPEG stood beside them before.
        other: files that neither are pictures nor are named like one.
        converted: what was made, or in a dry run would be.
        unreadable: what should be a picture and cannot be read.
        shadowed: pictures whose JPEG would have a name that something else has.
    """

    scanned: int = 0
    already_jpeg: int = 0
    already_converted: int = 0
    other: int = 0
    converted: tuple[Converted, ...] = ()
    unreadable: tuple[Left, ...] = ()
    shadowed: tuple[Left, ...] = ()

    @property
    def bytes(self) -> int:
        """The size of all JPEGs that were made."""
        return sum(item.bytes for item in self.converted)

    @property
    def by_kind(self) -> dict[ImageKind, int]:
        """How many were made from each kind, most frequent first."""
        return dict(Counter(item.kind for item in self.converted).most_common())

    def as_json(self) -> dict[str, Any]:
        """The report, sums included, in types that `json.dumps` takes."""
        return asdict(self) | {"bytes": self.bytes, "by_kind": self.by_kind}


@dataclass(frozen=True)
class Removal:
    """What `remove_originals` did.

    Args:
        files: how many originals are gone.
        bytes: what the disk got back; an original that shared its bytes with its JPEG gives none.
        kept: originals that had to stay, by path.
    """

    files: int = 0
    bytes: int = 0
    kept: tuple[Left, ...] = ()


def convert_folder(
    conversion: Conversion,
    *,
    jobs: int | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> ConversionReport:
    """Makes a JPEG of every picture that is none, as the module's first lines say. Not for two runs at once.

    Args:
        conversion: the folder.
        jobs: worker processes; None is one a core.
        dry_run: decode and report the same, but write nothing.
        on_progress: is told how many files are done, of how many.

    Raises:
        UsageError: there is no such folder.
        DiskError: a folder cannot be read, or a JPEG or an original cannot be written: no room, no permission.
    """
    names = _names_to_convert(conversion, clean=not dry_run)
    done = 0

    def on_result(report: ConversionReport) -> None:
        nonlocal done
        done += report.scanned
        if on_progress:
            on_progress(done, len(names))

    work = partial(_convert_shard, conversion, dry_run)
    return _merged(run_shards(work, shards_of(_by_target(names), SHARD_FILES), jobs=jobs, on_result=on_result))


def remove_originals(conversion: Conversion, *, jobs: int | None = None) -> Removal:
    """Deletes the originals, each only after its JPEG was decoded to the last byte and is safely on the disk.

    Where two files could have become one JPEG both stay: nothing tells which of them it was made from.

    Raises:
        UsageError: there is no such folder.
        DiskError: an original cannot be deleted.
    """
    pairs, kept = [], []
    for jpeg, originals in sorted(_originals_by_jpeg(conversion).items()):
        if len(originals) == 1:
            pairs.append((originals[0], jpeg))
        else:
            kept += [Left(str(path), f"{jpeg.name} may come from it or from another") for path in originals]
    outcomes = list(chain.from_iterable(run_shards(_remove_shard, shards_of(pairs, SHARD_FILES), jobs=jobs)))
    kept += [outcome for outcome in outcomes if isinstance(outcome, Left)]
    freed = [outcome for outcome in outcomes if isinstance(outcome, int)]
    _prune(conversion.originals)
    return Removal(files=len(freed), bytes=sum(freed), kept=tuple(kept))


def _names_to_convert(conversion: Conversion, *, clean: bool) -> list[str]:
    if not conversion.folder.is_dir():
        raise UsageError(f"{conversion.folder}: no such folder", hint="fetch it first, as in: cvl fetch ocrvqa")
    _names(conversion.originals, clean=clean)
    return _names(conversion.folder, skip=conversion.originals, clean=clean)


def _names(folder: Path, *, skip: Path | None = None, clean: bool) -> list[str]:
    """All files, relative to `folder`, without what a killed run left behind, which `clean` deletes."""
    names = []
    for path in list(_files(folder, skip)):
        name = path.removeprefix(f"{folder}/")
        if not is_temporary(name.rpartition("/")[2]):
            names.append(name)
        elif clean:
            with disk_errors(Path(path)):
                Path(path).unlink()
    return names


def _files(folder: Path, skip: Path | None) -> Iterator[str]:
    """The paths of the regular files, and of links to such, below `folder`, but not below `skip`."""
    pending = [folder] if folder.is_dir() else []
    while pending:
        parent = pending.pop()
        with disk_errors(parent), os.scandir(parent) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    if entry.is_file():
                        yield entry.path
                elif not entry.name.startswith(".") and Path(entry.path) != skip:
                    pending.append(Path(entry.path))


def _by_target(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Sorted, and together those that would become the same JPEG, so that one worker decides between them."""
    ordered = sorted((_split(name)[0], name) for name in names)
    return [tuple(name for _, name in group) for _, group in groupby(ordered, key=lambda pair: pair[0])]


def _split(name: str) -> tuple[str, str]:
    # On strings: pathlib would take longer over the names than the disk over the files.
    stem, dot, suffix = name.rpartition(".")
    return (stem, f".{suffix.lower()}") if dot and "/" not in suffix else (name, "")


def _target(name: str) -> str:
    """The name that the JPEG of `name` has: its own, if that is a JPEG's."""
    stem, suffix = _split(name)
    return name if suffix in _JPEG_SUFFIXES else f"{stem}.jpg"


def _convert_shard(conversion: Conversion, dry_run: bool, groups: Sequence[tuple[str, ...]]) -> ConversionReport:
    return _merged([report for names in groups for report in _convert_group(conversion, dry_run, names)])


def _convert_group(conversion: Conversion, dry_run: bool, names: tuple[str, ...]) -> list[ConversionReport]:
    """One report for each of some names that differ in the suffix only."""
    reports = {name: _convert_in_place(conversion, dry_run, name) for name in names if _target(name) == name}
    others = [name for name in names if name not in reports]
    taken = _why_taken(conversion, _target(others[0]), reports) if others else None
    for name in others:
        reports[name] = _convert_beside(conversion, dry_run, name, taken)
        if reports[name].converted:
            taken = f"{name} comes first"
    return list(reports.values())


def _why_taken(conversion: Conversion, target: str, own: dict[str, ConversionReport]) -> str | None:
    """Why no other picture may become `target`: empty where it was a JPEG all along, None where it is free."""
    if target not in own:
        return f"{target} is no file" if os.path.lexists(conversion.folder / target) else None
    if own[target].converted:
        return f"{target} comes first"
    return f"{target} cannot be read" if own[target].unreadable else ""


def _convert_in_place(conversion: Conversion, dry_run: bool, name: str) -> ConversionReport:
    if _kind(conversion, name) is ImageKind.JPEG:
        return ConversionReport(scanned=1, already_jpeg=1)
    return _convert(conversion, dry_run, name)


def _convert_beside(conversion: Conversion, dry_run: bool, name: str, taken: str | None) -> ConversionReport:
    if _split(name)[1] not in PICTURE_SUFFIXES and _kind(conversion, name) is None:
        return ConversionReport(scanned=1, other=1)
    if taken is None:
        return _convert(conversion, dry_run, name)
    if taken:
        return ConversionReport(scanned=1, shadowed=(Left(name, taken),))
    return ConversionReport(scanned=1, already_converted=1)


def _kind(conversion: Conversion, name: str) -> ImageKind | None:
    try:
        return kind_of(f"{conversion.folder}/{name}")
    except OSError:
        return None  # the attempt to convert it meets the same error, and reports it


def _convert(conversion: Conversion, dry_run: bool, name: str) -> ConversionReport:
    source, target = conversion.folder / name, conversion.folder / _target(name)
    try:
        data = read(source)
        kind = identify(data)
        jpeg = data if kind is ImageKind.JPEG else encode_jpeg(data)
    except ImageError as error:
        return ConversionReport(scanned=1, unreadable=(Left(name, str(error)),))
    if not dry_run:
        if source == target:
            _keep(source, data, conversion.originals / name)
        with disk_errors(target):
            if kind is ImageKind.JPEG:
                take(source.resolve(), target)
            else:
                write_atomically(target, jpeg)
    return ConversionReport(scanned=1, converted=(Converted(name, _target(name), kind, len(jpeg)),))


def _merged(reports: Sequence[ConversionReport]) -> ConversionReport:
    return ConversionReport(
        scanned=sum(report.scanned for report in reports),
        already_jpeg=sum(report.already_jpeg for report in reports),
        already_converted=sum(report.already_converted for report in reports),
        other=sum(report.other for report in reports),
        converted=tuple(item for report in reports for item in report.converted),
        unreadable=tuple(item for report in reports for item in report.unreadable),
        shadowed=tuple(item for report in reports for item in report.shadowed),
    )


def _originals_by_jpeg(conversion: Conversion) -> dict[Path, list[Path]]:
    """For each JPEG the files that it can have been made from, whether or not it is there."""
    found: dict[Path, list[Path]] = defaultdict(list)
    for name in _names_to_convert(conversion, clean=True):
        if _target(name) != name and _kind(conversion, name):
            found[conversion.folder / _target(name)].append(conversion.folder / name)
    for name in _names(conversion.originals, clean=True):
        jpeg = name if _target(name) == name else _split(name)[0]  # X.jpg, and X.jpg.1 where there were two
        found[conversion.folder / jpeg].append(conversion.originals / name)
    return found


def _remove_shard(pairs: Sequence[tuple[Path, Path]]) -> list[int | Left]:
    return [_remove(original, jpeg) for original, jpeg in pairs]


def _remove(original: Path, jpeg: Path) -> int | Left:
    """The bytes that the disk gets back, or why the original has to stay."""
    if jpeg.is_symlink():
        return Left(str(original), f"{jpeg.name} is a symbolic link, maybe to it")
    try:
        data = read(jpeg)
        if (kind := identify(data)) is not ImageKind.JPEG:
            raise ImageError(f"expected a JPEG, found a {kind.name}")
        decode(data)
    except ImageError as error:
        return Left(str(original), f"{jpeg.name}: {error}")
    with disk_errors(original), jpeg.open("rb") as file:
        os.fsync(file.fileno())
        status = original.lstat()
        original.unlink()
    return status.st_size if status.st_nlink == 1 else 0


def _prune(folder: Path) -> None:
    """Deletes the empty folders at and below `folder`."""
    for parent, _, _ in os.walk(folder, topdown=False):
        with disk_errors(Path(parent)):
            if not any(Path(parent).iterdir()):
                Path(parent).rmdir()


def _keep(source: Path, data: bytes, kept: Path) -> None:
    """Keeps `source`, whose bytes are `data`, as `kept`, or as `kept.1` where a different file is kept already."""
    places = chain([kept], (kept.with_name(f"{kept.name}.{number}") for number in count(1)))
    with disk_errors(kept):
        place = next(place for place in places if not place.exists() or place.read_bytes() == data)
        if not place.exists():  # else an earlier run was killed right after it had kept it
            take(source.resolve(), place)

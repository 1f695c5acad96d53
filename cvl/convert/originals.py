"""Deletes originals, each only when its JPEG is proven and safely on the disk."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from cvl.convert.names import jpeg_of_original, kept_names, names_to_convert, target_of
from cvl.convert.report import Conversion, Left, Removal
from cvl.errors import ImageError
from cvl.files import disk_errors
from cvl.images import ImageKind, decode, identify, kind_of, read
from cvl.parallel import Engine, run_shards, shards_of

SHARD_FILES = 250


def remove_originals(conversion: Conversion, *, jobs: int | None = None, engine: Engine = Engine.LOCAL) -> Removal:
    """Deletes the originals, each only after its JPEG was decoded to the last byte and is safely on the disk.

    Where two files could have become one JPEG both stay: nothing tells which of them it was made from.

    Raises:
        UsageError: there is no such folder.
        DiskError: an original cannot be deleted.
    """
    conversion = conversion.absolute()  # a worker may be somewhere else
    pairs, kept = [], []
    for jpeg, originals in sorted(_originals_by_jpeg(conversion).items()):
        if len(originals) == 1:
            pairs.append((originals[0], jpeg))
        else:
            kept += [Left(str(path), f"{jpeg.name} may come from it or from another") for path in originals]
    shards = shards_of(pairs, SHARD_FILES)
    outcomes = list(chain.from_iterable(run_shards(_remove_shard, shards, jobs=jobs, engine=engine)))
    kept += [outcome for outcome in outcomes if isinstance(outcome, Left)]
    freed = [outcome for outcome in outcomes if isinstance(outcome, int)]
    if conversion.part.whole:  # other parts may be about to put something into an empty folder
        _prune(conversion.originals)
    return Removal(files=len(freed), bytes=sum(freed), kept=tuple(kept))


def _originals_by_jpeg(conversion: Conversion) -> dict[Path, list[Path]]:
    """For each JPEG the files that it can have been made from, whether or not it is there."""
    found: dict[Path, list[Path]] = defaultdict(list)
    for name in names_to_convert(conversion, clean=True):
        if target_of(name) != name and _is_picture(conversion.folder / name):
            found[conversion.folder / target_of(name)].append(conversion.folder / name)
    for name in kept_names(conversion):
        found[conversion.folder / jpeg_of_original(name)].append(conversion.originals / name)
    return found


def _is_picture(path: Path) -> bool:
    try:
        return kind_of(path) is not None
    except OSError:
        return False


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

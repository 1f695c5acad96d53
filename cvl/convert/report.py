"""What a conversion is asked for, and what it tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cvl.images import ImageKind
from cvl.parallel import WHOLE, Part


@dataclass(frozen=True)
class Conversion:
    """What is converted, and where that goes which has to leave its place.

    Args:
        folder: its pictures and those of the folders in it, except hidden folders and symbolic links to folders.
        originals: where an original goes whose name its JPEG takes; made when the first one needs it.
        quarantine: where what cannot be read is moved, made when needed; None leaves it where it is.
        part: the share of the folder that is looked at. Files that differ in the suffix only are in one share.
        thorough: whether every JPEG is decoded, and strictly, rather than those alone that do not end like one.
    """

    folder: Path
    originals: Path
    quarantine: Path | None = None
    part: Part = WHOLE
    thorough: bool = False

    def absolute(self) -> Conversion:
        """The same with absolute paths."""
        quarantine = None if self.quarantine is None else self.quarantine.absolute()
        return replace(self, folder=self.folder.absolute(), originals=self.originals.absolute(), quarantine=quarantine)


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
    """One file that was not converted, and why.

    Args:
        name: relative to the folder, or a path where it says so.
        reason: in a few words.
        moved_to: where in the quarantine it lies now, or in a dry run would; "" if it was left where it is.
    """

    name: str
    reason: str
    moved_to: str = ""


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
        shadowed: pictures whose JPEG would have a name that something else has, or that no file can have.
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


def merged(reports: Sequence[ConversionReport]) -> ConversionReport:
    """One report of what several tell of different files, in the order of the reports."""
    return ConversionReport(
        scanned=sum(report.scanned for report in reports),
        already_jpeg=sum(report.already_jpeg for report in reports),
        already_converted=sum(report.already_converted for report in reports),
        other=sum(report.other for report in reports),
        converted=tuple(item for report in reports for item in report.converted),
        unreadable=tuple(item for report in reports for item in report.unreadable),
        shadowed=tuple(item for report in reports for item in report.shadowed),
    )


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

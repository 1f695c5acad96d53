"""The skip list: which records training leaves out, and why. Verification writes it, training honours and counts it.

`data/.cvl/skiplist.json` holds, for each instruction file by name, the size and time of the file that it speaks of and
for each reason the record numbers, from 0, as ranges: `"0-2,7"`. A list whose instruction file has changed since is
void, and training says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from cvl.annotations.index import Index
from cvl.annotations.names import Names
from cvl.errors import UsageError
from cvl.files import write_atomically
from cvl.manifest import format_shards, parse_shards

VERSION = 1
MISSING_IMAGE = "missing-image"
EMPTY_IMAGE = "empty-image"

Skips = dict[str, list[int]]
Ranges = Annotated[str, msgspec.Meta(pattern="^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$")]


class SkipEntry(msgspec.Struct, frozen=True):
    """The skipped records of one instruction file.

    Args:
        size: of the instruction file, in bytes.
        mtime_ns: of the instruction file.
        records: how many it has.
        reasons: ranges of record numbers by reason.
    """

    size: int
    mtime_ns: int
    records: int
    reasons: Mapping[str, Ranges]

    def mask(self, reason: str) -> NDArray[np.bool_]:
        """For each record of the instruction file, whether it is skipped for this reason."""
        mask = np.zeros(self.records, dtype=np.bool_)
        for part in self.reasons[reason].split(","):
            first, _, last = part.partition("-")
            mask[int(first) : int(last or first) + 1] = True
        return mask

    def numbers(self) -> frozenset[int]:
        """All record numbers that are skipped, for whatever reason."""
        return frozenset(number for text in self.reasons.values() for number in parse_shards(text))

    def speaks_of(self, index: Index) -> bool:
        """Whether this is about the instruction file that `index` was made from, unchanged."""
        return (self.size, self.mtime_ns) == (index.header.size, index.header.mtime_ns)


class _Document(msgspec.Struct):
    version: int
    annotations: dict[str, SkipEntry]


def entry(index: Index | Names, skips: Skips) -> SkipEntry:
    """The skip list's entry for one instruction file."""
    reasons = {reason: format_shards(numbers) for reason, numbers in skips.items() if numbers}
    told = index.header if isinstance(index, Index) else index
    return SkipEntry(told.size, told.mtime_ns, len(index), reasons)


def update_skiplist(path: Path, entries: Mapping[str, SkipEntry]) -> None:
    """Put `entries` into the skip list at `path`; those of other instruction files stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = _Document(VERSION, {**read_skiplist(path), **entries})
    write_atomically(path, msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n")


def read_skiplist(path: Path) -> dict[str, SkipEntry]:
    """The skip list at `path`, empty if there is none.

    Raises:
        UsageError: the file is no skip list of this version.
    """
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is not a skip list: {error}", hint="remove it and run `cvl verify-layout`") from error
    if document.version != VERSION:
        problem = f"{path} has format {document.version}, this cvl reads {VERSION}"
        raise UsageError(problem, hint="remove it and run `cvl verify-layout`")
    return document.annotations

"""Where indexes, the skip list and what else verification finds are kept, also of a tree that cannot be written.

They lie under `data/.cvl/`. Many use one tree on a disk that they may only read: what they find is kept in a folder of
their own then, and what the tree has of it is used all the same.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cvl.annotations.build import index_of
from cvl.annotations.index import AnnotationFile, Index, open_index
from cvl.annotations.skiplist import SkipEntry, read_skiplist
from cvl.events import Progress
from cvl.files import beside
from cvl.root import Root

_DIGITS = 16


@dataclass(frozen=True)
class Notes:
    """The places of one tree's notes.

    Args:
        folder: where they are written.
        shared: the tree's own `data/.cvl/`, where they are read too; None if that is `folder`.
    """

    folder: Path
    shared: Path | None = None

    @property
    def indexes(self) -> Path:
        """Memory-mapped indexes of the instruction files."""
        return self.folder / "index"

    @property
    def skiplist(self) -> Path:
        """The records that training leaves out, with reasons."""
        return self.folder / "skiplist.json"

    @property
    def report(self) -> Path:
        """What the last `cvl verify-layout` found."""
        return self.folder / "verify.json"

    @property
    def verdicts(self) -> Path:
        """Which pictures have been decoded, and what was found."""
        return self.folder / "verdicts"

    @property
    def lists(self) -> Path:
        """Lists of files for `xargs -0`, by source."""
        return self.folder / "lists"

    def index(self, source: AnnotationFile, progress: Progress | None = None, *, jobs: int | None = None) -> Index:
        """The index of an instruction file: the tree's own where that can be used, else ours, built if need be.

        Raises what `cvl.annotations.index_of` raises.
        """
        found = self.known_index(source)
        return index_of(source, self.indexes, progress, jobs=jobs) if found is None else found

    def known_index(self, source: AnnotationFile) -> Index | None:
        """The index of an instruction file if there is one that can be used; nothing is built."""
        found = open_index(source, self.shared / "index") if self.shared is not None else None
        return open_index(source, self.indexes) if found is None else found

    def skips(self) -> dict[str, SkipEntry]:
        """The skip list by instruction file. Who cannot write the tree has an own one, which goes before the tree's.

        Raises:
            UsageError: a file is no skip list of this version.
        """
        shared = read_skiplist(self.shared / "skiplist.json") if self.shared is not None else {}
        return shared | read_skiplist(self.skiplist)


def notes_of(root: Root) -> Notes:
    """Where the notes of a tree are: in it if it can be written, else in the user's cache folder, told by its place."""
    if _writable(root.notes):
        return Notes(root.notes)
    return Notes(_own(root), shared=root.notes)


def last_report(root: Root) -> Path:
    """Where the latest report on a tree is, of the places where it may be; there may be none. Writes nothing."""
    found = [path for path in (root.report, Notes(_own(root)).report) if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=root.report)


def _own(root: Root) -> Path:
    place = os.fsencode(root.path.resolve())
    return cache_folder() / hashlib.blake2b(place, digest_size=_DIGITS // 2).hexdigest()


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/cvl`, by default `~/.cache/cvl`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cvl"


def _writable(folder: Path) -> bool:
    """Tries, because permissions do not tell: of a read-only mount, of a server that distrusts root, of quotas."""
    trial = beside(folder / "trial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError:
        return False
    return True

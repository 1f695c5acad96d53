"""The folders of one ShareGPT4V tree: the document's `data/`, start weights, checkpoints, and cvl's own notes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Root:
    """Where everything of one tree lies. Nothing is created by asking.

    Args:
        path: the tree's root, the document's `ShareGPT4V/`.
    """

    path: Path

    @property
    def data(self) -> Path:
        """The document's `data/`: a folder a source."""
        return self.path / "data"

    @property
    def notes(self) -> Path:
        """cvl's own files, `data/.cvl/`: whatever else is found there can be made anew, except the originals."""
        return self.data / ".cvl"

    @property
    def downloads(self) -> Path:
        """Transfers that are not finished: `NAME.part` and its journal."""
        return self.notes / "downloads"

    @property
    def archives(self) -> Path:
        """Archives that are complete and proven, until they are unpacked (or for good, with --keep-archives)."""
        return self.notes / "archives"

    @property
    def receipts(self) -> Path:
        """What was unpacked from which archive."""
        return self.notes / "receipts"

    @property
    def ledgers(self) -> Path:
        """One row a url for lists of many small files."""
        return self.notes / "ledgers"

    @property
    def indexes(self) -> Path:
        """Memory-mapped indexes of the instruction files."""
        return self.notes / "index"

    @property
    def originals(self) -> Path:
        """Pictures as they were before conversion, where the converted one took their name."""
        return self.notes / "originals"

    @property
    def skiplist(self) -> Path:
        """The records that training leaves out, with reasons."""
        return self.notes / "skiplist.json"

    @property
    def report(self) -> Path:
        """What the last `cvl verify-layout` found."""
        return self.notes / "verify.json"

    @property
    def lock(self) -> Path:
        """What was seen at first contact: sizes, digests, revisions."""
        return self.path / "cvl.lock"

    @property
    def sam_links(self) -> Path:
        """Where the list of signed SAM links is looked for when no other place is named."""
        return self.path / "sam-links.txt"

    @property
    def checkpoints(self) -> Path:
        """Trained models, a folder a model and stage."""
        return self.path / "checkpoints"

    def at(self, path: str | PurePosixPath) -> Path:
        """The place in this tree of a manifest's path, such as `data/coco/train2017`."""
        return self.path / path

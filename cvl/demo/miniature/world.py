"""Builds the miniature internet: every source of the document as it is published, small and made up.

The folder is complete or not there: it is written under another name beside its place and renamed. `world.json` in it
holds the facts, and the version and scale that it was built with.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cvl.demo.miniature.facts import Facts, FileFacts, FolderFacts, InstructionFacts
from cvl.demo.miniature.publish import Publisher, without_revision
from cvl.demo.miniature.sources.catalog import publish_sources
from cvl.demo.miniature.sources.sizes import Sizes
from cvl.errors import UsageError

VERSION = 3
"""Goes up with every change of what is built: folders of another version are built again."""

STAMP = "world.json"


@dataclass(frozen=True)
class World:
    """A miniature internet on disk.

    Args:
        folder: the folder that a server serves it from.
        facts: what is known of it.
    """

    folder: Path
    facts: Facts

    def file(self, url: str) -> FileFacts:
        """The facts of a published file; a hub url may name a revision.

        Raises:
            KeyError: nothing is published at this url.
        """
        return {facts.url: facts for facts in self.facts.files}[without_revision(url)]

    def path(self, url: str) -> Path:
        """Where a published file lies. Raises `KeyError` for a url that is not published."""
        return self.folder / self.file(url).path

    def images_of(self, folder: str) -> FolderFacts:
        """How a folder of the tree, such as `data/coco/train2017`, stands when complete. Raises `KeyError`."""
        return {facts.folder: facts for facts in self.facts.folders}[folder]

    def instructions(self, path: str) -> InstructionFacts:
        """The facts of the instruction file at this path of the tree. Raises `KeyError`."""
        return {facts.path: facts for facts in self.facts.instructions}[path]


@dataclass(frozen=True)
class Build:
    """What decides on a world's bytes: the version of this code, the scale, and the digest of a trained encoder."""

    version: int
    scale: float
    encoder: str = ""


@dataclass(frozen=True)
class Stamp(Build):
    """What `world.json` holds."""

    facts: Facts = field(kw_only=True)


def build_world(folder: Path, *, scale: float = 1.0, encoder: Path | None = None) -> World:
    """The miniature internet in `folder`, built unless it is there already in this version and scale.

    Two builds give the same bytes.

    Args:
        scale: multiplies the numbers of pictures and records; there are always 51 SAM shards and 10 ALLaVA chunks.
        encoder: the file of `cvl.demo.pretraining`, which is then published in place of drawn start weights.

    Raises:
        UsageError: the folder holds something else.
    """
    trained = encoder.read_bytes() if encoder is not None else None
    wanted = Build(VERSION, scale, hashlib.sha256(trained).hexdigest() if trained is not None else "")
    if _stamped(folder) == wanted:
        return World(folder, _facts(folder))
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        _write(Path(scratch, "new"), wanted, trained)
        _put_in_place(Path(scratch), folder, wanted)
    return World(folder, _facts(folder))


def check_place(folder: Path) -> None:
    """Raises UsageError if the folder holds something else than a miniature world."""
    if _stamped(folder) is None and folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} holds files that are not of a miniature world, but one is to be built there",
            hint="name a folder that is empty or does not exist",
        )


def _write(folder: Path, wanted: Build, encoder: bytes | None) -> None:
    folder.mkdir()
    site = Publisher(folder)
    publish_sources(site, Sizes.scaled(wanted.scale), encoder)
    stamp = Stamp(wanted.version, wanted.scale, wanted.encoder, facts=site.facts)
    (folder / STAMP).write_bytes(msgspec.json.format(msgspec.json.encode(stamp)))


def _put_in_place(scratch: Path, folder: Path, wanted: Build) -> None:
    """Another process may have built the same world meanwhile: then its folder stays."""
    if folder.exists() and _stamped(folder) != wanted:
        folder.rename(scratch / "old")
    try:
        (scratch / "new").rename(folder)
    except OSError:
        if _stamped(folder) != wanted:
            raise


def _stamped(folder: Path) -> Build | None:
    """What a folder was built with; None where no world lies there."""
    try:
        return msgspec.json.decode((folder / STAMP).read_bytes(), type=Build)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _facts(folder: Path) -> Facts:
    return msgspec.json.decode((folder / STAMP).read_bytes(), type=Stamp).facts

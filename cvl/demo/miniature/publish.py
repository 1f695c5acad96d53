"""Puts what a source publishes where the miniature internet serves it from, and keeps the facts.

FOLDER/http/HOST/PATH                    http(s)://HOST/PATH
FOLDER/hub/datasets/OWNER/NAME/PATH      hf://datasets/OWNER/NAME@REVISION/PATH, with or without the revision
FOLDER/hub/models/OWNER/NAME/PATH        hf://OWNER/NAME/PATH, likewise
FOLDER/drive/ID/FILE NAME                gdrive://ID
FOLDER/signed/FILE NAME                  links:FILE NAME
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from cvl.demo.miniature.facts import (
    Facts,
    FileFacts,
    InstructionFacts,
    ListFacts,
    composition,
    file_facts,
    folder_facts,
)
from cvl.demo.miniature.packing import STORED, Member, ZipStyle, write_zip
from cvl.demo.miniature.photos import Photo

REVISIONS = ".revisions"
"""In a hub repository's folder: the full commit hashes, one a line, by which its only state can be asked for."""


_REVISION = re.compile(r"@[^/]+")


@dataclass(frozen=True)
class Instructions:
    """Where an instruction file is published and what it is in the tree.

    Args:
        url: where it is published.
        path: below the tree's root.
        image_root: the folder below the tree's root that its image names start from.
        indent: spaces a level, or None for a file without line breaks.
        escaped: whether letters beyond ASCII are written as escapes.
    """

    url: str
    path: str
    image_root: str
    indent: int | None = None
    escaped: bool = False


def place(url: str, name: str = "") -> PurePosixPath:
    """Where the bytes of a url lie in the world's folder; `name` is the file's name on Drive, whose urls have none.

    Raises:
        ValueError: the url has a scheme that no source uses.
    """
    scheme, _, rest = url.partition(":")
    rest = rest.removeprefix("//")
    match scheme:
        case "http" | "https":
            return PurePosixPath("http", unquote(rest))
        case "hf":
            rest = without_revision(url).removeprefix("hf://")
            return PurePosixPath("hub", rest if rest.startswith("datasets/") else f"models/{rest}")
        case "gdrive":
            return PurePosixPath("drive", rest, name)
        case "links":
            return PurePosixPath("signed", rest)
    raise ValueError(f"{url}: no place for the scheme {scheme!r}")


def without_revision(url: str) -> str:
    """The url of the same file at its repository's default revision; a url that is not the hub's stays as it is."""
    return _REVISION.sub("", url) if url.startswith("hf://") else url


class Publisher:
    """Writes a miniature world into a folder and collects what is known of it in `facts`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = Facts()

    def file(self, url: str, data: bytes, *, name: str = "") -> None:
        """Publishes the bytes of one file, with facts."""
        self.put(url, data, name=name)
        self._measured(url, name)

    def put(self, url: str, data: bytes, *, name: str = "") -> None:
        """Publishes the bytes of one file, without facts: one of very many, or a helper."""
        self._path(url, name).write_bytes(data)

    def json(self, url: str, value: object, *, name: str = "") -> None:
        """Publishes a value as compact JSON."""
        self.file(url, json.dumps(value, ensure_ascii=False).encode(), name=name)

    def archive(self, url: str, data: bytes, members: Sequence[Member], *, broken: bool = False) -> None:
        """Publishes an archive that is packed already; `broken` if its container ends in an error."""
        self.put(url, data)
        self._measured(url, "", members, broken=broken)

    def mirror(self, url: str, other: str) -> None:
        """Publishes the bytes of the last file at `url` at an `other` url too, which names the file, with its facts."""
        facts = next(facts for facts in reversed(self.facts.files) if facts.url == url)
        self.put(other, (self.folder / facts.path).read_bytes())
        self._note(replace(facts, url=other, path=str(place(other))))

    def zip(self, url: str, members: Iterable[Member], style: ZipStyle = STORED, *, name: str = "") -> None:
        """Publishes a zip of these members."""
        packed = tuple(members)
        write_zip(self._path(url, name), packed, style)
        self._measured(url, name, packed)

    def instructions(self, what: Instructions, records: Sequence[Mapping[str, Any]]) -> None:
        """Publishes an instruction file."""
        self.put(what.url, json.dumps(records, indent=what.indent, ensure_ascii=what.escaped).encode())
        self._measured(what.url, "")
        with_image = composition(records)
        text_only = len(records) - sum(with_image.values())
        facts = InstructionFacts(what.path, what.url, what.image_root, len(records), text_only, with_image)
        self.facts = replace(self.facts, instructions=(*self.facts.instructions, facts))

    def list_of_files(self, facts: ListFacts) -> None:
        """Notes what is known of a published list of many small files."""
        self.facts = replace(self.facts, lists=(*self.facts.lists, facts))

    def folder_of(self, pictures: Sequence[Photo], *, empty: Sequence[str] = ()) -> None:
        """Notes what a complete folder of the tree holds: these pictures, and `empty` files without bytes."""
        names = (*(photo.name for photo in pictures), *empty)
        facts = folder_facts(f"data/{pictures[0].folder}", names, len(empty))
        self.facts = replace(self.facts, folders=(*self.facts.folders, facts))

    def alias(self, named: str, real: str) -> None:
        """Notes that instruction files name a picture which is really called otherwise, both below the tree's root."""
        self.facts = replace(self.facts, aliases={**self.facts.aliases, named: real})

    def pin(self, repository: str, revision: str) -> None:
        """Gives a hub repository, such as `datasets/OWNER/NAME`, the commit hash that manifests pin."""
        self._path(f"hf://{repository}/{REVISIONS}").write_text(f"{revision}\n")

    def _path(self, url: str, name: str = "") -> Path:
        path = self.folder / place(url, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _measured(self, url: str, name: str, members: Sequence[Member] = (), *, broken: bool = False) -> None:
        names = [member.name for member in members]
        facts = file_facts(url, place(url, name), self.folder / place(url, name), names)
        self._note(replace(facts, broken=broken))

    def _note(self, facts: FileFacts) -> None:
        self.facts = replace(self.facts, files=(*self.facts.files, facts))

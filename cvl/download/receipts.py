"""Receipts: which files of the tree came from which download, so that what is here is known without the archive.

One JSON file a download under `data/.cvl/receipts/`, written only after everything it lists stands in its place. A
receipt is believed as far as the disk confirms it: each file that it lists is looked for, and a single file must still
have the size and time that it had.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from cvl.files import write_atomically
from cvl.root import Root

VERSION = 1


class Receipt(msgspec.Struct, frozen=True):
    """What one download left in the tree.

    Args:
        url: where the bytes came from, without signature.
        size: bytes of the download.
        sha256: of the download; None where it was found in the tree and could only be held to its size.
        recipe: how it was unpacked; another recipe makes the receipt void.
        folder: what `members` are relative to, as a path of the tree.
        members: files that it left, relative to `folder`.
        bytes: of all members together.
        mtime_ns: of the file, where it is a single one.
        keeps_archive: whether the archive was to stay.
    """

    url: str
    size: int
    sha256: str | None
    recipe: str
    folder: str
    members: list[str]
    bytes: int
    mtime_ns: int | None = None
    keeps_archive: bool = True
    version: int = VERSION


def read_receipt(root: Root, name: str) -> Receipt | None:
    """The receipt of the download called `name`; None if there is none, or one that this version cannot read."""
    try:
        receipt = msgspec.json.decode(_path(root, name).read_bytes(), type=Receipt)
    except (FileNotFoundError, msgspec.DecodeError):
        # An unreadable receipt proves nothing; the files it spoke of are looked at again.
        return None
    return receipt if receipt.version == VERSION else None


def write_receipt(root: Root, name: str, receipt: Receipt) -> None:
    """Keep a receipt, whole or not at all."""
    path = _path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.encode(receipt))


def _path(root: Root, name: str) -> Path:
    return root.receipts / f"{name}.json"

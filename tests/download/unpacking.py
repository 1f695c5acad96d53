"""What the tests of unpacking share: archives in a few words, and what became of them."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fetching import JPEG, names_below, noise, tarred, zipped

from cvl.download.archives.unpack import Unpacked, unpack
from cvl.errors import ArchiveError
from cvl.manifest import Unpack

PICTURES = {f"images/{number}.jpg": JPEG + noise(200 + number, number) for number in range(6)}
JPGS = Unpack(into="data/mine", include=("images/*.jpg",))
SIX = JPGS.model_copy(update={"members": 6})
ALL = Unpack(into="data/mine")

Pack = Callable[[dict[str, bytes]], bytes]


def stored(members: Mapping[str, bytes]) -> bytes:
    return zipped(members)


def deflated(members: Mapping[str, bytes]) -> bytes:
    return zipped(members, deflated=True)


def plain_tar(members: Mapping[str, bytes]) -> bytes:
    return tarred(without_folders(members))


def gzipped_tar(members: Mapping[str, bytes]) -> bytes:
    return tarred(without_folders(members), "w:gz")


def xz_tar(members: Mapping[str, bytes]) -> bytes:
    return tarred(without_folders(members), "w:xz")


def bzip2_tar(members: Mapping[str, bytes]) -> bytes:
    return tarred(without_folders(members), "w:bz2")


def without_folders(members: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in members.items() if not name.endswith("/")}


def nothing(_done: int, _total: int | None) -> None:
    pass


def unpacked(folder: Path, archive: bytes, spec: Unpack = ALL, **options: Any) -> Unpacked:
    path = folder.parents[2] / "archive.zip"  # nothing is judged by its name
    path.write_bytes(archive)
    return unpack(path, spec, folder, options.pop("progress", nothing), **options)


def refused(folder: Path, archive: bytes, spec: Unpack = ALL) -> str:
    """What is said of an archive that is refused; nothing unfinished is left."""
    with pytest.raises(ArchiveError) as caught:
        unpacked(folder, archive, spec)
    assert not [name for name in names_below(folder.parents[2]) if name.endswith(".tmp")]
    said = str(caught.value)
    assert said.startswith("archive.zip: ")
    return said.removeprefix("archive.zip: ")


def refused_untouched(folder: Path, archive: bytes, spec: Unpack = ALL) -> str:
    """The same, of one of which nothing may be written, and nothing lost that was there before."""
    before = folder / "images" / "1.jpg"
    before.parent.mkdir(parents=True, exist_ok=True)
    before.write_bytes(b"was here")
    said = refused(folder, archive, spec)
    assert names_below(folder.parents[2]) == ["archive.zip", "tree/data/mine/images/1.jpg"]
    assert before.read_bytes() == b"was here"
    return said


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names_below(folder)} if folder.exists() else {}


def tar_with(kind: bytes, target: str = "") -> bytes:
    """A tar of a link or a device, and a file behind it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("images/link.jpg")
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
        behind = tarfile.TarInfo("images/link.jpg/behind.jpg")
        behind.size = len(JPEG)
        archive.addfile(behind, io.BytesIO(JPEG))
    return stream.getvalue()


def zip_with_mode(mode: int, content: bytes = b"/etc/passwd") -> bytes:
    """A zip whose last member says that it is of this mode."""
    stream = io.BytesIO(stored(PICTURES))
    with zipfile.ZipFile(stream, "a") as archive:
        link = zipfile.ZipInfo("images/link.jpg")
        link.create_system = 3
        link.external_attr = mode << 16
        archive.writestr(link, content)
    return stream.getvalue()


LINK = stat.S_IFLNK | 0o777
PIPE = stat.S_IFIFO | 0o777


class Zip:
    """A zip built by hand, that may lie about anything.

    Every `add` takes what the directory says; the member's own header says the same, unless `at` names another's.
    """

    def __init__(self) -> None:
        self.body = bytearray()
        self.directory = bytearray()
        self.count = 0

    def add(self, name: str | bytes, packed: bytes = JPEG, **says: Any) -> int:
        """One more member; returns where its header stands."""
        raw = name.encode() if isinstance(name, str) else name
        at = says.get("at", len(self.body))
        method, crc = says.get("method", 0), says.get("crc", zlib.crc32(says.get("content", packed)))
        size, flags = says.get("size", len(says.get("content", packed))), says.get("flags", 0)
        system, extra = says.get("system", 0), says.get("extra", b"")
        packed_size = says.get("packed_size", len(packed))
        if "at" not in says:
            fixed = (b"PK\3\4", 20, flags, method, 0, 0, crc, min(packed_size, 2**32 - 1), min(size, 2**32 - 1))
            self.body += struct.pack("<4s5H3L2H", *fixed, len(raw), 0) + raw + packed
        fixed = (b"PK\1\2", 20, system, 20, 0, flags, method, 0, 0, crc, packed_size, size, len(raw), len(extra), 0, 0)
        self.directory += struct.pack("<4s4B4HL2L5H2L", *fixed, 0, 0, at) + raw + extra
        self.count += 1
        return int(at)

    def bytes(self) -> bytes:
        """The archive."""
        count = min(self.count, 0xFFFF)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(self.directory), len(self.body), 0)
        return bytes(self.body + self.directory + end)


def gzip_member(content: bytes) -> bytes:
    return gzip.compress(content, 6, mtime=0)


def header_of(archive: bytes, name: str) -> int:
    """Where a member's header stands in a plain tar."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getmember(name).offset

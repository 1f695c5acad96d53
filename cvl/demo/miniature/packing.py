"""Writes zips and gzipped tars whose bytes depend on nothing but their members: no clock, no user, no umask."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ZIP_TIME = (2023, 11, 20, 12, 0, 0)
TAR_TIME = 1_680_000_000
FILE_MODE = 0o100644
FOLDER_MODE = 0o040755
UNIX = 3
MSDOS_FOLDER = 0x10


@dataclass(frozen=True)
class Member:
    """A file in an archive, or a folder's own entry where the name ends with a slash (then `data` is empty)."""

    name: str
    data: bytes = b""

    @property
    def is_folder(self) -> bool:
        """True of a folder's own entry."""
        return self.name.endswith("/")


@dataclass(frozen=True)
class ZipStyle:
    """How a zip is packed.

    Args:
        deflated: members are compressed; pictures in published zips mostly are not.
        zip64: every member's local header has the extra field of archives beyond 4 GiB, so that a reader which takes
            this header to be of fixed length finds the wrong bytes.
    """

    deflated: bool = False
    zip64: bool = False


STORED = ZipStyle()


def write_zip(path: Path, members: Iterable[Member], style: ZipStyle = STORED) -> None:
    """A zip of these members, in this order. Names beyond ASCII are UTF-8 and flagged as such."""
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            with archive.open(_zip_entry(member, style), "w", force_zip64=style.zip64 and not member.is_folder) as file:
                file.write(member.data)


def write_tar_gz(path: Path, members: Iterable[Member]) -> None:
    """A gzip-compressed tar of these members, in this order, whatever the name of the file says."""
    path.write_bytes(compress(tar(members)))


def tar(members: Iterable[Member]) -> bytes:
    """The bytes of a plain tar of these members, ended by its two empty blocks and filled up to 10,240 bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            entry = tarfile.TarInfo(member.name)
            entry.size, entry.mtime, entry.mode = len(member.data), TAR_TIME, FILE_MODE & 0o777
            archive.addfile(entry, io.BytesIO(member.data))
    return stream.getvalue()


def compress(data: bytes) -> bytes:
    """A gzip stream without a name and without a time."""
    return gzip.compress(data, compresslevel=6, mtime=0)


def _zip_entry(member: Member, style: ZipStyle) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(member.name, ZIP_TIME)
    entry.create_system = UNIX
    entry.external_attr = (FOLDER_MODE << 16) | MSDOS_FOLDER if member.is_folder else FILE_MODE << 16
    compressed = style.deflated and not member.is_folder
    entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    entry.file_size = len(member.data)
    return entry

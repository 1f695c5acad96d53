"""From an archive to files in the tree: only what the manifest includes, each file whole or absent.

Zip and tar are told apart by content, and so is gzip: SA-1B's shards are gzip under the name `.tar`. A member that
would land outside of its folder stops the whole archive before anything of it is written (zip) or at that member (tar,
which has no directory to look through first).
"""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Self

from cvl.errors import ArchiveError
from cvl.events import Progress
from cvl.files import beside
from cvl.manifest import Unpack

_CHUNK = 1 << 20
_UTF8_FLAG = 0x800
_UNIX = 3

# What zipfile, tarfile and the decompressors raise over an archive that is not what it should be.
_DAMAGE: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
# A place before the file's start, and bz2's own complaint, come as errors of the system.
_NO_FAULT_OF_THE_DISK = (errno.EINVAL, None)


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive.

    Args:
        members: the files, relative to the folder that they were unpacked into.
        bytes: of all of them.
        written: how many were written; the others were there already, whole.
    """

    members: tuple[str, ...]
    bytes: int
    written: int


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, spec: Unpack, folder: Path, progress: Progress, *, keep_existing: bool = False) -> Unpacked:
    """Write the members that `spec` includes below `folder`.

    A file that is there with the member's size is left as it is, with `keep_existing` one of any size.
    `progress(members so far, members in all)` is called after each member; what it raises ends the work, which can be
    begun again.

    Raises:
        ArchiveError: the archive is damaged, hostile, or holds another number of files than the manifest says.
    """
    landed: dict[str, int] = {}
    written = 0
    try:
        members, total = _members(archive, spec)
        for member in members:
            place = destination(member.name, spec)
            if place in landed:
                raise ArchiveError(f"{archive.name}: two members would both become {place}")
            written += _write(member, folder / place, keep_existing)
            landed[place] = member.size
            progress(len(landed), total)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in _NO_FAULT_OF_THE_DISK:
            raise
        # A damaged stream may have given all that is wanted before it broke: SA-1B's shards 14, 16, 17 and 19 are
        # published that way.
        if len(landed) != spec.members:
            raise ArchiveError(f"{archive.name}: damaged after {len(landed):,} files: {error}") from error
    if spec.members is not None and len(landed) != spec.members:
        raise ArchiveError(f"{archive.name}: expected {spec.members:,} files, found {len(landed):,}")
    if not landed:
        raise ArchiveError(f"{archive.name}: none of its members is one that the manifest includes: {spec.include}")
    return Unpacked(tuple(landed), sum(landed.values()), written)


def destination(name: str, spec: Unpack) -> str:
    """Where a member lands, relative to the folder that the archive is unpacked into.

    Raises:
        ArchiveError: it would land outside, or nothing is left of its name.
    """
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise ArchiveError(f"the member {name!a} has a name that is not UTF-8")
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts
    # Flattening drops the folders, so ALLaVA's absolute paths are harmless; a backslash is never a name of ours.
    if "\\" in name or "\0" in name or path.name == ".." or (leaves and not spec.flatten):
        raise ArchiveError(f"the member `{name}` would land outside of its folder")
    parts = path.parts[-1:] if spec.flatten else path.parts[spec.strip :]
    if not parts or not path.name:
        raise ArchiveError(f"nothing is left of the member `{name}` after {spec.strip} leading folders are dropped")
    return "/".join(parts)


def included(name: str, spec: Unpack) -> bool:
    """Whether a member is one that the manifest wants."""
    return any(fnmatchcase(name, pattern) for pattern in spec.include) and not any(
        fnmatchcase(name, pattern) for pattern in spec.exclude
    )


def _members(archive: Path, spec: Unpack) -> tuple[Iterator[_Member], int | None]:
    """The wanted members in the archive's order, and their number where it is known beforehand."""
    if not zipfile.is_zipfile(archive):
        return _tar_members(archive, spec), spec.members
    # Read once to look at every name before anything is written, the second time to write.
    with zipfile.ZipFile(archive) as directory:
        wanted = [info for info in directory.infolist() if not info.is_dir() and included(_name(info), spec)]
    for info in wanted:
        destination(_name(info), spec)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ArchiveError(f"{archive.name}: the member `{info.filename}` is a link or a device")
    return _zip_members(archive, spec), len(wanted)


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name. Info-ZIP on Unix writes UTF-8 without saying so, which zipfile reads as cp437."""
    if info.flag_bits & _UTF8_FLAG or info.create_system != _UNIX:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _zip_members(archive: Path, spec: Unpack) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if not info.is_dir() and included(_name(info), spec):
                yield _Member(_name(info), info.file_size, lambda info=info: file.open(info))  # type: ignore[misc]


class _StrictHeader(tarfile.TarInfo):
    """A member's header. tarfile takes a damaged or missing one for the archive's end, which only empty blocks are."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise tarfile.ReadError(str(error)) from error


def _tar_members(archive: Path, spec: Unpack) -> Iterator[_Member]:
    # SA-1B's shard 17 and its like go on after empty blocks. Going on past them also passes over damaged headers, so it
    # is done only where a known number of files will tell.
    counted = spec.members is not None
    header = tarfile.TarInfo if counted else _StrictHeader
    with tarfile.open(archive, "r|*", ignore_zeros=counted, tarinfo=header) as file:
        for info in file:
            name = info.name.removeprefix("./")
            if not included(name, spec) or info.isdir():
                continue
            if not info.isreg():
                raise ArchiveError(f"{archive.name}: the member `{info.name}` is a link or a device")
            content = file.extractfile(info)
            assert content is not None
            yield _Member(name, info.size, lambda content=content: content)  # type: ignore[misc]


def _write(member: _Member, path: Path, keep_existing: bool) -> bool:
    """Write a member under a name of its own and rename it; returns whether there was need to.

    Reading to the end is what makes zipfile check the CRC.
    """
    if path.is_file() and (keep_existing or path.stat().st_size == member.size):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    try:
        with member.open() as content, temporary.open("wb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
        if temporary.stat().st_size != member.size:
            raise EOFError(f"the member `{member.name}` ends early")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True

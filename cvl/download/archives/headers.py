"""What stands before a member of a tar: its header, and the records that name it where its name is a long one."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass

BLOCK = tarfile.BLOCKSIZE
MAGIC = b"ustar"
MAGIC_AT = 257
ZEROS = bytes(BLOCK)

# Records that are longer than this name nothing.
LONGEST_RECORD = 1 << 20

# Digits of a number of bytes; a number of thousands of digits is slow to read.
_LONGEST_SIZE = 18

_PAX_RECORD = re.compile(rb"(\d+) ([^=]+)=")


@dataclass(frozen=True)
class Header:
    """One header of a tar.

    Args:
        name: of the member.
        size: bytes of its content.
        kind: tarfile's letter for what it is.
    """

    name: str
    size: int
    kind: bytes

    @property
    def is_file(self) -> bool:
        """Whether it is a plain file."""
        return self.kind in tarfile.REGULAR_TYPES and not self.is_sparse

    @property
    def is_sparse(self) -> bool:
        """Whether it is a file with holes, whose content is only what is between them."""
        return self.kind == tarfile.GNUTYPE_SPARSE

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.kind == tarfile.DIRTYPE

    @property
    def has_content(self) -> bool:
        """Whether blocks of content follow; links and devices may have a size, but have none."""
        return self.kind in tarfile.REGULAR_TYPES or self.kind not in tarfile.SUPPORTED_TYPES or self.is_record

    @property
    def is_record(self) -> bool:
        """Whether its content says something of the member that follows, or of all."""
        return self.kind in _RECORDS


_RECORDS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def read_header(block: bytes) -> Header | None:
    """The header in a block; None where there is none, or its checksum is wrong."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return None
    if info.size < 0:
        return None
    return Header(info.name, info.size, info.type)


def damaged_name(block: bytes) -> str:
    """What a header with a wrong checksum says of its name, "" if that is no name."""
    name = block[:100].split(b"\0")[0].decode("utf-8", "replace")
    return name if block[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC and name.isprintable() else ""


@dataclass(frozen=True)
class Told:
    """What records say of the member that follows them; None where they say nothing.

    Args:
        name: that it has.
        size: of its content.
        sparse: whether its content is that of a file with holes, of which only the rest is there.
    """

    name: str | None = None
    size: int | None = None
    sparse: bool = False


def read_record(header: Header, content: bytes, told: Told) -> Told:
    """What is known after one more record, as far as that can be read."""
    if header.kind == tarfile.GNUTYPE_LONGNAME:
        return Told(content.rstrip(b"\0").decode("utf-8", "surrogateescape"), told.size, told.sparse)
    if header.kind not in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
        return told
    pairs = dict(_pax_pairs(content))
    name, size = pairs.get(b"path"), pairs.get(b"size")
    return Told(
        name.decode("utf-8", "surrogateescape") if name is not None else told.name,
        int(size) if size is not None and size.isdigit() and len(size) <= _LONGEST_SIZE else told.size,
        told.sparse or any(key.startswith(b"GNU.sparse") for key in pairs),
    )


def _pax_pairs(content: bytes) -> list[tuple[bytes, bytes]]:
    """The keys and values of a pax record, as far as it can be read."""
    pairs, at = [], 0
    while found := _PAX_RECORD.match(content, at):
        length = int(found[1][:_LONGEST_SIZE])
        pairs.append((found[2], content[found.end() : at + length - 1]))
        if length <= found.end() - at:
            break
        at += length
    return pairs

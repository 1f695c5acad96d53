"""A folder seen as a repository of the Hugging Face hub: its files with git's names for them, its commit, its gate."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

LFS_THRESHOLD = 1024
_REVISIONS = ".revisions"
_GATED = ".gated"
_FULL_REVISION = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class RepoFile:
    """One file of a repository.

    Args:
        path: its name in the repository, with forward slashes.
        source: where its bytes are.
        size: number of bytes.
        oid: git's blob name (SHA-1) of what git stores: the content, or under LFS the pointer to it.
        sha256: digest of the content of an LFS file, None for a file that git stores itself.
        pointer_size: bytes of the LFS pointer, 0 without LFS.
    """

    path: str
    source: Path
    size: int
    oid: str
    sha256: str | None
    pointer_size: int


@dataclass(frozen=True)
class Repository:
    """A repository as its folder is at the moment.

    Args:
        kind: `datasets` or `models`, as the hub's addresses write it.
        name: `owner/name`.
        folder: the content. A file `.revisions` in it lists further full revisions, one a line, that stand for the
            same content; a file `.gated` closes the repository to those who send no token. Neither is content.
    """

    kind: str
    name: str
    folder: Path

    @property
    def gated(self) -> bool:
        """Whether a token is asked for."""
        return (self.folder / _GATED).exists()

    @cached_property
    def files(self) -> dict[str, RepoFile]:
        """All files by their path, sorted."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        found = (_repo_file(path, path.relative_to(self.folder).as_posix()) for path in paths)
        return {file.path: file for file in found if file.path not in (_REVISIONS, _GATED)}

    @cached_property
    def commit(self) -> str:
        """The revision of the default branch: 40 hexadecimal digits that depend on names and contents only."""
        lines = "".join(f"{file.oid} {file.path}\n" for file in self.files.values())
        return hashlib.sha1(lines.encode(), usedforsecurity=False).hexdigest()

    def resolve(self, revision: str) -> str | None:
        """The full revision that a branch or revision stands for, None if there is no such one."""
        if revision in ("main", self.commit):
            return self.commit
        listed = self.folder / _REVISIONS
        known = listed.read_text().split() if listed.exists() else []
        return revision if _FULL_REVISION.fullmatch(revision) and revision in known else None


def _repo_file(source: Path, path: str) -> RepoFile:
    stat = source.stat()
    oid, sha256, pointer_size = _digests(source, stat.st_size, stat.st_mtime_ns)
    return RepoFile(path, source, stat.st_size, oid, sha256, pointer_size)


@cache
def _digests(source: Path, size: int, changed: int) -> tuple[str, str | None, int]:  # noqa: ARG001 - `changed` is a key
    """Blob name, LFS digest and pointer size of a file; computed once for each state of it."""
    if size <= LFS_THRESHOLD:
        return _blob_name(source.read_bytes()), None, 0
    with source.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return _blob_name(pointer), sha256, len(pointer)


def _blob_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

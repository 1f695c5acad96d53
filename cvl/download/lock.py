"""`cvl.lock`: what was seen of every file at first contact, so that the next machine fetches the same bytes.

The file is JSON, sorted, with a newline at its end: it can be committed, compared and merged. Addresses are kept
without their signatures.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from cvl.download.select import Remote
from cvl.errors import UsageError
from cvl.files import write_atomically

VERSION = 1


@dataclass(frozen=True)
class Seen:
    """What was seen of one file.

    Args:
        url: without query and signature.
        size: bytes.
        sha256: of the whole file.
        etag: the server's, if it gave one.
        revision: the hub's commit, for hub files.
        time: when, UTC, ISO 8601.
    """

    url: str
    size: int
    sha256: str
    etag: str | None = None
    revision: str | None = None
    time: str = ""


class _Document(msgspec.Struct):
    version: int
    files: dict[str, Seen]


class Lock:
    """The lock file of one tree, kept in memory and written whole after each change. Safe to use from threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._files = _read(path)

    def refresh(self) -> None:
        """Read the file again, after another process may have written it."""
        with self._mutex:
            self._files = _read(self._path)

    def seen(self, name: str) -> Seen | None:
        """What was seen of the file called `name`, or None before first contact."""
        return self._files.get(name)

    def record(self, name: str, seen: Seen) -> None:
        """Keep what was seen, and write the file. The same bytes seen again change nothing."""
        with self._mutex:
            # What another process recorded since we read the file stays.
            self._files = _read(self._path)
            old = self._files.get(name)
            if old is not None and replace(old, time="", etag=None) == replace(seen, time="", etag=None):
                return
            self._files[name] = replace(seen, time=seen.time or datetime.now(UTC).isoformat(timespec="seconds"))
            self._write()

    def pin(self, remote: Remote) -> Remote:
        """`remote` with the size and digest of first contact where the manifest names none."""
        seen = self.seen(remote.name)
        if seen is None:
            return remote
        known = remote.sha256 is not None or remote.md5 is not None
        size = remote.size if remote.size is not None else seen.size
        return replace(remote, size=size, sha256=remote.sha256 if known else seen.sha256)

    def _write(self) -> None:
        files = {name: asdict(self._files[name]) for name in sorted(self._files)}
        text = msgspec.json.format(msgspec.json.encode({"version": VERSION, "files": files}), indent=2)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, text + b"\n")


def _read(path: Path) -> dict[str, Seen]:
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        hint = "restore it from version control, or move it away to begin a new one"
        raise UsageError(f"{path} is not a lock file: {error}", hint=hint) from error
    if document.version != VERSION:
        hint = "install a newer cvl, or move the file away to begin a new one"
        raise UsageError(f"{path} has format {document.version}, this cvl reads {VERSION}", hint=hint)
    return document.files


def unsigned(url: str) -> str:
    """`url` without user, query and fragment: passwords and signatures do not belong into a lock."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # No address at all: whoever asks for it will be told.
        return url.partition("?")[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

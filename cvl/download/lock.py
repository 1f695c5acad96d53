"""`cvl.lock`: what was seen of every file at first contact, so that the next machine fetches the same bytes.

The file is JSON, sorted, with a newline at its end: it can be committed, compared and merged. Addresses are kept
without their signatures.

A lock that is frozen (`--locked`) is held to and not written: what it names must be exactly that, whatever the manifest
leaves open, and what it does not name is not fetched.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from cvl.download.select import Remote
from cvl.errors import UsageError
from cvl.exclusive import briefly
from cvl.files import write_atomically

VERSION = 1

_FETCH_FREELY = "run once without --locked and keep the lock that it writes"


@dataclass(frozen=True)
class Seen:
    """What was seen of one file, or of a whole hub repository.

    Args:
        url: without query and signature.
        size: bytes.
        sha256: of the whole file; of a repository, of what `sha256sum` prints for its files, sorted by path.
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
    """The lock file of one tree, kept in memory and written whole after each change. Safe to use from threads.

    Args:
        path: of the lock file.
        guard: a file that processes hold while they change the lock file: several fetch a part each. None if nobody
            else does.
        frozen: hold to it, and do not write it.
    """

    def __init__(self, path: Path, guard: Path | None = None, *, frozen: bool = False) -> None:
        self.path = path
        self.frozen = frozen
        self._guard = guard
        self._mutex = threading.Lock()
        self._files = _read(path)

    def refresh(self) -> None:
        """Read the file again, after another process may have written it. A frozen lock stays what it was."""
        with self._mutex:
            if not self.frozen:
                self._files = _read(self.path)

    def seen(self, name: str) -> Seen | None:
        """What was seen of the file called `name`, or None before first contact."""
        return self._files.get(name)

    def beginning(self, prefix: str) -> dict[str, Seen]:
        """What was seen of the files whose names begin so, by name."""
        return {name: seen for name, seen in self._files.items() if name.startswith(prefix)}

    def record(self, name: str, seen: Seen) -> None:
        """Keep what was seen, and write the file. The same bytes seen again change nothing, nor does a frozen lock."""
        self.record_all({name: seen})

    def record_all(self, files: Mapping[str, Seen]) -> None:
        """Keep what was seen of several files, and write the file once, if there is anything new."""
        if self.frozen:
            return
        with self._mutex, briefly(self._guard) if self._guard is not None else nullcontext():
            # What another process recorded since we read the file stays.
            self._files = _read(self.path)
            new = {name: seen for name, seen in files.items() if not _same(self._files.get(name), seen)}
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._files |= {name: replace(seen, time=seen.time or now) for name, seen in new.items()}
            if new:
                self._write()

    def pin(self, remote: Remote) -> Remote:
        """`remote` with the size and digest of first contact where the manifest names none.

        A frozen lock goes before the manifest: other bytes than those that it saw are refused.

        Raises:
            UsageError: the lock is frozen, and the manifest contradicts it.
        """
        seen = self.seen(remote.name)
        if seen is None:
            return remote
        if self.frozen:
            self._check_agreement(remote, seen)
            return replace(remote, size=seen.size, sha256=seen.sha256, certainty="confirmed")
        known = remote.sha256 is not None or remote.md5 is not None
        size = remote.size if remote.size is not None else seen.size
        return replace(remote, size=size, sha256=remote.sha256 if known else seen.sha256)

    def require(self, names: Iterable[str]) -> None:
        """Refuse what a frozen lock does not name; any other lock lets everything pass.

        Raises:
            UsageError: names the first of these files, and says how many there are.
        """
        missing = [name for name in names if name not in self._files]
        if self.frozen and missing:
            others = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            what = f"{missing[0]}{others}, and --locked fetches nothing that it does not name"
            raise UsageError(f"{self.path} does not name {what}", hint=_FETCH_FREELY)

    def _check_agreement(self, remote: Remote, seen: Seen) -> None:
        for what, wanted, found in (("size", remote.size, seen.size), ("sha256", remote.sha256, seen.sha256)):
            if wanted not in (None, found):
                raise UsageError(
                    f"{remote.name}: the manifest has {what} {wanted}, {self.path} has {found}",
                    hint="run without --locked to go by the manifest, or put what the lock has into one of your own",
                )

    def _write(self) -> None:
        files = {name: asdict(self._files[name]) for name in sorted(self._files)}
        text = msgspec.json.format(msgspec.json.encode({"version": VERSION, "files": files}), indent=2)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, text + b"\n")


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


def _same(old: Seen | None, new: Seen) -> bool:
    return old is not None and replace(old, time="", etag=None) == replace(new, time="", etag=None)


def unsigned(url: str) -> str:
    """`url` without user, query and fragment: passwords and signatures do not belong into a lock."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # No address at all: whoever asks for it will be told.
        return url.partition("?")[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

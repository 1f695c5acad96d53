"""What the download's tests share: remotes, sources and archives in a few words, a reporter that remembers."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.events import Event, EventKind
from cvl.manifest import Catalog, Source

HOST = "https://host.example"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))
GIF = b"GIF89a" + bytes(100)
PAGE = b"<!DOCTYPE html>\n<html><body>Please sign in</body></html>"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def noise(size: int, seed: int = 0) -> bytes:
    """`size` bytes that do not repeat themselves, so that a shifted or swapped piece is noticed."""
    return hashlib.shake_128(b"%d" % seed).digest(size)


def zipped(members: Mapping[str, bytes], *, deflated: bool = False) -> bytes:
    """The bytes of a zip of these members."""
    stream = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return stream.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    """The bytes of a tar of these members; `w:gz` packs it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def remote(url: str = f"{HOST}/file.bin", *more: str, **changes: Any) -> Remote:
    """A file `file.bin` of the source `mine` at these addresses, which lands in `data/mine/`."""
    fields: dict[str, Any] = {"source": "mine", "name": "file.bin", "path": "data/mine/file.bin"} | changes
    if fields.get("unpack") is not None or fields.get("snapshot") is not None:
        fields["path"] = changes.get("path")
    return Remote(urls=(url, *more), **fields)


def catalog_of(**sources: Mapping[str, Any]) -> Catalog:
    """A catalog of nothing but these sources, each as its manifest would say it."""
    named = {name: Source.model_validate({"title": name, **table}) for name, table in sources.items()}
    return Catalog(named, {}, {}, {f"sources/{name}": Path(f"{name}.toml") for name in named})


def names_below(folder: Path) -> list[str]:
    """Every file and link below a folder, hidden ones too."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or process does."""
    tick = threading.Event()
    for _ in range(6000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it did not happen within a minute")


class Told:
    """A reporter that remembers what it was told. Safe to use from several threads."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._events.append(event)

    def of(self, *kinds: EventKind) -> list[Event]:
        """The events of these kinds in their order."""
        with self._lock:
            return [event for event in self._events if event.kind in kinds]

    def texts(self, *kinds: EventKind) -> list[str]:
        """Their texts."""
        return [event.text for event in self.of(*kinds)]


class MakeSession(Protocol):
    """Makes sessions that differ from the fixture `session` in some fields."""

    def __call__(self, **changes: Any) -> Session: ...

"""A mixture of sources of any size, one for every transport and every way of landing, for fetches that are killed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli_w

from cvl.demo.miniature.publish import Publisher

GATE = {"page": "https://licence.example/", "ask": "save the list of links"}
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Mixture:
    """What was published.

    Args:
        folder: for `Internet`.
        manifests: for `--manifests`; the source is called `mixed`.
        bytes: of all that a fetch has to move.
    """

    folder: Path
    manifests: Path
    bytes: int


def publish_mixture(folder: Path, megabytes: int) -> Mixture:
    """Publish about so many megabytes: an archive and a file over HTTP, one of them without digest, two tars behind
    signed links, a hub file and a hub repository, an archive on Drive, and a list of small pictures."""
    site = Publisher(folder / "internet")
    unit = megabytes * MEGABYTE // 100
    noise = _noise()
    files = [
        _archive(site, "https://host.example/photos.zip", _zip(noise, 28 * unit), "photos"),
        _single(site, "https://host.example/undigested.bin", noise(12 * unit), digest=False),
        _archive(site, "links:sa_000000.tar", _tar(noise, 12 * unit), "tars-0"),
        _archive(site, "links:sa_000001.tar", _tar(noise, 12 * unit), "tars-1"),
        _single(site, "hf://datasets/some/data/weights.bin", noise(20 * unit), digest=True),
        _snapshot(site, [noise(2 * unit), noise(unit), noise(1000)]),
        _archive(site, "gdrive://1abcdefghijklmnop", _zip(noise, 8 * unit), "drive", name="drive.zip"),
        _list(site, noise, 5 * unit // 47_000),
    ]
    manifests = folder / "manifests"
    manifests.mkdir()
    table = {"title": "A mixture", "gate": GATE, "files": files}
    (manifests / "mixed.toml").write_text(tomli_w.dumps(table))
    published = (path for path in (folder / "internet").rglob("*") if path.is_file())
    return Mixture(folder / "internet", manifests, sum(path.stat().st_size for path in published))


class _noise:
    """Bytes that do not repeat themselves, the same in every run."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)

    def __call__(self, size: int) -> bytes:
        return self._generator.bytes(size)


def _members(noise: _noise, size: int) -> Iterator[tuple[str, bytes]]:
    each = max(min(MEGABYTE, size // 5), 1)
    for number in range(size // each):
        yield f"{number:05d}.jpg", b"\xff\xd8\xff\xe0" + noise(each)


def _zip(noise: _noise, size: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in _members(noise, size):
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def _tar(noise: _noise, size: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in _members(noise, size):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _archive(site: Publisher, url: str, content: bytes, folder: str, *, name: str = "") -> dict[str, object]:
    site.put(url, content, name=name)
    cached = f"mixed-{name or url.rpartition('/')[2].rpartition(':')[2]}"
    unpack = {"into": f"data/mixed/{folder}", "include": ["*.jpg"]}
    return {"name": cached, "url": url, "size": len(content), "sha256": _sha256(content), "unpack": unpack}


def _single(site: Publisher, url: str, content: bytes, *, digest: bool) -> dict[str, object]:
    site.put(url, content)
    name = url.rpartition("/")[2]
    known = {"size": len(content), "sha256": _sha256(content)} if digest else {}
    return {"name": f"mixed-{name}", "url": url, "path": f"data/mixed/{name}", **known}


def _snapshot(site: Publisher, contents: list[bytes]) -> dict[str, object]:
    for number, content in enumerate(contents):
        site.put(f"hf://some/model/part-{number}.bin", content)
    return {"name": "mixed-model", "url": "hf://some/model", "snapshot": {"into": "models/mixed"}}


def _list(site: Publisher, noise: _noise, count: int) -> dict[str, object]:
    entries = {}
    for number in range(count):
        url = f"https://pictures.example/{number:06d}"
        site.put(url, b"\xff\xd8\xff\xe0" + noise(47_000))
        entries[f"{number:06d}"] = {"imageURL": url}
    site.put("https://host.example/list.json", json.dumps(entries).encode())
    expand = {"into": "data/mixed/list", "url_field": "imageURL", "count": count, "approximate_size": 47_004}
    return {
        "name": "mixed-list.json",
        "url": "https://host.example/list.json",
        "path": "data/mixed/list.json",
        "expand": expand,
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

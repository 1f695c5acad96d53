"""The bytes that are fetched, how a folder is held against them, and manifests that name them."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from PIL import Image

from contest.cost import FailedRunError

_PIECE = 2**20


def write_noise(path: Path, size: int) -> str:
    """A file of `size` bytes that cannot be packed; returns its SHA-256."""
    noise = random.Random(size)
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, size, _PIECE):
            piece = noise.randbytes(min(_PIECE, size - start))
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def write_pictures(folder: Path, count: int, size: int) -> tuple[int, set[bytes]]:
    """JPEGs of `size` bytes give or take 2 %, `1.jpg` and on, every one of them another.

    Returns their bytes in all, and their digests.
    """
    picture = _jpeg(size)
    folder.mkdir(parents=True)
    total, digests = 0, set()
    chance = random.Random(count)
    for number in range(1, count + 1):
        filler = int(size * chance.uniform(0.98, 1.02)) - len(picture)
        data = _with_comment(picture, f"picture {number} ".encode().ljust(filler, b"."))
        (folder / f"{number}.jpg").write_bytes(data)
        digests.add(hashlib.sha256(data).digest())
        total += len(data)
    return total, digests


def _jpeg(size: int) -> bytes:
    """A picture whose noise fills some 8/10 of `size` bytes."""
    side = max(16, int(size**0.5) // 8 * 8)
    noise = Image.frombytes("L", (side, side), random.Random(side).randbytes(side * side))
    stream = io.BytesIO()
    noise.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """The same picture with a comment right after its start marker."""
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def one_file(size: int, sha256: str) -> Callable[[Path], None]:
    """A check that a folder holds one file of this size with this digest, whatever it is called."""

    def check(folder: Path) -> None:
        found = [path for path in files_below(folder) if path.stat().st_size == size]
        if len(found) != 1 or digest_of(found[0]).hex() != sha256:
            raise FailedRunError(f"expected one file of {size} bytes with SHA-256 {sha256}, found {found}")

    return check


def all_pictures(digests: set[bytes]) -> Callable[[Path], None]:
    """A check that a folder holds these pictures, each one once, whatever they are called."""

    def check(folder: Path) -> None:
        found = [digest_of(path) for path in files_below(folder) if path.suffix == ".jpg"]
        if len(found) != len(digests) or set(found) != digests:
            right = len(digests & set(found))
            raise FailedRunError(f"expected {len(digests)} pictures, found {len(found)}, {right} of them right")

    return check


def files_below(folder: Path) -> Iterator[Path]:
    """Every plain file below a folder."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def digest_of(path: Path) -> bytes:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def write_manifest(folder: Path, **file: Any) -> Path:
    """A folder of manifests with a source `bench` of one file, described by `file`; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    source: Mapping[str, Any] = {"title": "What the benchmark fetches", "files": [file]}
    (folder / "bench.toml").write_text(tomli_w.dumps(source))
    return folder

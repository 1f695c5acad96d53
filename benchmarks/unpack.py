"""Unpacking: cvl against `unzip`, `bsdtar` and GNU tar, over archives like those of the sources.

    python benchmarks/unpack.py --set-up
    python benchmarks/unpack.py --scenario stored --rounds 9 --output figures.json

Every contender is a whole process at its shipped defaults, from its start to its end, unpacking into a new folder. cvl
is `cvl.download.archives.unpack` in a process that does nothing else. They take turns, the archive is in the page
cache, and what came out is compared by SHA-256 with what went in. All of them check the CRC of what they unpack. Prints
a table for each scenario: medians over the rounds, peak memory, and how many times as fast as each one ours is.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from contest.command import Contest
from contest.contender import Contender, Scenario
from contest.contents import digest_of, files_below
from contest.cost import FailedRunError
from contest.peers import absent, install

_REPOSITORY = Path(__file__).parent.parent
# `unpack` with what it needs of a manifest. A whole `cvl fetch` reads manifests, too, which takes 0.2 s more.
_OURS = """
import sys
from pathlib import Path
from types import SimpleNamespace
from cvl.download.archives.unpack import unpack

_, archive, folder, *exclude = sys.argv
recipe = SimpleNamespace(include=("*",), exclude=tuple(exclude), strip=0, flatten=False, members=None)
unpack(Path(archive), recipe, Path(folder), lambda done, total: None)
"""


@dataclass(frozen=True)
class Sizes:
    """What is unpacked.

    Args:
        pictures: members of the zips, of about `picture` bytes.
        pairs: pictures with a mask in the tar, of about `large` and `mask` bytes.
    """

    pictures: int = 10_000
    picture: int = 47_000
    pairs: int = 1_400
    large: int = 520_000
    mask: int = 220_000


_TINY = Sizes(pictures=40, pairs=5, large=20_000, mask=9_000)

Digests = dict[str, bytes]


@contextmanager
def _stored(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """A zip whose pictures are stored, as in most of the sources."""
    yield _zip(folder, sizes, zipfile.ZIP_STORED, "stored")


@contextmanager
def _deflated(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """A zip whose pictures are deflated."""
    yield _zip(folder, sizes, zipfile.ZIP_DEFLATED, "deflated")


def _zip(folder: Path, sizes: Sizes, method: int, called: str) -> Scenario:
    archive, digests, total = folder / "pictures.zip", Digests(), 0
    with zipfile.ZipFile(archive, "w", method) as file:
        for number, content in enumerate(_pictures(sizes.pictures, sizes.picture)):
            name = f"images/{number:012d}.jpg"
            file.writestr(name, content)
            digests[name] = hashlib.sha256(content).digest()
            total += len(content)
        unpacked = sum(member.file_size for member in file.infolist())
        packed = sum(member.compress_size for member in file.infolist())
    if method == zipfile.ZIP_DEFLATED and packed >= unpacked:
        raise RuntimeError("the pictures were not deflated: that would be another benchmark")
    contenders = [
        _ours(archive),
        _peer("unzip", ["unzip", "-q", str(archive), "-d"]),
        _peer("bsdtar", ["bsdtar", "-xf", str(archive), "-C"]),
    ]
    return _scenario(f"JPEGs {called} in a zip", archive, digests, total, contenders)


@contextmanager
def _masked(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """A gzipped tar of pictures and masks, as SA-1B's shards are, of which the masks are skipped."""
    archive, digests, total = folder / "shard.tar", Digests(), 0
    masks = random.Random(1)
    with gzip.open(archive, "wb", 6) as stream, tarfile.open(fileobj=stream, mode="w|") as file:
        for number, content in enumerate(_pictures(sizes.pairs, sizes.large)):
            name = f"sa_{number}.jpg"
            _add(file, name, content)
            _add(file, f"sa_{number}.json", _mask(masks, sizes.mask))
            digests[name] = hashlib.sha256(content).digest()
            total += len(content) + sizes.mask
    contenders = [
        _ours(archive, "*.json"),
        _peer("tar xzf", ["tar", "xzf", str(archive), "--exclude=*.json", "-C"]),
        _peer("bsdtar", ["bsdtar", "-xf", str(archive), "--exclude=*.json", "-C"]),
    ]
    yield _scenario("JPEGs in a tar.gz, masks skipped", archive, digests, total, contenders)


def _pictures(count: int, size: int) -> Iterator[bytes]:
    """Bytes like those of JPEGs: coded data that a deflate stream makes a little smaller, between their markers."""
    noise = np.random.default_rng(count)
    for _ in range(count):
        coded = noise.integers(0, 256, int(noise.integers(size * 2 // 3, size * 4 // 3)), np.uint8)
        coded[noise.random(len(coded)) < 0.04] = 0
        yield b"\xff\xd8\xff\xe0" + coded.tobytes() + b"\xff\xd9"


def _mask(noise: random.Random, size: int) -> bytes:
    """A file of masks in letters, as JSON has them."""
    counts = noise.choices("0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ", range(43, 0, -1), k=size)
    return b'{"annotations": "' + "".join(counts).encode()[: size - 19] + b'"}'


def _add(file: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    file.addfile(entry, io.BytesIO(content))


def _scenario(title: str, archive: Path, digests: Digests, total: int, contenders: Sequence[Contender]) -> Scenario:
    def check(folder: Path) -> None:
        found = {path.relative_to(folder).as_posix(): digest_of(path) for path in files_below(folder)}
        if found != digests:
            right = sum(found.get(name) == digest for name, digest in digests.items())
            raise FailedRunError(f"expected {len(digests)} files, found {len(found)}, {right} of them right")
        # Whoever comes next finds it in memory.
        archive.read_bytes()

    return Scenario(title, total, len(digests), contenders, check, per_file=True)


def _ours(archive: Path, *exclude: str) -> Contender:
    def command(folder: Path) -> list[str]:
        return [sys.executable, "-c", _OURS, str(archive), str(folder), *exclude]

    return Contender("cvl", command, {"PYTHONPATH": str(_REPOSITORY)})


def _peer(name: str, command: Sequence[str]) -> Contender:
    return Contender(name, lambda folder: [*command, str(folder)], absent=absent(command[0]))


UNPACKING = Contest(
    description="cvl's unpacking against unzip, bsdtar and GNU tar.",
    scenarios={"stored": _stored, "deflated": _deflated, "tar.gz": _masked},
    sizes=Sizes(),
    tiny=_TINY,
    set_up=partial(install, {"unzip": "unzip", "bsdtar": "libarchive-tools", "tar": "tar"}),
)

if __name__ == "__main__":
    sys.exit(UNPACKING.run())

"""Conversion: `cvl convert` against the source document's loop, ImageMagick, `file` and `find`.

    python benchmarks/convert.py --set-up
    python benchmarks/convert.py --scenario gifs --rounds 7 --output figures.json

Every contender is a whole process at its shipped defaults, from its start to its end. They take turns, all files are in
the page cache, and what came out is compared to the byte with what Pillow makes of each picture in this process. Prints
a table for each scenario: medians over the rounds, peak memory of the largest process, and how many times as fast as
each one ours is.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import natural_pictures
from contest.command import Contest
from contest.contender import Contender, Scenario
from contest.contents import digest_of
from contest.cost import FailedRunError
from contest.peers import absent, install
from PIL import Image

_REPOSITORY = Path(__file__).parent.parent
_PICTURES = "data/ocr_vqa/images"
_DRAWN = 40
"""Different pictures; what is converted are copies of them, each a file of its own."""

# As the source document writes it, but for the folder, which is named on the command line.
_LOOP = """
import os
import sys
from PIL import Image

def convert_gif_to_jpg(folder_path):
    for filename in os.listdir(folder_path):
        if filename.endswith('.gif'):
            file_path = os.path.join(folder_path, filename)
            with Image.open(file_path) as img:
                jpg_filename = os.path.splitext(filename)[0] + '.jpg'
                jpg_path = os.path.join(folder_path, jpg_filename)
                img.convert('RGB').save(jpg_path, 'JPEG', quality=95)
                print(f'Converted {filename} to {jpg_filename}')

convert_gif_to_jpg(sys.argv[1])
"""


@dataclass(frozen=True)
class Sizes:
    """What is converted.

    Args:
        gifs: how many, of `width` times `height` pixels, about as large as a book's cover in OCR-VQA.
        width, height: in pixels.
        jpegs: how many files are looked at that are as they should be.
        jpeg: bytes of each.
    """

    gifs: int = 5000
    width: int = 340
    height: int = 500
    jpegs: int = 207_572
    jpeg: int = 2500


_TINY = Sizes(gifs=60, width=48, height=64, jpegs=300)


@contextmanager
def gifs(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """GIFs that become JPEGs."""
    drawn = [_gif(sizes, seed) for seed in range(_DRAWN)]
    store = folder / "gifs"
    store.mkdir()
    for number in range(sizes.gifs):
        (store / f"{number:07}.gif").write_bytes(drawn[number % _DRAWN])
    expected = [_jpeg_digest(data) for data in drawn]
    contenders = [
        Contender("cvl convert", lambda turn: _cvl(_pictures(store, turn)), _ENVIRONMENT),
        Contender("the document's loop", lambda turn: _loop(_pictures(store, turn))),
        Contender("mogrify -format jpg", lambda turn: _mogrify(_pictures(store, turn)), absent=absent("mogrify")),
    ]
    total = sum(len(drawn[number % _DRAWN]) for number in range(sizes.gifs))
    title = f"GIFs of {sizes.width}×{sizes.height} become JPEGs of quality 95"
    yield Scenario(title, total, sizes.gifs, contenders, lambda turn: _check(turn, expected, sizes.gifs), per_file=True)


@contextmanager
def scan(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """JPEGs that are as they should be, and stay so."""
    pictures = folder / "tree" / _PICTURES
    pictures.mkdir(parents=True)
    data = _small_jpeg(sizes.jpeg)
    names = [f"{number:010}.jpg" for number in range(sizes.jpegs)]
    for name in names:
        (pictures / name).write_bytes(data)
    before = pictures.stat().st_mtime_ns
    many, cores = f"find {pictures} -type f -print0 | xargs -0", os.cpu_count()
    contenders = [
        Contender("cvl convert", lambda _: _cvl(pictures), _ENVIRONMENT),
        _silent("find -type f", f"find {pictures} -type f", "find"),
        _silent("find -size +0 (stat)", f"find {pictures} -type f -size +0", "find"),
        _silent("file", f"{many} file --mime-type", "file"),
        _silent(f"file, {cores} at once", f"{many} -P {cores} file --mime-type", "file"),
    ]

    def check(_turn: Path) -> None:
        if pictures.stat().st_mtime_ns != before:
            raise FailedRunError("a folder in which nothing was to be done was changed")

    title = f"JPEGs of {len(data):,} bytes are looked at, of which nothing becomes anything"
    yield Scenario(title, len(data) * sizes.jpegs, sizes.jpegs, contenders, check, per_file=True)


_ENVIRONMENT = {"PYTHONPATH": str(_REPOSITORY)}


def _gif(sizes: Sizes, seed: int) -> bytes:
    target = io.BytesIO()
    with Image.open(io.BytesIO(natural_pictures.draw(sizes.width, sizes.height, seed))) as picture:
        picture.quantize(256).save(target, "GIF")
    return target.getvalue()


def _small_jpeg(size: int) -> bytes:
    """A sound JPEG of this many bytes; a comment fills it up."""
    target = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(target, "JPEG")
    data = target.getvalue()
    filler = size - len(data) - 4
    return data[:2] + b"\xff\xfe" + (filler + 2).to_bytes(2, "big") + bytes(filler) + data[2:]


def _jpeg_digest(gif: bytes) -> bytes:
    target = io.BytesIO()
    with Image.open(io.BytesIO(gif)) as picture:
        picture.convert("RGB").save(target, "JPEG", quality=95)
    return hashlib.sha256(target.getvalue()).digest()


def _pictures(store: Path, turn: Path) -> Path:
    """A contender's own folder of the GIFs: second names of the same files, which nobody changes."""
    folder = turn / "tree" / _PICTURES
    folder.mkdir(parents=True)
    for gif in store.iterdir():
        os.link(gif, folder / gif.name)
    return folder


def _cvl(pictures: Path) -> Sequence[str]:
    return [sys.executable, "-m", "cvl", "convert", "ocrvqa", "--root", str(pictures.parents[2])]


def _loop(pictures: Path) -> Sequence[str]:
    return [sys.executable, "-c", _LOOP, str(pictures)]


def _mogrify(pictures: Path) -> Sequence[str]:
    # Another encoder, which writes other bytes: it has a mark by which `_check` knows.
    (pictures.parents[2] / "other-encoder").touch()
    return ["sh", "-c", 'cd "$1" && exec mogrify -format jpg -quality 95 *.gif', "sh", str(pictures)]


def _silent(name: str, command: str, program: str) -> Contender:
    return Contender(name, lambda _: ["sh", "-c", f"{command} > /dev/null"], absent=absent(program))


def _check(turn: Path, expected: Sequence[bytes], count: int) -> None:
    """Every GIF has its JPEG. Raises FailedRunError where one is missing or has another picture."""
    folder = turn / "tree" / _PICTURES
    made = sorted(folder.glob("*.jpg"))
    if len(made) != count:
        raise FailedRunError(f"expected {count} JPEGs, found {len(made)}")
    if (turn / "tree" / "other-encoder").exists():
        return
    wrong = [path.name for path in made if digest_of(path) != expected[int(path.stem) % len(expected)]]
    if wrong:
        raise FailedRunError(f"{len(wrong)} JPEGs are not those of the document's loop, such as {wrong[0]}")


CONVERSION = Contest(
    description="`cvl convert` against what people use.",
    scenarios={"gifs": gifs, "scan": scan},
    sizes=Sizes(),
    tiny=_TINY,
    set_up=partial(install, {"mogrify": "imagemagick", "file": "file", "find": "findutils"}),
)

if __name__ == "__main__":
    sys.exit(CONVERSION.run())

"""A conversion that is killed at any instant loses nothing, and the next one ends with the same tree."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from specimens import CUT_GIF, GIF, JPEG, PNG, drawing, encoded, fill, tree

import cvl
from cvl.convert.jpeg import Conversion, convert_folder
from cvl.images import ImageKind, decode, kind_of
from cvl.parallel import Part


def conversion_in(root: Path) -> Conversion:
    return Conversion(root / "images", root / "originals", root / "quarantine")


def assert_nothing_lost(conversion: Conversion, files: dict[str, bytes]) -> None:
    """Every original is whole under its own name, among the originals or in quarantine; no JPEG is half written."""
    assert conversion.quarantine is not None
    places = [tree(folder) for folder in (conversion.folder, conversion.originals, conversion.quarantine)]
    for name, data in files.items():
        assert data in (place.get(name) for place in places), f"{name} is lost"
    for path in conversion.folder.rglob("*.jpg"):
        if path.read_bytes() not in files.values():
            assert kind_of(path) is ImageKind.JPEG
            decode(path)


def finished(folder: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """What the tree is after a run that nobody disturbed."""
    conversion = conversion_in(folder)
    fill(conversion.folder, files)
    convert_folder(conversion, jobs=1)
    return tree(folder)


def python(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A process, leader of a group of its own, that can import this module."""
    places = [str(Path(cvl.__file__).parents[1]), str(Path(__file__).parent)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        start_new_session=True,
    )


STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename"}


def convert_and_die(conversion: Conversion, step: int) -> None:
    """Converts until just before the given act on a file of the tree, then is killed."""
    root, steps = str(conversion.folder.parent), itertools.count()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in STEPS and str(arguments[0]).startswith(root) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    convert_folder(conversion, jobs=1)
    os._exit(0)


def kill_at_every_step(root: Path) -> int:
    """How many steps a run has, after each of which it was killed, checked and repeated. Forks."""
    files = FEW
    expected = finished(root / "expected", files)
    for step in itertools.count():
        conversion = conversion_in(root / str(step))
        fill(conversion.folder, files)
        child = os.fork()
        if child == 0:
            convert_and_die(conversion, step)
        _, status = os.waitpid(child, 0)
        assert_nothing_lost(conversion, files)
        convert_folder(conversion, jobs=1)
        assert tree(root / str(step)) == expected
        if not os.WIFSIGNALED(status):
            return step
    raise AssertionError("unreachable")


def test_a_run_killed_before_any_single_act_on_a_file_loses_nothing(tmp_path: Path) -> None:
    """In a process of its own, which has no threads and so may fork."""
    code = "import sys, test_killed_conversion as t, pathlib; print(t.kill_at_every_step(pathlib.Path(sys.argv[1])))"
    process = python(code, tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert int(out) > 20


FEW = {"beside.gif": GIF, "in_place.jpg": PNG, "mislabelled.gif": JPEG, "sub/deep.jpg": GIF}
FEW |= {"cut.gif": CUT_GIF, "sub/cut.jpg": JPEG[:-9]}

CONVERT = """
import sys
from pathlib import Path
from cvl.convert import jpeg
from cvl.parallel import Part

if __name__ == "__main__":
    jpeg.SHARD_FILES = 8
    folder, originals, quarantine = map(Path, sys.argv[1:4])
    conversion = jpeg.Conversion(folder, originals, quarantine, Part.parse(sys.argv[5]))
    jpeg.convert_folder(conversion, jobs=int(sys.argv[4]), on_progress=lambda *_: print("shard", flush=True))
"""


def many_files(count: int) -> dict[str, bytes]:
    """GIFs and bitmaps, half of them under a JPEG's name, two of 24 cut; neighbours differ."""
    pictures = [drawing(seed=seed, size=(320, 240)) for seed in range(24)]
    data = [encoded(it.convert("P"), "GIF") if seed % 3 else encoded(it, "BMP") for seed, it in enumerate(pictures)]
    data[5], data[16] = data[5][:-99], data[16][:-99]
    return {f"{number}{'.gif' if number % 2 else '.jpg'}": data[number % 24] for number in range(count)}


def start(conversion: Conversion, jobs: int, part: Part) -> subprocess.Popen[str]:
    assert conversion.quarantine is not None
    return python(CONVERT, conversion.folder, conversion.originals, conversion.quarantine, str(jobs), str(part))


def kill_at_random(conversion: Conversion, dice: random.Random, *, jobs: int, parts: int, shards: int) -> int:
    """How many parts, with all their workers, were killed before their end, some milliseconds after any shard."""
    processes = [start(conversion, jobs, Part(number, parts)) for number in range(1, parts + 1)]
    listened_to = processes[dice.randrange(parts)].stdout
    assert listened_to is not None
    for _ in range(dice.randrange(shards // parts)):
        listened_to.readline()
    time.sleep(dice.uniform(0, 0.03))
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
    for process in processes:
        process.communicate(timeout=60)
    return [process.returncode for process in processes].count(-signal.SIGKILL)


@dataclass(frozen=True)
class Ordeal:
    """How often a conversion is killed, and how many parts and workers it has."""

    times: int
    jobs: int = 1
    parts: int = 1


def kill_again_and_again(root: Path, files: dict[str, bytes], dice: random.Random, ordeal: Ordeal) -> int:
    """How many runs were killed before their end; after all of them each part runs undisturbed."""
    conversion = conversion_in(root)
    fill(conversion.folder, files)
    kills = 0
    for _ in range(ordeal.times):
        kills += kill_at_random(conversion, dice, jobs=ordeal.jobs, parts=ordeal.parts, shards=len(files) // 8)
        assert_nothing_lost(conversion, files)
    for number in range(1, ordeal.parts + 1):
        convert_folder(replace(conversion, part=Part(number, ordeal.parts)), jobs=1)
    return kills


@pytest.mark.parametrize("ordeal", [Ordeal(3), Ordeal(3, jobs=2), Ordeal(2, parts=2)], ids=str)
def test_a_run_killed_at_random_instants_is_completed_by_the_next(tmp_path: Path, ordeal: Ordeal) -> None:
    files = many_files(240)
    expected = finished(tmp_path / "expected", files)
    kills = kill_again_and_again(tmp_path / "killed", files, random.Random(0), ordeal)
    assert tree(tmp_path / "killed") == expected
    assert kills > 0


@pytest.mark.soak
def test_fifty_kills_at_random_instants_and_more_lose_nothing(tmp_path: Path) -> None:
    files = many_files(600)
    expected = finished(tmp_path / "expected", files)
    kills = 0
    for seed in range(40):
        ordeal = Ordeal(times=6, jobs=1 + seed % 3, parts=1 + seed % 2)
        kills += kill_again_and_again(tmp_path / "killed", files, random.Random(seed), ordeal)
        assert tree(tmp_path / "killed") == expected
        shutil.rmtree(tmp_path / "killed")
    assert kills >= 50

"""Stopped and killed at any instant, unpacking leaves whole files, and temporary ones that the next run sweeps."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fetching import names_below, noise
from unpacking import ALL, Pack, contents, deflated, gzipped_tar, nothing, plain_tar, stored, unpacked

import cvl
from cvl.download.archives.unpack import unpack
from cvl.errors import Cancelled
from cvl.files import is_temporary, sweep

packings = pytest.mark.parametrize("packing", [stored, deflated, plain_tar, gzipped_tar])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tree" / "data" / "mine"


def many(count: int = 300, size: int = 60_000) -> dict[str, bytes]:
    return {f"images/{number % 3}/{number}.jpg": noise(size, number) for number in range(count)}


def settled(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if not is_temporary(Path(name).name)}


@packings
def test_a_wish_to_stop_leaves_whole_files_and_no_thread(folder: Path, packing: Pack) -> None:
    members = {f"{number}.bin": noise(8_000_000, number) for number in range(4)}
    archive = packing(members)
    before = threading.active_count()

    def stop(done: int, _total: int | None) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        unpacked(folder, archive, progress=stop)
    assert threading.active_count() == before
    assert contents(folder).items() <= members.items()
    unpacked(folder, archive)
    assert contents(folder) == members


def test_a_wish_to_stop_is_heard_while_nothing_is_wanted(folder: Path) -> None:
    spec = ALL.model_copy(update={"include": ("*.jpg",)})

    def stop(done: int, _total: int | None) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        unpacked(folder, gzipped_tar({"masks.json": noise(3_000_000)}), spec, progress=stop)


@packings
def test_an_interrupt_of_the_calling_thread_ends_the_others(folder: Path, packing: Pack) -> None:
    def interrupt(done: int, _total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpacked(folder, packing(many()), progress=interrupt)
    assert not any(is_temporary(Path(name).name) for name in names_below(folder))


@packings
def test_a_folder_in_a_member_s_place_is_an_error_of_the_disk_and_stays(folder: Path, packing: Pack) -> None:
    (folder / "images/1/1.jpg/inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        unpacked(folder, packing(many()))
    assert (folder / "images/1/1.jpg/inside").is_dir()
    assert not any(is_temporary(Path(name).name) for name in names_below(folder))


_UNPACK = """
import sys
from pathlib import Path
from cvl.download.archives.unpack import unpack
from cvl.manifest import Unpack

print(flush=True)
unpack(Path(sys.argv[1]), Unpack(into="data/mine"), Path(sys.argv[2]), lambda done, total: None)
"""


def kill_while_unpacking(archive: Path, folder: Path, moments: random.Random) -> None:
    """Kill a process that unpacks as soon as there are some files more, or when it is done."""
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    command = [sys.executable, "-c", _UNPACK, str(archive), str(folder)]
    enough = len(names_below(folder)) + moments.randrange(1, 60) if folder.exists() else moments.randrange(1, 60)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while process.poll() is None and (not folder.exists() or len(names_below(folder)) < enough):
            pass
        process.send_signal(signal.SIGKILL)


def killed(folder: Path, packing: Pack, kills: int) -> None:
    members = many()
    archive = folder.parents[2] / "archive.zip"
    archive.write_bytes(packing(members))
    moments = random.Random(kills)
    for _ in range(kills):
        kill_while_unpacking(archive, folder, moments)
        assert settled(folder).items() <= members.items()
        if len(settled(folder)) == len(members):
            # All is there: begin anew.
            for name in list(members)[:250]:
                (folder / name).unlink()
    sweep(folder)
    assert not any(is_temporary(Path(name).name) for name in names_below(folder))
    unpack(archive, ALL, folder, nothing)
    assert contents(folder) == members


@pytest.mark.parametrize("packing", [stored, gzipped_tar])
def test_a_kill_leaves_whole_files_and_what_a_sweep_removes(folder: Path, packing: Pack) -> None:
    killed(folder, packing, 3)


@pytest.mark.soak
@packings
def test_fifty_kills_leave_the_tree_as_it_would_have_been(folder: Path, packing: Pack) -> None:
    killed(folder, packing, 50)

"""Folders that are whole or not there."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from folders import files

from cvl.errors import DiskError, UsageError
from cvl.train.checkpoint.whole import new_folder


def test_a_folder_takes_its_place_when_it_is_full(tmp_path: Path) -> None:
    target = tmp_path / "deep/target"
    with new_folder(target) as folder:
        (folder / "file").touch()
        assert not target.exists()
    assert files(tmp_path) == {"deep/target/file"}


def test_a_folder_that_could_not_be_filled_vanishes(tmp_path: Path) -> None:
    with pytest.raises(DiskError), new_folder(tmp_path / "target") as folder:
        shutil.copyfile(tmp_path / "absent", folder / "file")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    with new_folder(tmp_path) as folder:
        (folder / "file").touch()
    assert files(tmp_path) == {"file"}


@pytest.mark.parametrize("make", [lambda path: path.touch(), lambda path: (path / "other").mkdir(parents=True)])
def test_nothing_that_is_there_is_replaced(make: object, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "target")
    with pytest.raises(UsageError, match="target is there already") as caught, new_folder(tmp_path / "target"):
        pytest.fail("there was no room for another folder")
    assert f"rm -r {tmp_path / 'target'}" in str(caught.value.hint)


def test_the_disks_complaints_become_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError), new_folder(tmp_path / "file/target"):
        pytest.fail("a file is no folder")


def test_what_a_killed_process_left_is_no_checkpoint_and_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "target"
    code = (
        "import sys, time; from pathlib import Path; from cvl.train.checkpoint.whole import new_folder\n"
        f"with new_folder(Path({str(target)!r})) as folder:\n"
        "    (folder / 'config.json').write_text('{\"model_type\": \"convllava\"}'); print('there', flush=True)\n"
        "    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("there" in line for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    assert files(tmp_path) == {".target.unfinished/config.json"}
    with new_folder(target) as folder:
        assert files(folder) == set()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cvl.errors import Cancelled, CvlError, UsageError
from cvl.train import launch as launching
from cvl.train.launch import command_on_hosts, devices, launch

# Stands in for `cvl`: what it does depends on its rank, and takes no time to start.
PROGRAM = """
import os, signal, sys, time
rank, processes = os.environ["RANK"], os.environ["WORLD_SIZE"]
{code}
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which `python -m cvl` is whatever a test writes into `cvl.py`."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(program: Path, code: str) -> None:
    (program / "cvl.py").write_text(PROGRAM.format(code=code))


def test_every_process_is_told_its_rank_and_the_same_place_to_meet(program: Path) -> None:
    names = ("LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    write(program, f"open(f'told-{{rank}}', 'w').write(' '.join([*sys.argv[1:], *map(os.environ.get, {names})]))")
    os.environ.pop("OMP_NUM_THREADS", None)
    assert launch(["train", "--stage", "1"], 2) == 0
    told = [(program / f"told-{rank}").read_text().split() for rank in (0, 1)]
    assert [entry[:3] for entry in told] == [["train", "--stage", "1"]] * 2
    assert [entry[3:5] for entry in told] == [["0", "2"], ["1", "2"]]
    assert told[0][5:] == told[1][5:]
    assert told[0][5] == "127.0.0.1"


def test_threads_and_port_are_the_users_if_they_say_so(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(program, "open(f'told-{rank}', 'w').write(os.environ['OMP_NUM_THREADS'] + ' ' + os.environ['MASTER_PORT'])")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MASTER_PORT", "29777")
    assert launch([], 2) == 0
    assert {path.read_text() for path in program.glob("told-*")} == {"7 29777"}


@pytest.mark.parametrize("code", [1, 2, 130])
def test_the_exit_code_is_that_of_the_processes(program: Path, code: int) -> None:
    write(program, f"sys.exit({code})")
    assert launch([], 2) == code


def test_what_all_say_is_shown_once(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(program, "sys.exit('error: no data')")
    assert launch([], 3) == 1
    assert capfd.readouterr().err == "error: no data\n"


def test_what_another_says_is_shown_if_the_first_has_nothing_to_say(
    program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(program, "sys.exit('error: disk full' if rank == '1' else 0)")
    assert launch([], 2) == 1
    assert capfd.readouterr().err == "error: disk full\n"


def test_who_waits_for_one_that_failed_is_ended(
    program: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launching, "_GRACE", 0.2)
    write(program, "sys.exit('error: disk full') if rank == '1' else time.sleep(600)")
    assert launch([], 2) == 1
    assert capfd.readouterr().err == "error: disk full\n"


def test_a_process_that_was_killed_is_told_of(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_GRACE", 0.2)
    write(program, "os.kill(os.getpid(), signal.SIGKILL) if rank == '1' else time.sleep(600)")
    with pytest.raises(CvlError, match="a process of the run was ended by SIGKILL") as caught:
        launch([], 2)
    assert caught.value.exit_code == 1
    assert "memory" in str(caught.value.hint)


@pytest.fixture
def wish() -> Iterator[None]:
    """A wish to stop is answered in this process as the command line does it."""

    def cancel(_number: int, _frame: object) -> None:
        raise Cancelled("stopped")

    before = signal.signal(signal.SIGTERM, cancel)
    yield
    signal.signal(signal.SIGTERM, before)


def stop_when(ready: Sequence[Path], times: int = 1) -> None:
    """Sends the wish as soon as all of these are there, and again when each of them is gone."""

    def watch() -> None:
        for wanted in (True, False)[:times]:
            while any(path.exists() is not wanted for path in ready):
                threading.Event().wait(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


SAVES = """
def save(*_):
    global heard
    heard += 1
heard = 0
signal.signal(signal.SIGTERM, save)
open(f"ready-{rank}", "w").close()
while not heard:
    time.sleep(0.01)
time.sleep(0.3)
open(f"saved-{rank}", "w").write(str(heard))
sys.exit(130)
"""


@pytest.mark.usefixtures("wish")
def test_a_wish_to_stop_is_handed_on_once_and_waited_for(program: Path) -> None:
    write(program, SAVES)
    stop_when([program / "ready-0", program / "ready-1"])
    assert launch([], 2) == 130
    assert [(program / f"saved-{rank}").read_text() for rank in (0, 1)] == ["1", "1"]


@pytest.mark.usefixtures("wish")
def test_a_wish_that_comes_before_they_can_hear_it_ends_all_the_same(program: Path) -> None:
    write(program, "open(f'ready-{rank}', 'w').close(); time.sleep(600)")
    stop_when([program / "ready-0", program / "ready-1"])
    with pytest.raises(Cancelled):
        launch([], 2)


@pytest.mark.usefixtures("wish")
def test_a_second_wish_does_not_wait(program: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, lambda *_: os.unlink(f'ready-{rank}'))"
    write(program, f"{deaf}; open(f'ready-{{rank}}', 'w').close(); time.sleep(600)")
    stop_when([program / "ready-0", program / "ready-1"], times=2)
    with pytest.raises(Cancelled):
        launch([], 2)


def test_a_hostfile_hands_over_to_deepspeeds_launcher(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("node1 slots=8\nnode2 slots=8\n")
    built = command_on_hosts(["train", "--stage", "2"], hostfile)
    assert built[:3] == [sys.executable, "-m", "deepspeed.launcher.runner"]
    assert built[built.index("--hostfile") + 1] == str(hostfile)
    assert built[-4:] == ["cvl", "train", "--stage", "2"]


def test_a_hostfile_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no hostfile"):
        command_on_hosts(["train"], tmp_path / "hosts")


def test_without_a_gpu_there_is_one_process() -> None:
    assert devices() >= 1

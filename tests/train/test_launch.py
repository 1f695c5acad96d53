from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cvl.errors import UsageError
from cvl.train.launch import command, devices, launch


def test_several_processes_here_run_the_same_command_under_torchrun() -> None:
    built = command(["train", "--stage", "1"], 4, None)
    assert built[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert built[built.index("--nproc-per-node") + 1] == "4"
    assert built[-4:] == ["cvl", "train", "--stage", "1"]


def test_a_hostfile_hands_over_to_deepspeeds_launcher(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("node1 slots=8\nnode2 slots=8\n")
    built = command(["train", "--stage", "2"], 8, hostfile)
    assert built[2] == "deepspeed.launcher.runner"
    assert built[built.index("--hostfile") + 1] == str(hostfile)
    assert built[-4:] == ["cvl", "train", "--stage", "2"]


def test_a_hostfile_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no hostfile"):
        command(["train"], 1, tmp_path / "hosts")


def test_without_a_gpu_there_is_one_process() -> None:
    assert devices() >= 1


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["sources", "nonsense"], 1)])
def test_the_exit_code_tells_whether_all_went_well(arguments: list[str], code: int) -> None:
    assert launch(arguments, 1, None) == code

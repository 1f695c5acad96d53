from __future__ import annotations

import os

import pytest

from cvl.train.ranks import ALONE, Rank, adopt, first_node, rank_of, variables

SLURM = {
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "4711",
}


def test_without_a_launcher_there_is_no_rank() -> None:
    assert rank_of({}) is None
    # Nor in a Slurm step of one task, nor in a batch script, whose job has many but which is none of them.
    assert rank_of({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}) is None
    assert rank_of({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}) is None


def test_torchrun_and_deepspeed_say_it_in_the_same_words() -> None:
    assert rank_of({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == Rank(3, 8, 1)


def test_slurm_says_it_in_its_own() -> None:
    assert rank_of(SLURM) == Rank(9, 16, 1)


def test_a_launcher_under_slurm_counts_more_than_slurm() -> None:
    assert rank_of(SLURM | {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}) == Rank(0, 2, 0)


def test_slurms_tasks_meet_at_its_first_node() -> None:
    own = variables(Rank(9, 16, 1), SLURM)
    assert (own["RANK"], own["WORLD_SIZE"], own["LOCAL_RANK"], own["MASTER_ADDR"]) == ("9", "16", "1", "gpu07")
    other = variables(Rank(0, 16, 0), SLURM | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    assert other["MASTER_PORT"] == own["MASTER_PORT"]


def test_what_the_launcher_said_stays() -> None:
    said = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
    assert variables(Rank(1, 2, 1), said) == {}


def test_a_process_alone_meets_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    adopt(ALONE)
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["MASTER_ADDR"]) == ("0", "1", "127.0.0.1")
    assert 1024 < int(os.environ["MASTER_PORT"]) < 65536


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("cpu1", "cpu1"),
        ("cpu1,cpu2", "cpu1"),
        ("gpu[07-09]", "gpu07"),
        ("gpu[07,09-12],cpu1", "gpu07"),
        ("cpu1,gpu[07-09]", "cpu1"),
        ("rack[1-2]-node", "rack1-node"),
    ],
)
def test_the_first_of_slurms_nodes(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_only_one_process_leads() -> None:
    assert [Rank(number, 3, number).leads for number in range(3)] == [True, False, False]

"""Which of a run's processes this is: torchrun, DeepSpeed's launcher and Slurm each say it in the environment."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rank:
    """One process of a run.

    Args:
        number: over all nodes, from 0.
        processes: over all nodes.
        local: among those of this node, from 0: the number of its GPU.
    """

    number: int
    processes: int
    local: int

    @property
    def leads(self) -> bool:
        """Whether it is the one that reports, and that writes what is written once."""
        return self.number == 0


ALONE = Rank(0, 1, 0)


def rank_of(environment: Mapping[str, str]) -> Rank | None:
    """The rank that a launcher gave to this process, None where there was no launcher."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        number = int(environment["RANK"])
        return Rank(number, int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", number)))
    # The step's number of tasks, not the job's: a batch script has the latter too, and is no task of a run.
    if _is_step(environment):
        processes = int(environment["SLURM_STEP_NUM_TASKS"])
        return Rank(int(environment["SLURM_PROCID"]), processes, int(environment["SLURM_LOCALID"]))
    return None


def variables(rank: Rank, environment: Mapping[str, str]) -> dict[str, str]:
    """What torch.distributed and DeepSpeed want to find in the environment, as far as it is not there.

    Slurm's tasks meet at the first node of the allocation, at a port that follows from the job's number; a process
    alone meets itself.
    """
    wanted: dict[str, object] = {"RANK": rank.number, "WORLD_SIZE": rank.processes, "LOCAL_RANK": rank.local}
    wanted |= {"MASTER_ADDR": _address(environment), "MASTER_PORT": _port(environment)}
    return {name: str(value) for name, value in wanted.items() if name not in environment}


def _address(environment: Mapping[str, str]) -> str:
    return first_node(environment["SLURM_STEP_NODELIST"]) if _is_step(environment) else "127.0.0.1"


def _is_step(environment: Mapping[str, str]) -> bool:
    return int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def first_node(nodes: str) -> str:
    """The first name of Slurm's list of nodes: `gpu[07-09,12],cpu1` begins with `gpu07`."""
    head, bracket, rest = nodes.partition("[")
    if not bracket or "," in head:
        return head.partition(",")[0]
    numbers, _, tail = rest.partition("]")
    return head + numbers.partition(",")[0].partition("-")[0] + tail.partition(",")[0]


def _port(environment: Mapping[str, str]) -> int:
    if _is_step(environment):
        return 20_000 + int(environment.get("SLURM_JOB_ID", 0)) % 20_000
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def adopt(rank: Rank) -> None:
    """Tell this process's libraries which rank it is."""
    os.environ.update(variables(rank, os.environ))

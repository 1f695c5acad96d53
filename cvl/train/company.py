"""The processes of a run among each other: they join, wait for each other, and part in good order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch

from cvl.errors import EXIT_DONE, EXIT_FAILED
from cvl.manifest import Scripts
from cvl.train.ranks import Rank, adopt

T = TypeVar("T")

TIMEOUT = timedelta(hours=4)
"""How long processes wait for each other: while one puts start weights together, the others have nothing to do."""

_SHARED_MEMORY_KERNEL = "deepspeed_shm_comm"


@contextmanager
def company(rank: Rank, scripts: Scripts) -> Iterator[None]:
    """Joins this process to the others of the run, and leaves them at the end.

    A process alone joins nobody, unless ZeRO wants company even then, or the Trainer would take every GPU that it sees.
    """
    if rank.processes > 1 or scripts.deepspeed != "none" or torch.cuda.is_available():
        adopt(rank)
        _join(rank, zero=scripts.deepspeed != "none")
    try:
        yield
        # A process that ends while others still talk to it makes them abort after a good run.
        meet()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def meet() -> None:
    """Waits until every process of the run is here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def led(rank: Rank, work: Callable[[], T]) -> T | None:
    """What `work` gives to the process that leads, which alone does it; the others wait, and get None.

    Whatever it raises is raised there, and ends the others in silence with the same exit code: nobody waits in vain.
    """
    if not torch.distributed.is_initialized():
        return work()
    if not rank.leads:
        _end_with_the_leader()
        return None
    try:
        result = work()
    except BaseException as error:
        _tell(getattr(error, "exit_code", EXIT_FAILED))
        raise
    _tell(EXIT_DONE)
    return result


def _tell(code: int) -> None:
    torch.distributed.broadcast_object_list([code], src=0)


def _end_with_the_leader() -> None:
    told = [EXIT_DONE]
    torch.distributed.broadcast_object_list(told, src=0)
    if told[0] != EXIT_DONE:
        raise SystemExit(told[0])


def any_of(wish: bool, device: torch.device) -> bool:
    """Whether any process of the run has this wish; all get the same answer."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return wish
    flag = torch.tensor(int(wish), device=device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())


def _join(rank: Rank, *, zero: bool) -> None:
    backend = "gloo"
    if torch.cuda.is_available():
        # A scheduler may show each process its own GPU alone, which then is the first.
        device = rank.local % torch.cuda.device_count()
        os.environ["LOCAL_RANK"] = str(device)
        torch.cuda.set_device(device)
        backend = "nccl"
    if not zero:
        torch.distributed.init_process_group(backend, timeout=TIMEOUT, rank=rank.number, world_size=rank.processes)
        return
    import deepspeed  # noqa: PLC0415 - two seconds that plain data parallelism does not need

    # A kernel that inference alone uses; to build it takes a compiler and a minute.
    deepspeed.ops.__compatible_ops__[_SHARED_MEMORY_KERNEL] = False
    deepspeed.init_distributed(backend, timeout=TIMEOUT, rank=rank.number, world_size=rank.processes, verbose=False)

"""The processes that prepare samples: who may end them, and who may not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bench import PATIENCE
from torch.utils.data import DataLoader, Dataset

from cvl.train.workers import heed_only_the_run


class Numbers(Dataset[int]):
    """Each number comes with the process that it is prepared in."""

    def __getitem__(self, number: int) -> tuple[int, int]:  # type: ignore[override]
        return number, os.getpid()

    def __len__(self) -> int:
        return 6


@pytest.fixture
def loader() -> Iterator[Any]:
    """An iterator whose one process has prepared the first number, and no more than the next two."""
    loaded: DataLoader[Any] = DataLoader(
        Numbers(), batch_size=None, num_workers=1, worker_init_fn=heed_only_the_run, prefetch_factor=2
    )
    return iter(loaded)


def first(loader: Any) -> int:
    """Takes the first number; returns the process that prepared it."""
    number, process = next(loader)
    assert number == 0
    return int(process)


def ended(process: int) -> bool:
    try:
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


@pytest.mark.parametrize("wish", [signal.SIGTERM, signal.SIGINT])
def test_a_terminal_or_a_scheduler_does_not_end_it(loader: Any, wish: signal.Signals) -> None:
    process = first(loader)
    # Not this process, which is the run.
    subprocess.run(["/bin/sh", "-c", f"kill -{wish.value} {process}"], check=True)
    assert [number for number, _ in loader] == [1, 2, 3, 4, 5]


def test_the_run_ends_it(loader: Any) -> None:
    process = first(loader)
    os.kill(process, signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while not ended(process):
        assert time.monotonic() < until
        time.sleep(0.01)

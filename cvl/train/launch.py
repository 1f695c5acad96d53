"""Starting a run's processes: one a GPU of this machine, or on the machines of a hostfile.

Under a launcher that somebody else started (`torchrun`, `deepspeed`, `srun`) there is nothing to start: each process is
told its rank by the environment, see `cvl.train.ranks`.
"""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cvl.errors import EXIT_CANCELLED, EXIT_FAILED, Cancelled, CvlError, UsageError
from cvl.train.ranks import ALONE, variables

_LOOK_EVERY = 0.1
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_GRACE = 30.0
"""Seconds that the others have to end by themselves once a process has failed."""

Process = subprocess.Popen[bytes]


def devices() -> int:
    """How many processes a run has on this machine if nobody says otherwise: one a GPU, one without any."""
    import torch  # noqa: PLC0415 - two seconds that only who trains has to spend

    return max(1, torch.cuda.device_count())


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run this command line in `processes` processes of this machine to their end.

    The first of them speaks for all: what the others say is shown only if the first has nothing to say about a failure.
    A wish to stop is handed on to each of them once; a second wish does not wait for them.

    Returns:
        The exit code of the first process that failed; 0 if none did.

    Raises:
        CvlError: one of them was killed.
        Cancelled: a second wish to stop came.
    """
    with tempfile.TemporaryFile() as unheard:
        ranks = [_start(arguments, environment, unheard) for environment in _environments(processes)]
        try:
            code = _to_the_end(ranks)
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        if code and ranks[0].returncode <= 0:
            unheard.seek(0)
            shutil.copyfileobj(unheard, sys.stderr.buffer)
    if code < 0:
        name = signal.Signals(-code).name
        hint = "a kernel that is short of memory kills, see `dmesg`; run the same command again to go on"
        raise CvlError(f"a process of the run was ended by {name}", hint=hint)
    return code


def launch_on_hosts(arguments: Sequence[str], hostfile: Path) -> int:
    """Run this command line on every machine of `hostfile`, by DeepSpeed's launcher; returns whether all went well.

    Raises:
        UsageError: the hostfile cannot be read.
    """
    process = subprocess.Popen(command_on_hosts(arguments, hostfile))
    try:
        code = process.wait()
    except (Cancelled, KeyboardInterrupt):
        # The launcher forwards the wish to its processes, which save and end.
        process.terminate()
        process.wait()
        raise
    return code if code in (0, EXIT_CANCELLED) else EXIT_FAILED


def command_on_hosts(arguments: Sequence[str], hostfile: Path) -> list[str]:
    """What runs this command line on every machine of `hostfile`.

    Raises:
        UsageError: the hostfile cannot be read.
    """
    if not hostfile.is_file():
        raise UsageError(f"there is no hostfile at {hostfile}", hint="lines of it read `HOST slots=GPUS`")
    # Else each process would be given a `--local_rank`, which the environment says as well.
    launcher = ["deepspeed.launcher.runner", "--hostfile", str(hostfile), "--no_local_rank", "--module"]
    return [sys.executable, "-m", *launcher, "cvl", *arguments]


def _environments(processes: int) -> list[dict[str, str]]:
    """What tells each process its rank, and where all of them meet."""
    # One core a process unless somebody said more: many processes with all cores each only get in each other's way.
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    common = threads | os.environ | variables(ALONE, os.environ) | {"WORLD_SIZE": str(processes)}
    return [common | {"RANK": str(number), "LOCAL_RANK": str(number)} for number in range(processes)]


def _start(arguments: Sequence[str], environment: dict[str, str], unheard: IO[bytes]) -> Process:
    leads = environment["RANK"] == "0"
    return subprocess.Popen(
        [sys.executable, "-m", "cvl", *arguments],
        env=environment,
        stderr=None if leads else unheard,
        # A terminal tells all processes of a session to stop, and we tell them too: they are to hear it once.
        start_new_session=True,
        preexec_fn=_outlive_nobody,
    )


def _outlive_nobody() -> None:
    """Lets a process be told to stop when the one that started it is gone, however that ended."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _to_the_end(ranks: Sequence[Process]) -> int:
    try:
        return _wait(ranks)
    except (Cancelled, KeyboardInterrupt):
        for rank in ranks:
            rank.terminate()
        code = _wait(ranks)
        if code < 0:
            # Too early for them to say so themselves.
            raise
        return code


def _wait(ranks: Sequence[Process]) -> int:
    """Waits until all have ended; returns how the first that failed ended, once the others had time to end as well."""
    code, until = 0, math.inf
    while None in [rank.poll() for rank in ranks] and time.monotonic() < until:
        if not code and (code := _failed(ranks)):
            until = time.monotonic() + _GRACE
        time.sleep(_LOOK_EVERY)
    return code or _failed(ranks)


def _failed(ranks: Sequence[Process]) -> int:
    return next((rank.returncode for rank in ranks if rank.returncode), 0)

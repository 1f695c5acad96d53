"""Starting a run's processes: one a GPU of this machine, or on the machines of a hostfile.

Under a launcher that somebody else started (`torchrun`, `deepspeed`, `srun`) there is nothing to start: each process is
told its rank by the environment, see `cvl.train.ranks`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cvl.errors import EXIT_CANCELLED, EXIT_FAILED, Cancelled, UsageError


def devices() -> int:
    """How many processes a run has on this machine if nobody says otherwise: one a GPU, one without any."""
    import torch  # noqa: PLC0415 - two seconds that only who trains has to spend

    return max(1, torch.cuda.device_count())


def command(arguments: Sequence[str], processes: int, hostfile: Path | None) -> list[str]:
    """The command that runs `cvl ARGUMENTS` in `processes` processes here, or on every machine of `hostfile`.

    Raises:
        UsageError: the hostfile cannot be read.
    """
    if hostfile is None:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--module"]
        return [sys.executable, "-m", *launcher, "cvl", *arguments]
    if not hostfile.is_file():
        raise UsageError(f"there is no hostfile at {hostfile}", hint="lines of it read `HOST slots=GPUS`")
    launcher = ["deepspeed.launcher.runner", "--hostfile", str(hostfile), "--module"]
    return [sys.executable, "-m", *launcher, "cvl", *arguments]


def launch(arguments: Sequence[str], processes: int, hostfile: Path | None) -> int:
    """Run `command` to its end; returns the exit code that the ranks agree on.

    Raises:
        Cancelled: the run was told to stop; its processes had their time to save.
    """
    # One core a process unless somebody said more: many processes with all cores each only get in each other's way.
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // max(1, processes)))} | os.environ
    process = subprocess.Popen(command(arguments, processes, hostfile), env=environment)
    try:
        code = process.wait()
    except (Cancelled, KeyboardInterrupt):
        # The launcher forwards the wish to its processes, which save and end.
        process.terminate()
        process.wait()
        raise
    return code if code in (0, EXIT_CANCELLED) else EXIT_FAILED

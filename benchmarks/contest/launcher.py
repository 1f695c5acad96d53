"""Runs a command and prints, as JSON, what it cost. Started as `python -I -S launcher.py COMMAND…`.

A process of its own, and a small one: the kernel counts the memory of whoever starts a command as the command's own
peak. What the command prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Returns the command's exit status."""
    # Processes that outlive the one that began them become ours, so that what they cost is counted, too.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - began
    _wait_for_the_rest()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}))  # noqa: T201
    return os.waitstatus_to_exitcode(status)


def _wait_for_the_rest() -> None:
    try:
        while True:
            os.wait()
    except ChildProcessError:
        """Nobody is left."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

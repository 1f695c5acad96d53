"""The processes that prepare samples, and what they make of a wish to stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def heed_only_the_run(_worker: int) -> None:
    """Lets a process that prepares samples live until the run ends it, whoever else tells it to stop.

    A terminal and a scheduler tell every process of a run; the run then goes on to the end of its step and saves, for
    which it needs its samples. torch's workers would end at once, and the run with them.
    """
    run = multiprocessing.parent_process()
    assert run is not None
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Blocked in every thread, SIGTERM waits to be fetched, and who fetches it learns who sent it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with, args=(run.pid,), daemon=True).start()


def _end_with(run: int | None) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
        pass
    os._exit(0)

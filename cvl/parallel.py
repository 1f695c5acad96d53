"""Work on every core: a picklable function over a list of shards.

This interface is all that the callers know, so that a Slurm array or Ray can stand behind it later. What runs here must
bear being stopped at any instant: write beside and rename, and let the next run find what is done.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

from cvl.errors import CvlError, UsageError

S = TypeVar("S")
R = TypeVar("R")
T = TypeVar("T")

# Ctrl-C and `scancel` reach the whole process group. Only the parent answers: workers that answered too would make a
# cancelled run look like one whose workers crashed.
_PARENT_ONLY = (signal.SIGINT, signal.SIGTERM)


def cores() -> int:
    """How many cores this process may use, which on a shared machine can be fewer than it has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shards_of(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """`items` in their order, cut into pieces of `size`; the last one may be shorter. Nothing becomes no piece."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def run_shards(
    function: Callable[[S], R],
    shards: Sequence[S],
    *,
    jobs: int | None = None,
    on_result: Callable[[R], None] | None = None,
) -> list[R]:
    """The results of `function` for every shard, in the order of `shards`.

    Args:
        function: picklable, as are the shards and its results. Each call may be stopped at any instant.
        shards: one call each.
        jobs: how many processes; None is one a core. With one job, or one shard, this process does the work itself.
        on_result: is told each result as it comes, in whatever order, in the calling thread.

    Raises:
        UsageError: `jobs` is below one.
        CvlError: a worker process died, most often for want of memory.
        Exception: what `function` or `on_result` raises, KeyboardInterrupt included, stops every worker at once and
            comes out of here.

    The workers never outlive this call, nor this process, even if it is killed.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"{jobs} jobs: expected one or more", hint="leave --jobs out to use every core")
    workers = min(jobs or cores(), len(shards))
    listener = on_result or _ignore
    if workers <= 1:
        return _run_here(function, shards, listener)
    return _run_in_processes(function, shards, workers, listener)


def _ignore(_result: object) -> None:
    pass


def _run_here(function: Callable[[S], R], shards: Sequence[S], on_result: Callable[[R], None]) -> list[R]:
    results = []
    for shard in shards:
        results.append(function(shard))
        on_result(results[-1])
    return results


def _run_in_processes(
    function: Callable[[S], R], shards: Sequence[S], workers: int, on_result: Callable[[R], None]
) -> list[R]:
    # Not fork: a copy of a process whose threads hold locks can hang.
    context = get_context("spawn")
    # The workers hold one end of a pipe and end when the other is closed: by us, or by the kernel when we are killed.
    leash, hand = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(leash,))
    try:
        with _signals_held_back():
            futures = [pool.submit(function, shard) for shard in shards]
        for future in as_completed(futures):
            on_result(future.result())
        pool.shutdown()
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        hint = f"if memory ran out, try again with --jobs {max(1, workers // 2)}"
        raise CvlError(f"one of {workers} worker processes died before its work was done", hint=hint) from error
    finally:
        hand.close()
        leash.close()
        pool.shutdown(cancel_futures=True)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Starts processes that never see Ctrl-C, not even while their interpreter comes up: they inherit the mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PARENT_ONLY)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(leash: Connection) -> None:
    for number in _PARENT_ONLY:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_when_released, args=(leash,), daemon=True).start()


def _end_when_released(leash: Connection) -> None:
    leash.poll(None)
    os._exit(1)

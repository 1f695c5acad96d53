"""Processes of this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from tempfile import gettempdir
from typing import TypeVar

from cvl.errors import CvlError
from cvl.parallel.shards import cores

S = TypeVar("S")
R = TypeVar("R")

# Ctrl-C and `scancel` reach the whole process group. Only the parent answers: workers that answered too would make a
# cancelled run look like one whose workers crashed.
_PARENT_ONLY = (signal.SIGINT, signal.SIGTERM)

_LONGEST_SOCKET = 107
_SOCKET_NAME = len("/pymp-01234567/listener-01234567")


def run_in_processes(
    function: Callable[[S], R], shards: Sequence[S], jobs: int | None, on_result: Callable[[R], None]
) -> list[R]:
    """`run_shards` with processes of this machine."""
    workers = min(jobs or cores(), len(shards))
    if workers <= 1:
        return _run_here(function, shards, on_result)
    return _run_with_workers(function, shards, workers, on_result)


def _run_here(function: Callable[[S], R], shards: Sequence[S], on_result: Callable[[R], None]) -> list[R]:
    results = []
    for shard in shards:
        results.append(function(shard))
        on_result(results[-1])
    return results


def _run_with_workers(
    function: Callable[[S], R], shards: Sequence[S], workers: int, on_result: Callable[[R], None]
) -> list[R]:
    context = _context([_home(function)])
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


def prepare_workers(modules: Sequence[str]) -> None:
    """`prepare` with processes of this machine."""
    if _server_can_be():
        _context(modules)
        # Before the signals are held back: who starts it lets them through again.
        resource_tracker.ensure_running()
        with _signals_held_back():
            forkserver.ensure_running()


def _context(modules: Sequence[str]) -> BaseContext:
    """How workers begin, which need these modules.

    Not as forks of this process: a copy of one whose threads hold locks can hang. They are forks of a server that has
    no threads and has loaded what the first of them need, so that further ones begin at once. Where it cannot be, each
    worker loads everything for itself.
    """
    if not _server_can_be():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([_program(), *modules])
    return context


def _server_can_be() -> bool:
    """Whether there is a temporary folder, of a name short enough for a socket in it."""
    try:
        temporary = os.fsencode(gettempdir())
    except FileNotFoundError:
        return False
    return len(temporary) + _SOCKET_NAME <= _LONGEST_SOCKET


def _program() -> str:
    """The module that a worker would load first, because this process began with it."""
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec is not None else "__main__"


def _home(function: Callable[[S], R]) -> str:
    """The module that has to be loaded for a function that may be partial."""
    while isinstance(function, partial):
        function = function.func
    return function.__module__


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

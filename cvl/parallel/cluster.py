"""A Ray cluster: every shard is a task, which runs on whatever machine has a core to spare.

All machines see the tree under the same path and have the same version of cvl. A task that is lost with its machine is
given to another one.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any, TypeVar

from cvl.errors import CvlError, UsageError

S = TypeVar("S")
R = TypeVar("R")

_LOST_AT_MOST = 3
"""How often a shard whose worker died is tried again."""

_AHEAD = 2
"""Tasks a core that are handed out at once, so that a core that is done finds the next one waiting."""


_PLACE = re.compile(r"(ray://)?\[?(?P<host>[^/]+?)\]?:(?P<port>[0-9]+)")
_PATIENCE = 10.0


_LOOK_EVERY = 0.1


def run_on_cluster(
    function: Callable[[S], R],
    shards: Sequence[S],
    jobs: int | None,
    on_result: Callable[[R], None],
    look: Callable[[], None],
) -> list[R]:
    """`run_shards` with the tasks of a Ray cluster."""
    ray = _load_ray()
    with connected():
        try:
            return _run(_Tasks(ray, function, jobs), shards, on_result, look)
        except ray.exceptions.RayTaskError as error:
            hint = "every machine of the cluster needs this version of cvl, and the tree under the same path"
            raise CvlError(f"a worker of the Ray cluster cannot do its work: {_lines(error)[-1]}", hint=hint) from error
        except ray.exceptions.RayError as error:
            hint = "look at `ray status`; if memory ran out, try again with fewer --jobs"
            raise CvlError(f"the Ray cluster lost a shard for good: {_lines(error)[0]}", hint=hint) from error


def _load_ray() -> ModuleType:
    # Ray reports home unless it is told not to, and would clutter what a command says.
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        os.environ.setdefault(name, "0")
    try:
        import ray  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError("Ray is not installed", hint="pip install 'cvl[ray]'") from error
    module: ModuleType = ray
    return module


@contextmanager
def connected() -> Iterator[None]:
    """With the cluster that this process is connected to, or else the one that Ray finds by its usual rules.

    Raises:
        UsageError: Ray is not installed.
        CvlError: there is no such cluster.
    """
    ray = _load_ray()
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        _knock(address)
        with _signals_kept():
            ray.init(log_to_driver=False, include_dashboard=False, logging_level="error")
    except (OSError, RuntimeError, ValueError) as error:
        hint = "start one with `ray start --head`, and set RAY_ADDRESS to what it names"
        raise CvlError(f"no Ray cluster at {address or 'this machine'}: {_lines(error)[0]}", hint=hint) from error
    try:
        yield
    finally:
        # Whatever still runs ends with the connection.
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself would try for minutes."""
    place = _PLACE.fullmatch(address)
    if place is not None:
        socket.create_connection((place["host"], int(place["port"])), _PATIENCE).close()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keeps what this process does on SIGTERM, in whose place Ray puts a way of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class _Tasks:
    """Shards at work on a cluster, each known by its index."""

    def __init__(self, ray: ModuleType, function: Callable[[Any], Any], jobs: int | None) -> None:
        self._ray = ray
        self._jobs = jobs
        self._function = ray.put(function)
        self._remote = ray.remote(num_cpus=1, max_retries=_LOST_AT_MOST)(_outcome)
        self._at_work: dict[Future[Any], tuple[int, Any]] = {}
        # Not `ray.wait`, in which the exception of a signal's handler would be lost.
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()

    def room(self) -> int:
        """How many more may be handed out now: a cluster may grow and shrink."""
        limit = self._jobs or _AHEAD * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        return limit - len(self._at_work)

    def begin(self, index: int, shard: object) -> None:
        """Hand one out."""
        task = self._remote.remote(self._function, shard)
        future = task.future()
        self._at_work[future] = (index, task)
        future.add_done_callback(self._ended.put)

    def next(self, look: Callable[[], None]) -> tuple[int, Any]:
        """Wait for one to end, looking on meanwhile, and give its result. Raises what it or `look` raised."""
        while True:
            look()
            with suppress(Empty):
                future = self._ended.get(timeout=_LOOK_EVERY)
                break
        index, _ = self._at_work.pop(future)
        done, value = future.result()
        if not done:
            raise value
        return index, value

    def cancel(self) -> None:
        """Stop what is at work, at once."""
        for _, task in self._at_work.values():
            self._ray.cancel(task, force=True)


def _outcome(function: Callable[[S], R], shard: S) -> tuple[bool, R | Exception]:
    """What a shard came to: Ray would wrap what it raises into an error of its own."""
    try:
        return True, function(shard)
    except Exception as error:
        return False, error


def _run(tasks: _Tasks, shards: Sequence[S], on_result: Callable[[R], None], look: Callable[[], None]) -> list[R]:
    waiting = deque(enumerate(shards))
    results: dict[int, R] = {}
    try:
        while len(results) < len(shards):
            for _ in range(min(tasks.room(), len(waiting))):
                tasks.begin(*waiting.popleft())
            index, result = tasks.next(look)
            results[index] = result
            on_result(result)
    finally:
        tasks.cancel()
    return [results[index] for index in range(len(shards))]


def _lines(error: Exception) -> list[str]:
    """What an error says, at least one line."""
    return str(error).strip().splitlines() or [type(error).__name__]

"""One job after the other, on several threads, while the calling one looks on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

J = TypeVar("J")

_LOOK_EVERY = 0.1


def work_through(
    jobs: Iterable[J], do: Callable[[J], None], look: Callable[[], None], *, threads: int, stop: threading.Event
) -> None:
    """Do every job, on as many threads, each job begun in the order of `jobs`.

    Args:
        jobs: may be made one by one, as they are begun.
        do: one job; watches `stop` if it takes long.
        look: called in this thread ten times a second and once more when all is done; what it raises stops the work.
        threads: how many.
        stop: is set when the work is to end early, by an error or by `look`.

    Raises:
        Exception: the first that a job raised; no other job was begun after it.
    """
    queue = _Queue(iter(jobs), stop)
    errors: list[BaseException] = []
    workers = [threading.Thread(target=_work, args=(queue, do, errors, stop), daemon=True) for _ in range(threads)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(_LOOK_EVERY)
                look()
    finally:
        # After all is done there is nothing to stop; else nothing of ours may be at work when this call is over.
        stop.set()
        for worker in workers:
            if worker.ident is not None:
                worker.join()
    if errors:
        raise errors[0]
    look()


class _Queue(Iterator[J]):
    """An iterator for several threads, which ends when the work stops."""

    def __init__(self, jobs: Iterator[J], stop: threading.Event) -> None:
        self._jobs = jobs
        self._stop = stop
        self._lock = threading.Lock()

    def __next__(self) -> J:
        with self._lock:
            if self._stop.is_set():
                raise StopIteration
            return next(self._jobs)


def _work(jobs: _Queue[J], do: Callable[[J], None], errors: list[BaseException], stop: threading.Event) -> None:
    try:
        for job in jobs:
            do(job)
    except BaseException as error:
        errors.append(error)
        stop.set()

"""Who does the work: one function for all callers, whatever stands behind it.

What runs in a shard must bear being stopped at any instant: write beside and rename, and let the next run find what is
done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import TypeVar

from cvl.errors import UsageError

S = TypeVar("S")
R = TypeVar("R")


class Engine(StrEnum):
    """Who does the work."""

    LOCAL = "local"
    """Processes of this machine."""
    RAY = "ray"
    """The Ray cluster that `RAY_ADDRESS` names; without it the one of this machine, which is started if need be."""


def run_shards(
    function: Callable[[S], R],
    shards: Sequence[S],
    *,
    jobs: int | None = None,
    on_result: Callable[[R], None] | None = None,
    look: Callable[[], None] | None = None,
    engine: Engine = Engine.LOCAL,
) -> list[R]:
    """The results of `function` for every shard, in the order of `shards`.

    Args:
        function: picklable, as are the shards and its results. Each call may be stopped at any instant; on a cluster
            it is made again, on another machine, where the first one was lost.
        shards: one call each.
        jobs: how many at once; None is one a core, of this machine or of the cluster. Here, with one job or one shard,
            this process does the work itself.
        on_result: is told each result as it comes, in whatever order, in the calling thread.
        look: is called ten times a second, in the calling thread, while a cluster is at work: there it is the only way
            to call the work off for who is not the main thread, which alone hears signals.
        engine: who does the work.

    Raises:
        UsageError: `jobs` is below one; or Ray is asked for and not installed.
        CvlError: a worker process died, most often for want of memory; or the cluster cannot be reached.
        Exception: what `function`, `on_result` or `look` raises, KeyboardInterrupt included, stops every worker at once
            and comes out of here.

    The workers never outlive this call, nor this process, even if it is killed.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"{jobs} jobs: expected one or more", hint="leave --jobs out to use every core")
    listener = on_result or _ignore
    if not shards:
        return []
    if engine is Engine.RAY:
        from cvl.parallel.cluster import run_on_cluster  # noqa: PLC0415 - Ray takes a second to load

        return run_on_cluster(function, shards, jobs, listener, look or _look_on)
    from cvl.parallel.local import run_in_processes  # noqa: PLC0415 - `cvl --help` names the engines, no more

    return run_in_processes(function, shards, jobs, listener)


def prepare(modules: Sequence[str]) -> None:
    """Let modules be loaded for the workers of later calls, beside whatever this process goes on with.

    Args:
        modules: what the functions of those calls come from. One that cannot be loaded is passed over.
    """
    from cvl.parallel.local import prepare_workers  # noqa: PLC0415 - `cvl --help` names the engines, no more

    prepare_workers(modules)


def ready(engine: Engine) -> AbstractContextManager[None]:
    """With the engine at hand for all that is run within, by any thread: a cluster is connected to once, not each time.

    Raises:
        UsageError: Ray is asked for and not installed.
        CvlError: the cluster cannot be reached.
    """
    if engine is not Engine.RAY:
        return nullcontext()
    from cvl.parallel.cluster import connected  # noqa: PLC0415 - Ray takes a second to load

    return connected()


def _ignore(_result: object) -> None:
    pass


def _look_on() -> None:
    pass

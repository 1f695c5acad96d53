"""The arithmetic of batches: the document's global batch, on whatever number of processes there is."""

from __future__ import annotations

from dataclasses import dataclass

from cvl.errors import UsageError


@dataclass(frozen=True)
class Batching:
    """How a global batch comes about.

    Args:
        processes: over all nodes, one a device.
        micro: records that one process takes at once.
        accumulation: how many of these it adds up before it takes a step.
    """

    processes: int
    micro: int
    accumulation: int

    @property
    def size(self) -> int:
        """Records of one optimizer step over all processes."""
        return self.processes * self.micro * self.accumulation

    def __str__(self) -> str:
        processes = "1 process" if self.processes == 1 else f"{self.processes} processes"
        added = f" × {self.accumulation} micro-batches added up" if self.accumulation > 1 else ""
        return f"{processes} × {self.micro} records{added}"


def batching(size: int, processes: int, at_most: int) -> Batching:
    """The global batch of `size` on `processes`, with the largest micro-batch of at most `at_most` that divides it.

    Raises:
        UsageError: the batch cannot be shared out evenly; the hint names numbers of processes that can.
    """
    if size % processes:
        raise UsageError(
            f"a global batch of {size} cannot be shared out evenly among {processes} processes",
            hint=f"use {_fitting(size, processes)} processes, or another batch: --set batch_size=N",
        )
    share = size // processes
    micro = max(count for count in range(1, min(share, at_most) + 1) if share % count == 0)
    return Batching(processes, micro, share // micro)


def _fitting(size: int, processes: int) -> str:
    """The numbers next to `processes` that `size` can be shared out among."""
    fitting = [count for count in range(1, size + 1) if size % count == 0]
    nearest = [
        [count for count in fitting if count < processes][-1:],
        [count for count in fitting if count > processes][:1],
    ]
    return " or ".join(str(count) for counts in nearest for count in counts)

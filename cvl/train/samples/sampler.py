"""The order in which a stage takes its records: batches of one modality, shared out so that all take as long.

A step lasts as long as its slowest process. So the records are shuffled and cut into global batches that are all with
pictures or all without; each is spread over its micro-batches so that these are about equally long in all; and the
global batches are shuffled. What is left of both modalities comes last. The published code does the same, but draws
some of it from a generator that nobody seeds.

Everything is drawn from (seed, epoch) by the installed numpy's generator: every process sees the same order, and so
does a run that goes on. Which records make up a global batch does not depend on how many processes share it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

_FULL = np.iinfo(np.int64).max


def grouped_order(
    lengths: NDArray[np.int64], batch_size: int, micro_batch: int, seed: int, epoch: int, *, by_modality: bool = True
) -> NDArray[np.int64]:
    """The numbers of all records in the order of one epoch, a whole number of global batches.

    Every record occurs once; the last batch is completed with records from the start of the order. The micro-batches of
    a global batch stand next to each other.

    Args:
        lengths: of the records, in words or whatever else is like the time that they take; negative is text-only.
        batch_size: records of a global batch, over all processes and accumulated steps.
        micro_batch: records that one process takes at once; divides `batch_size`.
        seed: of the run.
        epoch: from 0.
        by_modality: False is a plain shuffle.

    Raises:
        ValueError: there are no records, or micro-batches of this size do not make up the global batch.
    """
    if not len(lengths) or batch_size % micro_batch:
        raise ValueError(f"{len(lengths)} records in batches of {batch_size}, micro-batches of {micro_batch}")
    generator = np.random.default_rng((seed, epoch))
    shuffled = generator.permutation(len(lengths))
    if not by_modality:
        return _completed(shuffled, batch_size)
    order = _completed(_grouped(shuffled, lengths, batch_size, generator), batch_size)
    return _spread(order.reshape(-1, batch_size), np.abs(lengths), micro_batch).reshape(-1)


class GroupedSampler(Sampler[int]):
    """`grouped_order` of every epoch, one after the other, for a DataLoader with batches of `micro_batch`.

    Iterating again gives the same order again, so whoever goes on skips what is done, in whichever epoch that was.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        micro_batch: int,
        seed: int,
        *,
        epochs: int = 1,
        by_modality: bool = True,
    ) -> None:
        self._lengths = lengths
        self._sizes = (batch_size, micro_batch)
        self._seed = seed
        self._epochs = epochs
        self._by_modality = by_modality

    def __len__(self) -> int:
        """Records of all epochs, those included that complete the last batch of each."""
        batch_size = self._sizes[0]
        return -(-len(self._lengths) // batch_size) * batch_size * self._epochs

    def __iter__(self) -> Iterator[int]:
        for epoch in range(self._epochs):
            order = grouped_order(self._lengths, *self._sizes, self._seed, epoch, by_modality=self._by_modality)
            # A piece at a time: millions of Python's integers would take many times the array's room.
            for batch in order.reshape(-1, self._sizes[0]):
                yield from batch.tolist()


def _grouped(
    shuffled: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Shuffled global batches of one modality each, then what is left of both."""
    has_picture = lengths[shuffled] > 0
    kinds = [shuffled[has_picture], shuffled[~has_picture]]
    ends = [len(kind) // batch_size * batch_size for kind in kinds]
    batches = np.concatenate([kind[:end] for kind, end in zip(kinds, ends, strict=True)]).reshape(-1, batch_size)
    left = [kind[end:] for kind, end in zip(kinds, ends, strict=True)]
    return np.concatenate([generator.permutation(batches).reshape(-1), *left])


def _completed(order: NDArray[np.int64], batch_size: int) -> NDArray[np.int64]:
    missing = -len(order) % batch_size
    return np.concatenate([order, np.resize(order, missing)])


def _spread(batches: NDArray[np.int64], sizes: NDArray[np.int64], micro_batch: int) -> NDArray[np.int64]:
    """The same global batches, a row each, with their micro-batches one after the other and about equally long.

    From the longest to the shortest, each record goes to the micro-batch that has the least so far and is not full.
    """
    longest_first = np.argsort(-sizes[batches], axis=1, kind="stable")
    batches = np.take_along_axis(batches, longest_first, axis=1)
    rows = np.arange(len(batches))
    spread = np.empty_like(batches)
    loads = np.zeros((len(batches), batches.shape[1] // micro_batch), dtype=np.int64)
    counts = np.zeros_like(loads)
    for records in batches.T:
        chosen = loads.argmin(axis=1)
        spread[rows, chosen * micro_batch + counts[rows, chosen]] = records
        counts[rows, chosen] += 1
        loads[rows, chosen] += sizes[records]
        loads[counts == micro_batch] = _FULL
    return spread

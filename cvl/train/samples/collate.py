"""Samples to batches: pictures get their tokens, sequences are cut to one length at most and padded to one length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cvl.train.samples.damage import Damaged
from cvl.train.samples.dataset import Sample
from cvl.train.samples.tokens import IGNORED, PICTURE, Tokens


def expand(tokens: Tokens, visual_tokens: int, max_length: int) -> Tokens:
    """`tokens` with `visual_tokens` ids in place of the picture's one, cut to `max_length`; none of them is learnt.

    The published code cuts before it puts the picture's tokens in, and again after. As nothing becomes shorter between
    the two, the second cut alone gives the same.
    """
    is_picture = tokens.input_ids == PICTURE
    times = np.where(is_picture, visual_tokens, 1)
    labels = np.where(is_picture, IGNORED, tokens.labels)
    return Tokens(np.repeat(tokens.input_ids, times)[:max_length], np.repeat(labels, times)[:max_length])


@dataclass(frozen=True)
class Collator:
    """Makes a batch of samples, as keyword arguments of the model.

    `input_ids` and `labels`, int64, and `attention_mask`, bool, are of shape (samples, longest sequence), padded on the
    right. The mask goes by lengths, so an `<unk>` that is written in a text stays visible, though its id pads (the
    published code hides it). `pixel_values`, float32 of shape (pictures, 3, resolution, resolution), holds the pictures
    that have a token left in their sequence, in order; where there is none it holds one of zeros, so that every process
    runs the vision tower at every step.

    Damaged samples are told to `on_damaged` and left out. If no sample remains, the batch is one beginning-of-sequence
    token from which nothing is learnt.

    Args:
        visual_tokens: that one picture becomes, one or more.
        max_length: of a sequence, the picture's tokens included.
        pad_id: what sequences are padded with.
        resolution: side of a picture in pixels.
        on_damaged: is called in the process that makes the batch, which is most often not the one that trains.
        bos_id: the beginning-of-sequence token.
    """

    visual_tokens: int
    max_length: int
    pad_id: int
    resolution: int
    on_damaged: Callable[[Damaged], None]
    bos_id: int = 1

    def __call__(self, samples: Sequence[Sample | Damaged]) -> dict[str, torch.Tensor]:
        """The batch of `samples`, without the damaged ones."""
        kept = list(self._whole(samples)) or [_nothing(self.bos_id)]
        rows = [expand(sample.tokens, self.visual_tokens, self.max_length) for sample in kept]
        pictures = [
            sample.pixel_values
            for sample, row in zip(kept, rows, strict=True)
            if sample.pixel_values is not None and PICTURE in row.input_ids
        ]
        lengths = np.array([len(row.input_ids) for row in rows])
        return {
            "input_ids": _padded([row.input_ids for row in rows], self.pad_id),
            "labels": _padded([row.labels for row in rows], IGNORED),
            "attention_mask": torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]),
            "pixel_values": torch.from_numpy(np.stack(pictures or [self._blank()])),
        }

    def _whole(self, samples: Sequence[Sample | Damaged]) -> Iterable[Sample]:
        for sample in samples:
            if isinstance(sample, Damaged):
                self.on_damaged(sample)
            else:
                yield sample

    def _blank(self) -> NDArray[np.float32]:
        return np.zeros((3, self.resolution, self.resolution), dtype=np.float32)


def _nothing(bos_id: int) -> Sample:
    return Sample(Tokens(np.array([bos_id], dtype=np.int64), np.array([IGNORED], dtype=np.int64)), None)


def _padded(rows: Sequence[NDArray[np.int64]], filling: int) -> torch.Tensor:
    padded = np.full((len(rows), max(len(row) for row in rows)), filling, dtype=np.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded)

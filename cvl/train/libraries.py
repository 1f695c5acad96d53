"""What the training libraries are told before they are used, and what they say when something goes wrong."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors import SafetensorError
from transformers.utils import logging

from cvl.errors import CvlError, DiskError

_DISK_WORDS = ("No space left", "Disk quota", "PytorchStreamWriter", "Input/output error")


def quiet() -> None:
    """Lets them keep to themselves what the briefing tells, or what is of no use to who trains."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # Of names that DeepSpeed calls and torch has renamed.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # Of the depthwise convolutions' gradients, in a dimension of size one.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
    if not torch.cuda.is_available():
        # Else DeepSpeed looks for every accelerator there is, and warns that it found none.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


@contextmanager
def plain_errors(micro_batch: int) -> Iterator[None]:
    """Turns what a full GPU or a full disk makes the libraries raise into errors that say what to do.

    Raises:
        CvlError: the GPU has no memory left.
        DiskError: the disk has no room left, or refuses.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        hint = f"try --set micro_batch={max(1, micro_batch // 2)}, or --set deepspeed=zero3"
        raise CvlError(f"the GPU has no memory left: {_first_line(error)}", hint=hint) from error
    except (SafetensorError, RuntimeError) as error:
        if not any(word in str(error) for word in _DISK_WORDS):
            raise
        hint = "free some room; the same command goes on from the last checkpoint"
        raise DiskError(f"a checkpoint cannot be written: {_first_line(error)}", hint=hint) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

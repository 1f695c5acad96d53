"""What the training libraries are told before they are used."""

from __future__ import annotations

import os
import warnings

import torch
from transformers.utils import logging


def quiet() -> None:
    """Lets them keep to themselves what the briefing tells, or what is of no use to who trains."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # Of names that DeepSpeed calls and torch has renamed.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # Of depthwise convolutions' gradients, one copy of which a step is no matter.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides", category=UserWarning)
    # Of the depthwise convolutions' gradients, in a dimension of size one.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
    if not torch.cuda.is_available():
        # Else DeepSpeed looks for every accelerator there is, and warns that it found none.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")

"""Prompts as token ids, and which of them are learnt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from cvl.train.samples.conversation import BEGIN, END, UNKNOWN, Prompt
from cvl.train.samples.vocabulary import read_vocabulary

IGNORED = -100
"""The label of a token that is not learnt."""

PICTURE = -200
"""The id that stands for a picture's tokens."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """A prompt in tokens.

    Args:
        input_ids: int64 of shape (tokens,); one `PICTURE` where the picture goes.
        labels: of the same shape; the id where a token is learnt, else `IGNORED`.
    """

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]


def load_tokenizer(folder: Path, max_length: int = 2048) -> PreTrainedTokenizerFast:
    """The tokenizer in a folder: a Vicuna's, a published checkpoint's, or one that this tokenizer saved.

    Its ids are those of the published code, for every text: special tokens written in a text are read as such. It pads
    on the right with the unknown token.

    Args:
        max_length: `model_max_length`, in tokens.

    Raises:
        CheckpointError: there is no tokenizer of Llama's kind.
    """
    backend, legacy = read_vocabulary(folder)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=UNKNOWN,
        padding_side="right",
        truncation_side="right",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        legacy=legacy,  # kept when it is saved
    )


def encode(tokenizer: PreTrainedTokenizerFast, prompt: Prompt) -> Tokens:
    """The tokens of a prompt, all of them, from one encoding of each side of the picture.

    The text after a picture is encoded on its own, as in the published code, so it begins with a word boundary of its
    own. A token is learnt if the first character that it stands for is in an answer. A picture in an answer has its
    own id as label, as in the published code: `expand` ignores it.

    Args:
        tokenizer: from `load_tokenizer`.
    """
    ids, starts = _encode(tokenizer, prompt.text[: prompt.picture_at])
    if prompt.picture_at is not None:
        after, after_starts = _encode(tokenizer, prompt.text[prompt.picture_at :])
        # The second encoding has a beginning-of-sequence token too, and the picture takes its place.
        ids += [PICTURE, *after[1:]]
        starts += [prompt.picture_at + start for start in after_starts]
    input_ids = np.array(ids, dtype=np.int64)
    return Tokens(input_ids, np.where(_inside(starts, prompt.answers), input_ids, IGNORED))


def _encode(tokenizer: PreTrainedTokenizerFast, text: str) -> tuple[list[int], list[int]]:
    """The ids of a text after the beginning-of-sequence token, and for each the offset of its first character."""
    encoding = tokenizer(
        text,
        return_offsets_mapping=True,
        return_attention_mask=False,
        padding=False,
        truncation=False,
        verbose=False,
    )
    return encoding["input_ids"], [start for start, _ in encoding["offset_mapping"]]


def _inside(starts: list[int], spans: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    """For each offset, whether it is in one of the spans, which are in order and apart."""
    bounds = np.array(spans, dtype=np.int64).ravel()
    inside: NDArray[np.bool_] = np.searchsorted(bounds, starts, side="right") % 2 == 1
    return inside

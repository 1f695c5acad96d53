"""Samples as the model sees them, each read from the disk when its turn comes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cvl.errors import AnnotationError, ImageError
from cvl.train.samples.conversation import Prompt, prompt_of
from cvl.train.samples.damage import Damaged
from cvl.train.samples.mix import Mix, Part
from cvl.train.samples.pictures import Preprocessing, open_picture, pixel_values
from cvl.train.samples.tokens import Tokens, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class ChangedError(AnnotationError):
    """An instruction file was changed while it was in use.

    A worker process hands over the text of its traceback, from which the DataLoader makes the error anew: the message
    is that text's last line.
    """

    def __init__(self, message: str) -> None:
        last = message.rstrip().rpartition("\n")[2].removeprefix(f"{type(self).__module__}.{type(self).__name__}: ")
        super().__init__(last, hint="start again, once nobody changes the file any more")


@dataclass(frozen=True, eq=False)
class Sample:
    """One record, prepared.

    Args:
        tokens: ids and labels, with one id where the picture goes.
        pixel_values: of the picture, float32 of shape (3, resolution, resolution); None where the text asks for none.
    """

    tokens: Tokens
    pixel_values: NDArray[np.float32] | None


class SampleDataset(Dataset[Sample | Damaged]):
    """The records of a mix by their numbers there. The same number gives the same sample, in whatever process.

    A picture that cannot be read makes its record a `Damaged`, never an exception. A record that names a picture
    without a place for it in the text opens none.
    """

    def __init__(self, mix: Mix, tokenizer: PreTrainedTokenizerFast, preprocessing: Preprocessing) -> None:
        self.mix = mix
        self._tokenizer = tokenizer
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.mix)

    def __getitem__(self, number: int) -> Sample | Damaged:
        """Record `number` of the mix.

        Raises:
            IndexError: the mix has no such record.
            ChangedError: the instruction file was changed since the mix was made.
        """
        part, record = self.mix.locate(number)
        prompt = _prompt(part, record)
        if prompt.picture_at is None:
            return Sample(encode(self._tokenizer, prompt), None)
        # As verification looks for it: joined as text, so that no path leads out of the folder by beginning with `/`.
        path = Path(f"{part.images}/{part.index.image(record)}")
        try:
            pixels = pixel_values(open_picture(path, self._preprocessing), self._preprocessing)
        except (ImageError, ValueError) as error:  # a path with a NUL is a ValueError to Python
            return Damaged(part.name, record, str(path), str(error).removeprefix(f"{path}: "))
        return Sample(encode(self._tokenizer, prompt), pixels)


def _prompt(part: Part, number: int) -> Prompt:
    """The prompt of a record that the index found good."""
    where = f"{part.index.source.path} was changed while it was in use: record {number}"
    try:
        record: Any = part.index.record(number)
        if isinstance(record, dict) and (record.get("image") or None) == part.index.image(number):
            return prompt_of(record)
    except AnnotationError as error:
        raise ChangedError(f"{where} cannot be read any more") from error
    raise ChangedError(f"{where} is another one")

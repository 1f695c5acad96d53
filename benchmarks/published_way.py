"""Samples prepared in the straightforward way of the published code: what `data_path.py` compares with.

Written anew from its description, with transformers' CLIPImageProcessorPil, which is the CLIPImageProcessor of the
published code's time: the one that transformers 5 prefers works on torchvision and gives other pixels. The tokenizer is
the one that we use, for the published one has not existed since transformers 5.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

IGNORED = -100
PICTURE = -200
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
ROLES = {"human": "USER", "gpt": "ASSISTANT"}
END = "</s>"


class PublishedWay:
    """Prepares records for one resolution."""

    def __init__(self, resolution: int, tokenizer: PreTrainedTokenizerFast) -> None:
        side = {"height": resolution, "width": resolution}
        self._processor: Any = CLIPImageProcessorPil(size={"shortest_edge": resolution}, crop_size=side)
        self._tokenizer = tokenizer

    def __call__(self, path: Path, record: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Pixel values (3, resolution, resolution), ids and labels of a record with a picture."""
        picture = Image.open(path).convert("RGB")
        colour = tuple(int(mean * 255) for mean in self._processor.image_mean)
        square = _expand_to_square(picture, colour)
        pixels = self._processor.preprocess(square, return_tensors="pt")["pixel_values"][0]
        ids, labels = self._tokens(copy.deepcopy(record["conversations"]))
        return pixels, ids, labels

    def _tokens(self, turns: list[dict[str, str]]) -> tuple[Tensor, Tensor]:
        """Ids and labels: the prompt is encoded, and then each round of it again, to count its tokens."""
        for turn in turns:
            if "<image>" in turn["value"]:
                turn["value"] = "<image>\n" + turn["value"].replace("<image>", "").strip()
        prompt = f"{SYSTEM} " + "".join(
            f"{ROLES[turn['from']]}: {turn['value']}{' ' if turn['from'] == 'human' else END}" for turn in turns
        )
        ids = torch.tensor(self._encode(prompt))
        labels = ids.clone()
        labels[0], start = IGNORED, 1
        for number, text in enumerate(prompt.split(END)[:-1]):
            question = text.split(" ASSISTANT: ")[0] + " ASSISTANT: "
            # Each piece is encoded with a beginning-of-sequence token of its own, and without its </s>.
            again = 0 if number == 0 else 1
            ignored = len(self._encode(question)) - 2 - again
            labels[start : start + ignored] = IGNORED
            start += len(self._encode(text)) - again
        labels[start:] = IGNORED
        return ids, labels

    def _encode(self, prompt: str) -> list[int]:
        """The ids of a prompt, each of its pieces around the placeholder encoded on its own."""
        first, *others = [self._tokenizer(piece).input_ids for piece in prompt.split("<image>")]
        ids: list[int] = [*first]
        for piece in others:
            ids += [PICTURE, *piece[1:]]
        return ids


def _expand_to_square(picture: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    width, height = picture.size
    if width == height:
        return picture
    side = max(width, height)
    square = Image.new(picture.mode, (side, side), colour)
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square

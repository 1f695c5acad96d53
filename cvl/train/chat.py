"""Questions to a trained model about a picture, answered word by word."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, TextStreamer

from cvl.errors import UsageError
from cvl.root import Root
from cvl.train.checkpoint.published import import_published, is_ours
from cvl.train.libraries import quiet
from cvl.train.model.modeling import ConvLlava
from cvl.train.samples.collate import expand
from cvl.train.samples.conversation import question
from cvl.train.samples.pictures import Preprocessing, open_picture, pixel_values
from cvl.train.samples.tokens import encode, load_tokenizer

Emit = Callable[[str], None]


@dataclass(frozen=True)
class Decoding:
    """How an answer is chosen.

    Args:
        max_new_tokens: at most so many.
        temperature: 0 takes the likeliest word each time; above it, words are drawn.
        seed: of the draws.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0


@dataclass
class Chat:
    """A model with its tokenizer, the picture that is talked about, and what was said so far."""

    model: ConvLlava
    tokenizer: PreTrainedTokenizerFast
    pixels: torch.Tensor | None
    history: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, text: str, decoding: Decoding, emit: Emit) -> str:
        """The answer to `text`, which `emit` gets piece by piece; both become part of what was said.

        Raises:
            UsageError: there is no text in `text`, or more was said than the model can read.
        """
        input_ids = self._prompt(text).to(self.model.device)
        torch.manual_seed(decoding.seed)
        streamer = _Emitter(self.tokenizer, emit)
        with torch.inference_mode():
            output: Any = self.model.generate(  # type: ignore[misc]  # it wants a protocol that has no other members
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                pixel_values=self.pixels,
                generation_config=_generation(self.model, decoding, input_ids.shape[1]),
                streamer=streamer,
            )
        answer = str(self.tokenizer.decode(output[0, input_ids.shape[1] :], skip_special_tokens=True)).strip()
        self.history.append((text, answer))
        return answer

    def _prompt(self, text: str) -> torch.Tensor:
        """(1, L) ids of all that was said with the new question. Raises UsageError where no answer could follow."""
        tokens = encode(self.tokenizer, question(text, self.history, picture=self.pixels is not None))
        # Only the model's own reach bounds a prompt here; max_length is a bound of training.
        reach = self.model.config.text_config.max_position_embeddings
        ids = expand(tokens, self.model.config.visual_tokens, reach).input_ids
        if len(ids) == reach:
            hint = "ask less at once, or in a chat of its own"
            raise UsageError(f"the conversation is longer than the {reach:,} tokens that the model can read", hint=hint)
        return torch.from_numpy(ids)[None]


def _generation(model: ConvLlava, decoding: Decoding, prompt: int) -> GenerationConfig:
    """The model's special tokens, and how the answer to a prompt of so many tokens is chosen."""
    config = copy.deepcopy(model.generation_config)
    config.max_new_tokens = min(decoding.max_new_tokens, model.config.text_config.max_position_embeddings - prompt)
    if decoding.temperature > 0:
        config.do_sample, config.temperature = True, decoding.temperature
    return config


class _Emitter(TextStreamer):
    """Hands on the answer as it comes, without the prompt and without special tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, emit: Emit) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._emit = emit

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002
        """Hands on one piece."""
        if text:
            self._emit(text)


def open_chat(root: Root, checkpoint: str, picture: Path | None, vision_tower: str | None = None) -> Chat:
    """A chat with the checkpoint, ours or a published one, on the GPU if there is one.

    A published checkpoint is put into our format once, in `ROOT/checkpoints/.imported`, and again when it has changed.

    Raises:
        UsageError, CheckpointError, ImageError: checkpoint or picture cannot be read.
    """
    quiet()
    folder = _ours(root, checkpoint, vision_tower)
    preprocessing = Preprocessing.from_folder(folder)
    pixels = pixel_values(open_picture(picture), preprocessing) if picture is not None else None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: Any = ConvLlava.from_pretrained(folder, dtype="auto")
    model = model.to(device).eval()
    tensor = torch.from_numpy(pixels)[None].to(device, model.dtype) if pixels is not None else None
    return Chat(model, load_tokenizer(folder, model.config.max_length), tensor)


def _ours(root: Root, checkpoint: str, vision_tower: str | None) -> Path:
    path = Path(checkpoint)
    if path.is_dir() and is_ours(path):
        return path
    if not path.is_dir() and checkpoint.count("/") != 1:
        hint = "name a folder such as ShareGPT4V/checkpoints/7b-768/stage3, or a hub repository: ORGANISATION/NAME"
        raise UsageError(f"there is no checkpoint at {checkpoint}", hint=hint)
    imported = root.checkpoints / ".imported" / _key(path, vision_tower)
    if not is_ours(imported):
        import_published(checkpoint, imported, vision_tower=vision_tower)
    return imported


def _key(checkpoint: Path, vision_tower: str | None) -> str:
    """A name for a published checkpoint with this tower, which is another one once any of its files is another."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    place = checkpoint.resolve() if files else checkpoint
    digest = hashlib.sha256(os.fsencode(repr((str(place), vision_tower, state)))).hexdigest()
    return f"{place.name}-{digest[:12]}"

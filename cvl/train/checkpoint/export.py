"""Checkpoints handed back, in the published layout or as one folder; read again and compared before they are done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from cvl.errors import CheckpointError, UsageError
from cvl.train.checkpoint.dialect import TRANSFORMERS, write_published, write_published_tower
from cvl.train.checkpoint.layout import (
    CONFIG,
    GENERATION,
    VOCABULARIES,
    copy_preprocessor,
    copy_tokenizer,
    generation_tokens,
    write_json,
)
from cvl.train.checkpoint.model import LANGUAGE_MODEL, PROJECTOR, TOWER, Source, check_complete, write_into
from cvl.train.checkpoint.published import PUBLISHED_PROJECTOR, VISION_FOLDER, open_published
from cvl.train.checkpoint.weights import Piece, convert, differences, main_dtype, write_weights
from cvl.train.checkpoint.whole import new_folder

Form = Literal["convllava", "hf"]

# The published code chooses the tower's class by what its path contains, in this order of tests.
_MISLEADING = ("siglip", "clip-vit")


def export(checkpoint: Path, target: Path, form: Form, dtype: torch.dtype | None = None) -> tuple[str, ...]:
    """Write a checkpoint of ours, or a published one, in another form at `target`; it appears there in one step.

    `hf` is one self-contained folder in our own format, for `from_pretrained` after `import cvl.train.model`.

    `convllava` is what the published trainer saves: language model and projector in the folder, the vision tower in
    `vision_tower/`, both as safetensors, which the published code reads like the `.bin` it writes. That code takes
    `mm_vision_tower` for a hub repository or for a path from wherever it runs, so the config names the folder's
    absolute path: whoever moves the folder changes that entry.

    What was written is read again, each tensor is compared byte for byte, and only then it takes its place.

    Args:
        checkpoint: the folder to export.
        target: the folder to write.
        form: the layout.
        dtype: what the tensors are written in; what they are if not given.

    Returns:
        What there is to know about the export, a sentence each, for the user.

    Raises:
        CheckpointError: the checkpoint cannot be read, or what was written is not what was read.
        UsageError: there is something at `target`, or the published code could not load such a model from there.
        DiskError: the disk has no room or refuses.
    """
    source, remarks = _open(checkpoint)
    source = replace(source, pieces=convert(source.pieces, dtype))
    check_complete(source)
    if form == "convllava":
        _check_place(target)
        remarks += _remarks(source, target.resolve())
    with new_folder(target) as folder:
        if form == "hf":
            write_into(folder, source)
            _compare(source.pieces, _open(folder)[0].pieces, folder)
        else:
            _write_published(folder, source, checkpoint, target.resolve() / VISION_FOLDER)
            written = open_published(folder, folder / VISION_FOLDER).source
            _compare(source.pieces, written.pieces, folder)
    return remarks


def _open(checkpoint: Path) -> tuple[Source, tuple[str, ...]]:
    published = open_published(checkpoint)
    return published.source, published.mended


def _write_published(folder: Path, source: Source, checkpoint: Path, tower: Path) -> None:
    dtype = str(main_dtype(source.pieces)).removeprefix("torch.")
    vision = folder / VISION_FOLDER
    vision.mkdir()
    write_weights(folder, sorted(_published_words(source.pieces), key=lambda piece: piece.name))
    write_weights(vision, _part(source.pieces, TOWER, ""))
    copy_tokenizer(source.tokenizer, folder, source.config.max_length)
    copy_preprocessor(source.preprocessor, vision, source.config.resolution)
    write_json(vision / CONFIG, write_published_tower(source.config, dtype))
    write_json(folder / GENERATION, _generation(source))
    write_json(folder / CONFIG, write_published(source.config, dtype, str(checkpoint), str(tower)))


def _published_words(pieces: Iterable[Piece]) -> Sequence[Piece]:
    pieces = list(pieces)
    return [*_part(pieces, LANGUAGE_MODEL, ""), *_part(pieces, PROJECTOR, PUBLISHED_PROJECTOR)]


def _part(pieces: Iterable[Piece], prefix: str, new: str) -> list[Piece]:
    return [
        replace(piece, name=new + piece.name.removeprefix(prefix)) for piece in pieces if piece.name.startswith(prefix)
    ]


def _generation(source: Source) -> dict[str, object]:
    """The generation_config.json of the published trainer, with its bound on a sequence."""
    tokens = generation_tokens(source.config)
    return {
        **tokens,
        "max_length": source.config.text_config.max_position_embeddings,
        "transformers_version": TRANSFORMERS,
    }


def _remarks(source: Source, target: Path) -> tuple[str, ...]:
    remarks = [f"config.json names {target / VISION_FOLDER} as mm_vision_tower: change it if you move the folder"]
    if not (source.tokenizer / VOCABULARIES[0]).is_file():
        remarks.append(f"there is no {VOCABULARIES[0]}, which the published code makes its tokenizer from")
    return tuple(remarks)


def _compare(expected: Iterable[Piece], written: Iterable[Piece], folder: Path) -> None:
    unequal = differences(expected, {piece.name: piece for piece in written})
    if unequal:
        raise CheckpointError(
            f"{len(unequal)} tensors of the export are not what was exported, the first of them {unequal[0]}",
            hint=f"look at the disk of {folder.parent}, then run the same command again",
        )


def _check_place(target: Path) -> None:
    path = str(target.resolve())
    misleading = [word for word in _MISLEADING if word in path]
    if misleading or ("lknet" in path.lower() and "convnext" not in path):
        word = misleading[0] if misleading else "lknet"
        raise UsageError(
            f"the published code would take the vision tower in {path} for another kind, for the {word!r} in its path",
            hint="name a folder without it",
        )

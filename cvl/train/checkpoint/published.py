"""The published layout, read: a LLaMA with a projector in one folder, and the vision tower in another.

What                     as the published trainer saves it   as the hub has it
language model           FOLDER                              ORG/MODEL
  and projector            model.*, lm_head.*, model.mm_projector.*
vision tower             FOLDER/vision_tower                 ORG/TOWER, which MODEL's config.json names
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cvl.errors import CheckpointError, GoneError, UsageError
from cvl.train.checkpoint.dialect import read_published, speaks_published
from cvl.train.checkpoint.hub import fetch_repository
from cvl.train.checkpoint.layout import CONFIG, PREPROCESSOR, is_ours, read_config, read_json
from cvl.train.checkpoint.model import LANGUAGE_MODEL, PROJECTOR, TOWER, Source, renamed, write_checkpoint
from cvl.train.checkpoint.tower import encoder_config, encoder_pieces
from cvl.train.checkpoint.weights import Weights, has_weights

__all__ = ["Published", "import_published", "is_ours", "is_published", "open_published"]

VISION_FOLDER = "vision_tower"
NAME_THE_TOWER = "name the trained tower: --vision-tower FOLDER or --vision-tower ORGANISATION/NAME"
PUBLISHED_PROJECTOR = "model.mm_projector."


@dataclass(frozen=True)
class Published:
    """A published checkpoint, found and understood; its tensors are still on the disk.

    Args:
        source: what a checkpoint of ours is written from.
        mended: what was wrong with it and how it is read, a sentence each, for the user.
    """

    source: Source
    mended: tuple[str, ...]


def is_published(folder: Path) -> bool:
    """Whether a folder holds the language model and projector of a published checkpoint."""
    try:
        return speaks_published(read_json(folder / CONFIG))
    except CheckpointError:
        return False


def import_published(
    source: str | Path, target: Path, *, vision_tower: str | Path | None = None, dtype: torch.dtype | None = None
) -> tuple[str, ...]:
    """Write a checkpoint of ours at `target` from a published one; it appears there in one step, whole.

    Args:
        source: a folder, or a repository of the hub.
        target: the folder to write.
        vision_tower: where the vision tower lies, folder or repository, if it is not where the checkpoint says.
        dtype: what the tensors are written in; what they are if not given.

    Returns:
        What was mended on the way, a sentence each, for the user.

    Raises:
        CheckpointError: it cannot be read, or its tower is not its own.
        UsageError: there is something at `target`.
        TransferError: it could not be had from the hub.
        DiskError: the disk has no room or refuses.
    """
    published = open_published(source, vision_tower)
    write_checkpoint(published.source, target, dtype)
    return published.mended


def open_published(source: str | Path, vision_tower: str | Path | None = None) -> Published:
    """Find the two halves of a published checkpoint and what they are; from the hub they are downloaded.

    One of ours, which somebody may have published too, is taken as it is.

    Raises:
        CheckpointError: it cannot be read, or its tower is not its own.
        TransferError: it could not be had from the hub.
    """
    folder = _local(source)
    if is_ours(folder):
        pieces = list(Weights(folder).values())
        return Published(Source(read_config(folder), pieces, folder, folder, str(folder)), ())
    entries = read_json(folder / CONFIG)
    if not speaks_published(entries):
        raise CheckpointError(f"{source} is no published ConvLLaVA: its config.json names no mm_vision_tower")
    tower, mended = _find_tower(folder, entries, vision_tower)
    config = encoder_config(tower)
    _check_width(entries, tower, (config.hidden_sizes or (0,))[-1])
    resolution = _resolution(tower)
    words = Weights(folder)
    projector = {name: words[name] for name in words if name.startswith(PUBLISHED_PROJECTOR)}
    pieces = [
        *renamed(encoder_pieces(Weights(tower)), TOWER),
        *renamed({name.removeprefix(PUBLISHED_PROJECTOR): piece for name, piece in projector.items()}, PROJECTOR),
        *renamed({name: words[name] for name in words if name not in projector}, LANGUAGE_MODEL),
    ]
    return Published(Source(read_published(entries, config, resolution), pieces, folder, tower, str(source)), mended)


def _local(place: str | Path) -> Path:
    path = Path(place).expanduser()
    return path if path.is_dir() else fetch_repository(str(place))


def _find_tower(folder: Path, entries: Mapping[str, Any], named: str | Path | None) -> tuple[Path, tuple[str, ...]]:
    """The tower's folder, and a sentence if it is not the one that the config names."""
    recorded = str(entries["mm_vision_tower"])
    inside = folder / VISION_FOLDER
    if named is not None:
        return _local(named), ()
    if not has_weights(inside):
        return _recorded_tower(folder, recorded), ()
    if Path(recorded).is_dir() and Path(recorded).samefile(inside):
        return inside, ()
    return inside, (
        f"config.json names {recorded} as the vision tower, since the published trainer records the one that it began "
        f"with; the trained one in {VISION_FOLDER}/ is taken",
    )


def _recorded_tower(folder: Path, recorded: str) -> Path:
    # A folder of that name in the checkpoint, or below the current one, which is where the published code looks.
    here = (path for path in (folder / recorded, Path(recorded)) if path.is_dir())
    try:
        return next(here, None) or fetch_repository(recorded)
    except (GoneError, UsageError) as error:
        raise CheckpointError(
            f"{folder} has no {VISION_FOLDER}/ with weights, and its config.json names {recorded}: {error}",
            hint=NAME_THE_TOWER,
        ) from error


def _check_width(entries: Mapping[str, Any], tower: Path, width: int) -> None:
    expected = entries.get("mm_hidden_size", width)
    if width != expected:
        raise CheckpointError(
            f"the vision tower {entries['mm_vision_tower']} at {tower} is {width} wide, "
            f"but the projector wants {expected} (mm_hidden_size): it is not the tower of this checkpoint",
            hint=NAME_THE_TOWER,
        )


def _resolution(tower: Path) -> int:
    """Side of the pictures in pixels: what the preprocessor makes of them counts, not what the config remembers."""
    crop = read_json(tower / PREPROCESSOR).get("crop_size")
    side = crop.get("height") if isinstance(crop, dict) else crop
    if not isinstance(side, int):
        raise CheckpointError(f"{tower / PREPROCESSOR} names no crop_size, expected the pictures' side in pixels")
    return side

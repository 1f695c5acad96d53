"""Where a stage's weights come from: the start weights, the stage before, or a checkpoint that the user names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cvl.errors import UsageError
from cvl.manifest import Catalog, Model, Stage
from cvl.root import Root
from cvl.train.checkpoint.published import import_published, is_ours, is_published
from cvl.train.checkpoint.start import assemble_start
from cvl.train.folder import StageFolder, stage_folder
from cvl.train.job import Job

_TUNING = 3
"""The stage that what is published as "pretrain" is trained for: it comes after stage 2."""


@dataclass(frozen=True)
class Origin:
    """The weights that a stage starts from.

    Args:
        text: what they are, for people.
        folder: of a checkpoint of ours, which may have to be made first.
        parts: the folders of the start weights, language model and encoder, where that is what they are.
        published: the folder or hub repository of a published checkpoint, where that is what they are.
        vision_tower: where a published checkpoint's vision tower lies, if the user says so.
    """

    text: str
    folder: Path
    parts: tuple[Path, Path] | None = None
    published: str | None = None
    vision_tower: str | None = None

    @property
    def has_to_be_made(self) -> bool:
        """Whether `folder` is not here yet in our format."""
        return not is_ours(self.folder)


def origin_of(catalog: Catalog, root: Root, job: Job) -> Origin:
    """Where the stage's weights come from; nothing is written yet.

    Raises:
        UsageError: they are not there; the hint is the command that brings them.
    """
    target = stage_folder(root, job.name, job.number)
    if job.start is not None:
        return _named(job.start, job.vision_tower, target)
    if job.stage.starts_from == "weights":
        return _weights(catalog, root, target, job.model)
    number = int(job.stage.starts_from.removeprefix("stage"))
    before = stage_folder(root, job.name, number)
    if not before.is_done:
        named = f" --name {job.name}" if job.name != job.model else ""
        hint = f"cvl train --stage {number} --model {job.model}{named}"
        if job.number == _TUNING:
            size = catalog.models[job.model].resolution
            hint += f", or begin from a published one: --from ConvLLaVA/ConvLLaVA-pretrain-{size}"
        raise UsageError(f"stage {number} of {job.name} is not trained: nothing is at {before.path}", hint=hint)
    return Origin(f"stage {number} of {job.name}", before.path)


def make(origin: Origin, model: Model, stage: Stage) -> tuple[str, ...]:
    """Puts the weights together in `origin.folder`, in our format; returns what was mended on the way.

    Raises:
        CheckpointError: what is there cannot be read.
    """
    dtype = torch.bfloat16 if stage.scripts.precision == "bf16" else torch.float32
    if origin.parts is not None:
        language_model, encoder = origin.parts
        assemble_start(
            language_model,
            encoder,
            origin.folder,
            model,
            max_length=stage.scripts.max_length,
            seed=stage.scripts.seed,
            dtype=dtype,
        )
        return ()
    return import_published(origin.published or "", origin.folder, vision_tower=origin.vision_tower, dtype=dtype)


def _named(named: str, tower: str | None, target: StageFolder) -> Origin:
    path = Path(named).expanduser()
    if path.is_dir() and path.resolve().is_relative_to(target.path.resolve()):
        raise UsageError(f"a stage cannot start from the folder that it writes: {path}", hint="give the run a --name")
    if path.is_dir() and is_ours(path):
        return Origin(f"the checkpoint at {path.resolve()}", path)
    if StageFolder(path).run.is_file():
        raise UsageError(f"{path} is not trained to its end", hint="`cvl status` says what to type")
    if path.is_dir() and not is_published(path):
        raise UsageError(f"{path} holds no checkpoint", hint="name a folder with a config.json, or a hub repository")
    if path.is_dir():
        named = str(path.resolve())
    if not path.is_dir() and (named.count("/") != 1 or named.startswith((".", "/", "~"))):
        raise UsageError(f"there is no checkpoint at {named}", hint="name a folder, or a repository: ORGANISATION/NAME")
    return Origin(f"the published checkpoint {named}", target.start, published=named, vision_tower=tower)


def _weights(catalog: Catalog, root: Root, target: StageFolder, model: str) -> Origin:
    manifest = catalog.models[model]
    wanted = (manifest.language_model, manifest.vision_tower)
    absent = [part.source for part in wanted if not (root.at(part.path) / "config.json").is_file()]
    if absent:
        raise UsageError(f"the start weights of {model} are not here", hint=f"cvl fetch {' '.join(absent)}")
    language_model, encoder = (root.at(part.path) for part in wanted)
    return Origin(f"{language_model.name} and {encoder.name}", target.start, parts=(language_model, encoder))

"""What `cvl train` is asked for, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from cvl.manifest import Stage


@dataclass(frozen=True)
class Job:
    """What is to be trained.

    Args:
        number: of the stage.
        stage: its manifest, with the changes of this run.
        model: the name of the model's manifest.
        name: of the run: its checkpoints are in `ROOT/checkpoints/NAME`.
        start: a checkpoint to start from, a folder or a hub repository; None is what the stage says.
        vision_tower: where a published checkpoint's vision tower lies, if not where the checkpoint says.
        restart: whether to forget an unfinished run.
    """

    number: int
    stage: Stage
    model: str
    name: str
    start: str | None = None
    vision_tower: str | None = None
    restart: bool = False

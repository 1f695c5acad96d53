"""The folder of one stage of one run: `ROOT/checkpoints/NAME/stageN`, and what it holds when.

start/             the start weights in one piece, until the stage is done
run.json           what the run was begun with, to go on only with the same
checkpoint-500/    to resume from; complete once `complete` lies in it
log.jsonl          a line a logged step
tensorboard/
damaged.jsonl      pictures that could not be read, with their records
config.json …      the trained model
provenance.json    what it was trained from and with; written last: a stage that has it is done
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from cvl.errors import UsageError
from cvl.root import Root

_COMPLETE = "complete"


@dataclass(frozen=True)
class StageFolder:
    """Where one stage of one run lies. Nothing is created by asking."""

    path: Path

    @property
    def start(self) -> Path:
        """The start weights in one piece, where they had to be put together."""
        return self.path / "start"

    @property
    def run(self) -> Path:
        """What the run was begun with."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        """A line a logged step."""
        return self.path / "log.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's files."""
        return self.path / "tensorboard"

    @property
    def damaged(self) -> Path:
        """Pictures that could not be read, with their records."""
        return self.path / "damaged.jsonl"

    @property
    def provenance(self) -> Path:
        """What the model was trained from and with."""
        return self.path / "provenance.json"

    @property
    def is_done(self) -> bool:
        """Whether the stage was trained to its end."""
        return self.provenance.is_file()

    def checkpoint(self) -> Path | None:
        """The latest checkpoint to resume from that is complete."""
        complete = [path for path in self._checkpoints() if (path / _COMPLETE).is_file()]
        return max(complete, key=step_of, default=None)

    def mark_complete(self, step: int) -> None:
        """Says that the checkpoint of `step` is whole, and only then removes those before it."""
        (self.path / f"checkpoint-{step}" / _COMPLETE).touch()
        self._remove([path for path in self._checkpoints() if step_of(path) < step])

    def remove_incomplete(self) -> None:
        """Removes checkpoints that were being written when the run ended."""
        self._remove([path for path in self._checkpoints() if not (path / _COMPLETE).is_file()])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for one run. A process that is killed holds nothing.

        Raises:
            UsageError: another one holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            hint = "wait for it to end, or give this run a --name of its own"
            raise UsageError(f"another cvl is training in {self.path}", hint=hint) from error
        try:
            self.restore()
            yield
        finally:
            lock.release()

    def remove_start(self) -> None:
        """Removes the start weights, to put them together anew."""
        self._remove([self.start])

    @contextmanager
    def finished(self) -> Iterator[Path]:
        """A folder to write the trained model into; once all of it is there it takes its place, config.json last."""
        unfinished = self.path / ".unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        for path in sorted(unfinished.iterdir(), key=lambda path: path.name == "config.json"):
            path.replace(self.path / path.name)
        unfinished.rmdir()

    def tidy(self) -> None:
        """Removes what a stage needs only until it is done."""
        self._remove([*self._checkpoints(), self.start])

    @contextmanager
    def anew(self) -> Iterator[None]:
        """Sets everything aside while something takes its place, and removes it only once that has begun well."""
        if self.path.exists():
            self.path.rename(self._before)
        try:
            yield
        except BaseException:
            self.restore()
            raise
        shutil.rmtree(self._before, ignore_errors=True)

    def restore(self) -> None:
        """Puts back what a restart had set aside, if it did not come to take its place."""
        if self._before.exists():
            shutil.rmtree(self.path, ignore_errors=True)
            self._before.rename(self.path)

    @property
    def _before(self) -> Path:
        return self.path.with_name(f".{self.path.name}.before")

    def _checkpoints(self) -> list[Path]:
        return [path for path in self.path.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]

    def _remove(self, folders: list[Path]) -> None:
        for folder in folders:
            # The mark goes first: a folder that is half removed must not look complete.
            (folder / _COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def stage_folder(root: Root, name: str, stage: int) -> StageFolder:
    """Where stage `stage` of the run called `name` lies."""
    return StageFolder(root.checkpoints / name / f"stage{stage}")


def read_facts(folder: StageFolder) -> dict[str, Any] | None:
    """What a run's stage was begun with, from `run.json`; None where it was not begun, or that cannot be read."""
    try:
        facts = msgspec.json.decode(folder.run.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return facts if isinstance(facts, dict) else None


def step_of(checkpoint: Path) -> int:
    """The optimizer step that `checkpoint-STEP` was written after."""
    return int(checkpoint.name.removeprefix("checkpoint-"))

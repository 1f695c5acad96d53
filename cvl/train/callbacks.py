"""What happens around the steps of transformers' Trainer: the log, checkpoints to resume from, and stopping in time."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import msgspec
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cvl.errors import EXIT_CANCELLED, CvlError
from cvl.train.company import any_of, meet
from cvl.train.folder import StageFolder
from cvl.train.progress import Listener, Step
from cvl.train.samples.damage import DamageLog

_FEW = 10
"""So many pictures may be damaged in any run."""

_SAME_WISH = 5.0
"""Seconds within which several signals are one wish to stop."""


class Log(TrainerCallback):
    """Tells the listener of every logged step, and keeps it as a line of JSON.

    A loss that is no number ends the run: all that follows would be lost.
    """

    def __init__(self, folder: StageFolder, listener: Listener, batch: int, epochs: int) -> None:
        self._folder = folder
        self._listener = listener
        self._batch = batch
        self._epochs = epochs
        self._since = (time.monotonic(), 0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock, and forgets logged steps that are about to be taken again."""
        self._since = (time.monotonic(), state.global_step)
        if state.is_world_process_zero:
            _forget_after(self._folder, state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tells of one logged step. Raises CvlError, on every process alike, when the loss is no number."""
        if not logs or "loss" not in logs:
            return
        step = self._step(state, logs)
        if not math.isfinite(step.loss):
            hint = "begin anew, --restart, with a smaller --set learning_rate or with --set max_grad_norm=1"
            raise CvlError(f"the loss is {step.loss} at step {step.step} of {step.steps}", hint=hint)
        if state.is_world_process_zero:
            with self._folder.log.open("ab") as file:
                file.write(msgspec.json.encode(step) + b"\n")
            self._listener.step(step)

    def _step(self, state: TrainerState, logs: dict[str, Any]) -> Step:
        now, (before, since) = time.monotonic(), self._since
        self._since = (now, state.global_step)
        records = (state.global_step - since) * self._batch
        return Step(
            step=state.global_step,
            steps=state.max_steps,
            epoch=state.global_step / state.max_steps * self._epochs,
            loss=float(logs["loss"]),
            learning_rate=float(logs["learning_rate"]),
            grad_norm=float(logs["grad_norm"]) if logs.get("grad_norm") is not None else None,
            records_per_second=records / max(now - before, 1e-9),
        )


class DamageBrake(TrainerCallback):
    """Ends the run before a checkpoint if too many of its pictures could not be read: a disk may have gone away."""

    def __init__(self, damage: DamageLog, batch: int, bound: float) -> None:
        self._damage = damage
        self._batch = batch
        self._bound = bound

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Counts before every checkpoint. Raises CvlError, on every process alike."""
        if not control.should_save:
            return
        damaged = self._damage.read() if state.is_world_process_zero else ()
        seen = state.global_step * self._batch
        if any_of(len(damaged) > max(_FEW, self._bound * seen), args.device):
            examples = f", such as {damaged[-1].path}: {damaged[-1].reason}" if damaged else ""
            hint = "mend them and run the same command again, or allow more: --set max_skipped=SHARE"
            raise CvlError(
                f"{len(damaged):,} of {seen:,} records have pictures that cannot be read{examples}", hint=hint
            )


class Checkpoints(TrainerCallback):
    """Marks a checkpoint complete when every process has written its part, and only then removes the one before."""

    def __init__(self, folder: StageFolder) -> None:
        self._folder = folder

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Lets this run's intervals count, and not those of the run that wrote the checkpoint."""
        state.logging_steps, state.save_steps = int(args.logging_steps), int(args.save_steps)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Waits for all, then marks."""
        meet()
        if state.is_world_process_zero:
            self._folder.mark_complete(state.global_step)


class StopInTime(TrainerCallback):
    """Ends the run with a checkpoint after the step in which Ctrl-C or SIGTERM came to any of the processes."""

    def __init__(self) -> None:
        self.asked = False
        self._first = math.inf

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        """Takes the wish; a second one is not waited for.

        Launchers and schedulers send several signals for one wish, right after each other.
        """
        now = time.monotonic()
        if now - self._first > _SAME_WISH:
            os._exit(EXIT_CANCELLED)
        self._first = min(self._first, now)
        self.asked = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Agrees with all processes on whether to stop: a signal reaches them at different steps."""
        # A wish may come while the processes agree: it must not be overwritten.
        if any_of(self.asked, args.device):
            self.asked = True
            control.should_save = True
            control.should_training_stop = True


@contextmanager
def signals_to(stop: StopInTime) -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM be answered by `stop` instead of at once."""
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _forget_after(folder: StageFolder, step: int) -> None:
    """Drops logged steps after `step`: the run goes on from there and takes them again."""
    try:
        lines = folder.log.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    kept = [line for line in lines if line.endswith(b"\n") and msgspec.json.decode(line)["step"] <= step]
    folder.log.write_bytes(b"".join(kept))

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench import Told, logged
from transformers import TrainerControl, TrainerState, TrainingArguments

from cvl.errors import CvlError
from cvl.train import callbacks
from cvl.train.callbacks import Checkpoints, DamageBrake, Log, StopInTime, signals_to
from cvl.train.folder import StageFolder
from cvl.train.samples.damage import Damaged, DamageLog

RECORDS = 8


@pytest.fixture
def folder(tmp_path: Path) -> StageFolder:
    return StageFolder(tmp_path)


@pytest.fixture
def args(tmp_path: Path) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True, logging_steps=2, save_steps=3, report_to=[])


def state(step: int, steps: int = 10, *, leads: bool = True) -> TrainerState:
    return TrainerState(global_step=step, max_steps=steps, is_world_process_zero=leads)


def log(callback: Log, args: TrainingArguments, step: int, loss: float, *, leads: bool = True, **more: Any) -> None:
    logs = {"loss": loss, "learning_rate": 1e-3, **more}
    callback.on_log(args, state(step, leads=leads), TrainerControl(), logs=logs)


def test_a_logged_step_is_told_and_kept(folder: StageFolder, args: TrainingArguments) -> None:
    told = Told()
    callback = Log(folder, told, RECORDS, epochs=2)
    callback.on_train_begin(args, state(0), TrainerControl())
    log(callback, args, 5, 1.5, grad_norm=2.5)
    (step,) = told.steps
    assert (step.step, step.steps, step.epoch, step.loss) == (5, 10, 1.0, 1.5)
    assert (step.learning_rate, step.grad_norm) == (1e-3, 2.5)
    assert step.records_per_second > 0
    assert logged(folder) == [msgspec.json.decode(msgspec.json.encode(step))]


def test_a_norm_that_nobody_measured_is_none(folder: StageFolder, args: TrainingArguments) -> None:
    told = Told()
    log(Log(folder, told, RECORDS, 1), args, 1, 1.0)
    assert told.steps[0].grad_norm is None


def test_what_is_no_step_is_not_logged(folder: StageFolder, args: TrainingArguments) -> None:
    told = Told()
    callback = Log(folder, told, RECORDS, 1)
    callback.on_log(args, state(10), TrainerControl(), logs={"train_runtime": 3.0})
    callback.on_log(args, state(10), TrainerControl(), logs=None)
    assert told.steps == []
    assert not folder.log.exists()


def test_only_the_process_that_leads_writes(folder: StageFolder, args: TrainingArguments) -> None:
    told = Told()
    log(Log(folder, told, RECORDS, 1), args, 1, 1.0, leads=False)
    assert told.steps == []
    assert not folder.log.exists()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("leads", [True, False])
def test_a_loss_that_is_no_number_ends_every_process(
    folder: StageFolder, args: TrainingArguments, loss: float, leads: bool
) -> None:
    with pytest.raises(CvlError, match=rf"the loss is {loss} at step 4 of 10") as caught:
        log(Log(folder, Told(), RECORDS, 1), args, 4, loss, leads=leads)
    assert caught.value.exit_code == 1
    # To go on with another rate would be another run.
    assert "--restart" in str(caught.value.hint)
    assert "learning_rate" in str(caught.value.hint)


def test_steps_that_are_taken_again_are_forgotten(folder: StageFolder, args: TrainingArguments) -> None:
    callback = Log(folder, Told(), RECORDS, 1)
    for step in range(1, 6):
        log(callback, args, step, 1.0)
    with folder.log.open("ab") as file:
        file.write(b'{"step":6,"lo')
    callback.on_train_begin(args, state(3), TrainerControl())
    assert [line["step"] for line in logged(folder)] == [1, 2, 3]


def checkpoint(folder: StageFolder, step: int) -> Path:
    path = folder.path / f"checkpoint-{step}"
    path.mkdir()
    return path


def test_the_checkpoint_before_goes_when_the_next_is_whole(folder: StageFolder, args: TrainingArguments) -> None:
    first, second = checkpoint(folder, 2), checkpoint(folder, 4)
    callback = Checkpoints(folder)
    callback.on_save(args, state(2), TrainerControl())
    assert folder.checkpoint() == first
    callback.on_save(args, state(4), TrainerControl())
    assert folder.checkpoint() == second
    assert not first.exists()


def test_who_does_not_lead_marks_nothing(folder: StageFolder, args: TrainingArguments) -> None:
    checkpoint(folder, 2)
    Checkpoints(folder).on_save(args, state(2, leads=False), TrainerControl())
    assert folder.checkpoint() is None


@pytest.mark.parametrize(
    ("damaged", "bound", "saves", "ends"),
    [
        (10, 0.05, True, False),  # so few may be anywhere
        (11, 0.05, True, True),
        (11, 0.05, False, False),  # looked at only when a checkpoint is due
        (11, 0.2, True, False),  # 16 of the 80 that were seen are allowed
    ],
)
def test_too_many_damaged_pictures_end_the_run_before_a_checkpoint(
    folder: StageFolder, args: TrainingArguments, damaged: int, bound: float, saves: bool, ends: bool
) -> None:
    damage = DamageLog(folder.damaged)
    for number in range(damaged):
        damage(Damaged("tiny", number, f"/t/{number}.jpg", "gone"))
    brake = DamageBrake(damage, RECORDS, bound)
    control = TrainerControl(should_save=saves)
    if not ends:
        brake.on_step_end(args, state(10), control)
        return
    with pytest.raises(CvlError, match=r"11 of 80 records have pictures that cannot be read, such as /t/10\.jpg: gone"):
        brake.on_step_end(args, state(10), control)


def test_the_intervals_of_this_run_count_and_not_those_of_the_checkpoint(
    folder: StageFolder, args: TrainingArguments
) -> None:
    gone_on = TrainerState(logging_steps=500, save_steps=700)
    Checkpoints(folder).on_train_begin(args, gone_on, TrainerControl())
    assert (gone_on.logging_steps, gone_on.save_steps) == (2, 3)


@pytest.mark.parametrize("wish", [signal.SIGTERM, signal.SIGINT])
def test_a_wish_is_answered_at_the_end_of_the_step(args: TrainingArguments, wish: signal.Signals) -> None:
    stop = StopInTime()
    control = TrainerControl()
    before = signal.getsignal(wish)
    with signals_to(stop):
        stop.on_step_end(args, state(1), control)
        assert (control.should_save, control.should_training_stop) == (False, False)
        os.kill(os.getpid(), wish)
        assert stop.asked
        stop.on_step_end(args, state(2), control)
    assert (control.should_save, control.should_training_stop) == (True, True)
    assert signal.getsignal(wish) is before


def test_a_wish_that_comes_while_all_agree_is_not_lost(
    args: TrainingArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopInTime()

    def agree(wish: bool, _device: object) -> bool:
        stop.ask(signal.SIGTERM, None)
        return wish

    monkeypatch.setattr(callbacks, "any_of", agree)
    control = TrainerControl()
    stop.on_step_end(args, state(1), control)
    assert not control.should_training_stop
    stop.on_step_end(args, state(2), control)
    assert control.should_training_stop


@pytest.mark.parametrize(("later", "ended"), [(1.0, []), (20.0, [130])])
def test_only_a_wish_that_is_repeated_later_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, later: float, ended: list[int]
) -> None:
    now = [100.0]
    codes: list[int] = []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("os._exit", codes.append)
    stop = StopInTime()
    stop.ask(signal.SIGTERM, None)
    now[0] += later
    # A scheduler sends both, one right after the other.
    stop.ask(signal.SIGINT, None)
    assert codes == ended


def test_the_wish_of_another_process_is_no_first_one_of_this(
    args: TrainingArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    monkeypatch.setattr(callbacks, "any_of", lambda _wish, _device: True)
    stop = StopInTime()
    stop.on_step_end(args, state(1), TrainerControl())
    assert stop.asked
    stop.ask(signal.SIGTERM, None)
    assert codes == []

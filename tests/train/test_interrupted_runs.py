"""Killed, stopped and started again: the run goes on, and ends with the same weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from bench import (
    EPOCHS,
    STEPS,
    WORKER,
    Told,
    changed,
    command_line,
    finish,
    folder_of,
    logged,
    signal_all,
    ten_steps,
    train_here,
    wait_for_step,
    weights,
    zero_run,
)
from filelock import FileLock
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from workshop import Workshop

from cvl.errors import Cancelled, UsageError
from cvl.train.folder import StageFolder

LONG = (EPOCHS, "save_every=2")
UNFINISHED = f"unfinished-{WORKER}"


@pytest.fixture(scope="session")
def whole(journey: Workshop, shared: Path) -> dict[str, Tensor]:
    """The weights of a stage 1 of ten steps that nobody stopped."""
    with FileLock(shared / "whole.lock"):
        done = train_here(journey, 1, EPOCHS, name="whole")
    return weights(done.folder)


def stop(wish: signal.Signals = signal.SIGTERM) -> None:
    """What a scheduler does to this process."""
    os.kill(os.getpid(), wish)


def begin(shop: Workshop, name: str, *, until: int = 5, wish: signal.Signals = signal.SIGTERM) -> StageFolder:
    """A stage 1 of ten steps that is told to stop at one of them."""
    # What comes when a step was logged is heard at the end of the next one.
    told = Told(at={until - 1: lambda: stop(wish)})
    with pytest.raises(Cancelled) as caught:
        train_here(shop, 1, *LONG, name=name, restart=True, told=told)
    assert str(caught.value) == f"stopped after step {until} of {STEPS}; a checkpoint is saved"
    assert caught.value.hint == "run the same command again to go on"
    return folder_of(shop, name, 1)


def go_on(shop: Workshop, name: str, *changes: str) -> tuple[int, dict[str, Tensor]]:
    """The step that the run went on after, and its weights in the end."""
    told = Told()
    done = train_here(shop, 1, *LONG, *changes, name=name, told=told)
    return told.brief.resumed, weights(done.folder)


def test_the_reference_has_its_ten_steps(whole: dict[str, Tensor], journey: Workshop) -> None:
    assert [line["step"] for line in logged(folder_of(journey, "whole", 1))] == list(range(1, STEPS + 1))
    assert not list(folder_of(journey, "whole", 1).path.glob("checkpoint-*"))


@pytest.mark.parametrize("wish", [signal.SIGTERM, signal.SIGINT])
def test_a_wish_to_stop_is_answered_with_a_checkpoint_after_the_step(
    journey: Workshop, whole: dict[str, Tensor], wish: signal.Signals
) -> None:
    handler = signal.getsignal(wish)
    stage = begin(journey, f"stopped-{wish.name}", wish=wish)
    assert signal.getsignal(wish) is handler
    # The checkpoint of step 4 went when that of step 5 was whole.
    assert [path.name for path in stage.path.glob("checkpoint-*")] == ["checkpoint-5"]
    assert not stage.is_done
    resumed, after = go_on(journey, f"stopped-{wish.name}")
    assert resumed == 5
    assert changed(whole, after) == set()


def test_stopped_again_and_again_each_step_is_logged_once(journey: Workshop, whole: dict[str, Tensor]) -> None:
    stage = begin(journey, "often", until=3)
    with pytest.raises(Cancelled):
        train_here(journey, 1, *LONG, name="often", told=Told(at={6: stop}))
    resumed, after = go_on(journey, "often")
    assert resumed == 7
    assert changed(whole, after) == set()
    assert [line["step"] for line in logged(stage)] == list(range(1, STEPS + 1))
    expected = [line["loss"] for line in logged(folder_of(journey, "whole", 1))]
    assert [line["loss"] for line in logged(stage)] == expected
    events = EventAccumulator(str(stage.tensorboard))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, STEPS + 1))


def test_a_wish_after_the_last_step_comes_too_late(journey: Workshop, whole: dict[str, Tensor]) -> None:
    done = train_here(journey, 1, *LONG, name="late", restart=True, told=Told(at={STEPS: stop}))
    assert done.steps == STEPS
    assert changed(whole, weights(done.folder)) == set()
    assert not list(done.folder.glob("checkpoint-*"))


def test_more_steps_may_be_logged_than_a_checkpoint_holds(
    journey: Workshop, whole: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = begin(journey, "behind", until=5)
    # As if the machine had gone down while the checkpoint of step 5 was written: that of step 4 would still be there.
    (stage.path / "checkpoint-5").rename(stage.path / "checkpoint-6")
    half(stage, 6)
    with stage.log.open("a") as log:
        log.write('{"step":6,"loss":')
    resumed, after = go_on(journey, "behind")
    assert resumed == 0
    assert changed(whole, after) == set()
    assert [line["step"] for line in logged(stage)] == list(range(1, STEPS + 1))


def half(stage: StageFolder, step: int) -> None:
    """Leaves a checkpoint as a process does that is killed while it writes it."""
    folder = stage.path / f"checkpoint-{step}"
    (folder / "complete").unlink(missing_ok=True)
    (folder / "trainer_state.json").unlink(missing_ok=True)
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])


class Died(BaseException):
    """Nothing catches what a process dies of."""


def test_a_checkpoint_that_was_being_written_is_not_gone_on_from(
    journey: Workshop, whole: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = StageFolder.mark_complete

    def die_at_6(stage: StageFolder, step: int) -> None:
        if step == 6:
            raise Died
        mark(stage, step)

    stage = folder_of(journey, "written", 1)
    monkeypatch.setattr(StageFolder, "mark_complete", die_at_6)
    with pytest.raises(Died):
        train_here(journey, 1, *LONG, name="written", restart=True)
    monkeypatch.undo()
    assert {path.name for path in stage.path.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-6"}
    half(stage, 6)
    resumed, after = go_on(journey, "written")
    assert resumed == 4
    assert changed(whole, after) == set()


def test_settings_that_change_no_number_may_change(journey: Workshop, whole: dict[str, Tensor]) -> None:
    begin(journey, "free")
    resumed, after = go_on(journey, "free", "save_every=3", "log_every=2", "max_skipped=0.5")
    assert resumed == 5
    assert changed(whole, after) == set()
    assert [line["step"] for line in logged(folder_of(journey, "free", 1))] == [1, 2, 3, 4, 5, 6, 8, 10]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("learning_rate=2e-3", "learning_rate 0.001, not 0.002"),
        ("seed=1", "seed 42, not 1"),
        ("batch_size=4", "batch_size 8, not 4"),
        ("train=+lm_head", "train ['vision_tower.stage5', 'projector'], not "),
        ("epochs=3", "epochs 2, not 3"),
        ("projector_learning_rate=1e-4", "projector_learning_rate None, not 0.0001"),
    ],
)
def test_another_setting_is_another_run(unfinished: Workshop, change: str, told: str) -> None:
    before = sorted(folder_of(unfinished, UNFINISHED, 1).path.iterdir())
    with pytest.raises(UsageError) as caught:
        go_on(unfinished, UNFINISHED, change)
    assert f"stage 1 of {UNFINISHED} is unfinished, and was begun with {told}" in str(caught.value)
    assert "--restart" in str(caught.value.hint)
    # It can still go on as it was.
    assert sorted(folder_of(unfinished, UNFINISHED, 1).path.iterdir()) == before


@pytest.fixture(scope="session")
def unfinished(journey: Workshop) -> Workshop:
    """The tree with a run called `UNFINISHED`. To be left as it is."""
    begin(journey, UNFINISHED)
    return journey


def test_another_start_is_another_run(unfinished: Workshop) -> None:
    start = folder_of(unfinished, "tiny", 3).path
    with pytest.raises(UsageError, match=r"begun with start vicuna-7b-v1.5 and .*, not the checkpoint at"):
        train_here(unfinished, 1, *LONG, name=UNFINISHED, start=start)


def test_other_data_is_another_run(workshop: Workshop) -> None:
    begin(workshop, "mine")
    workshop.picture(1).unlink()
    with pytest.raises(UsageError, match="begun with 40 records of tiny; now there are 39"):
        go_on(workshop, "mine")


def test_another_number_of_processes_is_refused_once_with_2(unfinished: Workshop, tmp_path: Path) -> None:
    line = f"train --stage 1 --model tiny --name {UNFINISHED} --processes 2 --set epochs=2"
    done = command_line(unfinished, tmp_path)(*line.split())
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.count("begun with processes 1, not 2") == 1
    assert done.stderr.count("add --restart to forget it") == 1


def test_restart_forgets_an_unfinished_run(journey: Workshop) -> None:
    begin(journey, "forgotten")
    told = Told()
    done = train_here(journey, 1, "epochs=1", name="forgotten", restart=True, told=told)
    assert (told.brief.resumed, done.steps) == (0, 5)
    assert [line["step"] for line in logged(folder_of(journey, "forgotten", 1))] == [1, 2, 3, 4, 5]


def test_start_weights_of_a_run_without_any_checkpoint_are_put_together_anew(journey: Workshop) -> None:
    def die() -> None:
        raise Died

    for seed in (1, 2):
        with pytest.raises(Died):
            train_here(journey, 1, f"seed={seed}", name="early", told=Told(at={1: die}))
    done = train_here(journey, 1, "seed=3", name="early")
    expected = train_here(journey, 1, "seed=3", name="early-reference", restart=True)
    assert changed(weights(expected.folder), weights(done.folder)) == set()
    shutil.rmtree(done.folder)


def test_two_runs_do_not_train_in_one_folder(unfinished: Workshop) -> None:
    with folder_of(unfinished, UNFINISHED, 1).held(), pytest.raises(UsageError, match="another cvl is training in"):
        go_on(unfinished, UNFINISHED)


@pytest.mark.parametrize(
    ("zero", "processes"), [("none", 1), pytest.param("zero2", 1, marks=pytest.mark.soak), ("zero3", 2)]
)
def test_killed_in_mid_stage_it_goes_on_and_ends_with_the_same_weights(
    zero_runs: Workshop, plain: StageFolder, tmp_path: Path, zero: str, processes: int
) -> None:
    cvl = command_line(zero_runs, tmp_path)
    name = f"killed-{zero}"
    line = [*ten_steps(zero_runs, zero, processes, name), "--set", "save_every=2", "--json"]
    process = cvl.start(*line)
    wait_for_step(process, 5)
    signal_all(process, signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL
    stage = folder_of(zero_runs, name, 2)
    kept = stage.checkpoint()
    assert kept is not None
    assert kept.name in ("checkpoint-4", "checkpoint-6", "checkpoint-8")

    done = cvl(*line)
    assert done.code == 0, done.stderr
    told = next(line for line in done.lines if "briefing" in line)["briefing"]
    assert told["resumed"] == int(kept.name.removeprefix("checkpoint-"))
    assert [entry["step"] for entry in logged(stage)] == list(range(1, STEPS + 1))
    expected = plain if zero == "none" else zero_run(zero_runs, zero, processes)
    assert changed(weights(expected.path), weights(stage.path)) == set()


def test_two_processes_told_to_stop_save_together_and_say_so_once(zero_runs: Workshop, tmp_path: Path) -> None:
    cvl = command_line(zero_runs, tmp_path)
    line = [*ten_steps(zero_runs, "zero2", 2, "told"), "--json", "--set", "workers=1"]
    process = cvl.start(*line)
    wait_for_step(process, 3)
    # As a scheduler does: the processes that prepare samples are told as well.
    signal_all(process, signal.SIGTERM)
    stopped = finish(process)
    assert stopped.code == 130
    stage = folder_of(zero_runs, "told", 2)
    kept = stage.checkpoint()
    assert kept is not None
    step = int(kept.name.removeprefix("checkpoint-"))
    assert stopped.stderr.count(f"stopped after step {step} of {STEPS}; a checkpoint is saved") == 1
    assert stopped.stderr.count("hint: run the same command again to go on") == 1
    assert (kept / "complete").is_file()

    done = cvl(*line)
    assert done.code == 0, done.stderr
    assert changed(weights(zero_run(zero_runs, "zero2", 2).path), weights(stage.path)) == set()
    assert [entry["step"] for entry in logged(stage)] == list(range(1, STEPS + 1))
    assert json.loads(stage.provenance.read_text())["command"] == f"cvl {' '.join(line)}"


@pytest.mark.soak
@pytest.mark.parametrize("zero", ["none", "zero2", "zero3"])
def test_killed_at_random_again_and_again_it_ends_with_the_same_weights(
    zero_runs: Workshop, plain: StageFolder, tmp_path: Path, zero: str
) -> None:
    cvl = command_line(zero_runs, tmp_path)
    line = ten_steps(zero_runs, zero, 1, f"soaked-{zero}")
    stage = folder_of(zero_runs, f"soaked-{zero}", 2)
    random = Random(zero)
    for _ in range(12):
        process = cvl.start(*line, "--set", "save_every=1")
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=random.uniform(4, 9))
        if process.poll() is None:
            signal_all(process, signal.SIGKILL)
        assert finish(process).code in (0, -signal.SIGKILL)
    done = cvl(*line)
    assert done.code == 0, done.stderr
    expected = plain if zero == "none" else zero_run(zero_runs, zero, 1)
    assert changed(weights(expected.path), weights(stage.path)) == set()
    assert [entry["step"] for entry in logged(stage)] == list(range(1, STEPS + 1))

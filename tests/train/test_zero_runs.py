"""ZeRO-2 and ZeRO-3 on one process and on two: the same data in every global batch, the same losses, the same model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import Told, changed, command_line, finish, folder_of, losses, train_here, weights
from filelock import FileLock
from workshop import Workshop

from cvl.train.folder import StageFolder

ZERO = ("zero2", "zero3")
STEPS = 10
EPOCHS = "epochs=2"


def name_of(zero: str, processes: int) -> str:
    return f"{zero}-on-{processes}"


def options(shop: Workshop, zero: str, processes: int, name: str | None = None) -> list[str]:
    """A stage 2 of ten steps: of the three it is the one in which most parts learn."""
    line = f"train --stage 2 --model tiny --name {name or name_of(zero, processes)} --processes {processes}"
    start = folder_of(shop, "tiny", 1).path
    return [*line.split(), "--from", str(start), "--set", EPOCHS, "--set", f"deepspeed={zero}"]


@pytest.fixture(scope="session")
def zero_runs(journey: Workshop, shared: Path) -> Workshop:
    """The tree, on which the command line trained both kinds of ZeRO on one process and on two."""
    cvl = command_line(journey, shared)
    with FileLock(shared / "zero.lock"):
        for processes in (1, 2):
            begun = [
                cvl.start(*options(journey, zero, processes))
                for zero in ZERO
                if not run_of(journey, zero, processes).is_done
            ]
            for process in begun:
                done = finish(process)
                assert done.code == 0, done.stderr
    return journey


def run_of(shop: Workshop, zero: str, processes: int) -> StageFolder:
    return folder_of(shop, name_of(zero, processes), 2)


@pytest.fixture(scope="session")
def plain(journey: Workshop) -> list[float]:
    """The losses without ZeRO, in this process alone."""
    told = Told()
    train_here(journey, 2, EPOCHS, name="plain", start=folder_of(journey, "tiny", 1).path, restart=True, told=told)
    return [step.loss for step in told.steps]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("zero", ZERO)
def test_losses_are_those_of_a_run_without_zero_on_one_process(
    zero_runs: Workshop, plain: list[float], zero: str, processes: int
) -> None:
    found = losses(run_of(zero_runs, zero, processes))
    assert len(found) == STEPS
    assert found == pytest.approx(plain, rel=1e-5)
    # They are no constant that would agree whatever was trained.
    assert found[-1] < found[0] - 1


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("zero", ZERO)
def test_the_global_batch_is_the_same_however_many_share_it(
    zero_runs: Workshop, zero: str, processes: int, accumulation: int
) -> None:
    told = json.loads(run_of(zero_runs, zero, processes).provenance.read_text())
    assert told["batch"] == {"processes": processes, "micro": 4, "accumulation": accumulation}


@pytest.mark.parametrize("zero", ZERO)
def test_the_saved_model_is_whole_and_about_the_same(zero_runs: Workshop, zero: str) -> None:
    alone, shared = (weights(run_of(zero_runs, zero, processes).path) for processes in (1, 2))
    assert {name: tensor.shape for name, tensor in alone.items()} == {name: t.shape for name, t in shared.items()}
    assert all(tensor.allclose(shared[name], atol=1e-3) for name, tensor in alone.items())


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("zero", ZERO)
def test_what_rests_rests_under_zero_too(zero_runs: Workshop, zero: str, processes: int) -> None:
    before = weights(folder_of(zero_runs, "tiny", 1).path)
    moved = changed(before, weights(run_of(zero_runs, zero, processes).path))
    resting = ("vision_tower.embeddings.", "vision_tower.encoder.stages.0.", "vision_tower.encoder.stages.1.")
    assert moved == {name for name in before if not name.startswith(resting)}

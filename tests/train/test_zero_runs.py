"""ZeRO-2 and ZeRO-3 on one process and on two: the same data in every global batch, the same losses, the same model."""

from __future__ import annotations

import json

import pytest
from bench import STEPS, ZERO, changed, folder_of, losses, weights, zero_run
from workshop import Workshop

from cvl.train.folder import StageFolder


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("zero", ZERO)
def test_losses_are_those_of_a_run_without_zero_on_one_process(
    zero_runs: Workshop, plain: StageFolder, zero: str, processes: int
) -> None:
    found = losses(zero_run(zero_runs, zero, processes))
    assert len(found) == STEPS
    assert found == pytest.approx(losses(plain), rel=1e-5)
    # They are no constant that would agree whatever was trained.
    assert found[-1] < found[0] - 1


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("zero", ZERO)
def test_the_global_batch_is_the_same_however_many_share_it(
    zero_runs: Workshop, zero: str, processes: int, accumulation: int
) -> None:
    told = json.loads(zero_run(zero_runs, zero, processes).provenance.read_text())
    assert told["batch"] == {"processes": processes, "micro": 4, "accumulation": accumulation}


@pytest.mark.parametrize("zero", ZERO)
def test_the_saved_model_is_whole_and_about_the_same(zero_runs: Workshop, zero: str) -> None:
    alone, shared = (weights(zero_run(zero_runs, zero, processes).path) for processes in (1, 2))
    assert {name: tensor.shape for name, tensor in alone.items()} == {name: t.shape for name, t in shared.items()}
    assert all(tensor.allclose(shared[name], atol=1e-3) for name, tensor in alone.items())


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("zero", ZERO)
def test_what_rests_rests_under_zero_too(zero_runs: Workshop, zero: str, processes: int) -> None:
    before = weights(folder_of(zero_runs, "tiny", 1).path)
    moved = changed(before, weights(zero_run(zero_runs, zero, processes).path))
    resting = ("vision_tower.embeddings.", "vision_tower.encoder.stages.0.", "vision_tower.encoder.stages.1.")
    assert moved == {name for name in before if not name.startswith(resting)}

from __future__ import annotations

import pytest

from cvl.manifest import Scripts, load_catalog
from cvl.train.zero import zero_config


@pytest.mark.parametrize(("stage", "zero"), [(1, 2), (2, 3), (3, 3)])
def test_each_stage_has_the_published_zero_stage(stage: int, zero: int) -> None:
    config = zero_config(load_catalog().stages[stage].scripts)
    assert config is not None
    assert config["zero_optimization"]["stage"] == zero


def test_plain_data_parallelism_has_no_configuration() -> None:
    assert zero_config(Scripts(deepspeed="none")) is None


@pytest.mark.parametrize("zero", ["zero2", "zero3"])
def test_neither_scheduler_nor_optimizer_is_deepspeeds(zero: str) -> None:
    config = zero_config(Scripts.model_validate({"deepspeed": zero}))
    assert config is not None
    assert not {"scheduler", "optimizer"} & set(config)


@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_gradients_are_clipped_where_deepspeed_alone_clips(norm: float) -> None:
    config = zero_config(Scripts(deepspeed="zero2", max_grad_norm=norm))
    assert config is not None
    assert config["gradient_clipping"] == norm


def test_a_zero3_run_saves_whole_weights() -> None:
    config = zero_config(Scripts(deepspeed="zero3"))
    assert config is not None
    assert config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True

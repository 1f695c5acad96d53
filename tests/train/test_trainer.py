from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from numpy.typing import NDArray
from torch.utils.data import BatchSampler, Dataset
from transformers import TrainerCallback

from cvl.manifest import Stage, load_catalog, override
from cvl.train.batch import Batching, batching
from cvl.train.folder import StageFolder
from cvl.train.model import ConvLlava
from cvl.train.parts import freeze_all_but
from cvl.train.samples.sampler import GroupedSampler
from cvl.train.trainer import StageTrainer, arguments, enable_checkpointing, order_of, parameter_groups, rates

PARTS = ("vision_tower.", "projector.", "language_model.")


@pytest.fixture(scope="module")
def stage() -> Stage:
    return load_catalog().stages[2]


class FakeMix:
    """As many records as there are lengths."""

    def __init__(self, lengths: list[int]) -> None:
        self._lengths = np.array(lengths, dtype=np.int64)

    def lengths(self) -> NDArray[np.int64]:
        return self._lengths


def order(stage: Stage, batch: Batching) -> GroupedSampler:
    lengths = [*range(1, 70), *(-length for length in range(1, 30))]
    return order_of(FakeMix(lengths), stage, batch)  # type: ignore[arg-type]


def test_rates_are_the_stages_unless_a_part_has_its_own(stage: Stage) -> None:
    assert rates(stage) == dict.fromkeys(PARTS, 2e-5)
    own = override(stage, ["vision_tower_learning_rate=2e-6", "projector_learning_rate=1e-4"])
    assert rates(own) == {"vision_tower.": 2e-6, "projector.": 1e-4, "language_model.": 2e-5}


def test_every_parameter_that_learns_is_in_the_group_of_its_part(tiny: ConvLlava, stage: Stage) -> None:
    freeze_all_but(tiny, stage.train)
    names = {id(parameter): name for name, parameter in tiny.named_parameters()}
    decaying = {name for name in names.values() if name.endswith("weight")}
    wanted = {"vision_tower.": 1e-6, "projector.": 1e-4, "language_model.": 1e-5}
    groups = parameter_groups(tiny, wanted, 0.1, decaying)
    placed = {names[id(parameter)]: group for group in groups for parameter in group["params"]}
    assert placed.keys() == {name for name, parameter in tiny.named_parameters() if parameter.requires_grad}
    assert sum(len(group["params"]) for group in groups) == len(placed)
    for name, group in placed.items():
        assert group["lr"] == next(rate for part, rate in wanted.items() if name.startswith(part))
        assert group["weight_decay"] == (0.1 if name in decaying else 0)


@pytest.mark.parametrize(
    ("train", "groups"), [(["projector"], 2), (["projector", "lm_head"], 3), (["vision_tower.embeddings"], 2)]
)
def test_a_part_that_rests_has_no_group(tiny: ConvLlava, train: list[str], groups: int) -> None:
    freeze_all_but(tiny, train)  # type: ignore[arg-type]
    decaying = {name for name, _ in tiny.named_parameters() if name.endswith("weight")}
    assert len(parameter_groups(tiny, dict.fromkeys(PARTS, 1.0), 0.0, decaying)) == groups


@pytest.mark.parametrize("rate", [1e-4, 1e-2])
def test_the_towers_rate_sizes_only_the_towers_step(tiny: ConvLlava, stage: Stage, rate: float) -> None:
    freeze_all_but(tiny, stage.train)
    own = rates(override(stage, [f"vision_tower_learning_rate={rate}", "learning_rate=1e-3"]))
    optimizer = torch.optim.AdamW(parameter_groups(tiny, own, 0.0, set()))
    before = {name: parameter.detach().clone() for name, parameter in tiny.named_parameters()}
    for parameter in tiny.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    moved = {name: (before[name] - parameter).abs().max().item() for name, parameter in tiny.named_parameters()}
    tiny.load_state_dict(before)
    for name, distance in moved.items():
        expected = rate if name.startswith("vision_tower.") else 1e-3
        learns = dict(tiny.named_parameters())[name].requires_grad
        # AdamW's first step is as long as the learning rate.
        assert distance == pytest.approx(expected if learns else 0, rel=0.02)


def batches(sampler: GroupedSampler, batch: Batching) -> list[set[int]]:
    """The records of each global batch, as accelerate shares them out among the processes."""
    shards = [
        list(BatchSamplerShard(BatchSampler(sampler, batch.micro, drop_last=False), batch.processes, process))
        for process in range(batch.processes)
    ]
    assert len({len(shard) for shard in shards}) == 1
    steps = range(0, len(shards[0]), batch.accumulation)
    return [
        {record for shard in shards for micro in shard[start : start + batch.accumulation] for record in micro}
        for start in steps
    ]


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_global_batch_has_the_same_records_however_many_processes_share_it(stage: Stage, epochs: int) -> None:
    small = override(stage, ["batch_size=16", f"epochs={epochs}"])
    expected = np.array(list(order(small, batching(16, 1, 16)))).reshape(-1, 16)
    assert len(expected) == 7 * epochs
    for processes in (1, 2, 4, 8):
        for micro in (1, 2, 4, 16):
            batch = batching(16, processes, micro)
            found = batches(order(small, batch), batch)
            assert found == [set(records.tolist()) for records in expected]


def test_each_epoch_has_an_order_of_its_own(stage: Stage) -> None:
    found = list(order(override(stage, ["batch_size=16", "epochs=2"]), batching(16, 1, 16)))
    half = len(found) // 2
    assert found[:half] != found[half:]
    assert set(found[:half]) == set(found[half:]) == set(range(98))


def test_without_grouping_the_order_is_a_shuffle(stage: Stage) -> None:
    batch = batching(16, 1, 16)
    plain = list(order(override(stage, ["batch_size=16", "group_by_modality_length=false"]), batch))
    assert plain != list(order(override(stage, ["batch_size=16"]), batch))
    assert set(plain) == set(range(98))


@pytest.fixture
def folder(tmp_path: Path) -> StageFolder:
    return StageFolder(tmp_path)


def test_the_settings_are_the_stages(stage: Stage, folder: StageFolder) -> None:
    own = override(stage, ["deepspeed=none", "precision=fp32", "workers=3", "save_every=70", "max_grad_norm=0.5"])
    args = arguments(own, folder, Batching(1, 4, 8))
    assert (args.learning_rate, args.weight_decay, args.warmup_steps) == (2e-5, 0, 0.03)
    assert str(args.lr_scheduler_type) == "SchedulerType.COSINE"
    assert (args.adam_beta1, args.adam_beta2, args.adam_epsilon) == (0.9, 0.999, 1e-8)
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (4, 8)
    assert (args.max_grad_norm, args.seed, args.bf16) == (0.5, 42, False)
    assert (args.dataloader_num_workers, args.save_steps, args.logging_steps) == (3, 70, 1)
    assert args.deepspeed is None


def test_the_published_optimizer_is_not_clipped(stage: Stage, folder: StageFolder) -> None:
    assert (
        arguments(override(stage, ["deepspeed=none", "precision=fp32"]), folder, Batching(1, 1, 1)).max_grad_norm == 0
    )


class Recorded(Dataset[int]):
    """Records that are their own numbers."""

    def __getitem__(self, number: int) -> int:
        return number

    def __len__(self) -> int:
        return 98


@pytest.fixture
def make(tiny: ConvLlava, stage: Stage, folder: StageFolder) -> Callable[[Stage], StageTrainer]:
    def make(own: Stage) -> StageTrainer:
        batch = batching(own.document.batch_size, 1, own.run.micro_batch)
        args = arguments(own, folder, batch)
        return StageTrainer(
            tiny, args, Recorded(), order(own, batch), own, data_collator=lambda numbers: {"numbers": list(numbers)}
        )

    return make


def test_records_come_in_the_given_order(make: Callable[[Stage], StageTrainer], stage: Stage) -> None:
    own = override(stage, ["deepspeed=none", "precision=fp32", "batch_size=16", "micro_batch=8", "workers=0"])
    loader = make(own).get_train_dataloader()
    found = [batch["numbers"] for batch in loader]
    assert {len(numbers) for numbers in found} == {8}
    assert [number for numbers in found for number in numbers] == list(order(own, batching(16, 1, 8)))


def test_the_optimizer_is_torchs_adamw_with_a_group_for_each_part(
    make: Callable[[Stage], StageTrainer], tiny: ConvLlava, stage: Stage
) -> None:
    own = override(stage, ["deepspeed=none", "precision=fp32", "projector_learning_rate=1e-3", "weight_decay=0.1"])
    freeze_all_but(tiny, own.train)
    trainer = make(own)
    optimizer = trainer.create_optimizer()
    assert type(optimizer) is torch.optim.AdamW
    assert {group["lr"] for group in optimizer.param_groups} == {2e-5, 1e-3}
    # Norms and biases do not decay, as in transformers' Trainer.
    names = {id(parameter): name for name, parameter in tiny.named_parameters()}
    resting = {names[id(p)] for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    assert "language_model.model.norm.weight" in resting
    assert "projector.0.bias" in resting
    assert "projector.0.weight" not in resting
    assert trainer.create_optimizer() is optimizer


def test_nothing_but_ours_prints(make: Callable[[Stage], StageTrainer], stage: Stage) -> None:
    trainer = make(override(stage, ["deepspeed=none", "precision=fp32"]))
    callbacks: list[TrainerCallback] = trainer.callback_handler.callbacks
    assert {type(callback).__name__ for callback in callbacks} == {"DefaultFlowCallback"}


def test_checkpointing_reaches_tower_and_language_model(tiny: ConvLlava) -> None:
    model = copy.deepcopy(tiny)
    enable_checkpointing(model)
    enabled = {name for name, module in model.named_modules() if getattr(module, "gradient_checkpointing", False)}
    assert any(name.startswith("vision_tower") for name in enabled)
    assert any(name.startswith("language_model") for name in enabled)

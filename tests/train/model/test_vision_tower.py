"""The tower against transformers' own ConvNeXt, its resolutions, its fifth stage, its activation checkpointing."""

# mypy: allow-untyped-calls

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from golden_model import gradient, tower_config
from torch.autograd.graph import saved_tensors_hooks
from transformers import ConvNextModel
from transformers.models.convnext.modeling_convnext import ConvNextStage

from cvl.errors import UsageError
from cvl.train.model import ConvLlava, VisionTower
from cvl.train.model.vision import Block, fresh_stage


@contextmanager
def bytes_saved() -> Iterator[list[int]]:
    """The sizes of the activations that autograd keeps for the backward pass, pictures and parameters apart."""
    sizes: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter) and tensor.shape[1:2] != (3,):
            sizes.append(tensor.nbytes)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def checkpointed(model: ConvLlava) -> ConvLlava:
    """The model in training with activation checkpointing, under the name that transformers has for it by now."""
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable()
    model.train()
    return model


def gradients(tower: VisionTower, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    tower.zero_grad()
    tower(pixels).square().sum().backward()
    return {name: gradient(parameter).clone() for name, parameter in tower.named_parameters()}


@pytest.mark.parametrize("side", [64, 128, 192])
def test_features_are_the_last_hidden_state_of_transformers_row_by_row(side: int) -> None:
    reference = ConvNextModel(tower_config()).eval()
    tower = VisionTower(reference.config)
    tower.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("layernorm.")})
    pixels = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = reference(pixels).last_hidden_state.permute(0, 2, 3, 1).reshape(2, (side // 64) ** 2, 24)
        torch.testing.assert_close(tower(pixels), expected, rtol=1e-5, atol=1e-6)


def test_there_is_no_final_norm() -> None:
    tower = set(VisionTower(tower_config()).state_dict())
    reference = set(ConvNextModel(tower_config()).state_dict())
    assert reference - tower == {"layernorm.weight", "layernorm.bias"}
    assert tower <= reference


def test_a_picture_need_not_be_square() -> None:
    tower = VisionTower(tower_config()).eval()
    assert tower(torch.zeros(1, 3, 64, 192)).shape == (1, 3, 24)


@pytest.mark.parametrize("size", [(64, 100), (96, 64), (32, 32)])
def test_sides_that_are_no_multiple_of_64_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"expected multiples of 64"):
        VisionTower(tower_config())(torch.zeros(1, 3, *size))


def test_features_stand_channels_last_and_in_the_towers_type() -> None:
    tower = VisionTower(tower_config()).to(torch.bfloat16)
    seen: list[torch.Tensor] = []
    for part in (tower.embeddings, *tower.encoder.stages):
        part.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    assert tower(torch.randn(2, 3, 128, 128)).dtype == torch.bfloat16
    assert len(seen) == 6
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in seen)


def test_a_fresh_stage_is_initialised_as_a_bare_one_is() -> None:
    config = tower_config(layer_scale_init_value=1e-6)
    fresh = fresh_stage(config, 4, seed=3)
    torch.manual_seed(3)
    bare = ConvNextStage(config, 16, 24, depth=2).state_dict()
    assert fresh.keys() == {f"encoder.stages.4.{name}" for name in bare}
    assert all(torch.equal(fresh[f"encoder.stages.4.{name}"], tensor) for name, tensor in bare.items())
    weight = fresh["encoder.stages.4.layers.0.pwconv1.weight"]
    # Uniform between plus and minus one over the root of the fan in: not transformers' normal one of 0.02.
    assert weight.abs().max() <= 24**-0.5
    assert weight.std() == pytest.approx((24 * 3) ** -0.5, rel=0.05)
    assert torch.all(fresh["encoder.stages.4.layers.1.layer_scale_parameter"] == 1e-6)


def test_a_fresh_stage_is_the_same_from_the_same_seed_only_and_takes_no_numbers_from_others() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (fresh_stage(tower_config(), 4, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "encoder.stages.4.layers.0.dwconv.weight"
    assert not torch.equal(first[name], other[name])


def test_a_new_model_starts_its_blocks_at_the_configs_layer_scale(small: ConvLlava) -> None:
    scales = [block.layer_scale_parameter for block in small.modules() if isinstance(block, Block)]
    assert len(scales) == 7
    assert all(bool((torch.as_tensor(scale) == 0.5).all()) for scale in scales)


def test_checkpointing_gives_the_same_gradients(small: ConvLlava) -> None:
    pixels = torch.randn(2, 3, 128, 128)
    plain = gradients(small.train().vision_tower, pixels)
    again = gradients(checkpointed(small).vision_tower, pixels)
    assert plain.keys() == again.keys()
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_checkpointing_keeps_fewer_activations(small: ConvLlava) -> None:
    pixels = torch.randn(2, 3, 128, 128)
    small.train()
    with bytes_saved() as plain:
        small.vision_tower(pixels)
    checkpointed(small)
    with bytes_saved() as fewer:
        small.vision_tower(pixels)
    assert sum(fewer) < sum(plain) / 3


def test_checkpointing_can_be_switched_off_again(small: ConvLlava) -> None:
    checkpointed(small)
    getattr(small, "activation_checkpointing_disable", small.gradient_checkpointing_disable)()
    assert not any(block.gradient_checkpointing for block in small.modules() if isinstance(block, Block))


def test_a_frozen_tower_keeps_nothing_and_computes_nothing_twice(small: ConvLlava) -> None:
    checkpointed(small).vision_tower.requires_grad_(False)
    calls: list[weakref.ref[torch.Tensor]] = []
    for block in small.vision_tower.modules():
        if isinstance(block, Block):
            block.dwconv.register_forward_hook(lambda _module, _inputs, output: calls.append(weakref.ref(output)))
    features = small.vision_tower(torch.randn(1, 3, 128, 128))
    assert not features.requires_grad
    assert [call() for call in calls] == [None] * 7
    small.projector(features).sum().backward()
    assert len(calls) == 7


def test_frozen_first_stages_keep_nothing_either(small: ConvLlava) -> None:
    checkpointed(small)
    for name, parameter in small.vision_tower.named_parameters():
        parameter.requires_grad_(name.startswith(("encoder.stages.2", "encoder.stages.3", "encoder.stages.4")))
    stages = small.vision_tower.encoder.stages
    seen: list[bool] = []
    stages[1].register_forward_hook(lambda _module, _inputs, output: seen.append(output.requires_grad))
    small.vision_tower(torch.randn(1, 3, 128, 128)).sum().backward()
    assert seen == [False]
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in small.vision_tower.parameters())

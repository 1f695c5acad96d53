from __future__ import annotations

import pytest
from torch import nn

from cvl.manifest import load_catalog
from cvl.train.model import ConvLlava
from cvl.train.parts import PREFIXES, REPORTED, count_parts, freeze_all_but, is_trained, part_of


@pytest.fixture(scope="module")
def model(tiny: ConvLlava) -> ConvLlava:
    return tiny


def test_every_parameter_belongs_to_one_part(model: ConvLlava) -> None:
    parts = {part_of(name) for name, _ in model.named_parameters()}
    assert parts == set(REPORTED)
    assert sum(count.parameters for count in count_parts(model)) == sum(p.numel() for p in model.parameters())


def test_the_head_is_reported_apart_but_learns_with_the_language_model() -> None:
    assert part_of("language_model.lm_head.weight") == "lm_head"
    assert is_trained("language_model.lm_head.weight", ["language_model"])
    assert not is_trained("language_model.model.norm.weight", ["lm_head"])


@pytest.mark.parametrize(
    ("stage", "learning"),
    [
        (1, {"vision_tower.stage5", "projector"}),
        (
            2,
            {
                "vision_tower.stage3",
                "vision_tower.stage4",
                "vision_tower.stage5",
                "projector",
                "language_model",
                "lm_head",
            },
        ),
        (3, {"projector", "language_model", "lm_head"}),
    ],
)
def test_each_stage_trains_exactly_what_the_document_says(model: ConvLlava, stage: int, learning: set[str]) -> None:
    freeze_all_but(model, load_catalog().stages[stage].train)
    counts = {count.name: (count.parameters, count.trainable) for count in count_parts(model)}
    assert {name for name, (_, trainable) in counts.items() if trainable} == learning
    assert all(trainable in (0, parameters) for parameters, trainable in counts.values())


def test_a_stage_of_the_tower_has_its_downsampling_with_it(model: ConvLlava) -> None:
    freeze_all_but(model, ["vision_tower.stage5"])
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert any("downsampling_layer" in name for name in names)
    assert all(name.startswith("vision_tower.encoder.stages.4.") for name in names)


def test_freezing_again_frees_again(model: ConvLlava) -> None:
    freeze_all_but(model, ["projector"])
    freeze_all_but(model, list(PREFIXES))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_parameter_of_no_part_is_an_error_and_not_overlooked() -> None:
    with pytest.raises(ValueError, match="max"):
        count_parts(nn.ModuleDict({"adapter": nn.Linear(2, 2)}))

"""The 7B preset at 768 pixels, counted on the meta device and by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import ConvNextConfig, LlamaConfig

from cvl.manifest import load_catalog
from cvl.train.model import ConvLlava, ConvLlavaConfig

# ConvNeXt-L, with the fifth stage: blocks and channels.
DEPTHS = (3, 3, 27, 3, 6)
WIDTHS = (192, 384, 768, 1536, 3072)


def block(width: int) -> int:
    """Depthwise 7x7, norm, out to four times the width and back, layer scale."""
    depthwise = 49 * width + width
    norm = 2 * width
    out = width * 4 * width + 4 * width
    back = 4 * width * width + width
    scale = width
    return depthwise + norm + out + back + scale


def downsampling(before: int, width: int) -> int:
    """Norm, and a convolution of 2x2."""
    return 2 * before + 4 * before * width + width


def stage(number: int) -> int:
    """One stage of the tower, from 1."""
    width = WIDTHS[number - 1]
    before = downsampling(WIDTHS[number - 2], width) if number > 1 else 0
    return before + DEPTHS[number - 1] * block(width)


# 4x4 pixels of 3 colours to 192 channels, and a norm.
STEM = 4 * 4 * 3 * 192 + 192 + 2 * 192
TOWER = STEM + sum(stage(number) for number in range(1, 6))
PROJECTOR = 3072 * 4096 + 4096 + 4096 * 4096 + 4096
# Per layer: query, key, value, output; gate, up, down; two norms. Then the last norm, and two embeddings.
LANGUAGE_MODEL = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096) + 4096 + 2 * 32000 * 4096


@pytest.fixture(scope="module")
def model() -> ConvLlava:
    preset = load_catalog().models["7b-768"]
    fifth = preset.fifth_stage
    tower = ConvNextConfig(
        num_stages=5, depths=[*DEPTHS[:4], fifth.blocks], hidden_sizes=[*WIDTHS[:4], fifth.width], image_size=768
    )
    # Vicuna-7B's config is LLaMA's default but for the longer reach.
    text = LlamaConfig(max_position_embeddings=4096)
    with torch.device("meta"):
        return ConvLlava(ConvLlavaConfig(text_config=text, vision_config=tower, resolution=preset.resolution))


def count(model: ConvLlava, *prefixes: str) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if name.startswith(prefixes or ""))


def test_the_arithmetic_gives_the_known_sizes() -> None:
    assert LANGUAGE_MODEL == 6_738_415_616
    assert stage(5) == 472_934_400
    assert PROJECTOR == 29_368_320
    # LAION's encoder without its final norm.
    assert TOWER - stage(5) == 196_227_264


def test_the_model_has_as_many_parameters_as_the_arithmetic(model: ConvLlava) -> None:
    assert count(model) == TOWER + PROJECTOR + LANGUAGE_MODEL
    assert model.config.visual_tokens == 144


@pytest.mark.parametrize("number", range(1, 6))
def test_each_stage_of_the_tower_is_counted(model: ConvLlava, number: int) -> None:
    assert count(model, f"vision_tower.encoder.stages.{number - 1}.") == stage(number)


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        (("vision_tower.encoder.stages.4.", "projector."), 502_302_720),
        (
            (*(f"vision_tower.encoder.stages.{index}." for index in (2, 3, 4)), "projector.", "language_model."),
            sum(stage(number) for number in (3, 4, 5)) + PROJECTOR + 6_738_415_616,
        ),
        (("projector.", "language_model."), 29_368_320 + 6_738_415_616),
    ],
    ids=["stage 1", "stage 2", "stage 3"],
)
def test_each_training_stage_trains_as_many(model: ConvLlava, trained: tuple[str, ...], expected: int) -> None:
    assert count(model, *trained) == expected


def test_no_parameter_is_shared_or_lies_outside_of_the_three_parts(model: ConvLlava) -> None:
    assert count(model, "vision_tower.") + count(model, "projector.") + count(model, "language_model.") == count(model)
    assert len({id(parameter) for parameter in model.parameters()}) == len(model.state_dict())

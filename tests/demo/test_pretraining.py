"""The encoder's pre-training: what it is told of a picture is true, and what it learns can be published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import ConvNextModel

from cvl.demo.miniature.publish import Publisher, place
from cvl.demo.miniature.scenes import BACKGROUNDS, COLORS, PLACES, SHAPES, Figure, Scene, training_scenes
from cvl.demo.miniature.weights import (
    ENCODER_URL,
    MINIATURE_ENCODER,
    draw_tensor,
    encoder_shapes,
    publish_weights,
)
from cvl.demo.pretraining import CLASSES, QUADRANTS, Course, pretrain_encoder, quarters, truth

SHORT = Course(scenes=96, epochs=4, resolution=64)


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Path:
    path = tmp_path_factory.mktemp("pretraining") / "encoder.safetensors"
    pretrain_encoder(path, said.append, SHORT)
    return path


def scene(*figures: Figure, background: str = "gray") -> Scene:
    return Scene(100, 100, background, figures)


class TestTruth:
    def test_a_figure_in_a_corner_is_told_of_its_quarter_alone(self) -> None:
        told = truth(scene(Figure("circle", "green", "lower left", 0.2), background="black"))
        shape, color, ground = 1 + SHAPES.index("circle"), 1 + COLORS.index("green"), BACKGROUNDS.index("black")
        assert told == [[0, 0, ground], [0, 0, ground], [shape, color, ground], [0, 0, ground]]

    def test_a_figure_in_the_middle_is_told_of_every_quarter(self) -> None:
        told = truth(scene(Figure("star", "red", "center", 0.2)))
        assert all(quarter == told[0] and quarter[0] for quarter in told)

    def test_two_figures_are_told_apart(self) -> None:
        told = truth(scene(Figure("star", "red", "upper left", 0.2), Figure("cross", "blue", "lower right", 0.2)))
        assert told[0] != told[3]
        assert told[1] == told[2]

    def test_every_place_has_its_quarters_in_the_order_of_rows(self) -> None:
        assert set(QUADRANTS) == set(PLACES)
        for name, (x, y) in PLACES.items():
            if name != "center":
                assert QUADRANTS[name] == (int(x > 0.5) + 2 * int(y > 0.5),)

    def test_it_fits_the_classes(self) -> None:
        for drawn in training_scenes("truth", 50):
            for quarter in truth(drawn):
                assert all(0 <= number < classes for number, classes in zip(quarter, CLASSES, strict=True))


def test_quarters_are_told_from_their_own_features() -> None:
    features = torch.randn(2, 16, 8)
    changed = features.clone()
    changed[:, 2 * 4 + 3] += torch.randn(8)  # third row, fourth column: lower right
    same = (quarters(features) == quarters(changed)).all(dim=-1)
    assert same.tolist() == [[True, True, True, False]] * 2


def test_it_learns(trained: Path, said: list[str]) -> None:
    shares = [float(share) for line in said for share in re.findall(r"([\d.]+)%", line)]
    assert trained.exists()
    assert len(shares) == SHORT.epochs
    assert shares[-1] > shares[0]


def test_the_trained_encoder_has_every_tensor_of_a_drawn_one(trained: Path) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in load_file(trained).items()}
    assert found == encoder_shapes(MINIATURE_ENCODER)


def test_all_but_the_final_norm_has_learnt(trained: Path) -> None:
    for name, tensor in load_file(trained).items():
        drawn = torch.from_numpy(draw_tensor(name, tuple(tensor.shape)))
        assert torch.equal(tensor, drawn) == name.startswith("layernorm."), name


def test_transformers_loads_it_with_nothing_missing_or_left_over(trained: Path, tmp_path: Path) -> None:
    publish_weights(Publisher(tmp_path), trained.read_bytes())
    # transformers does not annotate that it returns a pair when it is asked for a report.
    load: Any = ConvNextModel.from_pretrained
    _, report = load(tmp_path / place(ENCODER_URL), output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_the_same_course_gives_the_same_encoder_whatever_the_random_state(trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    pretrain_encoder(tmp_path / "again.safetensors", lambda _: None, SHORT)
    assert (tmp_path / "again.safetensors").read_bytes() == trained.read_bytes()
    assert torch.equal(torch.get_rng_state(), state)

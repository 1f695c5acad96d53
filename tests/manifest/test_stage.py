from __future__ import annotations

from pathlib import Path

import pytest

from cvl.errors import ManifestError
from cvl.manifest import Model, Stage
from cvl.manifest.load import load

STAGE = """
title = "T"
starts_from = "weights"
train = ["projector"]
data = ["mine"]
[document]
learning_rate = 1e-3
batch_size = 8
epochs = 1
warmup_ratio = 0.03
weight_decay = 0
optimizer = "adamw"
[scripts]
deepspeed = "zero2"
"""
MODEL = """
title = "T"
resolution = 768
language_model = { source = "vicuna", path = "models/vicuna" }
vision_tower = { source = "convnext", path = "models/convnext" }
fifth_stage = { blocks = 6, width = 3072 }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "it.toml"


def stage(path: Path, text: str) -> Stage:
    path.write_text(text, encoding="utf-8")
    return load(path, Stage)


def model(path: Path, text: str) -> Model:
    path.write_text(text, encoding="utf-8")
    return load(path, Model)


def test_what_the_document_leaves_open_has_the_published_scripts_values(path: Path) -> None:
    scripts = stage(path, STAGE).scripts
    assert (scripts.schedule, scripts.adam_betas, scripts.adam_epsilon) == ("cosine", (0.9, 0.999), 1e-8)
    assert (scripts.max_length, scripts.max_grad_norm, scripts.precision) == (2048, 0, "bf16")
    assert (scripts.image_aspect_ratio, scripts.group_by_modality_length) == ("pad", True)


def test_what_the_document_says_has_no_default(path: Path) -> None:
    for line in STAGE.partition("[document]")[2].partition("[scripts]")[0].strip().splitlines():
        with pytest.raises(ManifestError, match="is missing") as caught:
            stage(path, STAGE.replace(line, ""))
        assert caught.value.key == f"document.{line.split()[0]}"


@pytest.mark.parametrize(
    ("line", "wrong", "key"),
    [
        ("learning_rate = 1e-3", "learning_rate = 0", "document.learning_rate"),
        ("learning_rate = 1e-3", 'learning_rate = "high"', "document.learning_rate"),
        ("batch_size = 8", "batch_size = 0", "document.batch_size"),
        ("batch_size = 8", "batch_size = 8.5", "document.batch_size"),
        ("epochs = 1", "epochs = 0", "document.epochs"),
        ("warmup_ratio = 0.03", "warmup_ratio = 3", "document.warmup_ratio"),
        ("weight_decay = 0", "weight_decay = -1", "document.weight_decay"),
        ('optimizer = "adamw"', 'optimizer = "sgd"', "document.optimizer"),
        ('deepspeed = "zero2"', 'deepspeed = "zero9"', "scripts.deepspeed"),
        ('deepspeed = "zero2"', 'deepspeed = "zero2"\nadam_betas = [0.9]', "scripts.adam_betas[1]"),
        ('starts_from = "weights"', 'starts_from = "stage3"', "starts_from"),
        ('data = ["mine"]', 'data = "mine"', "data"),
    ],
)
def test_a_value_that_no_stage_can_have_is_refused_by_its_key(path: Path, line: str, wrong: str, key: str) -> None:
    with pytest.raises(ManifestError) as caught:
        stage(path, STAGE.replace(line, wrong))
    assert (caught.value.file, caught.value.key) == (path, key)
    assert caught.value.mend


def test_a_hyperparameter_in_the_wrong_table_is_refused_with_what_that_table_has(path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        stage(path, STAGE + "weight_decay = 0")
    assert caught.value.key == "scripts.weight_decay"
    assert "known here: activation_checkpointing, adam_betas" in caught.value.mend


@pytest.mark.parametrize(("resolution", "tokens"), [(768, 144), (1024, 256), (1536, 576), (64, 1)])
def test_a_picture_becomes_one_token_per_64_by_64_pixels(path: Path, resolution: int, tokens: int) -> None:
    assert model(path, MODEL.replace("768", str(resolution))).visual_tokens == tokens


@pytest.mark.parametrize(
    ("part", "wrong", "key"),
    [
        ("768", "700", "resolution"),
        ("768", "0", "resolution"),
        ("blocks = 6", "blocks = 0", "fifth_stage.blocks"),
        ("models/vicuna", "/models/vicuna", "language_model.path"),
        ("models/convnext", "checkpoints/convnext", "vision_tower.path"),
        ('title = "T"', 'title = "T"\nprojector = "linear"', "projector"),
        ('title = "T"', 'title = "T"\nconversation = "plain"', "conversation"),
    ],
)
def test_a_value_that_no_model_can_have_is_refused_by_its_key(path: Path, part: str, wrong: str, key: str) -> None:
    with pytest.raises(ManifestError) as caught:
        model(path, MODEL.replace(part, wrong))
    assert (caught.value.file, caught.value.key) == (path, key)
    assert caught.value.mend

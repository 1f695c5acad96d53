"""One config in the published words and in ours."""

from __future__ import annotations

from typing import Any

import pytest
from folders import TRAINED, read
from transformers import ConvNextConfig, LlamaConfig

from cvl.errors import UsageError
from cvl.train.checkpoint.dialect import read_published, speaks_published, write_published, write_published_tower
from cvl.train.checkpoint.tower import encoder_config
from cvl.train.model import ConvLlavaConfig

PUBLISHED = read(TRAINED / "config.json")
TOWER = encoder_config(TRAINED / "vision_tower")


def there_and_back(**changes: Any) -> dict[str, Any]:
    """A published config read, and written again."""
    return write_published(read_published(PUBLISHED | changes, TOWER, 256), "float32", "NAME", "TOWER")


def test_a_published_config_comes_back_word_for_word() -> None:
    assert there_and_back() == PUBLISHED | {"_name_or_path": "NAME", "mm_vision_tower": "TOWER"}


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 500000.0},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_scaling": {"type": "dynamic", "factor": 4.0}},
        {"num_key_value_heads": 2},
        {"tokenizer_model_max_length": 4096},
        {"vocab_size": 32000, "hidden_act": "gelu", "rms_norm_eps": 1e-6},
    ],
)
def test_whatever_the_language_model_is_survives(changes: dict[str, Any]) -> None:
    written = there_and_back(**changes)
    assert {key: written[key] for key in changes} == changes


def test_what_decides_nothing_is_written_as_the_trainers_defaults() -> None:
    assert there_and_back(tune_vision_tower=True, mm_projector_lr=1e-3)["mm_projector_lr"] is None


def test_a_config_without_a_maximum_length_has_the_papers() -> None:
    entries = {key: value for key, value in PUBLISHED.items() if key != "tokenizer_model_max_length"}
    assert read_published(entries, TOWER, 256).max_length == 2048


def test_a_projector_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="no projector of kind 'linear'"):
        read_published({key: value for key, value in PUBLISHED.items() if key != "mm_projector_type"}, TOWER, 256)


def test_the_tower_is_written_at_the_models_resolution() -> None:
    config = ConvLlavaConfig(text_config=LlamaConfig(), vision_config=TOWER, resolution=768)
    written = write_published_tower(config, "bfloat16")
    golden = read(TRAINED / "vision_tower/config.json")
    assert written == golden | {"image_size": 768, "torch_dtype": "bfloat16"}


def test_both_names_of_the_model_are_known_and_transformers_own_is_not_ours() -> None:
    assert speaks_published(PUBLISHED)
    assert speaks_published(PUBLISHED | {"model_type": "llava"})
    assert not speaks_published({"model_type": "llava", "vision_config": {}})
    assert not speaks_published({"model_type": "convllava"})


def test_an_encoder_keeps_its_sizes_and_works_out_what_follows() -> None:
    assert isinstance(TOWER, ConvNextConfig)
    assert (TOWER.num_stages, TOWER.hidden_sizes, TOWER.layer_scale_init_value) == (5, [8, 16, 32, 64, 128], 1e-6)
    assert (TOWER.out_features, TOWER.stage_names[-1]) == (["stage5"], "stage5")

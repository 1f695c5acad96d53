from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load

from cvl.demo.miniature.publish import Publisher, place
from cvl.demo.miniature.tokenizer import PIECES
from cvl.demo.miniature.weights import (
    ENCODER_URL,
    LAYER_SCALE,
    LLM_URL,
    EncoderSize,
    LlmSize,
    Tensor,
    draw_tensor,
    encoder_config,
    encoder_shapes,
    llm_config,
    llm_shapes,
    publish_weights,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    publish_weights(Publisher(folder))
    return folder


def tensors(folder: Path, url: str) -> dict[str, Tensor]:
    return load((folder / place(f"{url}/model.safetensors")).read_bytes())


def config(folder: Path, url: str, name: str = "config.json") -> Any:
    return json.loads((folder / place(f"{url}/{name}")).read_text())


def test_the_repositories_hold_what_a_start_needs(folder: Path) -> None:
    files = {url: sorted(path.name for path in (folder / place(url)).iterdir()) for url in (LLM_URL, ENCODER_URL)}
    tokenizer = ["special_tokens_map.json", "tokenizer.model", "tokenizer_config.json"]
    assert files[LLM_URL] == sorted(["config.json", "generation_config.json", "model.safetensors", *tokenizer])
    assert files[ENCODER_URL] == ["config.json", "model.safetensors", "preprocessor_config.json"]


@pytest.mark.parametrize("url", [LLM_URL, ENCODER_URL])
def test_tensors_are_float32_finite_and_marked_as_pytorchs(folder: Path, url: str) -> None:
    for tensor in tensors(folder, url).values():
        assert tensor.dtype == np.float32
        assert np.isfinite(tensor).all()
    with safe_open(folder / place(f"{url}/model.safetensors"), "np") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_language_model_has_the_tensors_of_its_configuration(folder: Path) -> None:
    found, sizes = tensors(folder, LLM_URL), config(folder, LLM_URL)
    assert {name: tensor.shape for name, tensor in found.items()} == llm_shapes(LlmSize())
    assert found["model.embed_tokens.weight"].shape == (sizes["vocab_size"], sizes["hidden_size"])
    assert found["model.layers.1.mlp.down_proj.weight"].shape == (sizes["hidden_size"], sizes["intermediate_size"])
    assert sizes["vocab_size"] == PIECES
    assert len(found) == 3 + 9 * sizes["num_hidden_layers"]


def test_the_encoder_has_the_tensors_of_its_configuration(folder: Path) -> None:
    found, sizes = tensors(folder, ENCODER_URL), config(folder, ENCODER_URL)
    assert (sizes["depths"], sizes["hidden_sizes"]) == ([1, 1, 2, 1], [16, 32, 64, 128])
    assert {name: tensor.shape for name, tensor in found.items()} == encoder_shapes(EncoderSize())
    assert found["embeddings.patch_embeddings.weight"].shape == (16, 3, 4, 4)
    assert found["encoder.stages.3.downsampling_layer.1.weight"].shape == (128, 64, 2, 2)
    assert found["encoder.stages.2.layers.1.pwconv1.weight"].shape == (256, 64)
    assert "encoder.stages.0.downsampling_layer.0.weight" not in found
    assert len(found) == 4 + 4 * 3 + 9 * sum(sizes["depths"]) + 2


def test_lists_of_the_encoders_configuration_have_an_entry_a_stage() -> None:
    sizes = encoder_config(EncoderSize(depths=(1, 2, 3), widths=(8, 16, 32)))
    assert sizes["num_stages"] == 3
    assert sizes["stage_names"] == ["stem", "stage1", "stage2", "stage3"]
    assert (sizes["out_features"], sizes["out_indices"]) == (["stage3"], [3])


def test_special_tokens_are_those_of_llama() -> None:
    found = llm_config(LlmSize())
    assert [found[f"{name}_token_id"] for name in ("pad", "bos", "eos")] == [0, 1, 2]


def test_the_preprocessor_is_clips_at_512_pixels(folder: Path) -> None:
    found = config(folder, ENCODER_URL, "preprocessor_config.json")
    assert found["image_processor_type"] == "CLIPImageProcessor"
    assert found["size"] == {"shortest_edge": 512}
    assert found["crop_size"] == {"height": 512, "width": 512}
    assert found["rescale_factor"] == pytest.approx(1 / 255)


def test_norms_start_as_the_identity_and_matrices_keep_the_size_of_a_signal() -> None:
    assert (draw_tensor("layernorm.weight", (8,)) == 1).all()
    assert (draw_tensor("dwconv.bias", (8,)) == 0).all()
    assert (draw_tensor("x.layer_scale_parameter", (8,)) == np.float32(LAYER_SCALE)).all()
    signal = np.random.default_rng(0).standard_normal(400)
    assert (draw_tensor("x.weight", (400, 400)) @ signal).std() == pytest.approx(1, abs=0.2)


def test_tensors_of_different_names_differ_and_of_the_same_name_do_not() -> None:
    one = draw_tensor("a.weight", (4, 4))
    assert (one == draw_tensor("a.weight", (4, 4))).all()
    assert (one != draw_tensor("b.weight", (4, 4))).any()


def test_transformers_loads_both_without_a_tensor_missing_or_left_over(folder: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    transformers = pytest.importorskip("transformers", reason="needs the train extra")
    for loader, url in ((transformers.LlamaForCausalLM, LLM_URL), (transformers.ConvNextModel, ENCODER_URL)):
        _, report = loader.from_pretrained(folder / place(url), output_loading_info=True)
        assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))

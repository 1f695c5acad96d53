"""Start weights: what comes from where, and what is fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from folders import ENCODER, LLM, TRAINED, change, copy, files, loaded, read, same, tensors
from torch import Tensor
from transformers import ConvNextConfig, ConvNextForImageClassification, LlamaConfig, LlamaForCausalLM

from cvl.errors import CheckpointError, UsageError
from cvl.manifest import Model
from cvl.manifest.stage import FifthStage
from cvl.train.checkpoint import weights as weights_module
from cvl.train.checkpoint.start import assemble_start
from cvl.train.model import ConvLlava
from cvl.train.model.modeling import fresh_projector
from cvl.train.model.vision import fresh_stage

PART = {"source": "vicuna", "path": "models/vicuna"}
MODEL = Model.model_validate(
    {
        "title": "Tiny",
        "resolution": 128,
        "language_model": PART,
        "vision_tower": PART,
        "fifth_stage": {"blocks": 2, "width": 128},
    }
)
FRESH = ("vision_tower.encoder.stages.4.", "projector.")


def assemble(target: Path, language_model: Path = LLM, encoder: Path = ENCODER, **changes: Any) -> dict[str, Tensor]:
    """A start at 128 pixels, in the golden checkpoint's sizes; its tensors."""
    sizes = {name: changes.pop(name) for name in ("resolution", "fifth_stage", "projector") if name in changes}
    model = MODEL.model_copy(update=sizes)
    assemble_start(language_model, encoder, target, model, **{"max_length": 512, "seed": 0} | changes)
    return tensors(target)


def part(content: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in content.items() if name.startswith(prefix)}


def known(content: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in content.items() if not name.startswith(FRESH)}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "start"
    assemble(folder)
    return folder


def test_the_start_loads_as_a_whole_model(start: Path) -> None:
    model, report = loaded(ConvLlava, start)
    assert not any(report.values())
    config = model.config
    assert (config.resolution, config.max_length, config.visual_tokens) == (128, 512, 4)
    assert (config.vision_config.depths, config.vision_config.hidden_sizes) == ([1, 1, 2, 1, 2], [8, 16, 32, 64, 128])
    assert config.vision_config.image_size == 128


def test_what_is_trained_already_is_bit_for_bit_what_it_was(start: Path) -> None:
    content = tensors(start)
    assert same(part(content, "language_model."), tensors(LLM))
    encoder = {name: tensor for name, tensor in tensors(ENCODER).items() if not name.startswith("layernorm.")}
    assert same(part(known(content), "vision_tower."), encoder)


def test_the_fifth_stage_and_the_projector_are_fresh_from_the_seed(start: Path) -> None:
    content, config = tensors(start), ConvLlava.from_pretrained(start).config
    fifth = fresh_stage(config.vision_config, 4, seed=0)
    assert same({name: t for name, t in part(content, "vision_tower.").items() if ".stages.4." in name}, fifth)
    assert same(part(content, "projector."), fresh_projector(config, seed=1))


def test_a_fresh_projector_is_initialised_as_torch_does_it(start: Path) -> None:
    weight = tensors(start)["projector.0.weight"]
    # Uniform between plus and minus one over the root of the fan in, 128 here.
    assert weight.abs().max() <= 128**-0.5
    assert weight.std() == pytest.approx((128 * 3) ** -0.5, rel=0.05)


def test_another_seed_gives_other_fresh_parts_and_nothing_else(start: Path, tmp_path: Path) -> None:
    content, other = tensors(start), assemble(tmp_path / "other", seed=7)
    changed = {name for name in content if not torch.equal(content[name], other[name])}
    assert changed
    assert all(name.startswith(FRESH) for name in changed)
    assert same(content, assemble(tmp_path / "again"))


def test_companions_come_along(start: Path) -> None:
    assert files(start) == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    }
    assert read(start / "preprocessor_config.json")["crop_size"] == {"height": 128, "width": 128}
    assert read(start / "tokenizer_config.json")["model_max_length"] == 512
    assert read(start / "generation_config.json") == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def test_everything_is_written_in_the_type_that_is_asked_for(tmp_path: Path) -> None:
    content = assemble(tmp_path / "start", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in content.values()} == {torch.bfloat16}
    assert read(tmp_path / "start/config.json")["dtype"] == "bfloat16"
    assert ConvLlava.from_pretrained(tmp_path / "start", dtype="auto").dtype == torch.bfloat16


def test_if_none_is_asked_for_it_is_the_language_models(tmp_path: Path) -> None:
    language_model = copy(LLM, tmp_path / "llm")
    LlamaForCausalLM.from_pretrained(LLM, dtype=torch.float16).save_pretrained(language_model)
    content = assemble(tmp_path / "start", language_model)
    assert {tensor.dtype for tensor in content.values()} == {torch.float16}


def test_old_pickled_shards_are_read_and_what_follows_from_the_config_is_dropped(tmp_path: Path) -> None:
    language_model = copy(LLM, tmp_path / "llm")
    content = tensors(LLM)
    (language_model / "model.safetensors").unlink()
    halves = [dict(list(content.items())[:9]), dict(list(content.items())[9:])]
    halves[1]["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    for name, half in zip(names, halves, strict=True):
        torch.save(half, language_model / name)
    weight_map = {key: name for name, half in zip(names, halves, strict=True) for key in half}
    (language_model / "pytorch_model.bin.index.json").write_text(f'{{"weight_map": {weight_map}}}'.replace("'", '"'))
    assert same(part(assemble(tmp_path / "start", language_model), "language_model."), content)


def test_a_language_model_of_one_embedding_gets_two(tmp_path: Path) -> None:
    tied = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=1000,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            tie_word_embeddings=True,
        )
    )
    language_model = copy(LLM, tmp_path / "llm")
    tied.save_pretrained(language_model)
    assert "lm_head.weight" not in tensors(language_model)
    torch.save(tied.model.state_dict(prefix="model."), language_model / "pytorch_model.bin")
    (language_model / "model.safetensors").unlink()
    content = assemble(tmp_path / "start", language_model)
    assert torch.equal(content["language_model.lm_head.weight"], content["language_model.model.embed_tokens.weight"])
    model = ConvLlava.from_pretrained(tmp_path / "start")
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight


def test_an_encoder_of_five_stages_is_taken_as_it_is(tmp_path: Path) -> None:
    content = assemble(tmp_path / "start", encoder=TRAINED / "vision_tower", fifth_stage=FifthStage(blocks=9, width=9))
    assert same(part(content, "vision_tower."), tensors(TRAINED / "vision_tower"))


def test_an_encoder_that_was_saved_with_its_classifier_is_read(tmp_path: Path) -> None:
    encoder = copy(ENCODER, tmp_path / "encoder")
    config = ConvNextConfig(depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 32, 64])
    classifier = ConvNextForImageClassification(config)
    classifier.save_pretrained(encoder)
    content = part(known(assemble(tmp_path / "start", encoder=encoder)), "vision_tower.")
    reference = {name: t for name, t in classifier.convnext.state_dict().items() if not name.startswith("layernorm.")}
    assert same(content, reference)


def test_the_whole_is_written_a_shard_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Path) -> None:
    monkeypatch.setattr(weights_module.write_weights, "__defaults__", (200_000,))
    content = assemble(tmp_path / "start")
    shards = list((tmp_path / "start").glob("model-*.safetensors"))
    assert len(shards) > 3
    assert all(shard.stat().st_size < 300_000 for shard in shards)
    assert same(content, tensors(start))
    ConvLlava.from_pretrained(tmp_path / "start")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"resolution": 100}, UsageError, "a resolution of 100 pixels, expected a multiple of 64"),
        ({"projector": "linear"}, UsageError, "no projector of kind 'linear'"),
        ({"language_model": ENCODER}, CheckpointError, "a model of type 'convnext', expected a language model"),
        ({"language_model": TRAINED}, CheckpointError, "a model of type 'llava_llama', expected a language model"),
        ({"encoder": LLM}, CheckpointError, "a model of type 'llama', expected 'convnext'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    changes: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        assemble(tmp_path / "start", **changes)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_of_three_stages_is_refused(tmp_path: Path) -> None:
    encoder = copy(ENCODER, tmp_path / "encoder")
    change(
        encoder / "config.json",
        lambda entries: entries.update(num_stages=3, depths=[1, 1, 2], hidden_sizes=[8, 16, 32]),
    )
    with pytest.raises(CheckpointError, match="the encoder has 3 stages, expected 4 or 5"):
        assemble(tmp_path / "start", encoder=encoder)


@pytest.mark.parametrize(
    ("mend", "message"),
    [
        (lambda entries: entries.update(num_hidden_layers=3), r"tensors are missing: .* and 6 more"),
        (lambda entries: entries.update(num_hidden_layers=1), r"tensors belong to no part of the model: .* and 6 more"),
        (lambda entries: entries.update(vocab_size=999), r"is of sizes \(1000, 64\), expected \(999, 64\)"),
    ],
)
def test_tensors_that_are_not_the_configs_are_named(mend: Any, message: str, tmp_path: Path) -> None:
    language_model = copy(LLM, tmp_path / "llm")
    change(language_model / "config.json", mend)
    with pytest.raises(CheckpointError, match=message):
        assemble(tmp_path / "start", language_model)
    assert not (tmp_path / "start").exists()

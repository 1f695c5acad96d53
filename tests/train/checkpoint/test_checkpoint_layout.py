"""What lies beside the tensors of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import ENCODER, LLM, TRAINED, change, copy, files, read
from transformers import LlamaConfig

from cvl.errors import CheckpointError
from cvl.train.checkpoint.layout import (
    copy_preprocessor,
    copy_tokenizer,
    generation_tokens,
    is_ours,
    read_config,
    read_json,
    write_companions,
    write_json,
)
from cvl.train.model import ConvLlavaConfig


def test_our_checkpoints_are_told_from_all_else(ours: Path, tmp_path: Path) -> None:
    assert is_ours(ours)
    assert not any(is_ours(folder) for folder in (TRAINED, LLM, ENCODER, tmp_path, tmp_path / "absent"))
    (tmp_path / "config.json").write_text("[]")
    assert not is_ours(tmp_path)
    assert read_config(ours).resolution == 256
    with pytest.raises(CheckpointError, match="is no checkpoint of cvl's own format"):
        read_config(TRAINED)


@pytest.mark.parametrize(("content", "message"), [("{", "is not JSON"), ("[1]", "holds a list, expected an object")])
def test_a_file_that_is_no_object_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        read_json(tmp_path / "config.json")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config.json is missing"):
        read_json(tmp_path / "config.json")


def test_objects_are_written_in_order_and_in_their_own_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"b": "ü", "a": None})
    assert (tmp_path / "file").read_text(encoding="utf-8") == '{\n  "a": null,\n  "b": "ü"\n}\n'


def test_the_tokenizer_comes_with_the_settings_of_training(tmp_path: Path) -> None:
    copy_tokenizer(LLM, tmp_path, 1024)
    names = {"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    assert files(tmp_path) == names
    assert (tmp_path / "tokenizer.model").read_bytes() == (LLM / "tokenizer.model").read_bytes()
    before, after = read(LLM / "tokenizer_config.json"), read(tmp_path / "tokenizer_config.json")
    assert after == before | {"pad_token": "<unk>", "padding_side": "right", "model_max_length": 1024}
    assert read(tmp_path / "special_tokens_map.json")["pad_token"] == "<unk>"


def test_the_unknown_token_may_be_written_with_its_properties(tmp_path: Path) -> None:
    source = copy(LLM, tmp_path / "source")
    change(source / "tokenizer_config.json", lambda entries: entries.update(unk_token={"content": "<?>"}))
    (tmp_path / "target").mkdir()
    copy_tokenizer(source, tmp_path / "target", 2048)
    assert read(tmp_path / "target/tokenizer_config.json")["pad_token"] == "<?>"


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no tokenizer, expected tokenizer.model or tokenizer.json"):
        copy_tokenizer(ENCODER, tmp_path, 2048)


def test_pictures_are_prepared_at_the_models_resolution(tmp_path: Path) -> None:
    copy_preprocessor(ENCODER, tmp_path, 768)
    after = read(tmp_path / "preprocessor_config.json")
    assert (after["size"], after["crop_size"]) == ({"shortest_edge": 768}, {"height": 768, "width": 768})
    assert after["image_mean"] == read(ENCODER / "preprocessor_config.json")["image_mean"]


def test_an_encoder_that_does_not_say_how_it_wants_its_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"preprocessor_config.json is missing"):
        copy_preprocessor(LLM, tmp_path, 768)


def test_padding_is_the_unknown_token_where_none_is_set() -> None:
    text = LlamaConfig(bos_token_id=1, eos_token_id=2, pad_token_id=None)
    assert generation_tokens(ConvLlavaConfig(text_config=text, resolution=64)) == {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def test_companions_are_all_that_a_checkpoint_has_beside_tensors_and_config(ours: Path, tmp_path: Path) -> None:
    write_companions(tmp_path, read_config(ours), ours, ours)
    assert files(tmp_path) == files(ours) - {"model.safetensors", "config.json"}
    assert all((tmp_path / name).read_bytes() == (ours / name).read_bytes() for name in files(tmp_path))

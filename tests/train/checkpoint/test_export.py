"""Exports: the published layout and the one folder, and that neither is done before it is proven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from folders import TRAINED, change, copy, files, loaded, read, same, tensors
from transformers import AutoModelForImageTextToText, ConvNextModel

from cvl.errors import CheckpointError, UsageError
from cvl.train.checkpoint import export as module
from cvl.train.checkpoint.export import export
from cvl.train.checkpoint.published import import_published
from cvl.train.checkpoint.weights import Piece, Weights


@pytest.fixture(scope="module")
def exported(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "golden"
    export(ours, folder, "convllava")
    return folder


def test_an_export_has_the_tensors_of_what_was_imported_bit_for_bit(exported: Path) -> None:
    assert same(tensors(exported), tensors(TRAINED))
    assert same(tensors(exported / "vision_tower"), tensors(TRAINED / "vision_tower"))


def test_an_export_has_the_files_that_the_trainer_writes_but_no_pickle(exported: Path) -> None:
    expected = files(TRAINED) - {"vision_tower/pytorch_model.bin"} | {"vision_tower/model.safetensors"}
    assert files(exported) == expected


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vision_tower/config.json",
        "vision_tower/preprocessor_config.json",
    ],
)
def test_its_descriptions_are_key_for_key_and_value_for_value_the_trainers(name: str, exported: Path) -> None:
    golden, written = read(TRAINED / name), read(exported / name)
    assert golden.keys() == written.keys()
    different = {key for key in golden if golden[key] != written[key]}
    # Where it came from, and where its tower lies.
    assert different == ({"_name_or_path", "mm_vision_tower"} if name == "config.json" else set())


def test_the_config_names_the_tower_where_it_will_lie(
    ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    remarks = export(ours, Path("out"), "convllava")
    assert read(tmp_path / "out/config.json")["mm_vision_tower"] == str(tmp_path / "out/vision_tower")
    assert remarks == (
        f"config.json names {tmp_path / 'out/vision_tower'} as mm_vision_tower: change it if you move the folder",
    )


def test_the_tower_alone_is_a_convnext_to_transformers(exported: Path) -> None:
    _, report = loaded(ConvNextModel, exported / "vision_tower")
    assert report["missing_keys"] == {"layernorm.weight", "layernorm.bias"}
    assert not report["unexpected_keys"]


def test_an_export_comes_back_as_what_it_was(exported: Path, ours: Path, tmp_path: Path) -> None:
    assert import_published(exported, tmp_path / "back") == ()
    assert same(tensors(tmp_path / "back"), tensors(ours))
    back, before = read(tmp_path / "back/config.json"), read(ours / "config.json")
    assert back == before


def test_an_export_may_change_the_type(ours: Path, tmp_path: Path) -> None:
    export(ours, tmp_path / "half", "convllava", dtype=torch.bfloat16)
    halved = {name: tensor.bfloat16() for name, tensor in tensors(TRAINED).items()}
    assert same(tensors(tmp_path / "half"), halved)
    assert read(tmp_path / "half/config.json")["torch_dtype"] == "bfloat16"
    assert read(tmp_path / "half/vision_tower/config.json")["torch_dtype"] == "bfloat16"


def test_one_folder_loads_through_the_auto_classes(ours: Path, tmp_path: Path) -> None:
    assert export(ours, tmp_path / "hf", "hf") == ()
    assert files(tmp_path / "hf") == files(ours)
    assert same(tensors(tmp_path / "hf"), tensors(ours))
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf")
    assert same(dict(model.state_dict()), tensors(ours))


def test_one_folder_may_change_the_type(ours: Path, tmp_path: Path) -> None:
    export(ours, tmp_path / "hf", "hf", dtype=torch.float16)
    assert read(tmp_path / "hf/config.json")["dtype"] == "float16"
    assert same(tensors(tmp_path / "hf"), {name: tensor.half() for name, tensor in tensors(ours).items()})


def test_a_published_checkpoint_can_be_exported_as_it_is(ours: Path, tmp_path: Path) -> None:
    (mended,) = export(TRAINED, tmp_path / "hf", "hf")
    assert mended.startswith("config.json names golden/model/base_convnext")
    assert same(tensors(tmp_path / "hf"), tensors(ours))


def test_an_export_without_sentencepiece_says_that_the_published_code_wants_it(ours: Path, tmp_path: Path) -> None:
    checkpoint = copy(ours, tmp_path / "checkpoint")
    (checkpoint / "tokenizer.model").rename(checkpoint / "tokenizer.json")
    _, remark = export(checkpoint, tmp_path / "out", "convllava")
    assert remark == "there is no tokenizer.model, which the published code makes its tokenizer from"


@pytest.mark.parametrize("name", ["siglip-run", "my-clip-vit", "LKNet"])
def test_a_place_whose_name_misleads_the_published_code_is_refused(name: str, ours: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"would take the vision tower in .* for another kind"):
        export(ours, tmp_path / name, "convllava")
    assert not (tmp_path / name).exists()
    export(ours, tmp_path / name, "hf")


def test_nothing_that_is_there_is_replaced(exported: Path, ours: Path) -> None:
    with pytest.raises(UsageError, match="is there already"):
        export(ours, exported, "convllava")


@pytest.mark.parametrize(
    ("mend", "message"),
    [
        (lambda text: text.update(model_type="mistral"), "the language model is a mistral"),
        (lambda text: text.update(head_dim=8), "sizes that the published code cannot express"),
        (lambda text: text.update(rope_parameters={"rope_type": "yarn", "factor": 2.0}), "of type 'yarn' are unknown"),
    ],
)
def test_what_the_published_code_cannot_run_is_not_exported_for_it(
    mend: Any, message: str, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = copy(ours, tmp_path / "checkpoint")
    change(checkpoint / "config.json", lambda entries: mend(entries["text_config"]))
    # The tensors are still the golden ones: only the words for them are looked at here.
    monkeypatch.setattr(module, "check_complete", lambda *_: None)
    with pytest.raises(UsageError, match=message) as caught:
        export(checkpoint, tmp_path / "out", "convllava")
    assert caught.value.hint == "--format hf"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["convllava", "hf"])
def test_an_export_that_reads_back_otherwise_is_not_done(
    form: Any, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_back: list[Path] = []

    def damaged(weights: Weights, name: str) -> Piece:
        if weights.folder not in (ours, *read_back):
            read_back.append(weights.folder)
            path = next(weights.folder.glob("*.safetensors"))
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
        return whole(weights, name)

    whole = Weights.__getitem__
    monkeypatch.setattr(Weights, "__getitem__", damaged)
    with pytest.raises(CheckpointError, match=r"\d+ tensors of the export are not what was exported, the first"):
        export(ours, tmp_path / "out", form)
    assert read_back
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_lacks_tensors_is_not_exported(ours: Path, tmp_path: Path) -> None:
    checkpoint = copy(ours, tmp_path / "checkpoint")
    change(checkpoint / "config.json", lambda entries: entries["text_config"].update(num_hidden_layers=3))
    with pytest.raises(CheckpointError, match="tensors are missing"):
        export(checkpoint, tmp_path / "out", "hf")

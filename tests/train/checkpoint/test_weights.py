"""Tensors of a folder, read and written piece by piece."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import read, same, tensors
from safetensors.torch import save_file
from torch import Tensor

from cvl.errors import CheckpointError, DiskError
from cvl.train.checkpoint.weights import (
    Piece,
    Weights,
    convert,
    differences,
    has_weights,
    main_dtype,
    piece_of,
    write_weights,
)

CONTENT = {
    "a.weight": torch.randn(4, 3),
    "a.bias": torch.randn(3).bfloat16(),
    "b.steps": torch.arange(5),
    "b.half": torch.randn(2, 2, 2).half(),
}


def pieces(content: dict[str, Tensor]) -> list[Piece]:
    return [piece_of(name, tensor) for name, tensor in content.items()]


def write_bin_shards(folder: Path) -> None:
    weight_map = {name: f"pytorch_model-{number}.bin" for number, name in enumerate(CONTENT)}
    for name, file in weight_map.items():
        torch.save({name: CONTENT[name]}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(f'{{"weight_map": {weight_map}}}'.replace("'", '"'))


def write_old_bin(folder: Path) -> None:
    torch.save(CONTENT, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: save_file(CONTENT, folder / "model.safetensors"),
        lambda folder: torch.save(CONTENT, folder / "pytorch_model.bin"),
        lambda folder: write_weights(folder, pieces(CONTENT), shard_bytes=60),
        write_bin_shards,
        write_old_bin,
    ],
    ids=["safetensors", "bin", "sharded safetensors", "sharded bin", "bin of before torch 1.6"],
)
def test_every_kind_of_file_reads_the_same(write: object, tmp_path: Path) -> None:
    assert callable(write)
    write(tmp_path)
    assert has_weights(tmp_path)
    assert same(tensors(tmp_path), CONTENT)
    assert len(Weights(tmp_path)) == len(CONTENT)


def test_of_two_kinds_safetensors_count(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert tensors(tmp_path)["a"].item() == 1


def test_sizes_are_known_before_a_tensor_is_read(tmp_path: Path) -> None:
    save_file(CONTENT, tmp_path / "model.safetensors")
    piece = Weights(tmp_path)["a.bias"]
    assert (piece.shape, piece.dtype, piece.nbytes) == ((3,), torch.bfloat16, 6)


def test_shards_hold_no_more_than_they_may_and_the_index_names_them(tmp_path: Path) -> None:
    write_weights(tmp_path, pieces(CONTENT), shard_bytes=60)
    index = read(tmp_path / "model.safetensors.index.json")
    assert index["weight_map"] == {
        "a.weight": "model-00001-of-00002.safetensors",
        "a.bias": "model-00001-of-00002.safetensors",
        "b.steps": "model-00002-of-00002.safetensors",
        "b.half": "model-00002-of-00002.safetensors",
    }
    assert index["metadata"] == {"total_size": 48 + 6 + 40 + 16}


def test_a_tensor_larger_than_a_shard_has_one_of_its_own(tmp_path: Path) -> None:
    write_weights(tmp_path, pieces(CONTENT), shard_bytes=1)
    assert len(list(tmp_path.glob("model-*-of-00004.safetensors"))) == 4
    assert same(tensors(tmp_path), CONTENT)


def test_only_one_shard_is_loaded_at_a_time(tmp_path: Path) -> None:
    written: list[int] = []

    def load(name: str) -> Tensor:
        written.append(len(list(tmp_path.glob("model-*.safetensors"))))
        return CONTENT[name]

    lazy = [replace(piece, load=partial(load, piece.name)) for piece in pieces(CONTENT)]
    write_weights(tmp_path, lazy, shard_bytes=1)
    assert written == [0, 1, 2, 3]


def test_converting_leaves_whole_numbers_alone(tmp_path: Path) -> None:
    write_weights(tmp_path, convert(pieces(CONTENT), torch.bfloat16))
    assert {tensor.dtype for name, tensor in tensors(tmp_path).items() if name != "b.steps"} == {torch.bfloat16}
    assert torch.equal(tensors(tmp_path)["b.steps"], CONTENT["b.steps"])
    assert torch.equal(tensors(tmp_path)["a.weight"], CONTENT["a.weight"].bfloat16())


def test_the_models_type_is_that_of_its_largest_tensor() -> None:
    assert main_dtype(pieces(CONTENT)) == torch.float32


def test_one_tensor_under_two_names_is_written_twice(tmp_path: Path) -> None:
    shared = torch.randn(3)
    write_weights(tmp_path, [piece_of("a", shared), piece_of("b", shared)])
    assert same(tensors(tmp_path), {"a": shared, "b": shared})


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path: Path) -> None:
    assert not has_weights(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no weights: neither model.safetensors nor pytorch_model.bin"):
        Weights(tmp_path)


def test_a_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_weights(tmp_path, pieces(CONTENT), shard_bytes=60)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002.safetensors is missing"):
        Weights(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kept", [0, 5, 200])
def test_a_file_that_is_cut_off_is_called_damaged(name: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("bin"):
        torch.save(CONTENT, path)
    else:
        save_file(CONTENT, path)
    os.truncate(path, kept)
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        Weights(tmp_path)


class Intruder:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("intruded",)


def test_code_in_a_bin_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Intruder()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        Weights(tmp_path)
    assert not Path("intruded").exists()


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(1)]])
def test_a_bin_of_something_else_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="something else than tensors by their names"):
        Weights(tmp_path)


def test_a_type_that_no_model_has_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="a is of type F8_E4M3"):
        Weights(tmp_path)["a"]


def test_a_folder_that_cannot_be_written_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot write"):
        write_weights(tmp_path / "absent", pieces(CONTENT))


def test_differences_are_bits_types_sizes_and_names() -> None:
    found = {piece.name: piece for piece in pieces(CONTENT)}
    assert differences(pieces(CONTENT), found) == []
    changed = CONTENT["a.weight"].clone()
    changed[0, 0] = changed[0, 0].nextafter(torch.tensor(9.0))
    others = {
        "a.weight": changed,
        "a.bias": CONTENT["a.bias"].half(),
        "b.steps": CONTENT["b.steps"][:4],
        "new": changed,
    }
    assert differences(pieces(CONTENT), {piece.name: piece for piece in pieces(others)}) == [
        "a.weight",
        "a.bias",
        "b.steps",
        "b.half",
        "new",
    ]


def test_no_number_equals_no_number_and_zero_has_a_sign() -> None:
    nan, zero = torch.tensor([torch.nan]), torch.tensor([0.0])
    assert differences([piece_of("a", nan)], {"a": piece_of("a", nan.clone())}) == []
    assert differences([piece_of("a", zero)], {"a": piece_of("a", -zero)}) == ["a"]

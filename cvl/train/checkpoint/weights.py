"""The tensors of a folder, read and written one at a time: a model of 7B never stands in memory whole."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cvl.errors import CheckpointError, DiskError
from cvl.train.checkpoint.layout import read_json

SHARD_BYTES = 4 << 30
SINGLE = "model.safetensors"
INDEX = f"{SINGLE}.index.json"
_BIN = "pytorch_model.bin"

# safetensors' names of the types that weights come in.
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Piece:
    """One tensor that has a place in a checkpoint: known by its sizes, loaded when its turn comes.

    Args:
        name: in the checkpoint that it goes into.
        shape: its sizes.
        dtype: its type in that checkpoint.
        load: brings it, of whatever type it is stored in.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]

    @property
    def nbytes(self) -> int:
        """Its size in bytes, as it will be written."""
        return int(torch.Size(self.shape).numel() * self.dtype.itemsize)

    def tensor(self) -> Tensor:
        """The tensor itself, contiguous and of the right type."""
        return self.load().to(self.dtype).contiguous()


def piece_of(name: str, tensor: Tensor, dtype: torch.dtype | None = None) -> Piece:
    """A piece that is in memory already, in its own type if no other is named."""
    return Piece(name, tuple(tensor.shape), dtype or tensor.dtype, lambda: tensor)


class _File(Protocol):
    """An open file of tensors."""

    def names(self) -> Iterable[str]: ...

    def piece(self, name: str) -> Piece: ...


class _Safetensors:
    def __init__(self, path: Path) -> None:
        self._file = cast("Any", safe_open)(path, framework="pt")

    def names(self) -> Iterable[str]:
        return cast("list[str]", self._file.keys())

    def piece(self, name: str) -> Piece:
        entry = self._file.get_slice(name)
        dtype = _TYPES.get(entry.get_dtype())
        if dtype is None:
            raise CheckpointError(f"{name} is of type {entry.get_dtype()}, which no model of this kind has")
        return Piece(name, tuple(entry.get_shape()), dtype, lambda: self._file.get_tensor(name))


class _Pickled:
    """A `.bin` of torch's: only tensors are taken from it, never code, and they stay on the disk until asked for."""

    def __init__(self, path: Path) -> None:
        try:
            self._tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:
            # Files of the format before torch 1.6 cannot be mapped.
            self._tensors = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(self._tensors, dict) or not all(
            isinstance(entry, Tensor) for entry in self._tensors.values()
        ):
            raise CheckpointError(f"{path} holds something else than tensors by their names")

    def names(self) -> Iterable[str]:
        return cast("Iterable[str]", self._tensors.keys())

    def piece(self, name: str) -> Piece:
        return piece_of(name, self._tensors[name])


class Weights(Mapping[str, Piece]):
    """Every tensor of one folder by its name, as a piece.

    Args:
        folder: with `model.safetensors` or `pytorch_model.bin`, in one file or in shards with an index. Where both
            lie, safetensors count, as in transformers.

    Raises:
        CheckpointError: there is neither, a file is missing, damaged, or holds more than tensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = [_open(path) for path in _files(folder)]
        self._places = {name: file for file in files for name in file.names()}

    def __getitem__(self, name: str) -> Piece:
        return self._places[name].piece(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights of a kind that can be read."""
    return any((folder / name).is_file() for name in (INDEX, SINGLE, f"{_BIN}.index.json", _BIN))


def _files(folder: Path) -> list[Path]:
    for name in (SINGLE, _BIN):
        index = folder / f"{name}.index.json"
        if index.is_file():
            return [folder / shard for shard in sorted(set(read_json(index).get("weight_map", {}).values()))]
        if (folder / name).is_file():
            return [folder / name]
    raise CheckpointError(f"{folder} holds no weights: neither {SINGLE} nor {_BIN}, nor an index of shards")


def _open(path: Path) -> _File:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing, but the index beside it names it", hint="fetch the folder again")
    try:
        return _Safetensors(path) if path.suffix == ".safetensors" else _Pickled(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} holds more than tensors, and only tensors are taken from it") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}", hint="fetch the folder again") from error


def main_dtype(pieces: Iterable[Piece]) -> torch.dtype:
    """The type of the largest tensor, which is what people mean by the model's."""
    return max(pieces, key=lambda piece: piece.nbytes).dtype


def convert(pieces: Iterable[Piece], dtype: torch.dtype | None) -> list[Piece]:
    """The pieces with every floating tensor in another type, or as they are if none is named."""
    return [
        piece if dtype is None or not piece.dtype.is_floating_point else replace(piece, dtype=dtype) for piece in pieces
    ]


def write_weights(folder: Path, pieces: Iterable[Piece], shard_bytes: int = SHARD_BYTES) -> None:
    """Write the pieces as safetensors, one shard in memory at a time, with an index if there are several.

    Raises:
        DiskError: there is no room.
    """
    shards = _shards(pieces, shard_bytes)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = SINGLE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _save(_load(shard), folder / name)
        weight_map |= {piece.name: name for piece in shard}
    if len(shards) > 1:
        total = sum(piece.nbytes for shard in shards for piece in shard)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _shards(pieces: Iterable[Piece], shard_bytes: int) -> list[list[Piece]]:
    shards: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        if not shards or piece.nbytes > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(piece)
        room -= piece.nbytes
    return shards


def _load(shard: Iterable[Piece]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    places: set[int] = set()
    for piece in shard:
        tensor = piece.tensor()
        # safetensors has no names for shared memory, such as that of tied embeddings.
        tensors[piece.name] = tensor.clone() if tensor.data_ptr() in places else tensor
        places.add(tensor.data_ptr())
    return tensors


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise DiskError(
            f"cannot write {path}: {error}", hint="free some room and run the same command again"
        ) from error


def differences(expected: Iterable[Piece], found: Mapping[str, Piece]) -> list[str]:
    """The names of the tensors that are not bit for bit in `found`, or that it has beyond the expected ones."""
    wanted = {piece.name: piece for piece in expected}
    unequal = [name for name, piece in wanted.items() if name not in found or not _equal(piece, found[name])]
    return unequal + [name for name in found if name not in wanted]


def _equal(expected: Piece, found: Piece) -> bool:
    if (expected.shape, expected.dtype) != (found.shape, found.dtype):
        return False
    # As bytes: numbers that are no numbers are equal too, and minus zero is not zero.
    return torch.equal(*(piece.tensor().flatten().view(torch.uint8) for piece in (expected, found)))

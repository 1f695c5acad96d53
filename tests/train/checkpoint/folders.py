"""The golden folders, and ways to change copies of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cvl.train.checkpoint.weights import Weights

GOLDEN = Path(__file__).parents[2] / "data/golden/model"
TRAINED = GOLDEN / "golden_ckpt"
LLM = GOLDEN / "base_llm"
ENCODER = GOLDEN / "base_convnext"

Entries = dict[str, Any]


def copy(source: Path, target: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(source, target)
    return target


def read(path: Path) -> Entries:
    content: Entries = json.loads(path.read_text())
    return content


def change(path: Path, mend: Callable[[Entries], object]) -> None:
    """Change a JSON file in place."""
    content = read(path)
    mend(content)
    path.write_text(json.dumps(content))


def tensors(folder: Path) -> dict[str, Tensor]:
    return {name: piece.tensor() for name, piece in Weights(folder).items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors have the same names, types and bits."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def loaded(kind: Any, folder: Path) -> tuple[Any, dict[str, set[str]]]:
    """A model as transformers loads it, and the names of the tensors that were missing or too many."""
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    return model, {key: set(report[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

"""A folder to be converted."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvl.convert.jpeg import Conversion


@pytest.fixture
def conversion(tmp_path: Path) -> Conversion:
    """An empty folder to be converted, with the folder for originals where the tree has it."""
    (tmp_path / "data/ocr_vqa/images").mkdir(parents=True)
    return Conversion(tmp_path / "data/ocr_vqa/images", tmp_path / "data/.cvl/originals/ocr_vqa/images")

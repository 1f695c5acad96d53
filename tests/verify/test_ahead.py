"""Workers are made ready early where there will be some, and only there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cvl.manifest import Catalog
from cvl.root import Root
from cvl.verify import ahead
from cvl.verify.ahead import look_ahead


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    modules: list[str] = []
    monkeypatch.setattr(ahead, "prepare", modules.extend)
    return modules


def instruction_file(catalog: Catalog, root: Root, size: int) -> None:
    annotation = next(annotation for _, annotation in catalog.annotations.values())
    path = root.at(annotation.path)
    path.parent.mkdir(parents=True)
    path.touch()
    os.truncate(path, size)


def test_a_tree_of_a_large_instruction_file_has_workers_made_ready(
    catalog: Catalog, tmp_path: Path, prepared: list[str]
) -> None:
    instruction_file(catalog, Root(tmp_path), 1 << 30)
    look_ahead(catalog, Root(tmp_path), None)
    assert prepared
    for module in prepared:
        assert __import__(module)
        assert module in sys.modules


@pytest.mark.parametrize(("size", "jobs"), [(1 << 20, None), (1 << 30, 1)])
def test_no_worker_is_made_ready_that_will_not_be_needed(
    catalog: Catalog, tmp_path: Path, prepared: list[str], size: int, jobs: int | None
) -> None:
    instruction_file(catalog, Root(tmp_path), size)
    look_ahead(catalog, Root(tmp_path), jobs)
    assert not prepared


def test_an_empty_tree_needs_no_worker(catalog: Catalog, tmp_path: Path, prepared: list[str]) -> None:
    look_ahead(catalog, Root(tmp_path), None)
    assert not prepared

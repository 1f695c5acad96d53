"""Large files read by several processes: the same index as one process makes, and the same errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvl.annotations import AnnotationFile, Index, build_index
from cvl.annotations import pieces as pieces_module
from cvl.annotations.names import read_names
from cvl.errors import AnnotationError

COUNT = 900


def record(number: int) -> dict[str, Any]:
    odd = [{"from": "gpt", "value": "Hello"}] if number % 50 == 7 else []
    turns = [
        *odd,
        {"from": "human", "value": "<image>\nWhat — is this?"},
        {"from": "gpt", "value": f"A bus {number}. " * 9},
    ]
    return {"id": f"{number}", "image": f"é{number % 3}/{number}.jpg", "conversations": turns}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a size that a test can have several of; the workers have only what they are given."""
    monkeypatch.setattr(pieces_module, "PIECE", 40_000)
    monkeypatch.setattr(pieces_module, "WORTH_IT", 80_000)


@pytest.fixture
def file(tmp_path: Path) -> AnnotationFile:
    path = tmp_path / "mix.json"
    path.write_text(json.dumps([record(number) for number in range(COUNT)], indent=1))
    return AnnotationFile("mix", path, "data")


def columns(index: Index) -> dict[str, list[Any]]:
    arrays = ("offset", "length", "image_start", "words", "turns", "problems")
    return {name: np.asarray(getattr(index, name)).tolist() for name in arrays} | {
        "images": [image for chunk in index.images() for image in chunk],
        "folders": sorted((folder, sorted(text.split(b"\0"))) for folder, text in index.by_folder().items()),
        "counts": [index.header.problems],
    }


def test_two_processes_build_the_index_that_one_builds(file: AnnotationFile, tmp_path: Path) -> None:
    with build_index(file, tmp_path / "one", jobs=1) as one, build_index(file, tmp_path / "two", jobs=2) as two:
        assert columns(one) == columns(two)
        assert len(two) == COUNT
        assert two.record(COUNT - 1) == record(COUNT - 1)
        groups = two.by_folder()
        assert list(groups) == ["é0", "é1", "é2"]
        assert groups["é1"].split(b"\0")[:3] == [b"1.jpg", b"4.jpg", b"7.jpg"]


def test_progress_goes_to_the_end_of_the_file(file: AnnotationFile, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    build_index(file, tmp_path / "index", lambda done, total: told.append((done, total)), jobs=2).close()
    size = file.path.stat().st_size
    assert {total for _, total in told} == {size}
    assert told[-1] == (size, size)
    assert len(told) > 4


@pytest.mark.parametrize("jobs", [1, 2])
def test_names_are_those_of_the_index(file: AnnotationFile, tmp_path: Path, jobs: int) -> None:
    names = read_names(file, lambda _done, _total: None, jobs)
    with build_index(file, tmp_path / "index") as index:
        assert b"".join(names.image_text()) == b"".join(index.image_text())
        assert (len(names), names.by_folder(), names.text_only) == (len(index), index.by_folder(), index.text_only)
        assert (names.size, names.mtime_ns) == (index.header.size, index.header.mtime_ns)


def damaged(content: bytes, what: str) -> bytes:
    middle = content.index(b'"id": "450"')
    match what:
        case "cut":
            return content[:middle]
        case "lost quote":
            return content[:middle] + content[middle:].replace(b'"', b"", 1)
        case "not UTF-8":
            return content[:middle] + content[middle:].replace(b"What", b"Wh\xe4", 1)
        case _:
            return content[:middle] + bytes(200) + content[middle + 200 :]


@pytest.mark.parametrize("what", ["cut", "lost quote", "not UTF-8", "zeros"])
def test_damage_is_told_as_one_process_tells_it(file: AnnotationFile, tmp_path: Path, what: str) -> None:
    file.path.write_bytes(damaged(file.path.read_bytes(), what))
    told = []
    for jobs in (1, 2):
        with pytest.raises(AnnotationError) as caught:
            build_index(file, tmp_path / f"index{jobs}", jobs=jobs)
        told.append((str(caught.value), caught.value.hint))
    assert told[0] == told[1]
    assert f"{file.path}: " in told[0][0]


def turns_like_records(number: int) -> dict[str, Any]:
    turns = [{"id": "t", "from": speaker, "value": "x" * 30} for speaker in ("human", "gpt")]
    return {"id": f"{number}", "conversations": turns}


OTHERS: dict[str, Callable[[int], Any]] = {
    "turns begin like records": turns_like_records,
    "records begin in many ways": lambda number: {f"key{number}": 1, "conversations": []},
    "some are no objects": lambda number: record(number) if number % 7 else [number],
    "images are odd": lambda number: record(number) | {"image": [None, ["a"], "a\0b", 7][number % 4]},
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
def test_files_that_cannot_be_cut_by_guessing_have_the_same_index(tmp_path: Path, make: Callable[[int], Any]) -> None:
    path = tmp_path / "mix.json"
    path.write_text(json.dumps([make(number) for number in range(3000)]))
    file = AnnotationFile("mix", path, "data")
    with build_index(file, tmp_path / "one", jobs=1) as one, build_index(file, tmp_path / "two", jobs=2) as two:
        assert columns(one) == columns(two)
        assert two.record(2999) == json.loads(path.read_bytes())[2999]
        names = read_names(file, lambda _done, _total: None, 2)
        assert b"".join(names.image_text()) == b"".join(two.image_text())
        assert names.text_only == two.text_only

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvl.annotations import AnnotationFile, Index, build_index
from cvl.annotations.index import COLUMNS
from cvl.errors import AnnotationError

COUNT = 100


def record(number: int) -> dict[str, Any]:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": f"Ünique {number}"}]
    return {"id": str(number), "conversations": turns} | ({"image": f"é/{number}.jpg"} if number % 4 else {})


IMAGES = [f"é/{number}.jpg" if number % 4 else None for number in range(COUNT)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([record(number) for number in range(COUNT)]))
    with build_index(AnnotationFile("x", path, "data/x"), tmp_path / "index") as built:
        yield built


def test_columns_have_the_types_and_lengths_of_the_format(index: Index) -> None:
    assert index.offset.dtype == "<u8"
    assert index.length.dtype == "<u4"
    assert index.image_start.dtype == "<u8"
    assert index.words.dtype == "<u4"
    assert index.turns.dtype == "<u2"
    assert index.problems.dtype == "<u2"
    assert [len(c) for c in (index.offset, index.length, index.words, index.turns, index.problems)] == [COUNT] * 5
    assert len(index.image_start) == COUNT + 1


def test_columns_are_read_only(index: Index) -> None:
    with pytest.raises(ValueError, match="read-only"):
        index.words[0] = 1


def test_the_files_are_what_the_format_says(index: Index, tmp_path: Path) -> None:
    place = tmp_path / "index" / "x"
    header = json.loads((place / "index.json").read_text())
    stat = index.source.path.stat()
    assert {key: header[key] for key in ("format", "version", "name", "file", "size", "mtime_ns", "records")} == {
        "format": "cvl annotation index",
        "version": 3,
        "name": "x",
        "file": "x.json",
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "records": COUNT,
    }
    assert header["problems"] == {"IMAGE_WITHOUT_PLACEHOLDER": 75}
    assert {name: column["dtype"] for name, column in header["columns"].items()} == COLUMNS
    images = (place / header["columns"]["images"]["file"]).read_bytes()
    assert images.decode() == "".join(f"{image or ''}\0" for image in IMAGES)
    words = np.fromfile(place / header["columns"]["words"]["file"], "<u4")
    assert words.tolist() == index.words.tolist()


@pytest.mark.parametrize("chunk", [1, 7, COUNT, 1 << 16])
def test_images_in_chunks_are_the_images_one_by_one(index: Index, chunk: int) -> None:
    chunks = list(index.images(chunk=chunk))
    assert [image for images in chunks for image in images] == IMAGES
    assert {len(images) for images in chunks[:-1]} <= {chunk}
    assert [index.image(number) for number in range(COUNT)] == IMAGES


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 40), (90, None), (-5, None), (50, 20), (0, 1000)])
def test_images_of_a_part_of_the_records(index: Index, start: int, stop: int | None) -> None:
    found = [image for images in index.images(start, stop, chunk=6) for image in images]
    assert found == IMAGES[start:stop]


def test_numbers_beyond_the_end_are_index_errors_and_negative_ones_count_from_there(index: Index) -> None:
    assert index.image(-1) == IMAGES[-1]
    assert index.record(np.int64(-1)) == record(COUNT - 1)  # type: ignore[arg-type]  # samplers give numpy integers
    for number in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError):
            index.image(number)
        with pytest.raises(IndexError):
            index.record(number)


def test_a_closed_index_reads_no_records_but_keeps_its_columns(index: Index) -> None:
    index.close()
    index.close()
    with pytest.raises(ValueError, match="the index is closed"):
        index.record(0)
    assert index.image(1) == IMAGES[1]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_an_index_that_is_dropped_closes_its_file(index: Index) -> None:
    before = open_files()
    for _ in range(3):
        pickle.loads(pickle.dumps(index)).record(0)
    assert open_files() == before


def test_an_index_can_be_sent_to_another_process(index: Index) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(index.record, [5, 6]) == [record(5), record(6)]


FORKED = """
import os, pickle, sys
from pathlib import Path

index = pickle.loads(Path(sys.argv[1]).read_bytes())
children = []
for child in range(4):
    children.append(os.fork())
    if not children[-1]:
        found = [int(index.record(number)["id"]) for _ in range(20) for number in range(len(index))]
        os._exit(found != list(range(len(index))) * 20)
sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""


def test_forked_processes_share_an_open_index(index: Index, tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(pickle.dumps(index))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, "-c", FORKED, str(tmp_path / "pickle")]
    assert subprocess.run(command, env=environment, check=False).returncode == 0


def test_a_pickled_index_does_not_open_on_a_file_that_changed(index: Index) -> None:
    sent = pickle.dumps(index)
    index.source.path.write_text("[]")
    with pytest.raises(AnnotationError, match=r"this index cannot be used: it describes an older .*x\.json") as caught:
        pickle.loads(sent)
    assert caught.value.hint


def test_a_record_that_changed_under_an_open_index_is_told(index: Index) -> None:
    content = index.source.path.read_text()
    index.source.path.write_text(content.replace("{", "x"))
    with pytest.raises(AnnotationError, match=r"x\.json: record 3, \d+ bytes at \d+, cannot be read") as caught:
        index.record(3)
    assert caught.value.hint
    index.source.path.write_text(content[:100])
    with pytest.raises(AnnotationError, match="cannot be read"):
        index.record(50)

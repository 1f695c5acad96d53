"""The bytes of an instruction file, mapped and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.annotations.buffer import Mapped, forget, instruction_file
from cvl.errors import AnnotationError

CONTENT = bytes(range(256)) * 64


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("buffer") / "records.json"
    path.write_bytes(CONTENT)
    return path


places = st.none() | st.integers(-2 * len(CONTENT), 2 * len(CONTENT))


@given(begin=places, end=places)
def test_slices_are_those_of_the_bytes(path: Path, begin: int | None, end: int | None) -> None:
    with instruction_file(path) as (buffer, _):
        assert isinstance(buffer, Mapped)
        assert buffer[begin:end] == CONTENT[begin:end]
        assert buffer[begin:end:3] == CONTENT[begin:end:3]


def test_it_is_searched_counted_and_viewed_like_bytes(path: Path) -> None:
    with instruction_file(path) as (buffer, stat):
        assert len(buffer) == stat.st_size == len(CONTENT)
        assert (buffer[7], buffer[-1]) == (7, 255)
        assert buffer.find(b"\xff\x00") == 255
        assert bytes(np.frombuffer(buffer, dtype=np.uint8)) == CONTENT


def test_what_was_let_go_of_can_be_had_again(path: Path) -> None:
    with instruction_file(path) as (buffer, _):
        forget(buffer, 0, len(CONTENT))
        assert buffer[0:9] == CONTENT[:9]
        assert buffer.find(b"\xff") == 255


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.json").touch()
    with instruction_file(tmp_path / "empty.json") as (buffer, stat):
        assert (buffer[0:9], len(buffer), stat.st_size) == (b"", 0, 0)


def test_a_file_that_is_not_there_names_itself_and_what_brings_it(tmp_path: Path) -> None:
    absent = instruction_file(tmp_path / "absent.json")
    with pytest.raises(AnnotationError, match=r"absent\.json: .* cannot be opened") as refused, absent:
        pass
    assert refused.value.hint is not None
    assert "cvl fetch" in refused.value.hint

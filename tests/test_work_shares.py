"""Shares of the work: of commands that know nothing of each other, each takes its own, and together they take all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cvl
from cvl.errors import UsageError
from cvl.parallel import WHOLE, Part

NAMES = [f"images/{number:09}" for number in range(4000)]


@given(st.text(), st.integers(1, 50))
def test_every_name_belongs_to_exactly_one_part(name: str, of: int) -> None:
    assert sum(Part(number, of).takes(name) for number in range(1, of + 1)) == 1


@pytest.mark.parametrize("of", [2, 3, 8, 64])
def test_parts_are_about_equal_even_of_names_that_are_counted(of: int) -> None:
    share = len(NAMES) / of
    for number in range(1, of + 1):
        assert abs(sum(map(Part(number, of).takes, NAMES)) - share) < 5 * share**0.5


def test_a_part_is_the_same_in_another_process() -> None:
    code = "import sys; from cvl.parallel import Part; print(*map(int, map(Part(2, 3).takes, sys.argv[1:])))"
    environment = {"PYTHONPATH": str(Path(cvl.__file__).parents[1]), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code, *NAMES[:50]], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(int(Part(2, 3).takes(name))) for name in NAMES[:50]]


def test_a_name_that_is_no_text_belongs_to_a_part_too() -> None:
    assert Part(1, 2).takes("caf\udce9.gif") != Part(2, 2).takes("caf\udce9.gif")


def test_the_whole_takes_everything() -> None:
    assert WHOLE.whole
    assert Part.parse("1/1") == WHOLE
    assert all(map(WHOLE.takes, NAMES))
    assert not Part(1, 2).whole


@pytest.mark.parametrize("text", ["1/2", "3/8", "64/64", "1/1"])
def test_a_part_is_read_as_it_is_written(text: str) -> None:
    assert str(Part.parse(text)) == text


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1 / 2", "1.5/2"])
def test_what_is_no_part_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="expected I/N") as caught:
        Part.parse(text)
    assert "SLURM_ARRAY_TASK_ID" in (caught.value.hint or "")

"""The fault table of the documents and the tests of this folder are one thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[2] / "docs" / "faults.md"
ROW = re.compile(r"^\| (?P<fault>[^|]+) \| (?P<does>[^|]+) \| (?P<ends>[^|]+) \| (?P<tests>[^|]+) \|$")
TEST = re.compile(r"`(test_\w+)`")


def rows() -> list[re.Match[str]]:
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [match for line in lines if (match := ROW.match(line)) and match["fault"] not in ("fault", "---")]


def names() -> Iterator[str]:
    for path in sorted(HERE.glob("test_faults_of_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from (node.name for node in tree.body if isinstance(node, ast.FunctionDef) if node.name[:5] == "test_")


def test_the_table_is_one() -> None:
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    headings = [line for line in lines if line.startswith(("| fault |", "| --- |"))]
    assert len(rows()) + len(headings) == len(lines)
    assert len(rows()) > 60


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["fault"])
def test_every_row_names_a_test_that_exists(row: re.Match[str]) -> None:
    named = TEST.findall(row["tests"])
    assert named
    assert set(named) <= set(names())


def test_every_test_has_a_row() -> None:
    named = [name for row in rows() for name in TEST.findall(row["tests"])]
    assert sorted(named) == sorted(names())


def test_no_two_tests_share_a_name() -> None:
    found = list(names())
    assert len(set(found)) == len(found)

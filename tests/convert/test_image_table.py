"""The table of pictures in the documents and the tests of this folder are one thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "images.md"
ROW = re.compile(r"^\| (?P<file>[^|]+) \| (?P<does>[^|]+) \| (?P<tests>[^|]+) \|$")
TEST = re.compile(r"`(test_\w+)`")


def lines() -> list[str]:
    return [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]


def rows() -> list[re.Match[str]]:
    return [match for line in lines() if (match := ROW.match(line)) and match["file"] not in ("file", "---")]


def names() -> Iterator[str]:
    for file in ("test_hostile_images.py", "test_broken_images.py"):
        tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
        yield from (node.name for node in tree.body if isinstance(node, ast.FunctionDef) if node.name[:5] == "test_")


def test_every_line_of_a_table_is_a_row() -> None:
    headings = [line for line in lines() if line.startswith(("| file |", "| --- |"))]
    assert len(rows()) + len(headings) == len(lines())
    assert len(rows()) > 30


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_a_row_names_a_test_that_exists(row: re.Match[str]) -> None:
    named = TEST.findall(row["tests"])
    assert named
    assert set(named) <= set(names())


def test_every_test_has_one_row() -> None:
    assert sorted(name for row in rows() for name in TEST.findall(row["tests"])) == sorted(names())

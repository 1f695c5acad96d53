"""The table of archives that attack or are broken names a test for every row, and names no test that is not there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS.parent.parent / "docs" / "archives.md"
ROWS = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| ---")]


def names_of_tests() -> set[str]:
    trees = [ast.parse(path.read_text()) for path in TESTS.glob("test_unpack*.py")]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", [row for row in ROWS if not row.endswith("| test |")])
def test_every_row_of_the_table_is_a_test(row: str) -> None:
    *_, last = row.strip("| ").split(" | ")
    named = re.findall(r"`(test_\w+)`", last)
    assert named
    assert not set(named) - names_of_tests()


def test_every_attack_and_damage_that_is_tested_is_in_the_table() -> None:
    tested: set[str] = set()
    for path in (TESTS / "test_unpack_zip.py", TESTS / "test_unpack_tar.py"):
        _, _, attacks = path.read_text().partition("\n# Attacks\n")
        tested.update(re.findall(r"^def (test_\w+)", attacks, re.MULTILINE))
    table = TABLE.read_text()
    assert sorted(name for name in tested if f"`{name}`" not in table) == []

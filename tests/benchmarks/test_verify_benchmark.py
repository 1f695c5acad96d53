"""The benchmark of verifying runs on a small tree, and its tree is what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("verify")
    command = [sys.executable, str(BENCHMARKS / "verify.py"), "--tiny", "--rounds", "1", "--folder", str(folder)]
    output = folder / "figures.json"
    done = subprocess.run([*command, "--output", str(output)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cvl, index" in done.stdout
    assert list(folder.iterdir()) == [output], "the tree is gone"
    return json.loads(output.read_bytes())


def test_every_peer_has_its_figures(report: Any) -> None:
    rows = {row["name"]: row for row in report["rows"]}
    assert len(rows) == 7
    for row in rows.values():
        assert len(row["runs"]) == 1
        assert row["seconds"] > 0
        assert row["against"][row["name"]] == 1
    assert rows["cvl, no index"]["private"] > 1_000_000


def test_the_tree_is_as_large_as_was_asked_for(tmp_path: Path) -> None:
    script = str(BENCHMARKS / "synthetic_tree.py")
    command = [sys.executable, script, str(tmp_path), "--files", "997", "--records", "1203"]
    made = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    root = Path(made["root"])
    assert (made["files"], len(list(root.glob("data/**/*.jpg")))) == (997, 997)
    records = json.loads((root / "data/sharegpt4v/records.json").read_bytes())
    assert len(records) == 1203
    assert len({record["image"] for record in records}) == 997
    assert all((root / "data" / record["image"]).is_file() for record in records)

"""The benchmark of the data path runs, on small pictures, and finds both ways' results equal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "data_path.py"


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, "--tiny", "--turns", "2"], capture_output=True, text=True)


def test_both_ways_come_to_the_same_pixels_ids_and_labels(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    *_, fast = rows = json.loads(done.stdout.splitlines()[-1])
    assert [row["max_difference"] for row in rows if not row["fast_decode"]] == [0, 0]
    assert fast["fast_decode"]
    assert 0 < fast["mean_difference"] < fast["max_difference"]


def test_every_case_has_a_line_and_a_speed(done: subprocess.CompletedProcess[str]) -> None:
    *lines, last = done.stdout.splitlines()
    assert [line.split("published")[0].strip() for line in lines] == [
        "96×64 to 64",
        "100×150 to 64",
        "200×300 to 64 --fast-decode",
    ]
    assert all(row["published"] > 0 and row["ours"] > 0 and row["ratio"] > 0 for row in json.loads(last))

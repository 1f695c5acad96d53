"""The GPU benchmark runs, with a miniature on the CPU, and says where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "gpu_step.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    return run("--tiny", "--model", "7b-768", "--batch", "2", "--text", "16", "--steps", "1")


def test_the_miniature_is_measured_for_every_stage(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert [(row["model"], row["stage"]) for row in rows] == [("7b-768", stage) for stage in (1, 2, 3)]
    for row in rows:
        assert row["tokens"] == 16 + 144
        assert row["peak"] is None
        assert row["pictures_per_second"] == pytest.approx(2 / row["seconds"])
        assert row["tokens_per_second"] == pytest.approx(2 * row["tokens"] / row["seconds"])


def test_each_stage_has_its_own_parameters_to_learn(done: subprocess.CompletedProcess[str]) -> None:
    first, second, third = (row["learning"] for row in json.loads(done.stdout.splitlines()[-1])["rows"][:3])
    assert first < third < second


def test_the_table_has_a_line_for_each_row(done: subprocess.CompletedProcess[str]) -> None:
    header, *lines, _ = done.stdout.splitlines()
    assert header.startswith("model")
    assert [line.split()[:2] for line in lines] == [["7b-768", stage] for stage in "123"]


def test_without_a_gpu_it_says_so_and_ends_with_2() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no GPU" in done.stderr

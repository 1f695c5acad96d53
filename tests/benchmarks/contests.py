"""Runs a benchmark that is a contest, small, and tells what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@dataclass(frozen=True)
class Outcome:
    """What the benchmark printed and wrote, and what it left in its folder."""

    code: int
    stdout: str
    stderr: str
    report: Any
    left: list[Path]

    def rows(self, scenario: str) -> dict[str, Any]:
        """The rows of one scenario by the names of the contenders."""
        return {row["name"]: row for row in self.report["scenarios"][scenario]["rows"]}


def run(script: str, folder: Path, *arguments: str, path: str | None = None) -> Outcome:
    """Run `script` in `folder`, with nothing to compare with but what is on `path` and beside Python."""
    work = folder / "work"
    work.mkdir()
    figures = folder / "figures.json"
    command = [sys.executable, str(_BENCHMARKS / script), "--tiny", "--folder", str(work), "--output", str(figures)]
    environment = os.environ | {"PATH": path or os.environ["PATH"], "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)
    assert figures.exists(), done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr, json.loads(figures.read_bytes()), list(work.iterdir()))

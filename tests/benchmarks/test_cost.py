"""What a contender is charged with: all that it began, whether or not it waited for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).parent.parent.parent / "benchmarks" / "contest" / "launcher.py"
SPEND = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
BEGIN = "import subprocess, sys; subprocess.{}([sys.executable, '-c', {!r}])"


def launched(code: str) -> tuple[int, Any]:
    """The exit status of a Python program that was launched, and its cost."""
    command = [sys.executable, "-I", "-S", str(LAUNCHER), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


def test_a_process_that_is_left_behind_is_paid_for() -> None:
    code, cost = launched(BEGIN.format("Popen", SPEND))
    assert code == 0
    assert cost["cpu"] >= 0.3


def test_a_process_that_is_waited_for_is_paid_for_once() -> None:
    _, cost = launched(BEGIN.format("run", SPEND))
    assert 0.3 <= cost["cpu"] < 0.6


def test_what_a_command_prints_does_not_get_among_the_figures_and_its_status_is_told() -> None:
    code, cost = launched("print('hello'); raise SystemExit(3)")
    assert code == 3
    assert set(cost) == {"seconds", "cpu", "peak"}

"""What a whole process costs: seconds, CPU, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LAUNCHER = Path(__file__).parent / "launcher.py"
_PATIENCE = 1800.0
_PERSONAL = ("CVL_", "HF_", "HUGGING_FACE_", "TTY_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")


class FailedRunError(Exception):
    """A contender did not do what it was to do; says what it said."""


@dataclass(frozen=True)
class Cost:
    """What one process cost, from its start to its end, with the processes that it waited for.

    Args:
        seconds: on the clock.
        cpu: seconds of user and system time.
        peak: bytes of memory that its largest process had at most.
    """

    seconds: float
    cpu: float
    peak: int


def cost_of(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run a command in `folder`, with nothing of the user's own wishes in its environment.

    Args:
        environment: variables on top of the plain ones.

    Raises:
        FailedRunError: it ended with another status than 0, or not within half an hour.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCHER), *command],
        cwd=folder,
        env=plain_environment(folder) | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        printed, said = process.communicate(timeout=_PATIENCE)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise FailedRunError(f"did not end within {_PATIENCE:.0f} s") from error
        raise
    if process.returncode != 0:
        raise FailedRunError(f"ended with {process.returncode}: {_last_line(said)}")
    return Cost(**json.loads(printed))


def plain_environment(home: Path) -> dict[str, str]:
    """The environment without proxies, tokens and settings, with `home` for whatever a program keeps."""
    plain = {name: value for name, value in os.environ.items() if not _is_personal(name)}
    return plain | {"HOME": str(home), "XDG_CACHE_HOME": str(home), "NO_ALBUMENTATIONS_UPDATE": "1"}


def _last_line(text: str) -> str:
    lines = text.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _is_personal(name: str) -> bool:
    return name.startswith(_PERSONAL) or name.upper().endswith("_PROXY")

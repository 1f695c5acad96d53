"""Who meets whom over what: the values that scenarios are made of."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from contest.cost import Cost

_REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Contender:
    """A program that fetches what a scenario is about.

    Args:
        name: as the table calls it.
        command: the words that let it put its result into an empty folder.
        environment: variables that it needs.
        connections: how many it may have at once, where the scenario counts them.
        absent: why it cannot take part, "" if it can.
    """

    name: str
    command: Callable[[Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    connections: int = 1
    absent: str = ""


def _nothing_to_note(_contender: Contender, _cost: Cost) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True)
class Scenario:
    """What is fetched, and by whom.

    Args:
        title: what is measured, in one line.
        bytes: that each has to bring.
        files: how many they are in.
        contenders: ours is the first, the others are compared with it.
        check: holds a contender's folder against what it must have brought; raises FailedRunError.
        note: further figures of one run, by their names.
        per_file: whether files a second say more than bytes a second.
    """

    title: str
    bytes: int
    files: int
    contenders: Sequence[Contender]
    check: Callable[[Path], None]
    note: Callable[[Contender, Cost], Mapping[str, float]] = _nothing_to_note
    per_file: bool = False


def ours(manifests: Path, *options: str, tree: Path | None = None) -> Contender:
    """`cvl fetch bench` with a folder of manifests, into the tree `tree`, or else into one that is new each time."""

    def command(folder: Path) -> list[str]:
        where = ["--root", str(tree or folder / "tree"), "--manifests", str(manifests)]
        return [sys.executable, "-m", "cvl", "fetch", "bench", *where, *options]

    return Contender("cvl", command, {"PYTHONPATH": str(_REPOSITORY)})


def within(environment: Mapping[str, str], contender: Contender) -> Contender:
    """The contender with these variables on top of its own."""
    return replace(contender, environment={**contender.environment, **environment})


def then_sha256sum(command: Sequence[str], file: Path, sha256: str) -> list[str]:
    """A shell's command that runs `command`, which checks no digest by itself, and then sha256sum."""
    check = f"echo {shlex.quote(f'{sha256}  {file}')} | sha256sum --check --quiet"
    return ["sh", "-c", f"set -e; {shlex.join(command)}; {check}"]

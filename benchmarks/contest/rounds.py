"""Contenders take turns in a scenario, and what came out is put in figures."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contest.contender import Contender, Scenario
from contest.cost import Cost, FailedRunError, cost_of


@dataclass
class Results:
    """What one contender did in its rounds; `trouble` says why there is nothing, or no more, to tell."""

    contender: Contender
    costs: list[Cost] = field(default_factory=list)
    notes: list[Mapping[str, float]] = field(default_factory=list)
    trouble: str = ""


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds.

    Args:
        seconds: on the clock.
        rate: bytes, or files, a second.
        cpu: seconds of user and system time.
        cpu_per_gb: the same for 10^9 bytes, None where no bytes are moved.
        peak: bytes of memory of the largest process, the most in any round.
        ratio: how many times as long as ours it took, the median over the rounds; None if ours failed.
        notes: further figures of the scenario.
        runs: every run's seconds, in the order of the rounds.
    """

    seconds: float
    rate: float
    cpu: float
    cpu_per_gb: float | None
    peak: int
    ratio: float | None
    notes: Mapping[str, float]
    runs: Sequence[float]


@dataclass(frozen=True)
class Row:
    """One contender's figures; where it has none, `trouble` says why it did not take part, or how it failed."""

    name: str
    figures: Figures | None = None
    trouble: str = ""


def hold(scenario: Scenario, rounds: int, folder: Path, tell: Callable[[str], None]) -> list[Row]:
    """Let all contenders run `rounds` times, each first in turn, and see to it that each brought the right bytes.

    What they bring stays in `folder` where it is many small files, see `_run`; who holds the contest removes it.
    """
    results = [Results(contender, trouble=contender.absent) for contender in scenario.contenders]
    for number in range(rounds):
        # Nobody always finds the machine as the same other one left it.
        order = results if number % 2 == 0 else results[::-1]
        for each in order:
            if not each.trouble:
                _run(each, scenario, folder / f"turn-{number}-{results.index(each)}")
                spent = each.trouble or f"{each.costs[-1].seconds:.2f} s"
                tell(f"round {number + 1}/{rounds}: {each.contender.name}: {spent}")
    return [row_of(each, results[0], scenario) for each in results]


def _run(results: Results, scenario: Scenario, folder: Path) -> None:
    """One run in an empty folder."""
    contender = results.contender
    folder.mkdir()
    # What earlier ones left to be written does not slow this one down.
    os.sync()
    try:
        cost = cost_of(contender.command(folder), folder, contender.environment)
        scenario.check(folder)
        results.notes.append(scenario.note(contender, cost))
        results.costs.append(cost)
    except FailedRunError as error:
        results.trouble = str(error)
    finally:
        # Many small files stay until the end: ext4 goes to great lengths to take no number of a file that has just been
        # deleted, for which the next contender would pay.
        if not scenario.per_file:
            shutil.rmtree(folder)


def row_of(results: Results, ours: Results, scenario: Scenario) -> Row:
    """What one contender's rounds come to, held against ours."""
    if results.trouble:
        return Row(results.contender.name, trouble=results.trouble)
    costs = results.costs
    seconds = statistics.median(cost.seconds for cost in costs)
    cpu = statistics.median(cost.cpu for cost in costs)
    figures = Figures(
        seconds=seconds,
        rate=(scenario.files if scenario.per_file else scenario.bytes) / seconds,
        cpu=cpu,
        cpu_per_gb=cpu / scenario.bytes * 1e9 if scenario.bytes else None,
        peak=max(cost.peak for cost in costs),
        ratio=None if ours.trouble else _ratio(costs, ours.costs),
        notes={name: statistics.median(note[name] for note in results.notes) for name in results.notes[0]},
        runs=[cost.seconds for cost in costs],
    )
    return Row(results.contender.name, figures)


def _ratio(theirs: Sequence[Cost], ours: Sequence[Cost]) -> float:
    return statistics.median(their.seconds / our.seconds for their, our in zip(theirs, ours, strict=True))

"""Fetching: `cvl fetch` against the programs that people use, from real servers on loopback.

    python benchmarks/fetch.py --set-up
    python benchmarks/fetch.py --scenario big small --rounds 7 --output figures.json

Every contender is a whole process at its shipped defaults, from its start to its end. They take turns in one run, and
each one's result is compared to the byte with what the server has. Contenders whose program checks no digest by itself
are followed by `sha256sum`, where a digest is known. Prints a table for each scenario: medians over the rounds, peak
memory of the largest process, and how many times as fast as each one ours is, which is the median over the rounds of
(its time / our time). A program that is not installed has a line that says so; `--set-up` installs it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contest import many, peers, single
from contest.contender import Scenario
from contest.rounds import Row, hold
from contest.sizes import TINY, Sizes
from contest.table import lines_of

SCENARIOS: Mapping[str, Callable[[Path, Sizes], AbstractContextManager[Scenario]]] = {
    "big": single.big,
    "limited": single.limited,
    "hub": single.hub,
    "drive": single.drive,
    "small": many.small,
    "ledger": many.ledger,
}


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints. Returns 1 if one of ours failed, else 0."""
    options = _options(arguments)
    if options.set_up:
        peers.set_up()
    report: dict[str, Any] = {"machine": _machine(), "rounds": options.rounds, "tiny": options.tiny, "scenarios": {}}
    for name in options.scenario:
        report["scenarios"][name] = _measure(name, options)
        if options.output:
            options.output.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(scenario["rows"][0]["trouble"] for scenario in report["scenarios"].values()))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="`cvl fetch` against the programs that people use, on loopback.")
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender")
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
    parser.add_argument("--folder", type=Path, help="where to work, on the disk to measure; default: the temporary one")
    parser.add_argument("--set-up", action="store_true", help="install the other programs first")
    parser.add_argument("--tiny", action="store_true", help="seconds in place of minutes, to see that this works")
    return parser.parse_args(arguments)


def _measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One scenario, with its table; everything that it wrote is gone afterwards."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cvl-benchmark-", dir=options.folder) as temporary:
        folder = Path(temporary)
        with SCENARIOS[name](folder, TINY if options.tiny else Sizes()) as scenario:
            rows = hold(scenario, options.rounds, folder, _tell)
    for line in lines_of(name, scenario, rows):
        print(line)  # noqa: T201
    print(flush=True)  # noqa: T201
    return _entry(scenario, rows) | {"load_before": load}


def _entry(scenario: Scenario, rows: list[Row]) -> dict[str, Any]:
    facts = {"title": scenario.title, "bytes": scenario.bytes, "files": scenario.files}
    return facts | {"rows": [asdict(row) for row in rows]}


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())

"""What the contests have in common: their command line, their turns, and their report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from contest.contender import Scenario
from contest.rounds import hold
from contest.table import lines_of

S = TypeVar("S")


@dataclass(frozen=True)
class Contest(Generic[S]):
    """A benchmark.

    Args:
        description: of it, for `--help`.
        scenarios: by name; each is prepared in a folder of its own and holds as long as its context does.
        sizes: what they are told about how much there is.
        tiny: the same for `--tiny`.
        set_up: installs the other programs.
    """

    description: str
    scenarios: Mapping[str, Callable[[Path, S], AbstractContextManager[Scenario]]]
    sizes: S
    tiny: S
    set_up: Callable[[], None]

    def run(self, arguments: Sequence[str] | None = None) -> int:
        """Measures and prints. Returns 1 if ours failed anywhere, else 0."""
        options = self._options(arguments)
        if options.set_up:
            self.set_up()
        report: dict[str, Any] = {"machine": _machine(), "rounds": options.rounds, "tiny": options.tiny}
        report["scenarios"] = {}
        # What was written goes at the end only: after a large deletion, ext4 is slow at making files for minutes.
        with tempfile.TemporaryDirectory(prefix="cvl-benchmark-", dir=options.folder) as temporary:
            for name in options.scenario:
                report["scenarios"][name] = self._measure(name, Path(temporary, name), options)
                if options.output:
                    options.output.write_text(json.dumps(report, indent=2) + "\n")
        return int(any(scenario["rows"][0]["trouble"] for scenario in report["scenarios"].values()))

    def _options(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(description=self.description)
        names = list(self.scenarios)
        parser.add_argument("--scenario", nargs="+", choices=names, default=names, help="default: all")
        parser.add_argument("--rounds", type=int, default=5, help="runs of each contender")
        parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
        parser.add_argument("--folder", type=Path, help="where to work, on the disk to measure; default: any")
        parser.add_argument("--set-up", action="store_true", help="install the other programs first, as root on Debian")
        parser.add_argument("--tiny", action="store_true", help="seconds in place of minutes, to see that this works")
        return parser.parse_args(arguments)

    def _measure(self, name: str, folder: Path, options: argparse.Namespace) -> Mapping[str, Any]:
        """One scenario, with its table."""
        folder.mkdir()
        with self.scenarios[name](folder, self.tiny if options.tiny else self.sizes) as scenario:
            load = os.getloadavg()[0]
            rows = hold(scenario, options.rounds, folder, _tell)
        for line in lines_of(name, scenario, rows):
            print(line)  # noqa: T201
        print(flush=True)  # noqa: T201
        facts = {"title": scenario.title, "bytes": scenario.bytes, "files": scenario.files}
        return facts | {"load_before": load, "load_after": os.getloadavg()[0], "rows": [asdict(row) for row in rows]}


def _machine() -> Mapping[str, Any]:
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201

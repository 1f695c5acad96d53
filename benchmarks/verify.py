"""Verifying: `cvl verify-layout` against what people do instead, over a tree of the real one's size.

    python benchmarks/verify.py --rounds 3 --output figures.json

Makes a synthetic tree (`synthetic_tree.py`) and one process after another looks through it. They take turns, in the
opposite order every other round; figures are medians, a ratio is the median of the rounds' ratios. Memory is measured
in a further run of each, because measuring it takes time: the private bytes (`smaps_rollup`) of a process and those
that it started, at most. Everything is read once before, so that no disk is measured. The tree is removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from synthetic_tree import RECORDS, Made, make

_EVERY = 0.02

PLAIN = """
import json, os, sys
records = json.load(open(sys.argv[1]))
missing = [record["image"] for record in records if "image" in record
           and not os.path.exists(os.path.join(sys.argv[2], record["image"]))]
print(len(records), len(missing))
"""
"""What one writes when one wants to know: every picture that is named, asked for one by one."""


@dataclass(frozen=True)
class Peer:
    """One way to an answer.

    Args:
        name: in tables.
        command: a process of its own.
        prepare: what is done before each run, untimed.
    """

    name: str
    command: Sequence[str]
    prepare: Callable[[], None]


@dataclass
class Runs:
    """What one peer took: seconds of every run, and bytes of private memory at most."""

    seconds: list[float] = field(default_factory=list)
    private: int = 0


@dataclass(frozen=True)
class Row:
    """The figures of one peer: the ratio is how many times as long as `against` it took; below 1, it was quicker."""

    name: str
    seconds: float
    runs: list[float]
    private: int
    against: Mapping[str, float]


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="cvl-benchmark-", dir=options.folder) as temporary:
        _tell(f"making a tree of {options.files:,} files and {options.records:,} records")
        made = make(Path(temporary), options.files, options.records)
        report = measure(made, options.rounds)
    for line in _lines(report["rows"]):
        print(line)  # noqa: T201
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def measure(made: Made, rounds: int) -> dict[str, Any]:
    """The figures of all peers over one tree, as JSON takes them."""
    load, peers = os.getloadavg()[0], _peers(made)
    for peer in peers:  # the page cache is warm, and programs are compiled
        peer.prepare()
        _run(peer)
    runs = {peer.name: Runs() for peer in peers}
    for number in range(rounds):
        for peer in peers if number % 2 == 0 else reversed(peers):
            peer.prepare()
            runs[peer.name].seconds.append(_run(peer))
            _tell(f"round {number + 1}: {peer.name}: {runs[peer.name].seconds[-1]:.2f} s")
    for peer in peers:
        peer.prepare()
        runs[peer.name].private = _private_memory(peer)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    facts = {"files": made.files, "records": made.records, "rounds": rounds, "load_before": load, "machine": machine}
    return facts | {"rows": [asdict(_row(name, runs)) for name in runs]}


def _peers(made: Made) -> list[Peer]:
    notes, annotations = made.root / "data" / ".cvl", made.root / RECORDS
    ours = [sys.executable, "-m", "cvl", "verify-layout", "--json", "--stage", "3"]
    ours += ["--root", str(made.root), "--manifests", str(made.manifests)]
    plain = [sys.executable, "-c", PLAIN, str(annotations), str(made.root / "data")]
    find = shutil.which("find") or "find"

    def forget() -> None:
        shutil.rmtree(notes, ignore_errors=True)

    def know() -> None:
        if not (notes / "index").exists():
            subprocess.run(ours, check=False, capture_output=True)

    return [
        Peer("json.load + os.path.exists", plain, forget),
        Peer("cvl --references-only, no index", [*ours, "--references-only"], forget),
        Peer("cvl, no index", ours, forget),
        Peer("cvl --references-only, index", [*ours, "--references-only"], know),
        Peer("cvl, index", ours, know),
        Peer("find", [find, str(made.root / "data")], know),
        Peer("find -empty", [find, str(made.root / "data"), "-empty"], know),
    ]


def _run(peer: Peer) -> float:
    begin = time.perf_counter()
    process = subprocess.run(peer.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{peer.name} ended with {process.returncode}: {process.stderr.decode(errors='replace')}")
    return seconds


def _private_memory(peer: Peer) -> int:
    """The private bytes of a process and all below it, at most."""
    process = subprocess.Popen(peer.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, sum(map(_private, _family(process.pid))))
        time.sleep(_EVERY)
    return most


def _family(pid: int) -> list[int]:
    try:
        threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [pid, *(member for text in threads for child in text.split() for member in _family(int(child)))]


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _row(name: str, runs: Mapping[str, Runs]) -> Row:
    against = {
        other: statistics.median(mine / theirs for mine, theirs in zip(runs[name].seconds, each.seconds, strict=True))
        for other, each in runs.items()
    }
    return Row(name, statistics.median(runs[name].seconds), runs[name].seconds, runs[name].private, against)


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    plain, find = rows[0]["name"], "find"
    head = f"{'':34}{'seconds':>9}{'private':>10}{'times as quick':>16}{'times find':>12}"
    return [head] + [
        f"{row['name']:34}{row['seconds']:9.2f}{row['private'] / 1e6:7.0f} MB"
        f"{1 / row['against'][plain]:16.1f}{row['against'][find]:12.1f}"
        for row in rows
    ]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="`cvl verify-layout` against what people do instead.")
    parser.add_argument("--files", type=int, default=1_200_000)
    parser.add_argument("--records", type=int, default=1_250_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: the temporary one")
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
    parser.add_argument("--tiny", action="store_true", help="seconds in place of minutes, to see that this works")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.files, options.records = 1_000, 1_200
    return options


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())

"""The figures of a scenario as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from contest.contender import Scenario
from contest.rounds import Figures, Row

_HEADER = f"{'':30}{'seconds':>9}{'rate':>19}{'CPU s':>8}{'CPU s/GB':>10}{'peak MB':>9}{'ours is':>9}"


def lines_of(name: str, scenario: Scenario, rows: Sequence[Row]) -> Iterator[str]:
    """A title, a header, and a line for each contender."""
    size = f", {scenario.bytes / 1e6:,.0f} MB" if scenario.bytes else ""
    yield f"{name}: {scenario.files:,} {scenario.title}{size}"
    yield _HEADER
    for row in rows:
        yield f"  {row.name:28}{_figures(row.figures, scenario) if row.figures else f'  {row.trouble}'}"


def _figures(figures: Figures, scenario: Scenario) -> str:
    rate = f"{figures.rate:,.0f} files/s" if scenario.per_file else f"{figures.rate / 1e6:,.0f} MB/s"
    per_gb = "" if figures.cpu_per_gb is None else f"{figures.cpu_per_gb:.2f}"
    ratio = "" if figures.ratio is None else f"{figures.ratio:.2f}x"
    notes = "".join(f"   {name.replace('_', ' ')} {value:.3g}" for name, value in figures.notes.items())
    cost = f"{figures.cpu:8.2f}{per_gb:>10}{figures.peak / 1e6:9.0f}"
    return f"{figures.seconds:9.2f}{rate:>19}{cost}{ratio:>9}{notes}"

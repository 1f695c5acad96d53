"""A fetch before and after: its plan, what it did, and what is not here with the reason and the next step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from rich.table import Table
from rich.text import Text

from cvl.download.lists.expand import Expanded
from cvl.download.plan import Action, Plan
from cvl.download.run import Outcome, Result
from cvl.errors import CvlError
from cvl.output.console import print_whole, stderr, stdout
from cvl.output.grid import new_table
from cvl.units import counted, duration, gigabytes, rate

_REASONS = 5
"""How many reasons of a list's failures are shown; all of them are in its file."""


def print_plan(plan: Plan) -> None:
    """What a fetch would do, file by file, and what it costs."""
    table = new_table("source", "file", "what", "to move", "from")
    for step in plan.steps:
        moves = "" if step.action is Action.KEEP else gigabytes(step.transfer_bytes)
        table.add_row(step.remote.source, step.remote.name, step.action, moves, step.remote.urls[0])
    for link in plan.links:
        table.add_row("", link.path, "link", "", link.target)
    console = stdout()
    console.print(table)
    unknown = sum(step.transfer_bytes is None for step in plan.steps)
    more = f" and {counted(unknown, 'file')} of unknown size" if unknown else ""
    console.print(
        f"to move: {gigabytes(plan.transfer_bytes)}{more}; on disk at its peak: {gigabytes(plan.peak_bytes)} "
        f"of {gigabytes(plan.free_bytes)} free"
    )


def print_skipped(skipped: Mapping[str, CvlError]) -> None:
    """The sources that a plan leaves out, each with the reason."""
    for name, reason in skipped.items():
        stderr().print(Text.assemble((f"{name}: skipped: ", "yellow"), str(reason)))


def print_fetched(result: Result) -> None:
    """What a fetch did, source by source, and every file that is not here with what to do."""
    console = stdout()
    if result.outcomes:
        console.print(_by_source(result))
    done = len(result.outcomes) - len(result.failed)
    links = f", {counted(result.links, 'link')} made" if result.links else ""
    kept = f"{result.kept:,} {'was' if result.kept == 1 else 'were'} here already"
    console.print(f"{counted(done, 'file')} fetched ({_moved(result)}), {kept}{links}")
    _print_failures(result)


def plain_result(result: Result) -> dict[str, Any]:
    """What a fetch did, as the last of its JSON lines."""
    return {"kind": "result", "result": result, "bytes": result.bytes, "failed": len(result.failed)}


def _moved(result: Result) -> str:
    moved = gigabytes(result.bytes)
    if not result.bytes or not result.seconds:
        return moved
    return f"{moved} in {duration(result.seconds)}, {rate(result.bytes / result.seconds)}"


def _by_source(result: Result) -> Table:
    """A row for each source, and one for all where there are several.

    Files come several at once, so the times of a source's files in sum are longer than what the clock says: that, and
    the rate of all of them together, is said below the table.
    """
    table = new_table("source", "fetched", "bytes", "time in sum", "rate a file", "failed")
    sources: dict[str, list[Outcome]] = {}
    for outcome in result.outcomes:
        sources.setdefault(outcome.remote.source, []).append(outcome)
    failed = result.failed
    for source, outcomes in sources.items():
        table.add_row(source, *_cells(outcomes, sum(outcome in failed for outcome in outcomes)))
    if len(sources) > 1:
        table.add_row("in all", *_cells(result.outcomes, len(failed)), style="bold")
    return table


def _cells(outcomes: Sequence[Outcome], failed: int) -> tuple[str | Text, ...]:
    moved = sum(outcome.bytes for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    return (
        f"{len(outcomes) - failed:,}",
        gigabytes(moved),
        duration(seconds) if seconds else "-",
        rate(moved / seconds if moved and seconds else None),
        Text(f"{failed:,}", style="red" if failed else ""),
    )


def _print_failures(result: Result) -> None:
    console = stderr()
    for outcome in result.outcomes:
        if outcome.expanded is not None and outcome.expanded.gone + outcome.expanded.failed:
            _print_short(outcome.remote.name, outcome.expanded)
    for outcome in result.outcomes:
        if outcome.error is not None:
            console.print(Text.assemble((f"{outcome.remote.name} failed: ", "red"), str(outcome.error)))
            hint = outcome.error.hint or "run the same command again"
            print_whole(console, Text.assemble(("  hint: ", "cyan"), hint))
    for error in result.link_errors:
        console.print(Text.assemble(("link failed: ", "red"), str(error)))


def _print_short(name: str, expanded: Expanded) -> None:
    """What a list of small files could not give: how many, mostly why, and where each is named with its reason."""
    console = stderr()
    gone = f"{counted(expanded.gone, 'address', 'addresses')} {'is' if expanded.gone == 1 else 'are'} gone for good"
    console.print(f"{name}: {gone}, {expanded.failed:,} failed for now")
    for reason, count in islice(expanded.reasons.items(), _REASONS):
        console.print(Text(f"  {count:,}: {reason}"))
    others = tuple(islice(expanded.reasons.values(), _REASONS, None))
    if others:
        console.print(f"  {sum(others):,}: {counted(len(others), 'other reason')}")
    if expanded.missing is not None:
        print_whole(console, Text(f"  each with its reason: {expanded.missing}"))
    print_whole(console, Text.assemble(("  hint: ", "cyan"), "--retry-failed asks all of them again"))

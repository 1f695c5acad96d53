"""What a repair would do, did, and took back, as tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from cvl.output.console import print_whole, stderr, stdout
from cvl.output.grid import new_table
from cvl.units import counted
from cvl.verify.repair import Applied, Left, Plan, Repair, Undone

_SHOWN = 50


def print_repairs(plan: Plan) -> None:
    """Every repair in a line, then what is left to the user, each with its reason."""
    console = stdout()
    if plan.repairs:
        table = new_table("repair", "source", "files", "from", "to", "why")
        for repair in plan.repairs:
            table.add_row(
                str(repair.kind), repair.source or "-", f"{repair.count:,}", repair.path, _to(repair), repair.why
            )
        console.print(table)
        files = sum(repair.count for repair in plan.repairs)
        console.print(f"{counted(len(plan.repairs), 'repair')}, {counted(files, 'file')}; no picture is deleted")
    else:
        console.print("nothing here is a mistake that can be repaired without asking anybody")
    _print_left(plan.left)


def print_applied(applied: Applied) -> None:
    """What was done, how to take it back, and pictures that could not be converted."""
    stdout().print(f"{counted(applied.repairs, 'repair')} done, {counted(applied.acts, 'name')} changed")
    _print_left(applied.left)
    if applied.acts:
        print_whole(stdout(), Text.assemble(("to take it back: ", "bold cyan"), "cvl verify-layout --undo"))


def print_undone(undone: Undone | None) -> None:
    """What was taken back."""
    if undone is None:
        stdout().print("there is no repair to take back")
    else:
        stdout().print(f"the repair of {undone.repair} is taken back: {counted(undone.acts, 'name')} as before")


def _to(repair: Repair) -> str:
    return repair.to if repair.to != repair.path else "a JPEG of that name"


def _print_left(left: Iterable[Left]) -> None:
    items = list(left)
    for item in items[:_SHOWN]:
        stderr().print(Text.assemble((f"left as it is: {item.path}: ", "yellow"), item.reason))
    if len(items) > _SHOWN:
        stderr().print(Text(f"and {len(items) - _SHOWN:,} more", style="yellow"))

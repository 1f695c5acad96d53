"""The one look of all tables."""

from __future__ import annotations

from rich.table import Table

_NUMBERS = frozenset(
    {
        "files",
        "fetched",
        "failed",
        "bytes",
        "expected",
        "found",
        "records",
        "text only",
        "missing pictures",
        "to move",
        "time in sum",
        "rate a file",
    }
)


def new_table(*headers: str) -> Table:
    """An empty table without lines; columns of numbers are justified to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, justify="right" if header in _NUMBERS else "left", overflow="fold")
    return table

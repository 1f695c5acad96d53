"""The demo's screen: commands as they are typed, what they print, the tree at the end; kept as a picture if asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cvl.files import count_files

_COLUMNS = 100
_DEEPEST = 3


class Screen:
    """A terminal to tell the demo's story on.

    Args:
        record: keep what is shown, for `save`. Then what commands print is shown with `output`, not by themselves.
        stderr: the story goes to stderr, so that stdout is the commands' alone.
    """

    def __init__(self, *, record: bool, stderr: bool = False) -> None:
        width = _COLUMNS if record else None
        self._console = Console(record=record, stderr=stderr, width=width, highlight=False, markup=False, emoji=False)
        self.records = record

    def say(self, text: str) -> None:
        """A sentence of ours."""
        self._console.print(Text(text, style="italic"), soft_wrap=not self.records)

    def command(self, text: str) -> None:
        """A command, before it is run."""
        self._console.print()
        self._console.print(Text.assemble(("$ ", "bold green"), (text, "bold")), soft_wrap=not self.records)

    def output(self, text: str) -> None:
        """What a command printed, with its colours."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def tree(self, data: Path) -> None:
        """The folders of the tree, each with its number of files."""
        self._console.print()
        top = Tree(Text(data.name, style="bold"))
        _grow(top, data, 1)
        self._console.print(top)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table; all columns but the first are numbers."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def save(self, path: Path) -> None:
        """Write what was shown as an SVG picture of a terminal."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._console.save_svg(str(path), title="cvl demo")

    @staticmethod
    def environment() -> dict[str, str]:
        """Variables under which a command prints with colours into a pipe, without bars that move."""
        return {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "0", "COLUMNS": str(_COLUMNS)}


def _grow(branch: Tree, folder: Path, depth: int) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if entry.is_symlink() and entry.is_dir():
            branch.add(Text(f"{entry.name} → {path.readlink()}", style="cyan"))
        elif entry.is_dir() and (not _has_folders(path) or (depth == _DEEPEST and not _has_links(path))):
            branch.add(Text.assemble((entry.name, "bold"), f"  {count_files(path):,} files"))
        elif entry.is_dir():
            _grow(branch.add(Text(entry.name, style="bold")), path, depth + 1)
        else:
            branch.add(Text(entry.name))


def _has_folders(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.is_dir() for entry in entries)


def _has_links(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.is_symlink() and entry.is_dir() for entry in entries)

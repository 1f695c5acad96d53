"""The two streams, and the form of errors, hints and JSON."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from cvl.errors import CvlError

_NO_WIDTH = 10_000


def stdout() -> Console:
    """The stream for data."""
    return _console(stderr=False)


def stderr() -> Console:
    """The stream for everything else."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        # A file or a pipe has no width: nothing may be folded to fit into one.
        console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=_NO_WIDTH)
    return console


def print_error(error: CvlError) -> None:
    """An error and, after an empty line, its hint."""
    print_whole(stderr(), Text.assemble(("error: ", "bold red"), str(error)))
    if error.hint:
        print_hint(error.hint)


def print_hint(hint: str) -> None:
    """What to do next."""
    console = stderr()
    console.print()
    print_whole(console, Text.assemble(("hint: ", "bold cyan"), hint))


def print_whole(console: Console, text: Text) -> None:
    """Text that may be a command to type: however narrow the terminal, it has no line break of ours to be copied."""
    console.print(text, soft_wrap=True)


def print_json(value: Any) -> None:
    """A value as one line of JSON on stdout."""
    sys.stdout.write(msgspec.json.encode(plain(value)).decode() + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """`value` made of dicts, lists, text and numbers, for JSON."""
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.structs.asdict(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(value) if isinstance(value, Path | Exception) else value
    # A file name may be of bytes that are no UTF-8; JSON cannot hold them as they are.
    return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text

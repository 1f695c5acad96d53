"""The command of the demo."""

from __future__ import annotations

import typer

from cvl import options
from cvl.errors import UsageError


def demo(
    folder: options.Folder = options.DEFAULT_DEMO,
    record: options.Record = None,
    as_json: options.Json = False,
) -> None:
    """Walk the whole journey on a miniature of every source, served on this machine.

    Each command that it runs is the real one and is printed first.
    """
    if as_json and record is not None:
        raise UsageError("--record keeps what a person sees, --json prints for scripts", hint="leave one of them out")
    try:
        from cvl.demo.run import run_demo
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the demo needs {error.name}, which is not installed", hint="pip install 'cvl[demo]'"
        ) from error

    raise typer.Exit(run_demo(folder, record, as_json=as_json))

"""The command of the demo."""

from __future__ import annotations

import typer

from cvl import options
from cvl.commands.training import require
from cvl.errors import UsageError


def demo(
    folder: options.Folder = options.DEFAULT_DEMO,
    seeds: options.Seeds = 1,
    record: options.Record = None,
    as_json: options.Json = False,
) -> None:
    """Walk the whole journey on a miniature of every source, served on this machine, to a model that answers.

    Each command that it runs is the real one and is printed first.
    """
    if as_json and record is not None:
        raise UsageError("--record keeps what a person sees, --json prints for scripts", hint="leave one of them out")
    if seeds:
        require("demo", "torch", "transformers", "accelerate", extra="demo")
    try:
        from cvl.demo.run import Journey, run_demo
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the demo needs {error.name}, which is not installed", hint="pip install 'cvl[demo]'"
        ) from error

    raise typer.Exit(run_demo(folder, Journey(range(seeds), record, as_json)))

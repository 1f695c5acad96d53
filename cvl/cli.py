"""The subcommands of `cvl`.

Whatever one needs is imported when it runs, so that `cvl --help` answers at once.
"""

from __future__ import annotations

import typer

from cvl import __version__, options
from cvl.commands.data import fetch, sources
from cvl.commands.demo import demo
from cvl.commands.training import chat, export, train
from cvl.commands.tree import convert, status, verify_layout

app = typer.Typer(
    help="From an empty disk to a trained ConvLLaVA: fetch every source of the data document, convert what is not a "
    "JPEG, prove that the ShareGPT4V tree is complete, train the three stages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 work failed, 2 wrong usage, manifest or gate, 3 verification found problems, "
    "130 cancelled.",
)


@app.callback(invoke_without_command=True)
def _version(version: options.Version = False) -> None:
    if version:
        typer.echo(f"cvl {__version__}")
        raise typer.Exit


for command in (sources, fetch, convert, verify_layout, train, status, chat, export, demo):
    app.command(command.__name__.replace("_", "-"))(command)

"""The `cvl` command: its subcommands, its signals, its exit codes.

Whatever a subcommand needs is imported when it runs, so that `cvl --help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from cvl import __version__, options
from cvl.commands.data import fetch, sources
from cvl.commands.demo import demo
from cvl.commands.training import chat, export, train
from cvl.commands.tree import convert, status, verify_layout
from cvl.errors import EXIT_FAILED, Cancelled, CvlError, DiskError

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


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Cancelled("stopped; what is done stays done", hint="run the same command again to go on")


def main() -> NoReturn:
    """Run the command line and end the process with its exit code; no traceback for a user's mistake."""
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, _stop)
    try:
        _run()
    except SystemExit as end:
        if "RANK" in os.environ and isinstance(end.code, int):
            # Libraries of a training have threads of their own, which now and then abort a process that tidies up.
            _leave(end.code)
        raise


def _run() -> NoReturn:
    try:
        app()
    except CvlError as error:
        _fail(error)
    except BrokenPipeError:
        # The reader of our output went away, as in `cvl sources | head`.
        sys.stderr.close()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        problem = f"{where}{error.strerror or error}"
        _fail(DiskError(problem, hint="check that path and its permissions, or choose another --root"))
    sys.exit(0)


def _fail(error: CvlError) -> NoReturn:
    from cvl.output.console import print_error

    print_error(error)
    if isinstance(error, Cancelled):
        # Threads that wait for a silent server would hold the process back; what they have is on the disk.
        _leave(error.exit_code)
    sys.exit(error.exit_code)


def _leave(code: int) -> NoReturn:
    """Ends the process at once; whatever it has to say has been said."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

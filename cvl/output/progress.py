"""Long work while it runs: a live view in a terminal, plain lines elsewhere, JSON lines for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cvl.events import Reporter
from cvl.output.console import print_json, stderr
from cvl.output.lines import Lines

if TYPE_CHECKING:
    # Only what fetches has a plan; all else does without its modules.
    from cvl.download.plan import Plan


@contextmanager
def reporter(*, as_json: bool, plan: Plan | None = None) -> Iterator[Reporter]:
    """The reporter that fits: JSON lines, a live view, or plain lines, as where NO_COLOR is set.

    `plan` is what is going to be done; with it, all files together are told of as well.
    """
    if as_json:
        yield print_json
        return
    console = stderr()
    if console.is_terminal and console.is_interactive and not console.no_color:
        from cvl.output.live import live  # noqa: PLC0415 - a script begins sooner without it

        with live(console, plan) as view:
            yield view
    else:
        yield Lines(console, plan)

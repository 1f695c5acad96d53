"""The table of what could not be had of a list, for people and for other programs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from cvl.download.lists.ledger import Ledger, State
from cvl.files import beside

_HEAD = "key\turl\tstate\treason\n"
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


def write_missing(ledger: Ledger, path: Path) -> Path | None:
    """Write every entry that could not be had to `path`, tab-separated under a line of headings, ordered by state.

    Returns `path`, or None if nothing is missing; an older table is replaced or removed, in one step.
    """
    if not ledger.count(State.GONE, State.FAILED):
        path.unlink(missing_ok=True)
        return None
    temporary = beside(path)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(_HEAD)
            for state in (State.FAILED, State.GONE):
                for row in ledger.rows(state):
                    file.write(f"{row.key}\t{_plain(row.url)}\t{state.name.lower()}\t{_plain(row.reason or '')}\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _plain(text: str) -> str:
    """Text without what would break a line or a column, written as in addresses."""
    return _BREAKS.sub(lambda found: quote(found[0]), text)

"""What long work tells about itself while it runs. The work emits values; only `cvl.output` knows how they look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """What happened."""

    START = "start"
    PROGRESS = "progress"
    RETRY = "retry"
    CHECK = "check"
    UNPACK = "unpack"
    DONE = "done"
    FAILED = "failed"
    NOTE = "note"


@dataclass(frozen=True)
class Event:
    """One thing that happened to one file.

    Args:
        kind: what happened.
        name: of the file, as the cache calls it; empty for notes on the whole run.
        source: the source that the file belongs to.
        done: bytes that are here, or members that are unpacked.
        total: bytes or members in all, None where nobody knows yet.
        text: a few words for a person: a reason, an outcome.
        hint: the next command to type, where there is one.
    """

    kind: EventKind
    name: str = ""
    source: str = ""
    done: int = 0
    total: int | None = None
    text: str = ""
    hint: str = ""


Reporter = Callable[[Event], None]
Progress = Callable[[int, int | None], None]
"""Is told what is done, and what there is in all, None where nobody knows."""


def silent(_event: Event) -> None:
    """A reporter that says nothing."""

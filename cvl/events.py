"""What long work tells about itself while it runs. The work emits values; only `cvl.output` knows how they look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


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
        connections: that move this file's bytes now.
        wait: seconds until it is tried again, for retries.
    """

    kind: EventKind
    name: str = ""
    source: str = ""
    done: int = 0
    total: int | None = None
    text: str = ""
    hint: str = ""
    connections: int = 0
    wait: float = 0.0


Reporter = Callable[[Event], None]
Progress = Callable[[int, int | None], None]
"""Is told what is done, and what there is in all, None where nobody knows."""


class TransferProgress(Protocol):
    """Is told how a transfer goes; a `Progress` to those who do not count connections."""

    def __call__(self, done: int, total: int | None, connections: int = 1, /) -> None:
        """So many bytes are here, of so many in all, and so many connections move them."""


def silent(_event: Event) -> None:
    """A reporter that says nothing."""

"""Cutting work into pieces, and how many hands there are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def cores() -> int:
    """How many cores this process may use, which on a shared machine can be fewer than it has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shards_of(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """`items` in their order, cut into pieces of `size`; the last one may be shorter. Nothing becomes no piece."""
    return [items[start : start + size] for start in range(0, len(items), size)]

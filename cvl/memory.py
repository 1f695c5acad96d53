"""Keeping the memory that pictures and instruction files need, from one to the next."""

from __future__ import annotations

import ctypes
from functools import cache

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_KEPT = 128 << 20
_MAPPED = 32 << 20


@cache
def keep_memory() -> None:
    """Lets this process keep up to 128 MiB that it has freed, for what comes next, where the C library is glibc's.

    Left to itself glibc may return the megabytes of every picture, and of every window of an instruction file, to the
    system, which then has to find, map and zero them again for the next one: up to half of all the time. With another
    C library this does nothing, and a second time neither. Processes that are forked from this one inherit it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)

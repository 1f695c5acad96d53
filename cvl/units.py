"""Numbers as people read them: sizes, durations, rates, shares, counted things."""

from __future__ import annotations

from itertools import pairwise

_TIMES = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def gigabytes(size: int | None) -> str:
    """A size as people read it: `19.3 GB`, `643 MB`; `?` where nobody knows."""
    if size is None:
        return "?"
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            number = size / factor
            return f"{number:,.0f} {unit}" if number >= 100 else f"{number:,.1f} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """A time in its two largest units: `4 h 36 min`, `12 min 5 s`; below ten seconds with one decimal."""
    if round(seconds, 1) < 10:
        return f"{round(seconds, 1):g} s"
    whole = round(seconds)
    for (unit, length), (smaller, part) in pairwise(_TIMES):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def rate(per_second: float | None) -> str:
    """Bytes a second: `48.2 MB/s`; `-` where nobody knows or nothing moves."""
    return "-" if per_second is None else f"{gigabytes(round(per_second))}/s"


def share(done: int, total: int | None) -> str:
    """Bytes of bytes: `12.3/19.3 GB`, `643 MB/19.3 GB`; the first alone where the total is not known."""
    here = gigabytes(done)
    if total is None:
        return here
    number, unit = here.split()
    whole = gigabytes(total)
    return f"{number}/{whole}" if whole.endswith(f" {unit}") else f"{here}/{whole}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: `1 file`, `2,000 files`, `3 addresses` with `plural`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"

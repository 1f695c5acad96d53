"""Ranges of shard numbers as people write them: `0-50` is 51 shards, `0-2,7` is four."""

from __future__ import annotations

import re
from collections.abc import Iterable

# No set has more shards; a typing slip must not become a range that fills the memory.
_MOST = 10_000_000
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def parse_shards(text: str) -> tuple[int, ...]:
    """The shard numbers that `text` names, ascending and without repeats. Both ends of a range are included.

    Raises:
        ValueError: the text is not a range, or a range runs backwards; the message says which.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"`{part.strip()}` is not a shard number or a range such as 0-50")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"the range {first}-{last} runs backwards")
        if last >= _MOST:
            raise ValueError(f"{last} is beyond the largest shard number, {_MOST - 1}")
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def format_shards(numbers: Iterable[int]) -> str:
    """The shortest text that `parse_shards` reads back: `0-2,7`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)

"""How large the scenarios are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """What is fetched.

    Args:
        big: bytes of the one file.
        limited: bytes of the file that comes at `limit` bytes a second over each of `connections`.
        remote: bytes of the file on the hub and on Drive.
        pictures: how many small files, of about `picture` bytes.
        rows: entries of the list of which everything is here.
    """

    big: int = 2**30
    limited: int = 2**31
    limit: int = 20_000_000
    connections: int = 8
    remote: int = 2**29
    pictures: int = 20_000
    picture: int = 47_000
    rows: int = 207_572


TINY = Sizes(
    big=3_000_000,
    limited=3_000_000,
    limit=1_000_000,
    connections=4,
    remote=2_000_000,
    pictures=60,
    picture=5_000,
    rows=300,
)
"""Seconds in place of minutes, to see that everything works; the figures mean nothing."""

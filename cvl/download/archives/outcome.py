"""What came out of an archive, what did not, and whether that is good enough."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from cvl.download.archives.names import Recipe, shown
from cvl.errors import ArchiveError

_EXAMPLES = 5
_REASONS = 3


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive.

    Args:
        members: the files, relative to the folder that they were unpacked into.
        bytes: of all of them.
        written: how many were written; the others were there already, whole.
        doubt: what was wrong with an archive that gave the right number of files all the same, "" if nothing was.
    """

    members: tuple[str, ...]
    bytes: int
    written: int
    doubt: str = ""


@dataclass
class Tally:
    """Counts while an archive is unpacked. Safe to use from several threads.

    Args:
        landed: members that stand where they belong.
        bytes: of all of them.
        written: how many of them were written by us.
        damage: what is wrong with the archive, in its order.
        lost: places of members that could not be had.
        gaps: where members without a known name are lost.
    """

    landed: int = 0
    bytes: int = 0
    written: int = 0
    damage: list[str] = field(default_factory=list)
    lost: dict[str, None] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def land(self, size: int, *, written: bool) -> None:
        """One more stands."""
        with self._lock:
            self.landed += 1
            self.bytes += size
            self.written += written

    def lose(self, place: str, reason: str) -> None:
        """One could not be had."""
        with self._lock:
            self.lost[place] = None
            self.damage.append(reason)

    def verdict(self, places: Sequence[str], spec: Recipe) -> Unpacked:
        """What to tell of an archive that was read to its end.

        The publisher's number of files is what counts: four of SA-1B's shards are published damaged, and each holds
        every picture. Where that number is not known, any damage is too much.

        Raises:
            ArchiveError: files are missing, or may be.
        """
        right = spec.members is not None and self.landed == spec.members
        expected = f"expected {spec.members:,} files, " if spec.members is not None else ""
        if self.damage and not right:
            raise ArchiveError(f"damaged: {self._reasons()}; {expected}found {self.landed:,}{self._names()}")
        if spec.members is not None and not right:
            raise ArchiveError(f"{expected}found {self.landed:,}")
        if not self.landed:
            raise ArchiveError(f"none of its members is one that the manifest includes: {spec.include}")
        members = tuple(place for place in places if place not in self.lost) if self.lost else tuple(places)
        return Unpacked(members, self.bytes, self.written, self._reasons())

    def _reasons(self) -> str:
        more = len(self.damage) - _REASONS
        return "; ".join(self.damage[:_REASONS]) + (f"; and {more:,} times more" if more > 0 else "")

    def _names(self) -> str:
        named = [f"`{shown(place)}`" for place in self.lost] + self.gaps
        if not named:
            return ""
        more = len(named) - _EXAMPLES
        return f"; lost: {', '.join(named[:_EXAMPLES])}{f' and {more:,} more' if more > 0 else ''}"

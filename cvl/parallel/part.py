"""A share of the work, for commands that know nothing of each other: `--part 3/8`, as in a Slurm array."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass

from cvl.errors import UsageError

_WRITTEN = re.compile(r"([0-9]+)/([0-9]+)")


@dataclass(frozen=True)
class Part:
    """One of several shares of the same work.

    What a part takes depends on nothing but names: it stays the same while other parts change the folder, on every
    machine and in every run. The parts of one number share every name out among them, and no name belongs to two.

    Args:
        number: which one, from 1 on.
        of: how many there are.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that is written as `3/8`. Raises UsageError for anything else."""
        written = _WRITTEN.fullmatch(text)
        part = cls(int(written[1]), int(written[2])) if written else None
        if part is None or not 1 <= part.number <= part.of:
            hint = "in a Slurm array of tasks 1-8: --part $SLURM_ARRAY_TASK_ID/8"
            raise UsageError(f"part {text!r}: expected I/N with 1 ≤ I ≤ N, such as 3/8", hint=hint)
        return part

    @property
    def whole(self) -> bool:
        """Whether it is all of the work."""
        return self.of == 1

    def takes(self, name: str) -> bool:
        """Whether what is called `name` belongs to this part."""
        if self.whole:
            return True
        # Not `hash`, which is another one in every process; not a checksum, in which similar names share bits.
        digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Part()
"""All of the work."""

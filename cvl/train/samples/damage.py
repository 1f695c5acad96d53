"""Pictures that could not be read when their turn came, and the log in which every process of a run notes them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from cvl.files import disk_errors


@dataclass(frozen=True)
class Damaged:
    """A record that is left out because its picture cannot be read.

    Args:
        annotation: the instruction file's name.
        record: its number there, from 0.
        path: of the picture.
        reason: why it cannot be read, without the path.
    """

    annotation: str
    record: int
    path: str
    reason: str


@dataclass(frozen=True)
class DamageLog:
    """A file with one line of JSON a damaged record; may be sent to other processes.

    The processes that prepare samples are children of those that train, so what they meet is written down rather than
    told. Each line is one appending write, which keeps the processes of a node apart; over NFS two nodes that write in
    the same instant may lose one of their lines.
    """

    path: Path

    def __call__(self, damaged: Damaged) -> None:
        """Note one record. Raises DiskError where the log cannot be written."""
        # JSON's escapes, because the path of a picture need not be UTF-8.
        line = json.dumps(asdict(damaged)).encode("ascii") + b"\n"
        with disk_errors(self.path):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

    def read(self) -> tuple[Damaged, ...]:
        """Every record that was noted, once, by instruction file and number; none where there is no log.

        A line that a machine did not finish before it went down is passed over: the run that goes on meets its record
        again.
        """
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        noted = [damaged for line in lines if (damaged := _parse(line)) is not None]
        # A record is met again in every epoch, and whenever a run goes on from before it.
        found = {(damaged.annotation, damaged.record): damaged for damaged in reversed(noted)}
        return tuple(found[key] for key in sorted(found))


def _parse(line: bytes) -> Damaged | None:
    try:
        return Damaged(**json.loads(line))
    except (ValueError, TypeError):
        return None

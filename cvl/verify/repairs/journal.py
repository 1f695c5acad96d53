"""The journal of one repair: every act is written down, on the disk, before the first one is carried out.

`data/.cvl/repairs/TIME.jsonl`, a JSON value a line, ASCII only, so that names of any bytes can be told:

    {"version": 1, "acts": N}                       the file appears whole, by renaming, with this line and all acts
    {"act": "move", "path": …, "to": …, …}          N of them
    {"at": 7}                                       act 7 is about to be carried out
    {"end": "applied"}                              all of them were
    {"back": 7}                                     act 7 is about to be taken back
    {"end": "undone"}                               none of them is left

After a kill the last line tells where it was, and the names on the disk whether that act was done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from cvl.errors import CvlError
from cvl.files import write_atomically
from cvl.root import Root
from cvl.verify.repairs.acts import Act, ActKind

VERSION = 1
_SUFFIX = ".jsonl"


class Phase(StrEnum):
    """How far a repair is."""

    APPLYING = "applying"
    APPLIED = "applied"
    UNDOING = "undoing"
    UNDONE = "undone"


@dataclass(frozen=True)
class Journal:
    """What a journal says.

    Args:
        path: its file.
        acts: all of them, in order.
        phase: how far they are.
        at: the act that was begun last.
    """

    path: Path
    acts: tuple[Act, ...]
    phase: Phase
    at: int

    @property
    def name(self) -> str:
        """When the repair was begun, UTC."""
        return self.path.stem

    @property
    def jpegs(self) -> Path:
        """Where JPEGs wait until they get their name, and come back to when the repair is undone."""
        return self.path.with_suffix(".jpegs")


class Pen:
    """Writes how a repair goes on."""

    def __init__(self, file: int) -> None:
        self._file = file

    def at(self, number: int) -> None:
        """An act is about to be carried out."""
        os.write(self._file, b'{"at": %d}\n' % number)

    def back(self, number: int) -> None:
        """An act is about to be taken back."""
        os.write(self._file, b'{"back": %d}\n' % number)

    def end(self, phase: Phase) -> None:
        """It is over, and on the disk."""
        os.write(self._file, b'{"end": "%s"}\n' % phase.encode())
        os.fsync(self._file)


def folder_of(root: Root) -> Path:
    """Where the journals of a tree lie."""
    return root.notes / "repairs"


def new_name(root: Root) -> str:
    """A name that sorts behind those of all journals before it: the time."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    last = max((path.stem for path in folder_of(root).glob(f"*{_SUFFIX}")), default="")
    # A clock may have been set back.
    return name if name > last else f"{last}+"


def begin(root: Root, name: str, acts: Sequence[Act]) -> Journal:
    """Write down all that will be done. The folder must be there."""
    lines = [json.dumps({"version": VERSION, "acts": len(acts)})]
    lines += [json.dumps({"act": act.kind, **_plain(act)}) for act in acts]
    path = folder_of(root) / f"{name}{_SUFFIX}"
    write_atomically(path, ("\n".join(lines) + "\n").encode("ascii"), durable=True)
    return Journal(path, tuple(acts), Phase.APPLYING, 0)


def latest(root: Root) -> Journal | None:
    """The last repair that was not undone.

    Raises:
        CvlError: its journal cannot be read.
    """
    for path in sorted(folder_of(root).glob(f"*{_SUFFIX}"), reverse=True):
        journal = read(path)
        if journal.phase is not Phase.UNDONE:
            return journal
    return None


@contextmanager
def writing(journal: Journal) -> Iterator[Pen]:
    """Go on with a journal."""
    file = os.open(journal.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        # A line that was cut short by a power failure must not swallow the next one.
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")
        yield Pen(file)
    finally:
        os.close(file)


def read(path: Path) -> Journal:
    """A journal.

    Raises:
        CvlError: it is of another version, or damaged.
    """
    lines = path.read_bytes().split(b"\n")
    try:
        header = json.loads(lines[0])
        if header["version"] != VERSION:
            raise CvlError(
                f"{path} is of version {header['version']}, expected {VERSION}", hint="use the cvl it is from"
            )
        count = int(header["acts"])
        acts = tuple(_act(json.loads(line)) for line in lines[1 : count + 1])
        if len(acts) < count:
            raise ValueError(f"expected {count} acts, found {len(acts)}")
    except (ValueError, KeyError, TypeError) as error:
        raise CvlError(
            f"the journal {path} cannot be read: {error}", hint="move it away to go on without it"
        ) from error
    phase, at = _progress(lines[count + 1 :])
    return Journal(path, acts, phase, at)


def _progress(lines: list[bytes]) -> tuple[Phase, int]:
    phase, at = Phase.APPLYING, 0
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            continue  # cut short, so that what it would have told was not begun
        if "end" in told:
            phase = Phase(told["end"])
        elif "back" in told:
            phase, at = Phase.UNDOING, told["back"]
        else:
            at = told["at"]
    return phase, at


def _plain(act: Act) -> dict[str, Any]:
    """The fields that say something."""
    fields = asdict(act)
    defaults = asdict(Act(act.kind, ""))
    return {name: value for name, value in fields.items() if name != "kind" and value != defaults[name]}


def _act(told: dict[str, Any]) -> Act:
    return Act(ActKind(told.pop("act")), **told)

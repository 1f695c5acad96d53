"""A large instruction file read by several processes, each a piece from one record to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from cvl.annotations.batch import read_batch
from cvl.annotations.buffer import Buffer, forget, instruction_file
from cvl.annotations.cut import Cutter, bracketed
from cvl.annotations.grouped import Grouped
from cvl.annotations.scanner import WINDOW, first_cutter
from cvl.annotations.windows import Columns, columns_of, joined
from cvl.errors import AnnotationError
from cvl.events import Progress
from cvl.memory import keep_memory
from cvl.parallel import cores, run_shards

R = TypeVar("R")

PIECE = 1 << 25
"""Bytes of a piece: some tenths of a second for a process."""

WORTH_IT = 2 * PIECE
"""Bytes of a file below which processes would take longer to start than one to read it."""


@dataclass(frozen=True)
class Piece:
    """Some records of a file that follow one another; a guess until a reader has found it true.

    Args:
        path: of the file.
        begin: the first byte of the first record.
        end: behind the last byte of the last one.
        cutter: what it was cut by.
    """

    path: Path
    begin: int
    end: int
    cutter: Cutter

    @property
    def following(self) -> int:
        """Where the record after this piece begins."""
        return self.end + len(self.cutter.gap)


def pieces_of(path: Path, buffer: Buffer) -> list[Piece]:
    """The pieces of a large file, without its last record; none of a small one, or where it cannot be cut by guessing.

    Raises:
        AnnotationError: it does not begin like an instruction file.
    """
    if len(buffer) < WORTH_IT:
        return []
    cut = first_cutter(buffer, str(path))
    if cut is None:
        return []
    begin, cutter = cut
    return [Piece(path, start, end, cutter) for start, end in cutter.pieces(buffer, begin, PIECE)]


def read_pieces(
    function: Callable[[Piece], R | None], pieces: Sequence[Piece], progress: Progress, size: int, jobs: int | None
) -> list[R] | None:
    """What `function` makes of every piece; None if there are none, or if one of them is not what was guessed.

    Args:
        function: picklable; returns None for a piece that was badly cut.
        progress: is told the bytes that are read, of `size`.
        jobs: processes; None is one a core. One alone would be no gain, and reads nothing.
    """
    if not pieces or (jobs or cores()) == 1:
        return None
    done = 0

    def on_result(result: tuple[int, R | None]) -> None:
        nonlocal done
        done += result[0]
        progress(done, size)

    found = run_shards(partial(_sized, function), pieces, jobs=jobs, on_result=on_result)
    whole = [result for _, result in found if result is not None]
    return whole if len(whole) == len(found) else None


def _sized(function: Callable[[Piece], R | None], piece: Piece) -> tuple[int, R | None]:
    """The piece's size with what `function` makes of it, for the progress."""
    keep_memory()
    return piece.end - piece.begin, function(piece)


def read_columns(piece: Piece) -> tuple[Columns, Grouped] | None:
    """The columns of the index for the records of a piece; None if it was badly cut or is damaged.

    Of a damaged file nothing is said here, for only who reads it from its start knows where in it a record stands.
    """
    found = []
    where = str(piece.path)
    try:
        with instruction_file(piece.path) as (buffer, _):
            for begin, end in piece.cutter.windows(buffer, piece.begin, piece.end, WINDOW):
                array = bracketed(buffer, begin, end)
                forget(buffer, begin, end)
                batch = read_batch(array)
                spans = piece.cutter.spans(array, begin, batch.turns if batch is not None else None)
                if spans is None:
                    return None
                found.append(columns_of(array, where, spans, 0, batch))
    except AnnotationError:
        return None
    return joined(found)

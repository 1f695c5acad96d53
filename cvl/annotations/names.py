"""The pictures that an instruction file names and nothing else of it: for who asks whether they are there, at once.

An index tells more and is kept. Where there is none yet, reading the names alone takes a quarter of its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from cvl.annotations.buffer import Buffer, forget, instruction_file
from cvl.annotations.cut import bracketed
from cvl.annotations.grouped import Grouped, grouped, merged
from cvl.annotations.index import AnnotationFile
from cvl.annotations.pieces import Piece, pieces_of, read_pieces
from cvl.annotations.records import UNREADABLE
from cvl.annotations.scanner import AGAIN, WINDOW, spans
from cvl.errors import AnnotationError
from cvl.events import Progress


class _Record(msgspec.Struct, gc=False):
    image: Any = None


_DECODER = msgspec.json.Decoder(list[_Record])
_ONE_BY_ONE = msgspec.json.Decoder(list[Any])


@dataclass(frozen=True)
class Names:
    """The image paths of one instruction file.

    Args:
        source: the instruction file.
        size, mtime_ns: of the file that was read.
        texts: the paths in the records' order, UTF-8, a zero byte after each; nothing before it if there is none.
        counts: how many records each of `texts` speaks of.
        groups: the last parts of the paths by folder.
    """

    source: AnnotationFile
    size: int
    mtime_ns: int
    texts: tuple[bytes, ...]
    counts: tuple[int, ...]
    groups: Grouped

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def text_only(self) -> int:
        """How many records name no image, or have a problem with theirs."""
        ends = (np.flatnonzero(np.frombuffer(text, np.uint8) == 0) for text in self.texts)
        return sum(int(np.count_nonzero(np.diff(each, prepend=-1) == 1)) for each in ends)

    def image_text(self) -> Iterator[bytes]:
        """Yields `texts`, as `Index.image_text` does."""
        return iter(self.texts)

    def by_folder(self) -> Grouped:
        """The last parts of all image paths by folder, in the order of the folders; "" is a folder too."""
        return self.groups


def read_names(source: AnnotationFile, progress: Progress, jobs: int | None = None) -> Names:
    """The image paths of an instruction file; whatever is no path counts as none.

    Raises:
        AnnotationError: it is absent, or not one array of JSON values.
    """
    where = str(source.path)
    with instruction_file(source.path) as (buffer, stat):
        found: list[tuple[bytes, int, Grouped]] = []
        begin = None
        pieces = pieces_of(source.path, buffer)
        for piece, names in zip(pieces, read_pieces(_piece, pieces, progress, len(buffer), jobs) or (), strict=False):
            found.append(names)
            begin = piece.following
        for starts, lengths in spans(buffer, where, begin=begin):
            first, last = int(starts[0]), int(starts[-1] + lengths[-1])
            found.append(_names(buffer, first, last, where))
            progress(last, stat.st_size)
    texts, counts = tuple(text for text, _, _ in found), tuple(number for _, number, _ in found)
    groups = merged(group for _, _, group in found)
    return Names(source, stat.st_size, stat.st_mtime_ns, texts, counts, groups)


def _piece(piece: Piece) -> tuple[bytes, int, Grouped] | None:
    try:
        with instruction_file(piece.path) as (buffer, _):
            windows = piece.cutter.windows(buffer, piece.begin, piece.end, WINDOW)
            found = [_names(buffer, begin, end, str(piece.path)) for begin, end in windows]
    except AnnotationError:
        return None
    texts, counts, groups = zip(*found, strict=True)
    return b"".join(texts), sum(counts), merged(groups)


def _names(buffer: Buffer, begin: int, end: int, where: str) -> tuple[bytes, int, Grouped]:
    """The paths of the records from `begin` to `end`, how many records there are, and the paths by folder."""
    images = _images(bracketed(buffer, begin, end), where, begin)
    forget(buffer, begin, end)
    return "\0".join([*images, ""]).encode(), len(images), grouped(images)


def _images(array: bytes, where: str, begin: int) -> list[str]:
    try:
        values = [record.image for record in _DECODER.decode(array)]
    except msgspec.ValidationError:
        values = [value.get("image") if isinstance(value, dict) else None for value in _ONE_BY_ONE.decode(array)]
    except UNREADABLE as error:
        raise AnnotationError(
            f"{where}: the records from byte {begin} on cannot be read: {error}", hint=AGAIN
        ) from error
    return [value if isinstance(value, str) and "\0" not in value else "" for value in values]

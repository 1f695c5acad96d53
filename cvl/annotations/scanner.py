"""Where the records of a JSON array begin and end, in one pass and without parsing them.

An instruction file is one array of up to gigabytes. `spans` walks it in windows of a few megabytes. In a window, numpy
finds the quotes and brackets, leaves out what stands inside strings, and sums the brackets to a depth; the elements of
the array are what lies between the commas at depth zero. A window always begins right after the opening bracket or
after such a comma, so nothing but a position is carried from one window to the next: no string, no escape and no
depth ever crosses a border. A window in which no record ends is doubled and read again.

What is inside a record is not looked at: whether `{"a" 1]` is JSON is for the decoder to say.

Most files are so regular that `cvl.annotations.cut` can tell the same in a third of the time; what it cannot tell is
found as above.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cvl.annotations.buffer import Buffer, Spans
from cvl.annotations.cut import Cutter, bracketed, learn
from cvl.errors import AnnotationError

_Bytes: TypeAlias = NDArray[np.uint8]
_Positions: TypeAlias = NDArray[np.int64]

WINDOW = 1 << 20
"""Bytes looked at in one go: more is no faster, since the temporary arrays then leave the processor's cache."""

LONGEST = 1 << 28
"""No record is longer than this: what seems to be is a file with a lost quote. It keeps the memory needed bounded."""

AGAIN = "the file is damaged: delete it and run `cvl fetch` again"

_QUOTE, _COMMA, _BACKSLASH = b'",\\'
_SPACE = b" \t\r\n"

_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1

_BLANK, _SEPARATOR, _SOLID = range(3)
_KIND = np.full(256, _SOLID, np.uint8)
_KIND[list(_SPACE)] = _BLANK
_KIND[_COMMA] = _SEPARATOR


@dataclass(frozen=True)
class _Window:
    """The top level of one window; positions count from its first byte.

    Attributes:
        starts, ends: of each element, the end being exclusive. The last may be cut by the window's end.
        commas: between the elements.
        close: of the bracket that closes the array, or None if it is not in this window.
    """

    starts: _Positions
    ends: _Positions
    commas: _Positions
    close: int | None

    @property
    def complete(self) -> int:
        """How many elements certainly end in this window: a comma or the closing bracket follows them."""
        return self.commas.size if self.close is None else self.starts.size


def spans(
    buffer: Buffer, where: str, *, window: int = WINDOW, whole: bool = True, begin: int | None = None
) -> Iterator[Spans]:
    """Yields, for each window, the offsets and the lengths in bytes of the array's elements, in order.

    Args:
        buffer: the file, best as a memory map; white space and a byte order mark at its start are allowed.
        where: the file's name, for messages.
        window: bytes to look at in one go, to begin with.
        whole: False for the first part of a longer file: what is cut off at its end is then left out without an error.
        begin: where an element begins that is not the first; those before it are passed over.

    Raises:
        AnnotationError: with the byte offset, if this is not one JSON array from the first byte to the last.
    """
    view = np.frombuffer(buffer, dtype=np.uint8)
    begin = position = _after_opening(view, where) if begin is None else begin
    size = window
    cutter: Cutter | None = None
    while True:
        if cutter is not None and (quick := _quick(cutter, buffer, view, position, window)) is not None:
            yield quick
            position = int(quick[0][-1] + quick[1][-1]) + cutter.gap.index(b",") + 1
            continue
        piece = _scan(view[position : position + size])
        _check(piece, where, position, first=position == begin)
        if piece.complete:
            yield _absolute(piece, position)
        if piece.close is not None:
            _check_rest(view, where, position + piece.close)
            return
        if position + size >= view.size:
            if whole:
                raise _cut(piece, where, position, view.size)
            return
        if piece.commas.size:
            cutter = cutter or _learn(buffer, piece, position)
            position += int(piece.commas[-1]) + 1
            size = window
        elif size >= LONGEST:
            raise _error(where, position, f"the record that begins here does not end within {size} bytes", AGAIN)
        else:
            size *= 2


def first_cutter(buffer: Buffer, where: str) -> tuple[int, Cutter] | None:
    """Where the first record begins, and how the file can be cut; None where nothing can be learnt from its start.

    Raises:
        AnnotationError: this is not the start of a JSON array of records.
    """
    view = np.frombuffer(buffer, dtype=np.uint8)
    position = _after_opening(view, where)
    piece = _scan(view[position : position + WINDOW])
    cutter = _learn(buffer, piece, position)
    return (position + int(piece.starts[0]), cutter) if cutter is not None else None


def _learn(buffer: Buffer, piece: _Window, position: int) -> Cutter | None:
    if piece.complete < 1 or piece.starts.size <= 1:
        return None
    return learn(buffer, position + int(piece.ends[0]), position + int(piece.starts[1]))


def _quick(cutter: Cutter, buffer: Buffer, view: _Bytes, position: int, size: int) -> Spans | None:
    begin = _first_solid(view, position)
    end = cutter.first(buffer, begin, size)
    return cutter.spans(bracketed(buffer, begin, end), begin) if end is not None else None


def records(buffer: Buffer, where: str, *, count: int | None = None, whole: bool = True) -> Iterator[bytes]:
    """Yields the bytes of each element, or of the first `count`, as `spans` finds them.

    Meant for samples: the window is small, so the first record of a file of any size is there at once.
    """
    found = (
        bytes(buffer[start : start + length])
        for starts, lengths in spans(buffer, where, window=1 << 16, whole=whole)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    )
    return islice(found, count)


def _absolute(piece: _Window, position: int) -> Spans:
    starts, ends = piece.starts[: piece.complete], piece.ends[: piece.complete]
    return (starts + position).astype(np.uint64), (ends - starts).astype(np.uint64)


def _scan(view: _Bytes) -> _Window:
    """The top level of a window that begins outside of any element."""
    tokens = _tokens(view)
    marks = view[tokens]
    is_quote = marks == _QUOTE
    in_string = np.logical_xor.accumulate(is_quote)  # as it is right after each token
    step = np.where(in_string, np.int8(0), _STEP[marks])
    depth = np.cumsum(step, dtype=np.int64)
    below = np.flatnonzero(depth < 0)
    close = int(tokens[below[0]]) if below.size else None

    begins = ((depth == 1) & (step == 1)) | ((depth == 0) & is_quote & in_string)
    stops = (depth == 0) & ((step == -1) | (is_quote & ~in_string))
    before_close = slice(below[0] if below.size else None)
    starts, ends = tokens[before_close][begins[before_close]], tokens[before_close][stops[before_close]] + 1
    limit = view.size if close is None else close
    if starts.size > ends.size:
        ends = np.append(ends, limit)
    return _top_level(view[:limit], starts, ends, close)


def _tokens(view: _Bytes) -> _Positions:
    """Where the quotes and brackets stand, without escaped quotes."""
    folded = view | 0x20  # makes [ and ] of ASCII to { and }, and no other byte
    tokens = np.flatnonzero((view == _QUOTE) | (folded == ord("{")) | (folded == ord("}")))
    after_slash = np.flatnonzero(view[tokens - 1] == _BACKSLASH)
    if after_slash.size and tokens[0] == 0:
        after_slash = after_slash[after_slash > 0]  # nothing stands before the first byte: -1 was the last one
    if not after_slash.size:
        return tokens
    escaped = _slashes_before(view, tokens[after_slash]) % 2 == 1
    return np.delete(tokens, after_slash[escaped])


def _slashes_before(view: _Bytes, positions: _Positions) -> _Positions:
    """How many backslashes stand in a row right before each of these positions, which have at least one."""
    slashes = np.flatnonzero(view == _BACKSLASH)
    heads = np.diff(slashes, prepend=-2) > 1
    head_of = np.maximum.accumulate(np.where(heads, slashes, 0))
    return positions - head_of[np.searchsorted(slashes, positions - 1)]


def _top_level(view: _Bytes, starts: _Positions, ends: _Positions, close: int | None) -> _Window:
    """Looks at what lies between the strings, arrays and objects: commas, and elements that have no brackets."""
    between = _ranges(np.append(0, ends), np.append(starts, view.size))
    kinds = _KIND[view[between]]
    solid = between[kinds == _SOLID]
    if solid.size:
        breaks = np.diff(solid) > 1
        starts = np.concatenate([starts, solid[np.append(True, breaks)]])
        ends = np.concatenate([ends, solid[np.append(breaks, True)] + 1])
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
    return _Window(starts, ends, between[kinds == _SEPARATOR], close)


def _ranges(starts: _Positions, ends: _Positions) -> _Positions:
    """The numbers from each start to its end, end excluded, in one array."""
    lengths = ends - starts
    offsets = starts - (np.cumsum(lengths) - lengths)
    return np.repeat(offsets, lengths) + np.arange(lengths.sum())


def _check(piece: _Window, where: str, position: int, *, first: bool) -> None:
    """Elements and commas must take turns, and the array must not end after a comma."""
    order = np.argsort(np.concatenate([piece.starts, piece.commas]), kind="stable")
    is_comma = order >= piece.starts.size
    wrong = np.flatnonzero(is_comma != (np.arange(order.size) % 2 == 1))
    if wrong.size:
        index = int(order[wrong[0]])
        if index >= piece.starts.size:
            at = int(piece.commas[index - piece.starts.size])
            raise _error(where, position + at, "expected a record, found a comma", AGAIN)
        raise _error(where, position + int(piece.starts[index]), "expected a comma before this record", AGAIN)
    ends_on_comma = piece.starts.size == piece.commas.size and not (first and not piece.commas.size)
    if piece.close is not None and ends_on_comma:
        raise _error(where, position + piece.close, "expected a record after the comma, found the array's end", AGAIN)


def _cut(piece: _Window, where: str, position: int, size: int) -> AnnotationError:
    """The file has ended, the array has not."""
    if piece.starts.size > piece.commas.size:
        at = position + int(piece.starts[-1])
        return _error(where, at, f"the file ends, at {size} bytes, in or after the record that begins here", AGAIN)
    return _error(where, size, "the file ends here, before the bracket that closes the array", AGAIN)


def _check_rest(view: _Bytes, where: str, close: int) -> None:
    """The array is closed: by a bracket of the right kind, and with nothing but white space after it."""
    if view[close] != ord("]"):
        raise _error(where, close, "expected ']' to close the array, found '}'", AGAIN)
    rest = _first_solid(view, close + 1)
    if rest < view.size:
        found = bytes(view[rest : rest + 20])
        raise _error(where, rest, f"expected the end of the file after the array, found {found!r}", AGAIN)


def _first_solid(view: _Bytes, position: int) -> int:
    """Where the next byte stands that is no white space; the size if there is none."""
    step = 64  # most often it is among the next few
    while position < view.size:
        solid = np.flatnonzero(_KIND[view[position : position + step]] != _BLANK)
        if solid.size:
            return position + int(solid[0])
        position, step = position + step, WINDOW
    return int(view.size)


def _after_opening(view: _Bytes, where: str) -> int:
    """The position after the array's opening bracket."""
    bom = 3 if bytes(view[:3]) == b"\xef\xbb\xbf" else 0
    begin = _first_solid(view, bom)
    if begin == view.size:
        raise _error(where, 0, f"expected a JSON array, found an empty file of {view.size} bytes", AGAIN)
    if view[begin] != ord("["):
        found, hint = _what_is(view, begin)
        raise _error(where, begin, f"expected '[', the start of a JSON array, found {found}", hint)
    return begin + 1


_STRANGERS = (
    (b"<", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer in place of the file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\0", "zero bytes, as a transfer that was broken off leaves them"),
)


def _what_is(view: _Bytes, begin: int) -> tuple[str, str]:
    """What this file is, since it is no array, and what to do about it."""
    head = bytes(view[begin : begin + 32])
    if head.startswith(b"{"):
        return _object_or_lines(view, begin)
    known = (name for magic, name in _STRANGERS if head.startswith(magic))
    return next(known, repr(head[:20])), "this is not the file that was asked for: delete it and run `cvl fetch` again"


def _object_or_lines(view: _Bytes, begin: int) -> tuple[str, str]:
    window = view[begin : begin + (WINDOW << 3)]
    ends = _scan(window).ends
    following = _first_solid(window, int(ends[0]))
    if following < window.size and window[following] == ord("{"):
        return "JSON Lines, a record a line", "make one array of it: `jq -s . FILE.jsonl > FILE.json`"
    return "a JSON object", "an instruction file is one array of records: name the right file"


def _error(where: str, offset: int, problem: str, hint: str) -> AnnotationError:
    return AnnotationError(f"{where}: byte {offset}: {problem}", hint=hint)

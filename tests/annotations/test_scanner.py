from __future__ import annotations

import json
import mmap
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvl.annotations import scanner
from cvl.annotations.scanner import Buffer, records, spans
from cvl.errors import AnnotationError

NASTY = st.text(alphabet='\\"[]{},: \n\té😀0', max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | NASTY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NASTY, inner, max_size=4),
    max_leaves=12,
)
ARRAYS = st.lists(VALUES, max_size=8)
STYLES = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 1, 4, "\t"]),
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", " : ")]),
    }
)
WINDOWS = st.integers(1, 80)
quick = settings(deadline=None, max_examples=200)


def elements(buffer: Buffer, window: int = scanner.WINDOW, whole: bool = True) -> list[bytes]:
    return [
        bytes(buffer[start : start + length])
        for starts, lengths in spans(buffer, "x.json", window=window, whole=whole)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]


def dumped(array: list[Any], style: dict[str, Any]) -> bytes:
    return json.dumps(array, **style).encode()


@quick
@given(ARRAYS, STYLES, WINDOWS)
def test_every_element_is_found_whatever_the_style_and_the_window(
    array: list[Any], style: dict[str, Any], window: int
) -> None:
    found = elements(dumped(array, style), window)
    assert [json.loads(raw) for raw in found] == array


@quick
@given(ARRAYS, WINDOWS, st.text(" \t\r\n", max_size=100), st.text(" \t\r\n", max_size=100), st.booleans())
def test_blanks_and_a_byte_order_mark_round_the_array_are_no_matter(
    array: list[Any], window: int, before: str, after: str, bom: bool
) -> None:
    text = before + json.dumps(array) + after
    found = elements(text.encode("utf-8-sig" if bom else "utf-8"), window)
    assert [json.loads(raw) for raw in found] == array


@quick
@given(ARRAYS, STYLES, WINDOWS, st.data())
def test_a_file_cut_anywhere_is_an_error(
    array: list[Any], style: dict[str, Any], window: int, data: st.DataObject
) -> None:
    raw = dumped(array, style)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(AnnotationError, match=r"the file ends|an empty file"):
        elements(raw[:cut], window)


@quick
@given(ARRAYS, STYLES, WINDOWS, st.data())
def test_the_beginning_of_a_file_gives_the_elements_that_are_whole_in_it(
    array: list[Any], style: dict[str, Any], window: int, data: st.DataObject
) -> None:
    raw = b"["
    ends = []
    for number, element in enumerate(array):
        raw += (b" , " if number else b"\n") + json.dumps(element, **style).encode()
        ends.append(len(raw))
    raw += b" ]"
    cut = data.draw(st.integers(1, len(raw)))
    # What follows an element is a blank and then the comma or bracket that says that it has ended.
    certain = [element for element, end in zip(array, ends, strict=True) if end + 2 <= cut]
    assert [json.loads(element) for element in elements(raw[:cut], window, whole=False)] == certain


@quick
@given(st.lists(st.dictionaries(NASTY, NASTY, max_size=3), min_size=2, max_size=6), WINDOWS, st.data())
def test_a_lost_comma_is_found_at_the_record_after_it(
    array: list[dict[str, str]], window: int, data: st.DataObject
) -> None:
    parts = [json.dumps(record).encode() for record in array]
    lost = data.draw(st.integers(1, len(parts) - 1))
    raw = b"[" + b",".join(parts[:lost]) + b" " + b",".join(parts[lost:]) + b"]"
    at = 1 + len(b",".join(parts[:lost])) + 1
    with pytest.raises(AnnotationError, match=f"byte {at}: expected a comma before this record"):
        elements(raw, window)


@pytest.mark.parametrize("slashes", range(40))
@pytest.mark.parametrize("window", [1, 7, 16, 1 << 20])
def test_runs_of_backslashes_across_window_borders(slashes: int, window: int) -> None:
    array = [{"a": "\\" * slashes + '"' + "]}" * slashes}, '"' * slashes, {"\\" * slashes: []}]
    assert [json.loads(raw) for raw in elements(json.dumps(array).encode(), window)] == array


def test_an_escaped_quote_as_first_token_of_a_window_is_not_judged_by_its_last_byte() -> None:
    # The window's last byte is a backslash, which must not be taken for what stands before its first one.
    raw = b'["a","' + b"\\" * 40 + b'"]'
    for window in range(1, 50):
        assert elements(raw, window) == [b'"a"', b'"' + b"\\" * 40 + b'"']


def test_spans_of_a_window_are_absolute_offsets_in_order() -> None:
    raw = json.dumps([{"n": number} for number in range(1000)]).encode()
    pieces = list(spans(raw, "x.json", window=64))
    assert len(pieces) > 100
    ends = 1
    for starts, lengths in pieces:
        assert starts.dtype == lengths.dtype == "u8"
        assert starts[0] > ends - 1
        assert (starts[1:] > starts[:-1] + lengths[:-1]).all()
        ends = int(starts[-1] + lengths[-1])
    assert ends == len(raw) - 1


def test_a_record_longer_than_the_window_is_found_and_the_next_ones_too() -> None:
    array = [{"text": "a[\\" * 5000}, {"text": "short"}, "b" * 3000, 4]
    assert [json.loads(raw) for raw in elements(json.dumps(array).encode(), 16)] == array


def test_a_memory_map_is_read_and_can_be_closed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'[{"a": 1}, {"b": "]"}]')
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        assert elements(buffer) == [b'{"a": 1}', b'{"b": "]"}']


@pytest.mark.parametrize("raw", [b"[]", b" [ \n ] ", b"\xef\xbb\xbf[]\n"])
def test_an_empty_array_has_no_elements(raw: bytes) -> None:
    assert elements(raw, 1) == []


@pytest.mark.parametrize("window", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[1,]", "byte 3: expected a record after the comma, found the array's end"),
        (b"[,]", "byte 1: expected a record, found a comma"),
        (b"[,1]", "byte 1: expected a record, found a comma"),
        (b"[1,,2]", "byte 3: expected a record, found a comma"),
        (b"[1 2]", "byte 3: expected a comma before this record"),
        (b'["a"1]', "byte 4: expected a comma before this record"),
        (b"[{}}", "byte 3: expected ']' to close the array, found '}'"),
        (b"[1] x", "byte 4: expected the end of the file after the array, found b'x'"),
        (b"[1]]", "byte 3: expected the end of the file after the array, found b']'"),
        (b"[1]\n[2]", "byte 4: expected the end of the file after the array, found b'[2]'"),
        (b"[", "byte 1: the file ends here, before the bracket that closes the array"),
        (b"[{},", "byte 4: the file ends here, before the bracket that closes the array"),
        (b'[{}, {"a": [', "byte 5: the file ends, at 12 bytes, in or after the record that begins here"),
        (b'[{}, {"a": "\\', "byte 5: the file ends, at 13 bytes, in or after the record that begins here"),
        (b"[{}, {}", "byte 5: the file ends, at 7 bytes, in or after the record that begins here"),
    ],
)
def test_what_is_no_array_is_told_with_its_offset(raw: bytes, message: str, window: int) -> None:
    with pytest.raises(AnnotationError, match=f"^x.json: {re.escape(message)}$") as caught:
        elements(raw, window)
    assert caught.value.hint == "the file is damaged: delete it and run `cvl fetch` again"


@pytest.mark.parametrize(
    ("raw", "what", "hint"),
    [
        (b"", "an empty file of 0 bytes", "cvl fetch"),
        (b" \n", "an empty file of 2 bytes", "cvl fetch"),
        (b"<!DOCTYPE html><html>", "a web page", "delete it and run `cvl fetch` again"),
        (b"\n\n <html>", "a web page", "delete it and run `cvl fetch` again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "cvl fetch"),
        (b"\x1f\x8b\x08\x00", "a gzip archive", "cvl fetch"),
        (b"PK\x03\x04", "a zip archive", "cvl fetch"),
        ("[]".encode("utf-16"), "UTF-16 text", "cvl fetch"),
        (b"\0" * 4096, "zero bytes", "cvl fetch"),
        (b"id,image\n", "b'id,image", "cvl fetch"),
        (b'{"a": "{}"}\n{"b": 2}\n', "JSON Lines, a record a line", "jq -s"),
        (b'{"a": {"b": 1}}\n', "a JSON object", "one array of records"),
        (b'{"a": {"b": 1', "a JSON object", "one array of records"),
    ],
)
def test_a_file_of_another_kind_is_named(raw: bytes, what: str, hint: str) -> None:
    with pytest.raises(AnnotationError, match=re.escape(what)) as caught:
        elements(raw)
    assert hint in str(caught.value.hint)


def test_elements_before_the_damage_are_still_given() -> None:
    found = spans(b"[1,2,3,", "x.json", window=2)
    assert [len(next(found)[0]) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(AnnotationError, match="byte 7"):
        next(found)


def test_a_lost_quote_does_not_make_the_window_grow_without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "LONGEST", 1 << 12)
    raw = b'[{"a": 1}, {"b: 1}' + b', {"c": [1]}' * 10_000 + b"]"
    with pytest.raises(AnnotationError, match="byte 10: the record that begins here does not end within 4096 bytes"):
        elements(raw, window=16)


def test_a_sample_gives_the_first_records_of_a_beginning() -> None:
    head = json.dumps([{"n": number} for number in range(50)]).encode()[:95]
    assert list(records(head, "x.json", count=2, whole=False)) == [b'{"n": 0}', b'{"n": 1}']
    assert len(list(records(head, "x.json", whole=False))) == 9
    with pytest.raises(AnnotationError, match="the file ends, at 95 bytes"):
        list(records(head, "x.json"))


def test_a_sample_does_not_read_what_it_does_not_need() -> None:
    raw = b"[1, 2, " + b"0, " * 100_000 + b" , damaged"
    assert list(records(raw, "x.json", count=2)) == [b"1", b"2"]

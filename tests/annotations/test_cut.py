"""Cutting a file by what stands between its records: a guess that is proven or given up."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.annotations.batch import read_batch
from cvl.annotations.cut import Cutter, bracketed, learn
from cvl.annotations.scanner import first_cutter, spans

COUNT = 60


def records(count: int = COUNT) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{number}",
            "image": f"a/{number}.jpg",
            "conversations": [{"from": "human", "value": f'"}}, {{"id": {number}'}],
        }
        for number in range(count)
    ]


FORMS = {
    "one line": json.dumps(records()),
    "compact": json.dumps(records(), separators=(",", ":")),
    "indented": json.dumps(records(), indent=2),
    "a record a line": "[\n" + ",\n".join(json.dumps(each) for each in records()) + "\n]\n",
    "comma first": "[" + "\n, ".join(json.dumps(each) for each in records()) + "]",
}
form = pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())


def cutter_of(content: bytes) -> tuple[int, Cutter]:
    cut = first_cutter(content, "x")
    assert cut is not None
    return cut


def truth(content: bytes) -> list[bytes]:
    return [json.dumps(each).encode() for each in json.loads(content)]


def said(content: bytes, starts: Any, lengths: Any) -> list[bytes]:
    raws = [content[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]
    return [json.dumps(json.loads(raw)).encode() for raw in raws]


@form
def test_pieces_hold_all_records_but_the_last_in_order(text: str) -> None:
    content = text.encode()
    begin, cutter = cutter_of(content)
    pieces = cutter.pieces(content, begin, len(content) // 7)
    assert len(pieces) > 3
    assert all(second[0] == first[1] + len(cutter.gap) for first, second in pairwise(pieces))
    found = [cutter.spans(bracketed(content, *piece), piece[0]) for piece in pieces]
    assert [raw for each in found if each for raw in said(content, *each)] == truth(content)[:-1]


@form
def test_windows_of_a_piece_hold_all_of_it(text: str) -> None:
    content = text.encode()
    begin, cutter = cutter_of(content)
    (piece,) = cutter.pieces(content, begin, len(content))
    windows = list(cutter.windows(content, *piece, len(content) // 9))
    assert len(windows) > 4
    assert (windows[0][0], windows[-1][1]) == piece
    found = [cutter.spans(bracketed(content, *window), window[0]) for window in windows]
    assert [raw for each in found if each for raw in said(content, *each)] == truth(content)[:-1]


@form
@pytest.mark.parametrize("window", [200, 1000, 1 << 20])
def test_the_scanner_finds_the_same_records_with_and_without_guessing(text: str, window: int) -> None:
    content = text.encode()
    found = list(spans(content, "x", window=window))
    assert [raw for each in found for raw in said(content, *each)] == truth(content)


def test_records_that_do_not_begin_alike_are_found_all_the_same() -> None:
    mixed: list[Any] = [*records(5), {"image": "b", "id": "x"}, 7, "text", [], *records(5)]
    content = json.dumps(mixed).encode()
    assert [raw for each in spans(content, "x", window=300) for raw in said(content, *each)] == truth(content)


def test_another_gap_somewhere_is_no_proof() -> None:
    content = json.dumps(records(6)).encode()
    begin, cutter = cutter_of(content)
    (piece,) = cutter.pieces(content, begin, len(content))
    wider = content.replace(b'}, {"id": "3"', b'} , {"id": "3"')
    assert cutter.spans(bracketed(content, *piece), piece[0]) is not None
    assert cutter.spans(bracketed(wider, piece[0], piece[1] + 1), piece[0]) is None


@pytest.mark.parametrize("shift", [-1, 1, 30])
def test_a_cut_at_another_place_is_no_proof(shift: int) -> None:
    content = json.dumps(records(6)).encode()
    begin, cutter = cutter_of(content)
    (piece,) = cutter.pieces(content, begin, len(content))
    assert cutter.spans(bracketed(content, piece[0], piece[1] + shift), piece[0]) is None
    assert cutter.spans(bracketed(content, piece[0] + shift, piece[1]), piece[0] + shift) is None


def test_a_mark_between_turns_is_taken_for_a_cut_and_found_out() -> None:
    """Where the turns begin like the records, a guess may fall between two turns; the parser does not let that pass."""
    turns = [{"id": "t", "from": "human", "value": "x" * 40} for _ in range(8)]
    content = json.dumps([{"id": f"{number}", "conversations": turns} for number in range(20)]).encode()
    begin, cutter = cutter_of(content)
    pieces = cutter.pieces(content, begin, 500)
    assert None in [cutter.spans(bracketed(content, *piece), piece[0]) for piece in pieces]
    assert [raw for each in spans(content, "x", window=500) for raw in said(content, *each)] == truth(content)


@pytest.mark.parametrize(
    "content", [b"[]", b'[{"id": 1}]', b"[1, 2]", b"[{}, {}]", b'[[1], {"id": 2}]', b'["a", {"id": 2}]']
)
def test_nothing_is_learnt_from_what_is_no_pair_of_records(content: bytes) -> None:
    assert first_cutter(content, "x") is None


def test_a_gap_that_is_longer_than_any_program_writes_is_not_learnt() -> None:
    content = b'[{"id": 1},' + b" " * 100 + b'{"id": 2}]'
    assert learn(content, 10, 11 + 100) is None


def test_spans_are_of_the_types_that_the_index_has() -> None:
    content = json.dumps(records(6)).encode()
    begin, cutter = cutter_of(content)
    piece = cutter.pieces(content, begin, len(content))[0]
    found = cutter.spans(bracketed(content, *piece), piece[0])
    assert found is not None
    assert [each.dtype for each in found] == [np.uint64, np.uint64]


def with_and_without_turns(content: bytes) -> list[tuple[list[int], list[int]] | None]:
    """What a cutter says of all records but the last, told how many turns they have, and left to find out."""
    begin, cutter = cutter_of(content)
    (piece,) = cutter.pieces(content, begin, len(content))
    array = bracketed(content, *piece)
    batch = read_batch(array)
    assert batch is not None
    found = [cutter.spans(array, piece[0], turns) for turns in (batch.turns, None)]
    return [(each[0].tolist(), each[1].tolist()) if each is not None else None for each in found]


TEXTS = st.text(alphabet='ab {}[]",:\\ü\n', max_size=12)
TURNS = st.lists(st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt"]), "value": TEXTS}), min_size=1)
RECORDS = st.fixed_dictionaries({"id": TEXTS, "conversations": TURNS}, optional={"image": TEXTS})


@given(st.lists(RECORDS, min_size=3, max_size=8), st.sampled_from([None, 1]))
def test_records_told_apart_by_their_braces_are_those_that_the_parser_finds(records: list[Any], indent: int) -> None:
    by_braces, by_parser = with_and_without_turns(json.dumps(records, indent=indent).encode())
    assert by_braces == by_parser is not None


@pytest.mark.parametrize(
    "odd",
    [
        {"value": "a brace { in a text"},
        {"value": "two }{ of them"},
        {"box": {"x": 1}},
        {"conversations_before": [{"from": "human", "value": "x"}]},
    ],
    ids=str,
)
def test_a_brace_more_than_there_are_turns_is_left_to_the_parser(odd: dict[str, Any]) -> None:
    turn = {"from": "human", "value": "x"}
    plain = [{"id": f"{number}", "conversations": [turn]} for number in range(6)]
    plain[2] = plain[2] | odd | {"conversations": [turn | odd]}
    by_braces, by_parser = with_and_without_turns(json.dumps(plain).encode())
    assert by_braces == by_parser is not None


@pytest.mark.parametrize("end", [b" ]", b"\n]", b",7]"])
def test_what_stands_behind_the_last_brace_is_no_record(end: bytes) -> None:
    turn = {"from": "human", "value": "x"}
    array = json.dumps([{"id": f"{number}", "conversations": [turn]} for number in range(3)]).encode()
    _, cutter = cutter_of(array)
    assert cutter.spans(array, 1, np.array([1, 1, 1])) is not None
    assert cutter.spans(array[:-1] + end, 1, np.array([1, 1, 1])) is None


def test_another_gap_is_no_proof_where_braces_tell_records_apart() -> None:
    turn = {"from": "human", "value": "x"}
    content = json.dumps([{"id": f"{number}", "conversations": [turn]} for number in range(6)]).encode()
    assert None not in with_and_without_turns(content)
    for wider in (b'} , {"id": "3"', b'},  {"id": "3"', b'},\n{"id": "3"'):
        assert with_and_without_turns(content.replace(b'}, {"id": "3"', wider)) == [None, None]

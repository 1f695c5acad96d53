"""Records told regular many at once: the same as one by one, whatever they say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvl.annotations.batch import read_batch
from cvl.annotations.records import SIGNAL, decode, examine
from cvl.annotations.words import Texts

SPEAKERS = st.sampled_from(["human", "gpt", "human", "gpt", "robot", ""])
WORDS = st.sampled_from(
    ["<image>", "<image>\n", "a", " ", "", "é", "\u2003", "</s>", "<unk>", SIGNAL, "<", "image>", "ASSISTANT:", "\x00"]
)
VALUES = st.lists(WORDS, max_size=4).map("".join) | st.text(max_size=8)
TURNS = st.lists(st.fixed_dictionaries({"from": SPEAKERS, "value": VALUES}), min_size=1, max_size=5)
RECORDS = st.fixed_dictionaries(
    {"conversations": TURNS}, optional={"image": st.sampled_from(["a/b.jpg", "", None, "é.jpg"]), "id": st.text()}
)


def array(records: list[Any]) -> bytes:
    return json.dumps(records).encode()


def record(image: str | None = "a/1.jpg", **changes: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bus."}]
    return {"image": image, "conversations": turns} | changes


@settings(deadline=None, max_examples=200)
@given(st.lists(RECORDS, min_size=1, max_size=6))
def test_what_is_told_of_many_is_what_is_told_of_each(records: list[Any]) -> None:
    # Half of a surrogate pair is no text for either way.
    raws = [msgspec.json.encode(each) for each in records]
    batch = read_batch(b"[" + b",".join(raws) + b"]")
    assert batch is not None
    each = [examine(decode(raw)) for raw in raws]
    assert batch.images == [findings.image for findings in each]
    assert batch.turns.tolist() == [findings.turns for findings in each]
    assert batch.words.tolist() == [sum(len(text.split()) for text in findings.texts) for findings in each]
    troubled = {number for number, findings in enumerate(each) if findings.problems}
    assert troubled <= set(batch.irregular.tolist())


def test_regular_records_need_no_second_look() -> None:
    text_only = record(None, conversations=[{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}])
    batch = read_batch(array([record(), text_only, record()]))
    assert batch is not None
    assert batch.irregular.size == 0


@pytest.mark.parametrize(
    "odd",
    [
        record(["a/1.jpg"]),
        record(7),
        record("a\0b.jpg"),
        record(conversations=[]),
        record(conversations=None),
        record(conversations=[{"from": "human"}]),
        record(conversations=[{"from": "human", "value": 3}]),
        record(conversations=[["human", "hello"]]),
        [],
        7,
        None,
    ],
)
def test_one_record_of_another_shape_sends_all_to_be_read_one_by_one(odd: Any) -> None:
    assert read_batch(array([record(), odd])) is None


@pytest.mark.parametrize("content", [b"[", b"[{}", b"", b"[{]}", b'["\xff"]', b"[" * 100_000])
def test_what_is_no_json_is_none(content: bytes) -> None:
    assert read_batch(content) is None


def test_marks_are_found_in_the_text_that_holds_them_and_never_across_two() -> None:
    texts = Texts.of(["a <image>", "<ima", "ge> b", "<image><image>", "é<image>", ""])
    assert texts.holding(b"<image>").nonzero()[0].tolist() == [0, 3, 4]
    assert texts.holding(b"<ima", b"<x", b"ge>").nonzero()[0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("before", ["", "x", "xy", "ASS", "a\nb", "ü"])
@pytest.mark.parametrize("mark", ["ASSISTANT: ", "abc"])
def test_a_mark_is_found_at_whatever_place_it_begins(before: str, mark: str) -> None:
    texts = Texts.of(["some", before + mark, mark[:-1], before + mark + mark])
    assert texts.holding(mark.encode()).tolist() == [False, True, False, True]
    assert texts.may_hold(mark.encode())
    assert not Texts.of(["some", before, "other"]).may_hold(b"zyx")

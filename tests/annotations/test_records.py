from __future__ import annotations

import json
from typing import Any

import pytest

from cvl.annotations.records import FATAL, LABELS, UNREADABLE, Findings, Problem, decode, examine

H, G = "human", "gpt"
WITH_IMAGE: dict[str, Any] = {"id": "1", "image": "coco/train2017/000000033471.jpg"}


def turns(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"from": speaker, "value": value} for speaker, value in pairs]


def found(record: Any) -> Findings:
    return examine(decode(json.dumps(record).encode()))


def problems(record: Any) -> Problem:
    return Problem(found(record).problems)


GOOD = turns((H, "<image>\nWhat is it?"), (G, "A bus."))


def test_a_sound_record_has_no_problem() -> None:
    record = {**WITH_IMAGE, "conversations": GOOD + turns((H, "And this?"), (G, "A tram.")), "url": 1.5}
    texts = ["<image>\nWhat is it?", "A bus.", "And this?", "A tram."]
    assert found(record) == Findings("coco/train2017/000000033471.jpg", texts, 4, 0)


@pytest.mark.parametrize("image", [{}, {"image": None}, {"image": ""}])
def test_an_absent_a_null_and_an_empty_image_are_text_only(image: dict[str, Any]) -> None:
    record = {"id": "wgByO4Y_0", "model": "", **image, "conversations": turns((H, "Hello there"), (G, "Hi"))}
    assert found(record) == Findings("", ["Hello there", "Hi"], 2, 0)


@pytest.mark.parametrize("place", ["<image>\nWhat?", "What?\n<image>", "<image>What <image>?"])
def test_where_the_placeholder_stands_in_its_turn_does_not_matter(place: str) -> None:
    assert not problems({**WITH_IMAGE, "conversations": turns((H, place), (G, "This."))})


@pytest.mark.parametrize("conversations", [{}, {"conversations": []}, {"conversations": None}, {"conversations": "x"}])
def test_no_conversations(conversations: dict[str, Any]) -> None:
    record = {**WITH_IMAGE, **conversations}
    assert found(record) == Findings(WITH_IMAGE["image"], [], 0, Problem.NO_CONVERSATIONS)


@pytest.mark.parametrize("speaker", ["system", "Human", "", None, 7, ["human"], {"a": 1}])
def test_unknown_speaker(speaker: Any) -> None:
    record = {"conversations": turns((speaker, "Be kind"), (H, "Hello"), (G, "Hi"))}
    assert problems(record) == Problem.UNKNOWN_SPEAKER


def test_a_turn_without_a_speaker_has_an_unknown_one() -> None:
    record = {"conversations": [*turns((H, "Hello"), (G, "Hi")), {"value": "again"}]}
    assert problems(record) == Problem.UNKNOWN_SPEAKER


@pytest.mark.parametrize("value", [None, 3, ["text"], {"text": "text"}, True])
def test_a_value_that_is_no_string(value: Any) -> None:
    record = {"conversations": turns((H, value), (G, "Hi"), (H, "So"), (G, "So"))}
    assert found(record) == Findings("", ["Hi", "So", "So"], 4, Problem.NOT_TEXT)


@pytest.mark.parametrize("turn", [None, "Hello", 5, ["human", "Hello"]])
def test_a_turn_that_is_no_object_has_neither_speaker_nor_text(turn: Any) -> None:
    record = {"conversations": [turn, *turns((G, "Hi"))]}
    assert problems(record) == Problem.UNKNOWN_SPEAKER | Problem.NOT_TEXT


@pytest.mark.parametrize("answer", ["", " ", "\n\t "])
def test_one_empty_answer_among_others_is_a_remark(answer: str) -> None:
    record = {"conversations": turns((H, "Hello"), (G, answer), (H, "Hello?"), (G, "Hi"))}
    assert problems(record) == Problem.EMPTY_ANSWER
    assert not problems(record) & FATAL


@pytest.mark.parametrize("answer", ["", " "])
def test_a_record_whose_every_answer_is_empty_is_fatal(answer: str) -> None:
    record = {"conversations": turns((H, "What is in the picture"), (G, answer))}
    assert problems(record) == Problem.EMPTY_ANSWER | Problem.NO_ANSWER
    assert problems(record) & FATAL


def test_an_image_that_no_turn_shows() -> None:
    record = {**WITH_IMAGE, "conversations": turns((H, "What is it?"), (G, "A bus."))}
    assert problems(record) == Problem.IMAGE_WITHOUT_PLACEHOLDER


@pytest.mark.parametrize("image", [{}, {"image": ""}])
def test_a_placeholder_without_an_image(image: dict[str, Any]) -> None:
    for count in (1, 2):
        text = turns((H, "In HTML it is <image>."), (G, "No."))
        assert problems({**image, "conversations": text * count}) == Problem.PLACEHOLDER_WITHOUT_IMAGE


def test_one_image_shown_in_two_turns() -> None:
    assert problems({**WITH_IMAGE, "conversations": GOOD + GOOD}) == Problem.SEVERAL_PLACEHOLDERS


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (["a.jpg"], Problem.IMAGE_LIST),
        ([], Problem.IMAGE_LIST),
        (5, Problem.IMAGE_NOT_TEXT),
        (False, Problem.IMAGE_NOT_TEXT),
        ({"path": "a.jpg"}, Problem.IMAGE_NOT_TEXT),
    ],
)
def test_an_image_of_a_wrong_type_is_no_path_and_spoils_no_other_finding(image: Any, problem: Problem) -> None:
    assert found({"image": image, "conversations": GOOD}) == Findings("", [t["value"] for t in GOOD], 2, problem)
    assert problems({"image": image}) == problem | Problem.NO_CONVERSATIONS


def test_a_first_turn_by_gpt_is_a_remark() -> None:
    record = {"conversations": turns((G, "Welcome"), (H, "Hello"), (G, "Hi"))}
    assert problems(record) == Problem.FIRST_TURN_GPT
    assert not problems(record) & FATAL


def test_a_single_turn_by_gpt_answers_nothing() -> None:
    assert problems({"conversations": turns((G, "Welcome"))}) == Problem.FIRST_TURN_GPT | Problem.NO_ANSWER


def test_a_last_turn_by_human_is_a_remark() -> None:
    record = {"conversations": turns((H, "Hello"), (G, "Hi"), (H, "Thanks"))}
    assert problems(record) == Problem.LAST_TURN_HUMAN
    assert not problems(record) & FATAL


def test_a_lone_question_is_fatal() -> None:
    assert problems({"conversations": turns((H, "Hello"))}) == Problem.LAST_TURN_HUMAN | Problem.NO_ANSWER


@pytest.mark.parametrize("order", [[H, H, G], [H, G, G], [H, G, G, H, G], [H, H, G, G]])
def test_speakers_that_do_not_take_turns(order: list[str]) -> None:
    assert problems({"conversations": turns(*((speaker, "x") for speaker in order))}) == Problem.OUT_OF_ORDER


def test_two_leading_turns_by_gpt_are_out_of_order_since_one_is_dropped() -> None:
    record = {"conversations": turns((G, "a"), (G, "b"), (H, "c"), (G, "d"))}
    assert problems(record) == Problem.FIRST_TURN_GPT | Problem.OUT_OF_ORDER


@pytest.mark.parametrize("record", [None, 1, "text", [], [{"conversations": []}], True])
def test_a_record_that_is_no_object(record: Any) -> None:
    assert found(record) == Findings("", [], 0, Problem.NOT_AN_OBJECT)


@pytest.mark.parametrize(
    "raw",
    [b"{", b'{"image": "\xff"}', b'{"image": "\\q"}', b'{"image": "\\ud800"}', b'{"a" 1}', b'{"a": "\x01"}', b""],
)
def test_bytes_that_are_no_json_are_an_exception(raw: bytes) -> None:
    with pytest.raises(UNREADABLE):
        decode(raw)


def test_nesting_that_is_too_deep_is_an_exception_and_no_crash() -> None:
    with pytest.raises(UNREADABLE):
        decode(b'{"image": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_every_problem_has_a_label_and_fits_into_16_bits() -> None:
    assert set(LABELS) == set(Problem)
    assert len(set(LABELS.values())) == len(Problem)
    assert max(Problem) < 1 << 16
    assert Problem.IMAGE_LIST.label == "image is a list"
    assert (Problem.NO_CONVERSATIONS | Problem.IMAGE_LIST).label == "no conversations, image is a list"


def test_the_values_of_the_format_stay() -> None:
    assert {problem.name: int(problem) for problem in Problem} == {
        "NO_CONVERSATIONS": 1,
        "UNKNOWN_SPEAKER": 2,
        "EMPTY_ANSWER": 4,
        "NOT_TEXT": 8,
        "IMAGE_WITHOUT_PLACEHOLDER": 16,
        "PLACEHOLDER_WITHOUT_IMAGE": 32,
        "IMAGE_LIST": 64,
        "IMAGE_NOT_TEXT": 128,
        "FIRST_TURN_GPT": 256,
        "NOT_AN_OBJECT": 512,
        "NO_ANSWER": 1024,
        "OUT_OF_ORDER": 2048,
        "LAST_TURN_HUMAN": 4096,
        "SEVERAL_PLACEHOLDERS": 8192,
        "NOT_STRICT_JSON": 16384,
        "TEMPLATE_IN_TEXT": 32768,
    }


@pytest.mark.parametrize("text", ["a </s> b", "<unk>", "USER: x ASSISTANT: y", "ASSISTANT: y", "<s>struck</s>"])
def test_a_text_that_looks_like_the_template_is_a_remark(text: str) -> None:
    assert problems({"conversations": turns((H, "What?"), (G, text))}) == Problem.TEMPLATE_IN_TEXT
    assert problems({"conversations": turns((H, text), (G, "This."))}) == Problem.TEMPLATE_IN_TEXT
    assert not Problem.TEMPLATE_IN_TEXT & FATAL


@pytest.mark.parametrize("text", ["a < b", "<b>N</b>", "NATO: yes", "the assistant: me", "ASSISTANT:none", "< /s>"])
def test_what_only_begins_like_the_template_is_none(text: str) -> None:
    assert not problems({"conversations": turns((H, text), (G, "This."))})

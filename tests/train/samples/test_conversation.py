from __future__ import annotations

from typing import Any

import pytest
from instructions import having, record
from tokens_cases import GOLDEN, PUBLISHED, name_of

from cvl.annotations.records import FATAL, GPT, HUMAN, Problem
from cvl.errors import AnnotationError, UsageError
from cvl.train.samples.conversation import (
    SYSTEM,
    Prompt,
    RecordError,
    prompt_of,
    published_answers,
    question,
    special_tokens_in,
)

FATAL_PROBLEMS = [problem for problem in Problem if problem & FATAL]
REMARKS = [problem for problem in Problem if not problem & FATAL]


def said(*texts: str, image: str | None = None) -> dict[str, Any]:
    return record(image, *((HUMAN if number % 2 == 0 else GPT, text) for number, text in enumerate(texts)))


def learnt(prompt: Prompt) -> list[str]:
    return [prompt.text[start:end] for start, end in prompt.answers]


def after_system(prompt: Prompt) -> str:
    return prompt.published.removeprefix(f"{SYSTEM} ")


@pytest.mark.parametrize("case", GOLDEN, ids=name_of)
def test_golden_prompts_are_written_as_published(case: dict[str, Any]) -> None:
    assert prompt_of(case["record"]).published == case["prompt"]


def test_a_conversation_is_written_by_template_v1() -> None:
    prompt = prompt_of(said("<image>\nWhat is it?", "A bus.", "Red?", "Yes.", image="1.jpg"))
    assert prompt.published == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nWhat is it? ASSISTANT: A bus.</s>"
        "USER: Red? ASSISTANT: Yes.</s>"
    )
    assert learnt(prompt) == [" A bus.</s>", " Yes.</s>"]


def test_the_text_has_no_placeholder_but_knows_its_place() -> None:
    prompt = prompt_of(said("What is it? <image>", "A bus.", image="1.jpg"))
    assert "<image>" not in prompt.text
    assert prompt.picture_at is not None
    assert prompt.text[: prompt.picture_at].endswith("USER: ")
    assert prompt.text[prompt.picture_at :] == "\nWhat is it? ASSISTANT: A bus.</s>"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<image>\nWhat?", "<image>\nWhat?"),
        ("What?\n<image>", "<image>\nWhat?"),
        ("<image>What <image>?", "<image>\nWhat ?"),
        (" \n<image> \u3000What?\x1c\t", "<image>\nWhat?"),
        ("<image>", "<image>"),
        (" <image>\n<image> ", "<image>"),
    ],
)
def test_the_picture_stands_first_in_its_turn_wherever_the_placeholder_was(written: str, read: str) -> None:
    assert after_system(prompt_of(said(written, "A.", image="1.jpg"))) == f"USER: {read} ASSISTANT: A.</s>"


def test_the_picture_stands_in_the_turn_that_names_it() -> None:
    prompt = prompt_of(said(" Hello ", "Hi", "And <image>?", "A bus.", image="1.jpg"))
    assert after_system(prompt) == "USER:  Hello  ASSISTANT: Hi</s>USER: <image>\nAnd ? ASSISTANT: A bus.</s>"


def test_a_picture_may_stand_in_an_answer() -> None:
    prompt = prompt_of(said("Show me", "Here: <image>", image="1.jpg"))
    assert after_system(prompt) == "USER: Show me ASSISTANT: <image>\nHere:</s>"
    assert learnt(prompt) == [" \nHere:</s>"]


@pytest.mark.parametrize("image", [{}, {"image": None}, {"image": ""}])
def test_a_placeholder_in_a_text_only_record_is_text(image: dict[str, Any]) -> None:
    prompt = prompt_of({**said("Is <image> HTML? ", "No, <img> is."), **image})
    assert prompt.picture_at is None
    assert after_system(prompt) == "USER: Is <image> HTML?  ASSISTANT: No, <img> is.</s>"


def test_a_picture_that_no_turn_names_is_not_seen() -> None:
    prompt = prompt_of(said("What is it?", "A bus.", image="1.jpg"))
    assert prompt.picture_at is None
    assert after_system(prompt) == "USER: What is it? ASSISTANT: A bus.</s>"


@pytest.mark.parametrize("first", ["Welcome", "<image>\nWelcome"])
def test_a_first_turn_by_gpt_is_dropped_and_its_placeholder_with_it(first: str) -> None:
    turns = ((GPT, first), (HUMAN, "What is it?"), (GPT, "A bus."))
    prompt = prompt_of(record("1.jpg", *turns))
    assert prompt.picture_at is None
    assert after_system(prompt) == "USER: What is it? ASSISTANT: A bus.</s>"


def test_a_placeholder_made_by_removing_placeholders_is_text() -> None:
    prompt = prompt_of(said("<im<image>age> What?", "A bus.", image="1.jpg"))
    assert prompt.picture_at is not None
    assert prompt.text[prompt.picture_at :] == "\n<image> What? ASSISTANT: A bus.</s>"


def test_empty_turns_are_written_without_a_separator_and_teach_nothing() -> None:
    prompt = prompt_of(said("What?", "", "", "A bus.", "Red?", ""))
    assert after_system(prompt) == "USER: What? ASSISTANT:USER:ASSISTANT: A bus.</s>USER: Red? ASSISTANT:"
    assert learnt(prompt) == [" A bus.</s>"]


def test_a_blank_answer_among_others_is_learnt_as_it_stands() -> None:
    assert learnt(prompt_of(said("What?", "\n ", "Well?", "A bus."))) == [" \n </s>", " A bus.</s>"]


def test_a_last_turn_by_human_is_part_of_the_text_and_teaches_nothing() -> None:
    prompt = prompt_of(said("What?", "A bus.", "Red?"))
    assert after_system(prompt) == "USER: What? ASSISTANT: A bus.</s>USER: Red? "
    assert learnt(prompt) == [" A bus.</s>"]


@pytest.mark.parametrize("text", ["</s>", "a</s>b", " ASSISTANT: ", "USER: x ASSISTANT: y</s>", SYSTEM])
def test_texts_that_look_like_the_template_move_no_span(text: str) -> None:
    prompt = prompt_of(said(text, text, text, text))
    assert learnt(prompt) == [f" {text}</s>"] * 2


@pytest.mark.parametrize("problem", FATAL_PROBLEMS, ids=lambda problem: problem.name)
def test_a_record_with_a_fatal_problem_is_refused_by_its_name(problem: Problem) -> None:
    bad = said("What\ud800?", "A bus.") if problem is Problem.NOT_STRICT_JSON else having(problem)
    with pytest.raises(RecordError) as caught:
        prompt_of(bad)
    assert isinstance(caught.value, AnnotationError)
    assert caught.value.hint
    if problem is not Problem.NOT_AN_OBJECT:
        assert str(caught.value) == f"record with id '1': {problem.label}" or problem is Problem.NO_CONVERSATIONS


@pytest.mark.parametrize("conversations", ["text", {"from": HUMAN}, ["text"], [None]])
def test_a_record_of_another_shape_is_refused(conversations: Any) -> None:
    with pytest.raises(RecordError):
        prompt_of({"conversations": conversations})


@pytest.mark.parametrize("problem", REMARKS, ids=lambda problem: problem.name)
def test_a_record_with_a_remark_is_read(problem: Problem) -> None:
    odd = said("What?", "A </s> b.") if problem is Problem.TEMPLATE_IN_TEXT else having(problem)
    assert prompt_of(odd).answers


def test_a_question_ends_where_the_answer_begins() -> None:
    prompt = question("What is it?", picture=False)
    assert after_system(prompt) == "USER: What is it? ASSISTANT:"
    assert prompt.answers == ()


def test_a_question_is_the_beginning_of_the_record_that_answers_it() -> None:
    asked = question("And?", [(" What is it?<image> ", "A bus."), ("Red?", "Yes.")], picture=True)
    whole = prompt_of(said(" What is it?<image> ", "A bus.", "Red?", "Yes.", "And?", "No.", image="1.jpg"))
    assert whole.text.startswith(asked.text)
    assert (asked.picture_at, asked.answers) == (whole.picture_at, whole.answers[:2])
    assert whole.text[len(asked.text) :] == " No.</s>"


def test_only_the_first_question_is_about_the_picture() -> None:
    prompt = question("In HTML it is <image>.", [("", "Nothing.")], picture=True)
    assert after_system(prompt) == "USER: <image> ASSISTANT: Nothing.</s>USER: In HTML it is <image>. ASSISTANT:"


def test_a_question_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        question("What is it\udcff?", picture=False)


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        (("What?", "A.", "Why?", "So."), 0),
        (("What?", "A </s> b."), 1),
        (("<s>What<unk>?", "</s>", "Why?", ""), 3),
        (("<image>", "< /s> </S> <s"), 0),
    ],
)
def test_special_tokens_in_texts_are_counted(texts: tuple[str, ...], count: int) -> None:
    assert special_tokens_in(prompt_of(said(*texts))) == count


def test_special_tokens_made_by_removing_placeholders_are_counted_too() -> None:
    assert special_tokens_in(prompt_of(said("</<image>s>", "A.", image="1.jpg"))) == 1


@pytest.mark.parametrize("case", [case for case in PUBLISHED["records"] if case["legacy"] is False], ids=name_of)
def test_what_the_published_code_would_learn_is_told_from_the_text(case: dict[str, Any]) -> None:
    prompt = prompt_of(case["record"])
    spans = published_answers(prompt)
    told = "right" if spans == prompt.answers else "given up" if spans is None else "moved"
    assert told == case["published"]


@pytest.mark.parametrize("case", GOLDEN, ids=name_of)
def test_the_published_code_learns_the_answers_of_the_golden_records(case: dict[str, Any]) -> None:
    prompt = prompt_of(case["record"])
    assert published_answers(prompt) == prompt.answers

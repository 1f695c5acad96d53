"""What is learnt is exactly what the assistant answers, whatever stands in the texts and wherever they are cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from instructions import record
from tokens_cases import TOKENIZER, reference, tokenizer_folder, written
from transformers import PreTrainedTokenizerFast

from cvl.annotations.records import GPT, HUMAN, PLACEHOLDER
from cvl.train.samples.collate import expand
from cvl.train.samples.conversation import SPECIAL_TOKENS, SYSTEM, prompt_of, question
from cvl.train.samples.tokens import IGNORED, PICTURE, Tokens, encode, load_tokenizer

NEW = load_tokenizer(TOKENIZER)
VISUAL_TOKENS = 4

LOOK_ALIKES = [
    *["</s>", "<s>", "<unk>", "</s", "<s", "/s>", "<0x0A>", "<image", "<im", "age>"],
    *["ASSISTANT:", " ASSISTANT: ", "USER:", "</s>USER: ", SYSTEM],
    *["▁", "▁▁", " ", "  ", "     ", "\n", "\n\n", "\r\n", "\t", "\x00", "\x1b[31m", "\x7f", "\u0085", "\u00a0"],
    *["\u200d", "\u2028", "\ufeff", "\ufffd", "\uffff", "e\u0301", "中文", "👩\u200d👧", "\U0010ffff", "A dog"],
]
TEXTS = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(LOOK_ALIKES), max_size=8).map("".join))


@dataclass(frozen=True)
class Said:
    """A conversation of questions with answers, and the question that shows a picture, if any."""

    rounds: tuple[tuple[str, str], ...]
    shown: int | None

    @property
    def record(self) -> dict[str, Any]:
        turns = []
        for number, (asked, answer) in enumerate(self.rounds):
            turns += [(HUMAN, f"{PLACEHOLDER}\n{asked}" if number == self.shown else asked), (GPT, answer)]
        return record(None if self.shown is None else "1.jpg", *turns)

    @property
    def answers(self) -> list[str]:
        """What is to be learnt: every answer that is not empty."""
        return [answer for _, answer in self.rounds if answer]


@st.composite
def conversations(draw: st.DrawFn) -> Said:
    rounds = draw(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
    shown = draw(st.none() | st.integers(0, len(rounds) - 1))
    if shown is not None:
        # Elsewhere than in the one turn it would be another placeholder.
        rounds = [(asked.replace(PLACEHOLDER, ""), answer.replace(PLACEHOLDER, "")) for asked, answer in rounds]
        assume(not any(PLACEHOLDER in text for texts in rounds for text in texts))
    assume(any(answer.strip() for _, answer in rounds))
    return Said(tuple(rounds), shown)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return load_tokenizer(tokenizer_folder(tmp_path_factory.mktemp("legacy"), legacy=True))


def runs(tokens: Tokens) -> list[list[int]]:
    """The ids of each unbroken stretch that is learnt."""
    pairs = zip(tokens.labels.tolist(), tokens.input_ids.tolist(), strict=True)
    return [[pair[1] for pair in group] for learnt, group in groupby(pairs, lambda pair: pair[0] != IGNORED) if learnt]


@settings(deadline=None, max_examples=300)
@given(said=conversations())
def test_what_is_learnt_is_written_as_the_answers_are(said: Said) -> None:
    tokens = encode(NEW, prompt_of(said.record))
    expected = [f" {answer}</s>".replace(" ", "▁") for answer in said.answers]
    assert [written(run) for run in runs(tokens)] == expected


@settings(deadline=None, max_examples=300)
@given(said=conversations())
def test_what_is_learnt_is_decoded_to_the_answers(said: Said) -> None:
    tokens = encode(NEW, prompt_of(said.record))
    decoded = [NEW.decode(run) for run in runs(tokens)]
    # SentencePiece takes U+2581 for a space; all else comes back.
    assert decoded == [f"{answer}</s>".replace("▁", " ") for answer in said.answers]


@settings(deadline=None, max_examples=200)
@given(said=conversations())
def test_the_characters_of_learnt_tokens_are_those_of_the_answers(said: Said) -> None:
    prompt = prompt_of(said.record)
    tokens = encode(NEW, prompt)
    place = len(prompt.text) if prompt.picture_at is None else prompt.picture_at
    labels = iter(tokens.labels[tokens.input_ids != PICTURE].tolist()[1:])
    covered: set[int] = set()
    for start, side in ((0, prompt.text[:place]), (place, prompt.text[place:])):
        for first, last in NEW(side, return_offsets_mapping=True)["offset_mapping"][1:]:
            if next(labels) != IGNORED:
                covered.update(range(start + first, start + last))
    assert covered == {offset for span in prompt.answers for offset in range(*span)}


@settings(deadline=None, max_examples=200)
@given(said=conversations())
def test_a_label_is_the_id_or_ignored_and_a_picture_in_a_question_is_ignored(said: Said) -> None:
    tokens = encode(NEW, prompt_of(said.record))
    learnt = tokens.labels != IGNORED
    assert (tokens.labels[learnt] == tokens.input_ids[learnt]).all()
    assert not learnt[tokens.input_ids == PICTURE].any()
    assert not learnt[0]


@settings(deadline=None, max_examples=60)
@given(said=conversations())
def test_cut_at_every_length_nothing_but_the_beginnings_of_answers_is_learnt(said: Said) -> None:
    tokens = encode(NEW, prompt_of(said.record))
    whole = expand(tokens, VISUAL_TOKENS, 1 << 30)
    learnt = whole.labels != IGNORED
    for length in range(len(whole.input_ids) + 1):
        cut = expand(tokens, VISUAL_TOKENS, length)
        assert np.array_equal(cut.input_ids, whole.input_ids[:length])
        assert np.array_equal(cut.labels != IGNORED, learnt[:length])
        assert all(part == full[: len(part)] for part, full in zip(runs(cut), runs(tokens), strict=False))


@settings(deadline=None, max_examples=200)
@given(said=conversations())
def test_a_question_is_what_training_sees_before_the_answer(said: Said) -> None:
    assume(said.shown in (None, 0) and said.rounds[-1][1])
    trained = encode(NEW, prompt_of(said.record))
    asked = encode(NEW, question(said.rounds[-1][0], said.rounds[:-1], picture=said.shown == 0))
    length = len(asked.input_ids)
    assert np.array_equal(trained.input_ids[:length], asked.input_ids)
    assert np.array_equal(trained.labels[:length], asked.labels)
    assert (trained.labels[length:] != IGNORED).all()


@settings(deadline=None, max_examples=200)
@given(said=conversations())
def test_the_ids_are_those_of_sentencepiece_on_each_side_of_the_picture(said: Said) -> None:
    prompt = prompt_of(said.record)
    expected = reference(prompt.text[: prompt.picture_at], legacy=False)
    if prompt.picture_at is not None:
        expected += [PICTURE, *reference(prompt.text[prompt.picture_at :], legacy=False)[1:]]
    assert encode(NEW, prompt).input_ids.tolist() == expected


@settings(deadline=None, max_examples=100)
@given(said=conversations())
def test_a_legacy_tokenizer_learns_the_same_answers(said: Said, old: PreTrainedTokenizerFast) -> None:
    learnt = [written(run) for run in runs(encode(old, prompt_of(said.record)))]
    assert len(learnt) == len(said.answers)
    for run, answer in zip(learnt, said.answers, strict=True):
        assert run.endswith("</s>")
        # It puts a word boundary after each special token in a text.
        if not any(token in answer for token in SPECIAL_TOKENS):
            assert run == f" {answer}</s>".replace(" ", "▁")

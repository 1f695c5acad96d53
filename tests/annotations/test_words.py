from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from cvl.annotations.words import words_in

BLANKS = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]
TEXTS = st.text() | st.text(st.sampled_from([*BLANKS, "a", "b", "é"])) | st.text(st.sampled_from(" \n\t\x1cab\x00\x7f"))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(TEXTS, max_size=4), max_size=6))
def test_words_are_what_split_makes(groups: list[list[str]]) -> None:
    assert words_in(groups).tolist() == [sum(len(text.split()) for text in texts) for texts in groups]


def test_words_of_neighbouring_texts_do_not_run_together() -> None:
    assert words_in([["one two", "three"], [], ["four"], ["", " "]]).tolist() == [3, 0, 1, 0]


def test_every_kind_of_white_space_parts_words() -> None:
    assert words_in([[f"a{blank}b"] for blank in BLANKS]).tolist() == [2] * len(BLANKS)


def test_no_groups_have_no_words() -> None:
    assert words_in([]).tolist() == []

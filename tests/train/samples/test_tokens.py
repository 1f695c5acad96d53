from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructions import record
from tokens_cases import DATA, GOLDEN, PUBLISHED, TOKENIZER, name_of, tokenizer_folder
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from cvl.annotations.records import GPT, HUMAN
from cvl.errors import CheckpointError
from cvl.train.samples.conversation import prompt_of, question
from cvl.train.samples.tokens import IGNORED, PICTURE, Tokens, encode, load_tokenizer

LENGTHS = (2048, 128)


@pytest.fixture(scope="module")
def golden() -> PreTrainedTokenizerFast:
    return load_tokenizer(TOKENIZER)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[bool | None, PreTrainedTokenizerFast]:
    """The golden tokenizer by what its config says of `legacy`; None where it says nothing."""
    folder = tmp_path_factory.mktemp("kinds")
    settings = {False: {"legacy": False}, True: {"legacy": True}, None: {}}
    return {kind: load_tokenizer(tokenizer_folder(folder / str(kind), **said)) for kind, said in settings.items()}


def as_published(tokens: Tokens, record: dict[str, Any], length: int) -> Tokens:
    """What the published code hands on: records without a picture are cut already, others are not."""
    if "image" in record:
        return tokens
    return Tokens(tokens.input_ids[:length], tokens.labels[:length])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("case", GOLDEN, ids=name_of)
def test_golden_records_get_the_published_ids_and_labels(
    golden: PreTrainedTokenizerFast, case: dict[str, Any], length: int
) -> None:
    tokens = as_published(encode(golden, prompt_of(case["record"])), case["record"], length)
    expected = case[f"max_length_{length}"]
    assert tokens.input_ids.tolist() == expected["input_ids"]
    assert tokens.labels.tolist() == expected["labels"]


@pytest.mark.parametrize("case", PUBLISHED["records"], ids=name_of)
def test_records_get_the_published_ids_and_where_they_are_right_the_published_labels(
    kinds: dict[bool | None, PreTrainedTokenizerFast], case: dict[str, Any]
) -> None:
    tokens = encode(kinds[case["legacy"]], prompt_of(case["record"]))
    assert tokens.input_ids.tolist() == case["input_ids"]
    if case["published"] == "right":
        expected = np.full(len(case["input_ids"]), IGNORED)
        for start, end in case["learnt"]:
            expected[start:end] = case["input_ids"][start:end]
        assert tokens.labels.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "folder", [TOKENIZER, DATA / "golden/model/base_llm", DATA / "golden/model/golden_ckpt"], ids=lambda path: path.name
)
def test_a_language_model_and_a_published_checkpoint_bring_their_tokenizer(folder: Path) -> None:
    case = GOLDEN[0]
    tokens = encode(load_tokenizer(folder), prompt_of(case["record"]))
    assert tokens.input_ids.tolist() == case["max_length_2048"]["input_ids"]


def test_ids_and_labels_are_numbers_of_64_bits(golden: PreTrainedTokenizerFast) -> None:
    tokens = encode(golden, prompt_of(GOLDEN[0]["record"]))
    assert tokens.input_ids.dtype == np.int64
    assert tokens.labels.dtype == np.int64
    assert tokens.input_ids.shape == tokens.labels.shape


def test_a_picture_is_one_id_and_no_picture_is_none(golden: PreTrainedTokenizerFast) -> None:
    turns = ((HUMAN, "<image>\nWhat?"), (GPT, "A <image>"))
    assert np.count_nonzero(encode(golden, prompt_of(record("1.jpg", turns[0], (GPT, "A")))).input_ids == PICTURE) == 1
    assert PICTURE not in encode(golden, prompt_of(record(None, *turns))).input_ids


def test_the_text_after_a_picture_is_encoded_on_its_own(golden: PreTrainedTokenizerFast) -> None:
    ids = encode(golden, question("What?", picture=True)).input_ids.tolist()
    after = golden("\nWhat? ASSISTANT:").input_ids
    assert ids[ids.index(PICTURE) + 1 :] == after[1:]


def test_a_picture_in_an_answer_carries_its_own_id_as_published(golden: PreTrainedTokenizerFast) -> None:
    tokens = encode(golden, prompt_of(record("1.jpg", (HUMAN, "Show me"), (GPT, "Here: <image>"))))
    assert tokens.labels[tokens.input_ids == PICTURE].tolist() == [PICTURE]


def test_nothing_is_cut_whatever_the_tokenizer_was_last_asked(golden: PreTrainedTokenizerFast) -> None:
    prompt = prompt_of(record(None, (HUMAN, "dog " * 3000), (GPT, "A dog.")))
    golden(["a b c d", "a"], truncation=True, max_length=3, padding=True)
    tokens = encode(golden, prompt)
    assert len(tokens.input_ids) > 3000
    assert np.count_nonzero(tokens.labels != IGNORED) == len(["▁A", "▁dog", ".", "</s>"])


def test_a_question_has_the_ids_that_training_has_before_the_answer(golden: PreTrainedTokenizerFast) -> None:
    asked = encode(golden, question("And now? ", [("<image>\nWhat?", "A dog.")], picture=True))
    turns = ((HUMAN, "<image>\nWhat?"), (GPT, "A dog."), (HUMAN, "And now? "), (GPT, "  Still."))
    trained = encode(golden, prompt_of(record("1.jpg", *turns)))
    length = len(asked.input_ids)
    assert trained.input_ids[:length].tolist() == asked.input_ids.tolist()
    assert trained.labels[:length].tolist() == asked.labels.tolist()
    assert (trained.labels[length:] != IGNORED).all()


def test_padding_is_the_unknown_token_on_the_right(golden: PreTrainedTokenizerFast) -> None:
    assert (golden.pad_token, golden.pad_token_id, golden.padding_side) == ("<unk>", 0, "right")
    assert (golden.bos_token_id, golden.eos_token_id, golden.unk_token_id) == (1, 2, 0)
    batch = golden(["a", "a b c"], padding=True).input_ids
    assert batch[0][-1] == 0


def test_the_maximum_length_is_the_one_that_is_asked_for() -> None:
    assert load_tokenizer(TOKENIZER).model_max_length == 2048
    assert load_tokenizer(TOKENIZER, 128).model_max_length == 128


@pytest.mark.parametrize("kind", [False, True])
def test_a_saved_tokenizer_is_the_same_for_us_and_for_transformers(
    tmp_path: Path, kinds: dict[bool | None, PreTrainedTokenizerFast], kind: bool
) -> None:
    kinds[kind].save_pretrained(tmp_path)
    texts = [case["text"] for case in PUBLISHED["texts"] if case["legacy"] is kind]
    expected = [case["input_ids"] for case in PUBLISHED["texts"] if case["legacy"] is kind]
    for again in (load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert [again(text).input_ids for text in texts] == expected
        assert (again.pad_token, again.padding_side) == ("<unk>", "right")


def test_an_answer_is_decoded_as_it_was_written(golden: PreTrainedTokenizerFast) -> None:
    answer = "   Ein Hund,\n\n  zwei 😀 Katzen\t und 中文. "
    tokens = encode(golden, prompt_of(record(None, (HUMAN, "What?"), (GPT, answer))))
    learnt = tokens.labels[tokens.labels != IGNORED]
    assert golden.decode(learnt, skip_special_tokens=True) == answer


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_tokenizer(tmp_path)

"""The miniature's tokenizer is of Llama's kind, and has a piece for every word that matters."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from cvl.demo.miniature.publish import Publisher, place
from cvl.demo.miniature.scenes import AUTHORS, BACKGROUNDS, COLORS, SHAPES, WORDS
from cvl.demo.miniature.tokenizer import PIECES, corpus, publish_tokenizer, train_tokenizer
from cvl.demo.miniature.weights import LLM_URL
from cvl.train.samples.conversation import SYSTEM, prompt_of, question
from cvl.train.samples.tokens import IGNORED, PICTURE, encode, load_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    publish_tokenizer(Publisher(folder), LLM_URL)
    return folder / place(LLM_URL)


@pytest.fixture(scope="module")
def pieces(folder: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_training_again_gives_the_same_bytes(folder: Path) -> None:
    assert train_tokenizer() == (folder / "tokenizer.model").read_bytes()


def test_the_first_pieces_are_the_special_ones_and_the_bytes(pieces: SentencePieceProcessor) -> None:
    assert pieces.get_piece_size() == PIECES
    assert [pieces.id_to_piece(number) for number in range(4)] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert pieces.pad_id() == -1
    assert all(pieces.is_byte(number) for number in range(3, 259))


@pytest.mark.parametrize("text", ["Größe 東京 😀", " two  leading spaces", "a\nb\tc", "0.17,0.25", "ＦＵＬＬ ﬁ"])
def test_every_text_comes_back(pieces: SentencePieceProcessor, text: str) -> None:
    assert pieces.decode(pieces.encode(text)) == text


def test_digits_stand_alone_and_line_breaks_are_bytes(pieces: SentencePieceProcessor) -> None:
    assert pieces.encode("1024", out_type=str) == ["▁", "1", "0", "2", "4"]
    assert "<0x0A>" in pieces.encode("a\nb", out_type=str)
    assert not any("\n" in line for line in corpus())


@pytest.mark.parametrize(
    "word", [*COLORS, *SHAPES, *BACKGROUNDS, *(word.title() for word in (*COLORS, *SHAPES, *BACKGROUNDS)), *WORDS]
)
def test_what_a_picture_shows_is_one_piece_a_word(pieces: SentencePieceProcessor, word: str) -> None:
    assert pieces.encode(word, out_type=str) == [f"▁{word}"]


def test_authors_are_one_piece_a_name(pieces: SentencePieceProcessor) -> None:
    assert all(len(pieces.encode(author)) == 2 for author in AUTHORS)


def test_the_system_prompt_is_little_longer_than_its_words(pieces: SentencePieceProcessor) -> None:
    assert len(pieces.encode(SYSTEM)) < 1.5 * len(SYSTEM.split())


def test_it_is_read_as_a_vicunas_is(folder: Path, pieces: SentencePieceProcessor) -> None:
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    for text in ("Where is the red star?", "  two spaces", "Größe"):
        assert tokenizer(text)["input_ids"] == [1, *pieces.encode(text)]


def test_a_record_is_learnt_from_its_answer_and_its_end(folder: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nWhere is the star?"}, {"from": "gpt", "value": "Upper left"}]
    tokens = encode(load_tokenizer(folder), prompt_of({"id": "1", "image": "1.jpg", "conversations": turns}))
    learnt = tokens.labels[tokens.labels != IGNORED]
    assert load_tokenizer(folder).convert_ids_to_tokens(learnt.tolist()) == ["▁Upper", "▁left", "</s>"]


def test_a_question_has_the_place_of_its_picture(folder: Path) -> None:
    tokens = encode(load_tokenizer(folder), question("Where is the star?", picture=True))
    assert (tokens.input_ids == PICTURE).sum() == 1

from __future__ import annotations

import io
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokens_cases import PUBLISHED, TOKENIZER, pieces, reference, tokenizer_folder

from cvl.errors import CheckpointError
from cvl.train.samples.vocabulary import read_vocabulary

FRAGMENTS = [pieces().id_to_piece(number).replace("▁", " ") for number in range(259, 1000)]
SPECIAL = ["<unk>", "<s>", "</s>", "</", "<s", "s>", "<0x0A>", " ", "  ", "\n", "▁", "\x00", "é", "😀", "USER"]
TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(FRAGMENTS + SPECIAL * 10), max_size=20).map("".join),
    st.text(st.sampled_from(" ▁\nab"), max_size=60),
)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The tokenizer that a folder with `legacy: true` holds."""
    return read_vocabulary(tokenizer_folder(tmp_path_factory.mktemp("legacy"), legacy=True))[0]


@pytest.fixture(scope="module")
def new() -> Tokenizer:
    """The tokenizer that a folder with `legacy: false` holds."""
    return read_vocabulary(TOKENIZER)[0]


@pytest.mark.parametrize("case", PUBLISHED["texts"], ids=lambda case: f"{case['text']!a}, legacy {case['legacy']}")
def test_texts_get_the_published_ids(case: dict[str, Any], old: Tokenizer, new: Tokenizer) -> None:
    tokenizer = old if case["legacy"] else new
    assert tokenizer.encode(case["text"]).ids == case["input_ids"]
    assert reference(case["text"], legacy=case["legacy"]) == case["input_ids"]


@settings(deadline=None, max_examples=400)
@given(text=TEXTS)
def test_any_text_gets_the_ids_of_sentencepiece(text: str, old: Tokenizer, new: Tokenizer) -> None:
    assert new.encode(text).ids == reference(text, legacy=False)
    assert old.encode(text).ids == reference(text, legacy=True)


@settings(deadline=None, max_examples=200)
@given(text=TEXTS)
def test_offsets_begin_where_the_piece_stands(text: str, new: Tokenizer) -> None:
    encoding = new.encode(text)
    starts = [start for start, _ in encoding.offsets]
    assert starts == sorted(starts)
    for token, start in zip(encoding.tokens, starts, strict=True):
        if len(token) > 1 and not token.startswith(("<", "▁")):
            assert text.startswith(token, start)


@settings(deadline=None, max_examples=200)
@given(text=TEXTS)
def test_decoding_gives_the_text_back(text: str, new: Tokenizer) -> None:
    ids = new.encode(text, add_special_tokens=False).ids
    # SentencePiece takes U+2581 for a space; all else comes back.
    assert new.decode(ids, skip_special_tokens=False) == text.replace("▁", " ")


def test_runs_of_spaces_of_equal_score_grow_from_the_left(tmp_path: Path) -> None:
    """Llama's vocabulary has runs of 2 to 16 spaces, all of one score; the golden one has powers of two only."""
    model = tokenizer_folder(tmp_path, legacy=False) / "tokenizer.model"
    runs = [length for length in range(2, 17) if length not in (2, 4, 8, 16)]
    # Pieces are a repeated field of the file, so that more of them may follow its end.
    model.write_bytes(model.read_bytes() + b"".join(piece("▁" * length, -1e9) for length in runs))
    expected = SentencePieceProcessor(model_file=str(model))
    tokenizer, _ = read_vocabulary(tmp_path)
    for length in range(1, 40):
        for text in (" " * length, " " * length + "the dog", "dog" + " " * length + "the", "\n" + " " * length + "é"):
            assert tokenizer.encode(text, add_special_tokens=False).ids == expected.encode(text)


def piece(text: str, score: float) -> bytes:
    """One more piece of a SentencePiece model, as its file holds it."""
    fields = b"\x0a" + bytes([len(text.encode())]) + text.encode() + b"\x15" + struct.pack("<f", score)
    return b"\x0a" + bytes([len(fields)]) + fields


def test_a_folder_of_tokenizer_json_alone_gives_the_same_ids(tmp_path: Path, new: Tokenizer) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(TOKENIZER / name, tmp_path / name)
    tokenizer, legacy = read_vocabulary(tmp_path)
    assert not legacy
    for case in PUBLISHED["texts"]:
        assert tokenizer.encode(case["text"]).ids == new.encode(case["text"]).ids


@pytest.mark.parametrize("settings", [{}, {"legacy": None}, {"legacy": True}, {"model_max_length": 4096}])
def test_silence_about_legacy_is_legacy(tmp_path: Path, settings: dict[str, Any], old: Tokenizer) -> None:
    tokenizer, legacy = read_vocabulary(tokenizer_folder(tmp_path, **settings))
    assert legacy
    assert tokenizer.encode("a</s>b  c").ids == old.encode("a</s>b  c").ids


@pytest.mark.parametrize("legacy", [False, True])
def test_a_lone_tokenizer_json_tells_by_itself_whether_it_is_legacy(
    tmp_path: Path, legacy: bool, old: Tokenizer, new: Tokenizer
) -> None:
    (old if legacy else new).save(str(tmp_path / "tokenizer.json"))
    assert read_vocabulary(tmp_path)[1] is legacy


def test_a_lone_tokenizer_json_of_transformers_4_is_legacy(tmp_path: Path) -> None:
    shutil.copyfile(TOKENIZER / "tokenizer.json", tmp_path / "tokenizer.json")
    assert read_vocabulary(tmp_path)[1]


def test_truncation_and_padding_that_were_saved_are_forgotten(tmp_path: Path, new: Tokenizer) -> None:
    saved = Tokenizer.from_str(new.to_str())
    saved.enable_truncation(4)
    saved.enable_padding(length=40)
    saved.save(str(tmp_path / "tokenizer.json"))
    assert len(read_vocabulary(tmp_path)[0].encode("a b c d e f").ids) == len(new.encode("a b c d e f").ids)


@pytest.mark.parametrize("place", ["added_tokens.json", "tokenizer_config.json"])
def test_added_tokens_are_read_wherever_they_are_named(tmp_path: Path, place: str) -> None:
    tokenizer_folder(tmp_path)
    added = {"content": "<pad>", "lstrip": False, "normalized": False, "special": True}
    content = {"<pad>": 1000} if place == "added_tokens.json" else {"added_tokens_decoder": {"1000": added}}
    (tmp_path / place).write_text(json.dumps(content))
    tokenizer, _ = read_vocabulary(tmp_path)
    assert tokenizer.get_vocab_size() == 1001
    assert tokenizer.encode("a<pad>").ids[-1] == 1000


def test_an_added_token_whose_id_does_not_follow_is_refused(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"<pad>": 1005}')
    with pytest.raises(CheckpointError, match=r"would get id 1000, expected 1005"):
        read_vocabulary(tmp_path)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no tokenizer, expected") as caught:
        read_vocabulary(tmp_path)
    assert "tokenizer.model" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"[]"])
def test_a_damaged_file_is_refused_by_its_name(tmp_path: Path, name: str, content: bytes) -> None:
    if name != "tokenizer.json":
        tokenizer_folder(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("setting", [{"add_bos_token": False}, {"add_eos_token": True}, {"add_prefix_space": False}])
def test_settings_of_another_kind_are_refused(tmp_path: Path, setting: dict[str, bool]) -> None:
    with pytest.raises(CheckpointError, match=next(iter(setting))):
        read_vocabulary(tokenizer_folder(tmp_path, **setting))


@pytest.mark.parametrize(
    "kind",
    [
        {"model_type": "unigram", "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
        {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": False},
        {"model_type": "bpe", "normalization_rule_name": "identity", "remove_extra_whitespaces": True},
    ],
)
def test_a_sentencepiece_model_of_another_kind_is_refused(tmp_path: Path, kind: dict[str, Any]) -> None:
    model = io.BytesIO()
    sentences = [" ".join(FRAGMENTS[start : start + 9]) for start in range(0, 700, 9)]
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=400,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
        **kind,
    )
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(CheckpointError, match="not of Llama's kind"):
        read_vocabulary(tmp_path)


def test_a_tokenizer_json_of_another_kind_is_refused(tmp_path: Path) -> None:
    Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="not of Llama's kind"):
        read_vocabulary(tmp_path)


def test_a_vocabulary_without_the_special_tokens_is_refused(tmp_path: Path) -> None:
    described = json.loads((TOKENIZER / "tokenizer.json").read_bytes())
    described["model"]["vocab"]["<end>"] = described["model"]["vocab"].pop("</s>")
    described["added_tokens"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="has no </s>"):
        read_vocabulary(tmp_path)

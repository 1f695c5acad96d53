"""Results of the published code that prompts, ids and labels are held against, and tokenizers to hold them with."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor

from cvl.train.samples.conversation import SPECIAL_TOKENS

DATA = Path(__file__).parents[2] / "data"
TOKENIZER = DATA / "golden/tokenizer"

GOLDEN: list[dict[str, Any]] = json.loads((DATA / "golden/labels.json").read_bytes())
PUBLISHED: dict[str, list[dict[str, Any]]] = json.loads((DATA / "conversations.json").read_bytes())


def name_of(case: Mapping[str, Any]) -> str:
    """What a test on this case is called."""
    name = case["record"]["id"] if "id" in case["record"] else f"{case['name']}, legacy {case['legacy']}"
    return str(name)


def tokenizer_folder(folder: Path, **settings: object) -> Path:
    """`folder` with the golden `tokenizer.model` alone, and a config of these settings; without any, none."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(TOKENIZER / "tokenizer.model", folder / "tokenizer.model")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@cache
def pieces() -> SentencePieceProcessor:
    """SentencePiece's own reading of the golden tokenizer."""
    return SentencePieceProcessor(model_file=str(TOKENIZER / "tokenizer.model"))


def reference(text: str, *, legacy: bool) -> list[int]:
    """The ids of a text by SentencePiece alone, as the slow tokenizers of transformers 4 put them together."""
    ids = [pieces().bos_id()]
    for number, part in enumerate(re.split("(" + "|".join(SPECIAL_TOKENS) + ")", text)):
        if number % 2:
            ids.append(pieces().piece_to_id(part))
        elif part:
            # Two tokens, the word boundary and the line break, keep SentencePiece's own boundary away from the text.
            ids += pieces().encode(part) if legacy or number == 0 else pieces().encode("\n" + part)[2:]
    return ids


def written(ids: list[int]) -> str:
    """What ids stand for, each written as its piece; bytes are put together. Spaces come out as `▁`."""
    raw = b""
    for number in ids:
        piece = pieces().id_to_piece(number)
        raw += bytes([int(piece[1:-1], 16)]) if pieces().is_byte(number) else piece.encode()
    return raw.decode()

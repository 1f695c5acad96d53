"""A Llama tokenizer's files as a `tokenizers.Tokenizer` that gives the ids which the published code got.

The published code reads `tokenizer.model` with the SentencePiece library, through the tokenizers that transformers
called slow. transformers 5 has only the fast kind, and what it makes of the same files differs: it loses one of several
leading spaces, and when it reads `tokenizer.model` it ranks merges by id, where SentencePiece ranks them by score. So
the parts are put together here:

    splitting      special tokens are cut out first, wherever they are written
    normalizer     each space becomes `▁`, as does nothing else; `▁` itself stays
    pre-tokenizer  one `▁` is put before the text (`legacy: false`), or before every stretch between special tokens
                   (`legacy: true`). tokenizers' Metaspace leaves it out before a text that begins with its own sign, so
                   a Metaspace whose sign is the space does it, after all spaces are gone, and a second turns its sign
                   into `▁`
    model          BPE with bytes for what is not in the vocabulary. Merges go by score, and among equal ones the
                   longest result comes first: runs of spaces, which all have the same score, grow from the left
    decoder        the reverse, without the first space
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from cvl.errors import CheckpointError
from cvl.train.samples.conversation import BEGIN, SPECIAL_TOKENS, UNKNOWN

SENTENCEPIECE = "tokenizer.model"
FAST = "tokenizer.json"
CONFIG = "tokenizer_config.json"
ADDED = "added_tokens.json"

SPACE = "▁"
_SETTINGS = {"add_bos_token": True, "add_eos_token": False, "add_prefix_space": True}
"""What `tokenizer_config.json` says of a tokenizer of this kind, or is silent about."""

_PROBE = "   A probe:\tｆull-width, naïve  1,234.50 中文 😀 \n\n    if x[0] == '▁': ﬁne  "
"""Text on which a tokenizer of another kind would differ: runs of spaces, compatibility forms, digits, bytes."""


def read_vocabulary(folder: Path) -> tuple[Tokenizer, bool]:
    """The tokenizer in a folder, and whether it is `legacy`.

    `tokenizer.model` is read where there is one, else `tokenizer.json`. `legacy` is what `tokenizer_config.json` says;
    if it is silent, then true, as in the published code's transformers. A lone `tokenizer.json` tells by itself.

    Raises:
        CheckpointError: there is no tokenizer, or it is not of Llama's kind, or cannot be read.
    """
    config = _read_config(folder / CONFIG)
    if (folder / SENTENCEPIECE).is_file():
        pieces = _load(folder / SENTENCEPIECE)
        backend = _from_pieces(pieces)
        legacy = config.get("legacy") is not False
    elif (folder / FAST).is_file():
        pieces = None
        backend = _from_json(folder / FAST)
        legacy = bool(config["legacy"]) if config.get("legacy") is not None else _prefixes_everywhere(backend)
    else:
        message = f"{folder}: there is no tokenizer, expected {SENTENCEPIECE} or {FAST}"
        raise CheckpointError(message, hint=f"copy {SENTENCEPIECE} of the language model into this folder")
    _configure(backend, legacy)
    if pieces is not None and not _agree(pieces, backend):
        raise _unknown_kind(folder / SENTENCEPIECE, "BPE with byte fallback and without normalization")
    _add_tokens(backend, folder, config)
    return backend, legacy


def _read_config(path: Path) -> dict[str, Any]:
    config = _read_json(path)
    for key, expected in _SETTINGS.items():
        if config.get(key, expected) not in (expected, None):
            raise _unknown_kind(path, f"{key} = {json.dumps(expected)}, found {json.dumps(config[key])}")
    return config


def _load(path: Path) -> SentencePieceProcessor:
    try:
        return SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a SentencePiece model: {error}", hint="fetch the file anew") from error


def _from_pieces(pieces: SentencePieceProcessor) -> Tokenizer:
    vocabulary = {pieces.id_to_piece(number): number for number in range(pieces.get_piece_size())}
    return Tokenizer(BPE(vocabulary, _merges(pieces, vocabulary), unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True))


def _merges(pieces: SentencePieceProcessor, vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Every way to join two pieces to a third, the best first."""
    unwritten = (pieces.is_unknown, pieces.is_control, pieces.is_byte, pieces.is_unused)
    scores = {
        piece: pieces.get_score(number)
        for piece, number in vocabulary.items()
        if not any(is_kind(number) for is_kind in unwritten)
    }
    joined = (
        (-score, -len(piece), -cut, (piece[:cut], piece[cut:]))
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    )
    return [pair for *_, pair in sorted(joined)]


def _agree(pieces: SentencePieceProcessor, backend: Tokenizer) -> bool:
    """Whether the model is a BPE one, whose scores are ranks, and what was made of it does the same to a text."""
    ranks = all(pieces.get_score(number).is_integer() for number in range(pieces.get_piece_size()))
    ids: list[int] = backend.encode(_PROBE, add_special_tokens=False).ids
    return ranks and pieces.encode(_PROBE) == ids


def _from_json(path: Path) -> Tokenizer:
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise CheckpointError(f"{path}: not a tokenizer: {error}", hint="fetch the file anew") from error
    if not isinstance(backend.model, BPE) or not backend.model.byte_fallback:
        raise _unknown_kind(path, "BPE with byte fallback")
    backend.no_truncation()
    backend.no_padding()
    return backend


def _prefixes_everywhere(backend: Tokenizer) -> bool:
    """Whether a tokenizer puts `▁` before every stretch between special tokens, by either way of saying so."""
    described = json.loads(backend.to_str())
    text = json.dumps([described["normalizer"], described["pre_tokenizer"]])
    return '"Prepend"' in text or '"prepend_scheme": "always"' in text


def _configure(backend: Tokenizer, legacy: bool) -> None:
    missing = [token for token in SPECIAL_TOKENS if backend.token_to_id(token) is None]
    if missing:
        raise CheckpointError(
            f"the vocabulary has no {', '.join(missing)}, expected {', '.join(SPECIAL_TOKENS)} as Llama's has them",
            hint="take a language model of the Llama family",
        )
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    backend.normalizer = normalizers.Replace(" ", SPACE)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(" ", "always" if legacy else "first", split=False),
            pre_tokenizers.Metaspace(SPACE, "never", split=False),
        ]
    )
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A",
        pair=f"{BEGIN} $A {BEGIN} $B",
        special_tokens=[(BEGIN, backend.token_to_id(BEGIN))],
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )


def _add_tokens(backend: Tokenizer, folder: Path, config: Mapping[str, Any]) -> None:
    """Adds the tokens that were given ids beyond the vocabulary, such as a padding token."""
    added = {number: {"content": content} for content, number in _read_json(folder / ADDED).items()}
    added |= {int(number): token for number, token in config.get("added_tokens_decoder", {}).items()}
    for number, token in sorted(added.items()):
        if token["content"] in SPECIAL_TOKENS:
            continue
        flags = {key: token.get(key, False) for key in ("lstrip", "rstrip", "single_word", "special")}
        backend.add_tokens([AddedToken(token["content"], normalized=False, **flags)])
        if backend.token_to_id(token["content"]) != number:
            found = backend.token_to_id(token["content"])
            message = f"{folder}: the added token {token['content']!r} would get id {found}, expected {number}"
            raise CheckpointError(message, hint=f"mend {CONFIG} or {ADDED}: ids follow those of the vocabulary")


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one if there is no file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}", hint="fetch the file anew") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds a {type(value).__name__}, expected an object", hint="fetch the file anew")
    return value


def _unknown_kind(path: Path, expected: str) -> CheckpointError:
    message = f"{path}: this tokenizer is not of Llama's kind, expected {expected}"
    return CheckpointError(message, hint="take a language model of the Llama family")

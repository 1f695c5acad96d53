"""The miniature language model's tokenizer: of Llama's kind, trained on what the miniature says.

It is a SentencePiece BPE model whose first pieces are `<unk>`, `<s>` and `</s>` and which writes what it does not know
in bytes. The same text gives the same pieces for one version of SentencePiece, and the text does not depend on how many
pictures a world has.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import chain, islice
from random import Random

from sentencepiece import SentencePieceTrainer

from cvl.demo.miniature.publish import Publisher
from cvl.demo.miniature.questions import caption, choice, grounding, questions, region
from cvl.demo.miniature.records import Exchange, described
from cvl.demo.miniature.scenes import Scene, book_scene, shapes_scene, sign_scene, training_scenes
from cvl.demo.miniature.sources.llava import TEXTCAPS, sums
from cvl.train.samples.conversation import ASSISTANT, SYSTEM, USER

PIECES = 800
SCENES = 150
"""Scenes of each kind that are talked about, more than it takes for every word to occur."""

SPECIAL = ("<unk>", "<s>", "</s>")


def publish_tokenizer(site: Publisher, url: str) -> None:
    """Puts the tokenizer's files into the hub repository at `url`."""
    site.file(f"{url}/tokenizer.model", train_tokenizer())
    site.file(f"{url}/tokenizer_config.json", _json(tokenizer_config()))
    site.file(f"{url}/special_tokens_map.json", _json(special_tokens()))


def train_tokenizer() -> bytes:
    """`tokenizer.model`, trained with the settings that Llama's was."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=corpus(),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def corpus() -> Iterator[str]:
    """Lines of conversations such as the instruction files hold, without line breaks, which Llama writes as bytes."""
    for question, answer in _exchanges():
        yield from f"{SYSTEM} {USER}: {question} {ASSISTANT}: {answer}".splitlines()


def _exchanges() -> Iterator[Exchange]:
    for make in (shapes_scene, sign_scene, book_scene):
        for index, scene in enumerate(training_scenes("tokenizer", SCENES, make)):
            yield from _about(scene, Random(f"tokenizer {index}"))
    yield from islice(sums(Random("tokenizer")), SCENES)


def _about(scene: Scene, rng: Random) -> Iterator[Exchange]:
    yield described(scene, rng)
    yield TEXTCAPS, caption(scene, rng)
    yield from chain.from_iterable((turn.short, turn.full) for turn in questions(scene))
    yield choice(scene, rng)
    for figure in scene.figures:
        yield grounding(scene, figure)
        yield region(scene, figure)


def special_tokens() -> dict[str, object]:
    """`special_tokens_map.json`: as Llama's, which has no token for padding."""
    kinds = ("unk_token", "bos_token", "eos_token")
    return {kind: {"content": token, **_FLAGS} for kind, token in zip(kinds, SPECIAL, strict=True)}


def tokenizer_config() -> dict[str, object]:
    """`tokenizer_config.json`, which asks for SentencePiece's own way round special tokens (`legacy: false`)."""
    added = {str(number): {"content": token, **_FLAGS, "special": True} for number, token in enumerate(SPECIAL)}
    unknown, begin, end = SPECIAL
    return {
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": unknown,
        "bos_token": begin,
        "eos_token": end,
        "pad_token": None,
        "added_tokens_decoder": added,
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": True,
        "clean_up_tokenization_spaces": False,
        "legacy": False,
        "model_max_length": 4096,
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
    }


_FLAGS = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"

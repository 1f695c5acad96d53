"""Records of instruction files, in the shape that LLaVA gave them: an id, an image, and turns of human and gpt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from cvl.demo.miniature.questions import Turn, description, questions
from cvl.demo.miniature.scenes import Scene

Record = dict[str, Any]
Exchange = tuple[str, str]
"""What the human says, and what gpt answers."""

PLACEHOLDER = "<image>"

DESCRIBE = (
    "Please describe this image in detail.",
    "Can you describe this image?",
    "What do you see in this image?",
    "Describe the image.",
)


def record(id_: str, image: str, exchanges: Iterable[Exchange], *, placeholder_last: bool = False) -> Record:
    """A record about one image, whose placeholder stands before or after the first question."""
    said = conversation(exchanges)
    question = said[0]["value"]
    said[0]["value"] = f"{question}\n{PLACEHOLDER}" if placeholder_last else f"{PLACEHOLDER}\n{question}"
    return {"id": id_, "image": image, "conversations": said}


def conversation(exchanges: Iterable[Exchange]) -> list[dict[str, str]]:
    """The turns of human and gpt, without a placeholder."""
    return [
        {"from": speaker, "value": value}
        for exchange in exchanges
        for speaker, value in zip(("human", "gpt"), exchange, strict=True)
    ]


def described(scene: Scene, rng: Random) -> Exchange:
    """A wish for a description, and the description."""
    return rng.choice(DESCRIBE), description(scene, rng)


def asked(scene: Scene, rng: Random, count: int) -> list[Turn]:
    """Up to `count` different questions on a scene."""
    return some(questions(scene), rng, count)


def some(turns: Sequence[Turn], rng: Random, count: int) -> list[Turn]:
    """Up to `count` of these questions, in random order."""
    return rng.sample(turns, min(count, len(turns)))

"""Trees with instruction files of a test's own: the user's data set of a few records, as a stage would read it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cvl.annotations.records import GPT, HUMAN, Problem
from cvl.manifest import Annotation, Catalog, Source, load_catalog
from cvl.root import Root
from cvl.verify.report import Report
from cvl.verify.verify import verify

STAGE = 3
GOOD = ((HUMAN, "<image>\nWhat is this?"), (GPT, "A thing of mine."))
TEXT = ((HUMAN, "What is one plus one?"), (GPT, "Two."))


def record(image: Any, *turns: tuple[Any, Any]) -> dict[str, Any]:
    """A record with these turns, and with an image unless it is None."""
    named = {} if image is None else {"image": image}
    return {"id": "1", **named, "conversations": [{"from": speaker, "value": value} for speaker, value in turns]}


def having(problem: Problem) -> Any:
    """A record whose only problem is this one."""
    return _BAD[problem]


_shipped = cache(load_catalog)
_Q, _A = GOOD
_BAD: dict[Problem, Any] = {
    Problem.NO_CONVERSATIONS: {"image": "1.png"},
    Problem.UNKNOWN_SPEAKER: record("1.png", *GOOD, ("bot", "A thing.")),
    Problem.EMPTY_ANSWER: record("1.png", _Q, (GPT, ""), (HUMAN, "And now?"), _A),
    Problem.NOT_TEXT: record("1.png", _Q, _A, (HUMAN, 5), _A),
    Problem.IMAGE_WITHOUT_PLACEHOLDER: record("1.png", *TEXT),
    Problem.PLACEHOLDER_WITHOUT_IMAGE: record(None, *GOOD),
    Problem.IMAGE_LIST: record(["1.png"], *GOOD),
    Problem.IMAGE_NOT_TEXT: record(1, *GOOD),
    Problem.FIRST_TURN_GPT: record("1.png", (GPT, "Hello."), *GOOD),
    Problem.NOT_AN_OBJECT: "a string",
    Problem.NO_ANSWER: record("1.png", _Q, (GPT, " ")),
    Problem.OUT_OF_ORDER: record("1.png", _Q, (HUMAN, "Well?"), _A, _A),
    Problem.LAST_TURN_HUMAN: record("1.png", *GOOD, (HUMAN, "And this?")),
    Problem.SEVERAL_PLACEHOLDERS: record("1.png", *GOOD, *GOOD),
    Problem.NOT_STRICT_JSON: record("1.png", *GOOD) | {"score": float("nan")},
    Problem.TEMPLATE_IN_TEXT: record("1.png", *GOOD, (HUMAN, "What does </s> do?"), _A),
}


class OwnData:
    """A tree and a catalog whose third stage reads nothing but what is added here."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._annotations: list[Annotation] = []
        self._named: list[str] = []
        self.images.mkdir(parents=True)

    @property
    def images(self) -> Path:
        """Where the pictures of all instruction files lie."""
        return self.root.at("data/pictures")

    def add(self, name: str, records: list[Any], *, joins: bool = False) -> Path:
        """An instruction file that the stage's manifest names, or one that joins the stage."""
        annotation = Annotation(
            name=name, path=f"data/{name}.json", images="data/pictures", joins=(STAGE,) if joins else ()
        )
        self._annotations.append(annotation)
        if not joins:
            self._named.append(name)
        path = self.root.at(annotation.path)
        path.write_text(json.dumps(records))
        return path

    def draw(self, *names: str, size: tuple[int, int] = (48, 32)) -> None:
        """Pictures of noise, each always the same."""
        for name in names:
            noise = np.random.default_rng(list(name.encode())).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(noise).save(self.images / name)

    @property
    def catalog(self) -> Catalog:
        """The shipped one with our data in place of the third stage's."""
        shipped = _shipped()
        own = Source(title="Mine", annotations=tuple(self._annotations))
        stage = shipped.stages[STAGE].model_copy(update={"data": tuple(self._named)})
        stages = {**shipped.stages, STAGE: stage}
        return Catalog({**shipped.sources, "mine": own}, stages, shipped.models, shipped.origins)

    def verify(self) -> Report:
        """What `cvl verify-layout --stage 3` finds; writes the skip list."""
        return verify(self.catalog, self.root, STAGE)

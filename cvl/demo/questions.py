"""The exam's questions: about pictures whose content no training set shows, with one right answer each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvl.demo.miniature.pictures import encode
from cvl.demo.miniature.questions import Turn, about, existence, overall
from cvl.demo.miniature.scenes import Scene, held_out_scenes

PICTURES = 100
"""Pictures of an exam. There are four questions on each."""


@dataclass(frozen=True)
class Question:
    """One question.

    Args:
        image: the file of the picture.
        question: as it is put, with the demand for a word or phrase.
        answer: the right one.
        kind: what it asks for: colour, shape, place, background, count, or yes or no.
    """

    image: Path
    question: str
    answer: str
    kind: str

    @property
    def plain(self) -> str:
        """The question without the demand for a word or phrase."""
        return self.question.partition("\n")[0]


def draw_questions(folder: Path, pictures: int = PICTURES) -> tuple[Question, ...]:
    """Draws held-out pictures into `folder`, which is made, and asks about them. They are always the same ones.

    Every picture is asked for a figure's colour, shape and place, which have five answers each, and in turn for the
    ground, the number of figures, a figure that is there and one that is not. So whoever does not see the picture,
    but knows how often each answer occurs, is right about once in three.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        Question(image, turn.short[0], turn.answer, kind)
        for number, scene in enumerate(held_out_scenes(pictures))
        for image in [_drawn(folder / f"{number:03}.jpg", scene)]
        for kind, turn in chosen(scene, number)
    )


def chosen(scene: Scene, number: int) -> Iterator[tuple[str, Turn]]:
    """The questions on the picture with this number, each with its kind."""
    figure = scene.figures[number % len(scene.figures)]
    yield from zip(("color", "shape", "place"), about(figure), strict=True)
    count, ground = overall(scene)
    present, absent = existence(scene)
    others: Sequence[tuple[str, Turn]] = (
        ("background", ground),
        ("count", count),
        ("yes or no", present),
        ("yes or no", absent),
    )
    yield others[number % len(others)]


def _drawn(path: Path, scene: Scene) -> Path:
    path.write_bytes(encode(scene))
    return path

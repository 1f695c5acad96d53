"""What can be said and asked about a scene: captions, descriptions, questions with their answers.

Everything follows from the scene, so that every answer is true by construction. The wording varies, but within a
small vocabulary. An answer comes twice: as the word or phrase that short questions want, and as a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from cvl.demo.miniature.scenes import COLORS, GENRES, PLACES, SHAPES, Book, Figure, Scene

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."


@dataclass(frozen=True)
class Turn:
    """A question about a scene, its answer in a word or phrase, and the same answer as a sentence."""

    question: str
    answer: str
    sentence: str

    @property
    def short(self) -> tuple[str, str]:
        """The question with the demand for a word or phrase, and that word or phrase."""
        return self.question + SHORT, self.answer

    @property
    def full(self) -> tuple[str, str]:
        """The question alone, and the answer as a sentence."""
        return self.question, self.sentence


def caption(scene: Scene, rng: Random) -> str:
    """One sentence: what is there, on which ground."""
    things = " and ".join(_thing(figure) for figure in _in_order(scene))
    ground = f"on a {scene.background} background"
    return rng.choice((f"{things} {ground}", f"a picture of {things} {ground}", f"there is {things} {ground}")) + _tail(
        scene
    )


def description(scene: Scene, rng: Random) -> str:
    """A few sentences: what is there and where, the ground, and what is written."""
    first = rng.choice(("The image shows", "In the image there is", "The picture shows"))
    things = " and ".join(f"{_thing(figure)} {_where(figure)}" for figure in _in_order(scene))
    ground = rng.choice((f"The background is {scene.background}.", f"It has a {scene.background} background."))
    return " ".join((f"{first} {things}.", ground, *_written(scene)))


def questions(scene: Scene) -> tuple[Turn, ...]:
    """Every question with a short answer that fits the scene, in a fixed order; at least five."""
    return (
        *(turn for figure in scene.figures for turn in about(figure)),
        *overall(scene),
        *existence(scene),
        *relations(scene),
        *reading(scene),
    )


def about(figure: Figure) -> tuple[Turn, Turn, Turn]:
    """Questions for a figure's colour, for its shape and for its place."""
    shape, color, place = figure.shape, figure.color, figure.place
    return (
        Turn(f"What color is the {shape}?", color.capitalize(), f"The {shape} is {color}."),
        Turn(f"What shape is {color}?", shape.capitalize(), f"The {shape} is {color}."),
        Turn(f"Where is the {shape}?", place.capitalize(), f"The {shape} is in the {place}."),
    )


def overall(scene: Scene) -> tuple[Turn, Turn]:
    """Questions for the number of figures and for the ground."""
    count, ground = len(scene.figures), scene.background
    sentence = "There is 1 shape." if count == 1 else f"There are {count} shapes."
    return (
        Turn("How many shapes are there?", str(count), sentence),
        Turn("What color is the background?", ground.capitalize(), f"The background is {ground}."),
    )


def existence(scene: Scene) -> tuple[Turn, Turn]:
    """One question with yes, one with no, so that a model which always says the same is right half of the time."""
    present = scene.figures[-1].shape
    shown = {figure.shape for figure in scene.figures}
    absent = [shape for shape in SHAPES if shape not in shown]
    missing = absent[(scene.width + scene.height) // 8 % len(absent)]
    return (
        Turn(f"Is there a {present} in the image?", "Yes", f"Yes, there is a {present} in the image."),
        Turn(f"Is there a {missing} in the image?", "No", f"No, there is no {missing} in the image."),
    )


def relations(scene: Scene) -> tuple[Turn, ...]:
    """Yes-or-no questions on how two figures lie to each other; none where there is only one figure."""
    if len(scene.figures) < 2:
        return ()
    first, second = scene.figures[:2]
    (x, y), (other_x, other_y) = scene.middle(first), scene.middle(second)
    pairs = (
        ("to the left of", x < other_x),
        ("to the right of", x > other_x),
        ("above", y < other_y),
        ("below", y > other_y),
    )
    return tuple(_relation(first, second, words, true) for words, true in pairs)


def reading(scene: Scene) -> tuple[Turn, ...]:
    """Questions on what is written: the sign's word, the book's title, author and genre."""
    if scene.book is not None:
        return _about_book(scene.book)
    if scene.sign is not None:
        return (Turn("What word is on the sign?", scene.sign, f"The sign says {scene.sign}."),)
    return ()


def choice(scene: Scene, rng: Random) -> tuple[str, str]:
    """A question on a figure's colour with four lettered options, and the letter of the right one."""
    figure = scene.figures[0]
    others = [color for color in COLORS if color != figure.color]
    options = rng.sample([figure.color, *rng.sample(others, 3)], 4)
    lines = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))
    return f"What color is the {figure.shape}?\n{lines}{LETTER}", "ABCD"[options.index(figure.color)]


def region(scene: Scene, figure: Figure) -> tuple[str, str]:
    """A request for the words that go with a box, and these words."""
    return f"Please provide a short description for this region: {_box(scene, figure)}.", f"The {_name(figure)}."


def grounding(scene: Scene, figure: Figure) -> tuple[str, str]:
    """A request for the box that goes with words, and this box, as `Scene.box` gives it."""
    wanted = "Please provide the bounding box coordinate of the region this sentence describes"
    return f"{wanted}: the {_name(figure)}.", _box(scene, figure)


def _in_order(scene: Scene) -> list[Figure]:
    """The figures as one reads: what is told of a picture follows from it, the order included."""
    places = list(PLACES)
    return sorted(scene.figures, key=lambda figure: places.index(figure.place))


def _name(figure: Figure) -> str:
    return f"{figure.color} {figure.shape}"


def _thing(figure: Figure) -> str:
    return f"a {_name(figure)}"


def _where(figure: Figure) -> str:
    return f"in the {figure.place}"


def _tail(scene: Scene) -> str:
    return f", with a sign that says {scene.sign}" if scene.sign is not None else ""


def _written(scene: Scene) -> Iterator[str]:
    if scene.sign is not None:
        yield f"A sign says {scene.sign}."
    if scene.book is not None:
        yield f"It is the cover of the book {scene.book.title} by {scene.book.author}."


def _box(scene: Scene, figure: Figure) -> str:
    return "[" + ",".join(f"{edge:.2f}" for edge in scene.box(figure)) + "]"


def _relation(first: Figure, second: Figure, words: str, true: bool) -> Turn:
    verb = "is" if true else "is not"
    sentence = f"{'Yes' if true else 'No'}, the {first.shape} {verb} {words} the {second.shape}."
    return Turn(f"Is the {first.shape} {words} the {second.shape}?", "Yes" if true else "No", sentence)


def _about_book(book: Book) -> tuple[Turn, ...]:
    genres = tuple(GENRES.values())
    other = genres[(genres.index(book.genre) + 1) % len(genres)]
    return (
        Turn("Who is the author of this book?", book.author, f"The author of this book is {book.author}."),
        Turn("What is the title of this book?", book.title, f"The title of this book is {book.title}."),
        Turn("What is the genre of this book?", book.genre, f"The genre of this book is {book.genre}."),
        Turn(f"Is this a {book.genre} book?", "Yes", f"Yes, this is a {book.genre} book."),
        Turn(f"Is this a {other} book?", "No", f"No, this is a {book.genre} book."),
    )

"""What a miniature picture shows: one value from which the picture and every word about it are made.

A scene has one or two figures of plain colours at named places, on a plain ground, and may carry a word on a sign or
the lettering of a book cover. The vocabulary is small on purpose: a model of a few hundred thousand weights has to
learn all of it in minutes.

One scene in eight is held out by its content, not by its seed: what `held_out_scenes` shows is never drawn for a
training set, whatever its size or texture.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

Point = tuple[float, float]
Box = tuple[float, float, float, float]

COLORS = ("red", "green", "blue", "yellow", "purple")
BACKGROUNDS = ("white", "gray", "black")
SHAPES = ("circle", "square", "triangle", "cross", "star")
WORDS = ("STOP", "OPEN", "EXIT", "TAXI", "CAFE", "PARK", "SALE", "HOTEL")
AUTHORS = (
    "Ada Brook",
    "Ben Stone",
    "Cleo Marsh",
    "Dan Rivers",
    "Eva Field",
    "Finn Woods",
    "Gina Hill",
    "Hugo Lake",
)
GENRES = {"white": "Romance", "gray": "History", "black": "Mystery"}
"""A cover's ground tells its genre, so that it can be learned without reading."""

PLACES: dict[str, Point] = {
    "upper left": (0.25, 0.25),
    "upper right": (0.75, 0.25),
    "lower left": (0.25, 0.75),
    "lower right": (0.75, 0.75),
    "center": (0.5, 0.5),
}
"""Where the middle of a figure lies, as fractions of the picture's width and height."""

CORNERS = ("upper left", "upper right", "lower left", "lower right")
"""The places at which two figures never touch: one in the middle would reach into every corner."""

SIGN_TOP = 0.76
"""A sign fills the picture from this fraction of its height down; the figures of such a scene stay above it."""

RADII = (0.17, 0.22)
"""The least and the largest radius of a figure, as fractions of the picture's shorter side."""

HELD_OUT_ONE_IN = 8


@dataclass(frozen=True)
class Figure:
    """One shape. `radius` is half of its extent, as a fraction of the picture's shorter side."""

    shape: str
    color: str
    place: str
    radius: float


@dataclass(frozen=True)
class Book:
    """The lettering of a book cover."""

    title: str
    author: str
    genre: str


@dataclass(frozen=True)
class Scene:
    """Everything that a picture shows: no two figures share shape, colour or place. Sizes are in pixels."""

    width: int
    height: int
    background: str
    figures: tuple[Figure, ...]
    striped: bool = False
    sign: str | None = None
    book: Book | None = None

    def middle(self, figure: Figure) -> Point:
        """The middle of a figure in pixels."""
        across, down = PLACES[figure.place]
        return across * self.width, down * self.height

    def radius(self, figure: Figure) -> float:
        """Half of a figure's extent in pixels."""
        return figure.radius * min(self.width, self.height)

    def box(self, figure: Figure) -> Box:
        """Left, top, right, bottom of a figure as fractions of the picture's width and height."""
        (x, y), r = self.middle(figure), self.radius(figure)
        return (x - r) / self.width, (y - r) / self.height, (x + r) / self.width, (y + r) / self.height


SceneMaker = Callable[[Random], Scene]


def shapes_scene(rng: Random) -> Scene:
    """A scene of one or two figures, from 64 to 160 pixels a side."""
    width, height = _size(rng)
    count = rng.choice((1, 2))
    places = tuple(PLACES) if count == 1 else CORNERS
    figures = _figures(rng, count, places)
    return Scene(width, height, rng.choice(BACKGROUNDS), figures, striped=rng.random() < 0.5)


def sign_scene(rng: Random) -> Scene:
    """A scene of one figure above a sign that carries one word."""
    width, height = _size(rng)
    figures = _figures(rng, 1, ("upper left", "upper right", "center"))
    return Scene(width, height, rng.choice(BACKGROUNDS), figures, sign=rng.choice(WORDS))


def book_scene(rng: Random) -> Scene:
    """A book cover: a figure in the middle, which the title names, an author, and the genre of its ground."""
    figures = _figures(rng, 1, ("center",))
    background = rng.choice(BACKGROUNDS)
    title = f"The {figures[0].color.title()} {figures[0].shape.title()}"
    book = Book(title, rng.choice(AUTHORS), GENRES[background])
    return Scene(rng.randrange(96, 121, 8), rng.randrange(144, 161, 8), background, figures, book=book)


def is_held_out(scene: Scene) -> bool:
    """True of the one scene in eight that no training set shows. Neither sizes nor the texture count."""
    figures = sorted((figure.shape, figure.color, figure.place) for figure in scene.figures)
    content = repr((figures, scene.background, scene.sign, scene.book))
    return zlib.crc32(content.encode()) % HELD_OUT_ONE_IN == 0


def training_scenes(source: str, count: int, make: SceneMaker = shapes_scene) -> tuple[Scene, ...]:
    """`count` scenes which are not held out. The same source and index always give the same scene."""
    return tuple(_invent(f"{source}/{index}", make, held_out=False) for index in range(count))


def held_out_scenes(count: int, make: SceneMaker = shapes_scene) -> tuple[Scene, ...]:
    """`count` scenes whose content no training set shows, always the same ones."""
    return tuple(_invent(f"held out/{index}", make, held_out=True) for index in range(count))


def _invent(seed: str, make: SceneMaker, *, held_out: bool) -> Scene:
    rng = Random(seed)
    while True:
        scene = make(rng)
        if is_held_out(scene) is held_out:
            return scene


def _size(rng: Random) -> tuple[int, int]:
    short = rng.randrange(64, 113, 8)
    long = min(160, int(short * rng.choice((1.0, 1.25, 1.5))))
    return (short, long) if rng.random() < 0.5 else (long, short)


def _figures(rng: Random, count: int, places: tuple[str, ...]) -> tuple[Figure, ...]:
    chosen = zip(rng.sample(SHAPES, count), rng.sample(COLORS, count), rng.sample(places, count), strict=True)
    return tuple(Figure(shape, color, place, round(rng.uniform(*RADII), 3)) for shape, color, place in chosen)

"""OCR-VQA: book covers, to be had in two ways which give the same pictures.

The re-packed zip calls every file `.jpg`, though some are GIFs. The original is a list, `dataset.json`, of one url a
picture, where the same ones end in `.gif`, and where some are gone; the zip does not hold these either.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from cvl.demo.miniature.facts import ListFacts
from cvl.demo.miniature.packing import Member
from cvl.demo.miniature.photos import Photo, packed
from cvl.demo.miniature.pictures import Encoding
from cvl.demo.miniature.publish import Publisher
from cvl.demo.miniature.questions import reading
from cvl.demo.miniature.scenes import Scene, book_scene, training_scenes

OCRVQA = "ocr_vqa/images"
ZIP_URL = "hf://datasets/weizhiwang/llava_v15_instruction_images/ocr_vqa_images_llava_v15.zip"
LIST_URL = "gdrive://1r0tyZUwGCc4wIG4RkiglCGNL_nFJjR6Q"
IMAGE_HOST = "http://ecx.images-amazon.com/images/I"

DEAD = 2
GIF_EVERY = 25
PNG_AT = 5
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-"


@dataclass(frozen=True)
class Cover:
    """One entry of the list: its key, its picture, and where that was once published."""

    photo: Photo
    url: str
    split: int

    @property
    def key(self) -> str:
        """The key of the entry, which is the picture's name in the tree: like an ISBN, so the last may be an X."""
        return self.photo.stem

    def entry(self) -> dict[str, Any]:
        """The entry as the list has it."""
        turns, book = reading(self.photo.scene), self.photo.scene.book
        assert book is not None
        return {
            "imageURL": self.url,
            "questions": [turn.question for turn in turns],
            "answers": [turn.answer for turn in turns],
            "title": book.title,
            "authorName": book.author,
            "genre": book.genre,
            "split": self.split,
        }


def covers(count: int) -> tuple[Cover, ...]:
    """`count` covers, and behind them the few whose picture is gone."""
    rng, total = Random("ocrvqa"), count + DEAD
    keys: dict[str, None] = {}
    while len(keys) < total:
        keys[_isbn(rng)] = None
    scenes = training_scenes("ocrvqa", total, book_scene)
    return tuple(_cover(index, key, scene, rng) for index, (key, scene) in enumerate(zip(keys, scenes, strict=True)))


def alive(listed: tuple[Cover, ...]) -> tuple[Cover, ...]:
    """The covers whose picture can still be had."""
    return listed[:-DEAD]


def publish_ocrvqa(site: Publisher, listed: tuple[Cover, ...]) -> None:
    """The zip, the list, and every picture of it that can still be had."""
    kept = alive(listed)
    dead = tuple(cover.key for cover in listed if cover not in kept)
    pictures = [cover.photo for cover in kept]
    site.zip(ZIP_URL, (Member("images/"), *packed(pictures, "images/")))
    site.json(LIST_URL, {cover.key: cover.entry() for cover in listed}, name="dataset.json")
    size = 0
    for cover in kept:
        data = cover.photo.data()
        site.put(cover.url, data)
        size += len(data)
    site.list_of_files(ListFacts(LIST_URL, len(listed), size, dead))
    site.folder_of(pictures)


def _cover(index: int, key: str, scene: Scene, rng: Random) -> Cover:
    encoding = _encoding(index)
    suffix = {"gif": ".gif", "png": ".png"}.get(encoding, ".jpg")
    url = f"{IMAGE_HOST}/{quote(_amazon_name(rng))}{suffix}"
    return Cover(Photo(OCRVQA, f"{key}.jpg", scene, encoding), url, rng.choices((1, 2, 3), (8, 1, 1))[0])


def _encoding(index: int) -> Encoding:
    if index == PNG_AT:
        return "png"
    return "gif" if index % GIF_EVERY == 1 else "jpeg"


def _isbn(rng: Random) -> str:
    """Nine digits and the check digit that goes with them, which is X one time in eleven."""
    digits = [rng.randrange(10) for _ in range(9)]
    check = -sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits, strict=True)) % 11
    return "".join(map(str, digits)) + ("X" if check == 10 else str(check))


def _amazon_name(rng: Random) -> str:
    return "51" + "".join(rng.choices(LETTERS, k=9))

"""Vision-Flan: one deflated zip with names beyond ASCII, and records whose ids repeat and which share pictures."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cvl.demo.miniature.packing import Member, ZipStyle
from cvl.demo.miniature.photos import Photo, packed
from cvl.demo.miniature.pictures import Encoding
from cvl.demo.miniature.publish import Instructions, Publisher
from cvl.demo.miniature.questions import Turn, questions
from cvl.demo.miniature.records import Record, record, some
from cvl.demo.miniature.scenes import Scene, training_scenes

VFLAN = "vflan/images_191task_1k"
REPOSITORY = "datasets/Vision-Flan/vision-flan_191-task_1k"
ZIP_URL = f"hf://{REPOSITORY}/image_191-task_1k.zip"
ANNOTATION = Instructions(
    url=f"hf://{REPOSITORY}/annotation_191-task_1k.json",
    path="data/vflan/annotation_191-task_1k.json",
    image_root=f"data/{VFLAN}",
    escaped=True,
)

TASKS = (
    "Shapes+shape_recognition",
    "Shapes+color_recognition",
    "Scenes+background_classification",
    "Scenes+position",
    "Größe+Form_erkennen",
    "東京+図形",
)
CMYK_EVERY = 40
SHARED_EVERY = 10
"""The picture of every tenth record has a second record."""


def vflan_photos(count: int) -> tuple[Photo, ...]:
    """The pictures: a task's name and a number; a few are JPEGs of four inks."""
    scenes = training_scenes("vflan", count)
    return tuple(_photo(index, scene) for index, scene in enumerate(scenes))


def publish_vflan(site: Publisher, pictures: tuple[Photo, ...]) -> None:
    """`image_191-task_1k.zip`, whose folder is called otherwise than the zip, and its annotation."""
    root = "images_191task_1k/"
    site.zip(ZIP_URL, (Member(root), *packed(pictures, root)), ZipStyle(deflated=True))
    site.instructions(ANNOTATION, vflan_records(pictures))
    site.folder_of(pictures)


def vflan_records(pictures: Sequence[Photo]) -> list[Record]:
    """A question on each picture, two on some; the last answer is empty, as one of the published ones is."""
    rng = Random("vflan records")
    shared = pictures[::SHARED_EVERY]
    records = [_record(photo, rng) for photo in (*pictures, *shared)]
    rng.shuffle(records)
    records[-1]["conversations"][-1]["value"] = ""
    return records


def _photo(index: int, scene: Scene) -> Photo:
    encoding: Encoding = "cmyk" if index % CMYK_EVERY == 7 else "jpeg"
    return Photo(VFLAN, f"{TASKS[index % len(TASKS)]}_{index}.jpg", scene, encoding)


def _record(photo: Photo, rng: Random) -> Record:
    """Every record of one task has the same id."""
    task = photo.stem.rpartition("_")[0]
    (turn,) = some(questions(photo.scene), rng, 1)
    made = record(task, photo.name, [(_prompt(turn, rng), turn.answer)])
    return {**made, "task_name": task}


def _prompt(turn: Turn, rng: Random) -> str:
    if turn.answer not in ("Yes", "No"):
        return turn.question
    return rng.choice((f"{turn.question}\nOptions: (a) Yes (b) No", f"{turn.question} Answer: Yes | No"))

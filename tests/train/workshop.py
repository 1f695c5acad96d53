"""A tree that a stage can be trained on in seconds: drawn pictures, records about them, the golden start weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import tomli_w
from PIL import Image

from cvl.root import Root

GOLDEN = Path(__file__).parent.parent / "data/golden"
COLORS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200)}
RECORDS = 40
TEXT_ONLY_EVERY = 5
BATCH = 8


@dataclass(frozen=True)
class Workshop:
    """The tree, and the folder of manifests that describes it."""

    root: Root
    manifests: Path

    @property
    def records(self) -> Path:
        """The instruction file."""
        return self.root.data / "tiny/tiny.json"

    def picture(self, number: int) -> Path:
        """The picture of one record."""
        return self.root.data / f"tiny/images/{number}.jpg"


def workshop_at(folder: Path) -> Workshop:
    """The one that was built in this folder."""
    return Workshop(Root(folder / "ShareGPT4V"), folder / "manifests")


def build_workshop(folder: Path, records: int = RECORDS) -> Workshop:
    """Everything that `cvl train --model tiny` wants, for all three stages."""
    shop = workshop_at(folder)
    _write_data(shop, records)
    for source, place in (("base_llm", "vicuna-7b-v1.5"), ("base_convnext", "LAION-CLIP-ConvNeXt-Large-512")):
        shutil.copytree(GOLDEN / "model" / source, shop.root.at(f"models/{place}"))
    _write_manifests(shop.manifests)
    return shop


def record(number: int) -> dict[str, object]:
    """A record about a picture of one colour, or without any picture."""
    color = list(COLORS)[number % len(COLORS)]
    ask = f"What is number {number}?"
    turns = [
        {"from": "human", "value": f"<image>\n{ask}"},
        {"from": "gpt", "value": f"It is {color} {'very ' * (number % 7)}."},
    ]
    if number % TEXT_ONLY_EVERY == 0:
        turns[0]["value"] = ask
        return {"id": str(number), "conversations": turns}
    return {"id": str(number), "image": f"{number}.jpg", "conversations": turns}


def _write_data(shop: Workshop, records: int) -> None:
    shop.picture(0).parent.mkdir(parents=True)
    rng = Random(0)
    for number in range(records):
        if number % TEXT_ONLY_EVERY:
            size = rng.randrange(40, 90), rng.randrange(40, 90)
            Image.new("RGB", size, list(COLORS.values())[number % len(COLORS)]).save(shop.picture(number))
    shop.records.write_text(json.dumps([record(number) for number in range(records)]), encoding="utf-8")


def _write_manifests(folder: Path) -> None:
    annotation = {"name": "tiny", "path": "data/tiny/tiny.json", "images": "data/tiny/images"}
    _write(folder / "sources/tiny.toml", {"title": "Tiny", "annotations": [annotation]})
    part = {"source": "vicuna", "path": "models/vicuna-7b-v1.5"}
    tower = {"source": "convnext", "path": "models/LAION-CLIP-ConvNeXt-Large-512"}
    fifth = {"blocks": 2, "width": 128}
    _write(
        folder / "models/tiny.toml",
        {"title": "Tiny", "resolution": 128, "language_model": part, "vision_tower": tower, "fifth_stage": fifth},
    )
    starts = {1: "weights", 2: "stage1", 3: "stage2"}
    trains = {
        1: ["vision_tower.stage5", "projector"],
        2: ["vision_tower.stage3", "vision_tower.stage4", "vision_tower.stage5", "projector", "language_model"],
        3: ["projector", "language_model"],
    }
    for number in starts:
        _write(folder / f"stages/stage{number}.toml", _stage(starts[number], trains[number]))


def _stage(start: str, train: list[str]) -> dict[str, object]:
    return {
        "title": "Tiny",
        "starts_from": start,
        "train": train,
        "data": ["tiny"],
        "document": {
            "learning_rate": 1e-3,
            "batch_size": BATCH,
            "epochs": 1,
            "warmup_ratio": 0.03,
            "weight_decay": 0,
            "optimizer": "adamw",
        },
        "scripts": {"deepspeed": "none", "precision": "fp32", "max_length": 128},
        "run": {"micro_batch": 4, "workers": 0},
    }


def _write(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(content), encoding="utf-8")

"""Makes a tree as large as the real one, of pictures of one byte, with instruction files that name them.

    python benchmarks/synthetic_tree.py FOLDER --files 1200000 --records 1250000

Folders, names and lengths of texts are those of ShareGPT4V's captions: SAM and COCO lie flat, LCS in 660 folders. What
is written is the same for the same numbers. `FOLDER/manifests` has manifests with which `cvl verify-layout --stage 3`
looks at this tree. Mind the disk: a file of one byte takes a block of 4 KiB and an inode.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from cvl.manifest import shipped_manifests

SHARES = {"data/sam/images": 0.46, "data/coco/train2017": 0.10}
"""How much of the pictures each flat folder holds; the rest is LCS's."""

LCS, LCS_FOLDERS = "data/llava/llava_pretrain/images", 660
RECORDS = "data/sharegpt4v/records.json"
SENTENCES = 13
SEED = 1


@dataclass(frozen=True)
class Made:
    """A tree that was made, and the numbers of its files and records."""

    root: Path
    manifests: Path
    files: int
    records: int


def make(folder: Path, files: int, records: int, *, indent: int | None = 2) -> Made:
    """Makes the tree in `folder/ShareGPT4V`. Every picture is named once, and some again until there are `records`.

    Args:
        indent: of the instruction file; None is all in one line.
    """
    root = folder / "ShareGPT4V"
    folders = list(_folders(files))
    for parent, names in folders:
        _write_files(root / parent, names)
    images = [f"{parent.removeprefix('data/')}/{name}" for parent, names in folders for name in names]
    random.Random(SEED).shuffle(images)
    path = root / RECORDS
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_records(path, islice(cycle(images), records), indent)
    manifests = folder / "manifests"
    _write_manifests(manifests, {parent: len(names) for parent, names in folders}, records)
    return Made(root, manifests, len(images), records)


def _folders(files: int) -> Iterator[tuple[str, list[str]]]:
    """The folders of the tree with the names of their pictures."""
    left = files
    for (folder, share), name in zip(SHARES.items(), ("sa_{}.jpg", "{:012}.jpg"), strict=True):
        count = int(files * share)
        left -= count
        yield folder, [name.format(7 * number) for number in range(count)]
    for number in range(min(LCS_FOLDERS, left)):
        count = left // LCS_FOLDERS + (number < left % LCS_FOLDERS)
        yield f"{LCS}/{number:05}", [f"{number * 10_000 + picture:09}.jpg" for picture in range(count)]


def _write_files(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parent = os.open(folder, os.O_RDONLY)
    try:
        for name in names:
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=parent)
            os.write(file, b"x")
            os.close(file)
    finally:
        os.close(parent)


def _write_records(path: Path, images: Iterable[str], indent: int | None) -> None:
    rng = random.Random(SEED)
    letters = "etaoinshrdlucmfwyp"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(3000)]
    sentences = [" ".join(rng.choices(words, k=12)).capitalize() + "." for _ in range(2000)]
    with path.open("w") as file:
        for number, image in enumerate(images):
            text = " ".join(rng.choices(sentences, k=SENTENCES))
            record = json.dumps(_record(image, text), indent=indent)
            file.write(("[" if not number else ",") + ("\n" if indent else " ") + record)
        file.write("\n]\n")


def _record(image: str, text: str) -> dict[str, object]:
    question = {"from": "human", "value": "<image>\nWhat do you see happening in this image?"}
    turns = [question, {"from": "gpt", "value": text}]
    return {"id": Path(image).stem, "image": image, "conversations": turns}


def _write_manifests(folder: Path, counts: dict[str, int], records: int) -> None:
    """A source with these folders and this instruction file, and a third stage that reads nothing else."""
    lcs = sum(count for name, count in counts.items() if name.startswith(LCS))
    flat = {name: count for name, count in counts.items() if not name.startswith(LCS)} | {LCS: lcs}
    expects = [f'[[expect]]\nfolder = "{name}"\nsuffix = ".jpg"\nfiles = {count}\n' for name, count in flat.items()]
    annotation = f'[[annotations]]\nname = "synthetic"\npath = "{RECORDS}"\nneeds = []\nrecords = {records}\n'
    (folder / "sources").mkdir(parents=True, exist_ok=True)
    (folder / "stages").mkdir(exist_ok=True)
    (folder / "sources" / "synthetic.toml").write_text("\n".join(['title = "a synthetic tree"', *expects, annotation]))
    stage = (shipped_manifests() / "stages" / "stage3.toml").read_text()
    own = stage.replace('data = ["llava665k"]', 'data = ["synthetic"]')
    assert tomllib.loads(own)["data"] == ["synthetic"], "the shipped stage 3 reads other data than it did"
    (folder / "stages" / "stage3.toml").write_text(own)


def main(arguments: list[str] | None = None) -> int:
    """Makes a tree and says where."""
    parser = argparse.ArgumentParser(description="A tree as large as the real one, of pictures of one byte.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1_200_000)
    parser.add_argument("--records", type=int, default=1_250_000)
    options = parser.parse_args(arguments)
    made = make(options.folder, options.files, options.records)
    print(json.dumps({"root": str(made.root), "manifests": str(made.manifests), "files": made.files}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())

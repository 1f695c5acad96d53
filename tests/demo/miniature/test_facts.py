from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import pytest

from cvl.demo.miniature.facts import FolderFacts, composition, file_facts, folder_facts, prefix_of


@pytest.mark.parametrize(
    ("image", "prefix"),
    [
        ("coco/train2017/000000000009.jpg", "coco/train2017"),
        ("vg/VG_100K_2/2317.jpg", "vg/VG_100K_2"),
        ("llava/llava_pretrain/images/00120/001200924.jpg", "llava/llava_pretrain/images"),
        ("allava_vflan/images/images_191task_1k/a.jpg", "allava_vflan/images/images_191task_1k"),
        ("00120/001200924.jpg", ""),
        ("bare.jpg", ""),
    ],
)
def test_prefix_is_the_folder_without_numbered_ones(image: str, prefix: str) -> None:
    assert prefix_of(image) == prefix


def test_composition_counts_records_by_prefix_and_leaves_out_text() -> None:
    images = ["gqa/images/1.jpg", "coco/train2017/1.jpg", "gqa/images/1.jpg"]
    records = [*({"image": image} for image in images), {"id": "text"}]
    assert composition(records) == {"coco/train2017": 1, "gqa/images": 2}


def test_folder_facts_count_by_suffix_and_below() -> None:
    facts = folder_facts("data/x", ["00001/a.jpg", "b.png", "c.jpg"], empty=1)
    assert facts == FolderFacts("data/x", {".jpg": 2, ".png": 1}, empty=1)
    assert facts.files == 3


def test_file_facts_measure_the_bytes_and_count_what_belongs_into_the_tree(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(b"bytes")
    names = ["images/", "images/1.jpg", "images/2.gif", "README.txt", "__MACOSX/images/._1.jpg"]
    facts = file_facts("http://host/a.zip", PurePosixPath("http/host/a.zip"), file, names)
    assert (facts.size, facts.path) == (5, "http/host/a.zip")
    assert facts.sha256 == hashlib.sha256(b"bytes").hexdigest()
    assert facts.md5 == hashlib.md5(b"bytes").hexdigest()
    assert (facts.members, facts.images) == (4, 2)
    assert not facts.broken

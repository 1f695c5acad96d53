"""The world unpacked as the document's tree: every folder is full, and every image that is named is there."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from cvl.demo.miniature import World, build_world
from cvl.demo.miniature.facts import InstructionFacts
from cvl.demo.miniature.sources import allava, lcs, ocrvqa, plain, vflan, webdata

SCALE = 0.1

UNPACKED = {
    plain.COCO_URL: "data/coco",
    plain.GQA_URL: "data/gqa",
    plain.TEXTVQA_URL: "data/textvqa",
    plain.VG_PART1_URL: "data/vg",
    plain.VG_PART2_URL: "data/vg",
    ocrvqa.ZIP_URL: "data/ocr_vqa",
    lcs.IMAGES_URL: "data/llava/llava_pretrain/images",
    vflan.ZIP_URL: "data/vflan",
    **{what.url: "" for what in webdata.WEB_SETS},
}
LAION = "data/allava/allava_laion/images"
LINK = ("data/allava/allava_vflan/images/images_191task_1k", "data/vflan/images_191task_1k")
UNWANTED = ("README.txt", ".DS_Store", ".json")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("worlds") / "world", scale=SCALE)


@pytest.fixture(scope="module")
def tree(world: World) -> set[str]:
    """Every file of the complete tree, as a path below its root."""
    names = [*_from_zips(world), *_from_chunks(world), *_from_shards(world)]
    assert len(set(names)) == len(names)
    return {name for name in names if not name.endswith(UNWANTED) and "__MACOSX" not in name}


def _from_zips(world: World) -> Iterator[str]:
    for url, into in UNPACKED.items():
        for name in zipfile.ZipFile(world.path(url)).namelist():
            if not name.endswith("/"):
                yield str(PurePosixPath(into, name))


def _from_chunks(world: World) -> Iterator[str]:
    for number in range(10):
        url = f"hf://{allava.REPOSITORY}/allava_laion/image_chunks/images_{number}.zip"
        for name in zipfile.ZipFile(world.path(url)).namelist():
            if not name.endswith("/"):
                yield f"{LAION}/{PurePosixPath(name).name}"


def _from_shards(world: World) -> Iterator[str]:
    for number in range(51):
        with tarfile.open(world.path(f"links:sa_{number:06d}.tar"), "r|*", ignore_zeros=True) as archive:
            try:
                for entry in archive:
                    yield str(PurePosixPath("data/sam/images", entry.name))
            except tarfile.ReadError:
                continue


def records_of(world: World, facts: InstructionFacts) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(world.path(facts.url).read_bytes())
    return records


def resolved(world: World, facts: InstructionFacts, image: str) -> str:
    """Where the tree really has the image: through the aliases, and the link to Vision-Flan's folder."""
    path = f"{facts.image_root}/{image}"
    link, target = LINK
    if path.startswith(link):
        path = target + path.removeprefix(link)
    return world.facts.aliases.get(path, path)


def test_every_image_that_is_named_is_in_the_tree(world: World, tree: set[str]) -> None:
    for facts in world.facts.instructions:
        images = [record["image"] for record in records_of(world, facts) if "image" in record]
        missing = [image for image in images if resolved(world, facts, image) not in tree]
        assert images
        assert missing == [], facts.path


def test_folders_hold_as_many_files_as_their_facts_say(world: World, tree: set[str]) -> None:
    for facts in world.facts.folders:
        inside = [name for name in tree if name.startswith(f"{facts.folder}/")]
        assert dict(Counter(PurePosixPath(name).suffix for name in inside)) == facts.suffixes
        tree_of_others = {name for name in tree if name not in inside}
        assert len(tree_of_others) == len(tree) - facts.files


def test_the_facts_name_every_folder_of_the_tree(world: World, tree: set[str]) -> None:
    folders = tuple(f"{facts.folder}/" for facts in world.facts.folders)
    assert all(name.startswith(folders) for name in tree)
    assert len(folders) == 14


def test_record_counts_are_those_of_the_instruction_files(world: World) -> None:
    assert len(world.facts.instructions) == 9
    for facts in world.facts.instructions:
        records = records_of(world, facts)
        assert facts.records == len(records)
        assert facts.text_only == sum("image" not in record for record in records)
        assert sum(facts.prefixes.values()) == facts.records - facts.text_only


def test_prefixes_are_beginnings_of_the_images_names(world: World) -> None:
    for facts in world.facts.instructions:
        images = [record["image"] for record in records_of(world, facts) if "image" in record]
        for prefix, count in facts.prefixes.items():
            start = f"{prefix}/" if prefix else ""
            assert sum(image.startswith(start) for image in images) == count


def test_empty_files_are_named_nowhere(world: World) -> None:
    facts = world.instructions("data/llava/llava_v1_5_mix665k.json")
    named = {record.get("image") for record in records_of(world, facts)}
    assert named.isdisjoint(f"vg/VG_100K_2/{name}" for name in plain.VG_EMPTY)


def test_without_the_aliases_two_images_are_missing(world: World, tree: set[str]) -> None:
    facts = world.instructions("data/sharegpt4v/sharegpt4v_instruct_gpt4-vision_cap100k.json")
    missing = {r["image"] for r in records_of(world, facts) if f"data/{r['image']}" not in tree}
    assert missing == {"web-celebrity/images/Choi_Min-sik.jpg", "web-celebrity/images/Lee_Byung-hun.jpg"}

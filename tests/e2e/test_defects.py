"""Planted defects: each is found, counted, and healed by the very command that the report names."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import Cvl

from cvl.manifest import Annotation, Catalog
from cvl.root import Root

MIX = "data/llava/llava_v1_5_mix665k.json"
CAP100K = "data/sharegpt4v/sharegpt4v_instruct_gpt4-vision_cap100k.json"
VFLAN_LINK = "data/allava/allava_vflan/images/images_191task_1k"
ALIAS = "data/web-celebrity/images/Choi_Min-sik.jpg"


def named_in(root: Root, path: str, prefix: str) -> list[str]:
    """The different pictures that an instruction file names below the folder `prefix`, as paths of the tree."""
    records = json.loads(root.at(path).read_bytes())
    images = dict.fromkeys(record["image"] for record in records if record.get("image", "").startswith(prefix))
    return [f"data/{image}" for image in images]


def lose_a_folder(root: Root) -> None:
    shutil.rmtree(root.at("data/gqa/images"))


def lose_seven_pictures(root: Root) -> None:
    lost = [
        *named_in(root, MIX, "coco/")[:3],
        *named_in(root, MIX, "textvqa/")[:2],
        *named_in(root, CAP100K, "llava/")[:2],
    ]
    for path in lost:
        root.at(path).unlink()


def put_gifs_under_jpg(root: Root) -> None:
    gifs = sorted((root.originals / "ocr_vqa" / "images").iterdir())
    for path, gif in zip(named_in(root, MIX, "ocr_vqa/")[:2], gifs[:2], strict=True):
        root.at(path).write_bytes(gif.read_bytes())


def double_a_folder(root: Root) -> None:
    folder = root.at("data/vg/VG_100K")
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    folder.with_name("moved").rename(folder / "VG_100K")


def lose_the_link_to_vision_flan(root: Root) -> None:
    root.at(VFLAN_LINK).unlink()


def lose_a_hyphen(root: Root) -> None:
    root.at(ALIAS).unlink()


def cut_an_instruction_file(root: Root) -> None:
    path = root.at("data/sharegpt4v/share-captioner_coco_lcs_sam_1246k_1107.json")
    path.write_bytes(path.read_bytes()[:5000])


def lose_an_instruction_file(root: Root) -> None:
    root.at("data/vflan/annotation_191-task_1k.json").unlink()


@dataclass(frozen=True)
class Defect:
    """What is planted, and what the report must say of it.

    Args:
        plant: breaks a complete tree.
        found: problems by kind and source, with the number that each counts; None where the miniature's scale decides.
        cures: what the report tells the user to type; `find` stands for moving files up.
    """

    plant: Callable[[Root], None]
    found: dict[tuple[str, str], int | None] = field(default_factory=dict)
    cures: tuple[str, ...] = ()


DEFECTS = {
    "a missing folder": Defect(
        lose_a_folder, {("missing-folder", "gqa"): 32, ("missing-images", "gqa"): None}, ("cvl fetch gqa",)
    ),
    "seven missing pictures": Defect(
        lose_seven_pictures,
        {
            ("missing-files", "coco"): 3,
            ("missing-files", "lcs"): 2,
            ("missing-files", "textvqa"): 2,
            ("missing-images", "coco"): 3,
            ("missing-images", "lcs"): 2,
            ("missing-images", "textvqa"): 2,
        },
        ("cvl fetch coco", "cvl fetch lcs", "cvl fetch textvqa"),
    ),
    "GIFs under .jpg": Defect(put_gifs_under_jpg, {("not-jpeg", "ocrvqa"): 2}, ("cvl convert ocrvqa",)),
    "VG_100K/VG_100K": Defect(
        double_a_folder, {("doubled-folder", "vg"): 21, ("missing-images", "vg"): None}, ("find",)
    ),
    "the missing Vision-Flan link": Defect(
        lose_the_link_to_vision_flan,
        {("missing-link", "vflan"): 1, ("missing-images", "vflan"): None},
        ("cvl fetch vflan",),
    ),
    "a missing hyphen": Defect(
        lose_a_hyphen, {("missing-link", "webdata"): 1, ("missing-images", "webdata"): 1}, ("cvl fetch webdata",)
    ),
    "a truncated instruction file": Defect(
        cut_an_instruction_file, {("broken-annotations", "sharegpt4v"): 1}, ("cvl fetch sharegpt4v",)
    ),
    "a missing instruction file": Defect(
        lose_an_instruction_file, {("missing-annotations", "vflan"): 1}, ("cvl fetch vflan",)
    ),
}


def problems_of(report: dict[str, Any]) -> Counter[tuple[str, str]]:
    """How much is wrong, by kind and source."""
    counts: Counter[tuple[str, str]] = Counter()
    for problem in report["problems"]:
        counts[problem["kind"], problem["source"]] += problem["count"]
    return counts


def printed_cures(shown: str) -> list[str]:
    """The cures that a report prints for people, each once."""
    lines = (line.strip() for line in shown.splitlines())
    return list(dict.fromkeys(line.removeprefix("cure: ") for line in lines if line.startswith("cure: ")))


def truly_missing(root: Root, annotation: Annotation) -> set[int]:
    """The records whose picture is not there, found out without any of our own code."""
    records = json.loads(root.at(annotation.path).read_bytes())
    folder = root.at(annotation.image_root)
    return {
        number
        for number, record in enumerate(records)
        if "image" in record and not (folder / record["image"]).is_file()
    }


def skipped(root: Root, name: str) -> set[int]:
    ranges = json.loads(root.skiplist.read_bytes())["annotations"][name]["reasons"].get("missing-image", "")
    numbers: set[int] = set()
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def readable(root: Root, catalog: Catalog) -> dict[str, Annotation]:
    """The instruction files of the three stages that are there and whole."""
    found = {}
    for stage in (1, 2, 3):
        for annotation in catalog.stage_annotations(stage):
            path = root.at(annotation.path)
            if path.exists() and path.read_bytes().rstrip().endswith(b"]"):
                found[annotation.name] = annotation
    return found


def heal(cvl: Cvl) -> None:
    """Types every cure that the report prints, as it is printed; afterwards the tree is proven."""
    shown = cvl.typed("cvl verify-layout")
    assert shown.code == 3
    for cure in printed_cures(shown.stdout):
        done = cvl.typed(cure)
        assert done.code == 0, (cure, done.stderr)
    healed = cvl.typed("cvl verify-layout")
    assert (healed.code, healed.stdout.splitlines()[-1]) == (0, "0 images missing, 0 problems")


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_counted_and_healed_by_its_cure(
    cvl: Cvl, complete: Root, catalog: Catalog, name: str
) -> None:
    defect = DEFECTS[name]
    defect.plant(complete)
    report = cvl("verify-layout", "--json")
    assert report.code == 3
    counts = problems_of(report.json)
    assert set(counts) == set(defect.found)
    assert all(expected in (None, counts[key]) for key, expected in defect.found.items())
    assert {problem["cure"].partition(" /")[0] for problem in report.json["problems"]} == set(defect.cures)
    for data, annotation in readable(complete, catalog).items():
        assert skipped(complete, data) == truly_missing(complete, annotation)
    heal(cvl)
    assert all(not skipped(complete, data) for data in readable(complete, catalog))


def test_all_defects_at_once_are_found_and_healed_together(cvl: Cvl, complete: Root, catalog: Catalog) -> None:
    # The instruction files last: the others look into them to see what is named.
    for defect in DEFECTS.values():
        defect.plant(complete)
    report = cvl("verify-layout", "--json")
    assert report.code == 3
    counts = problems_of(report.json)
    assert set(counts) == {key for defect in DEFECTS.values() for key in defect.found}
    stages = report.json["stages"]
    assert stages == {"1": False, "2": False, "3": False}
    for data, annotation in readable(complete, catalog).items():
        assert skipped(complete, data) == truly_missing(complete, annotation)
    heal(cvl)


def test_a_defect_stays_a_defect_until_it_is_healed(cvl: Cvl, complete: Root) -> None:
    lose_a_hyphen(complete)
    assert [cvl("verify-layout").code for _ in range(2)] == [3, 3]
    status = cvl("status", "--json").json
    assert (status["problems"], status["next_command"]) == (2, "cvl verify-layout")


def test_a_defect_of_one_stage_does_not_stop_another(cvl: Cvl, complete: Root) -> None:
    lose_a_folder(complete)
    assert [cvl("verify-layout", "--stage", stage).code for stage in "123"] == [0, 0, 3]


@pytest.mark.parametrize("root", ["with space", "it's $HOME"])
def test_a_cure_works_for_a_tree_with_an_odd_name(cvl: Cvl, complete: Root, root: str) -> None:
    double_a_folder(complete)
    odd = Root(complete.path.rename(complete.path.with_name(root)))
    shown = cvl("verify-layout", "--root", odd.path)
    assert shown.code == 3
    (cure,) = printed_cures(shown.stdout)
    assert cvl.typed(cure).code == 0
    assert cvl("verify-layout", "--root", odd.path).code == 0


def test_a_missing_picture_that_only_waits_for_its_conversion_is_converted(cvl: Cvl, complete: Root) -> None:
    """As after a fetch from the original addresses, where GIFs end in .gif."""
    (lost, *_) = named_in(complete, MIX, "ocr_vqa/")
    gif = next((complete.originals / "ocr_vqa" / "images").iterdir())
    complete.at(lost).unlink()
    complete.at(lost).with_suffix(".gif").write_bytes(gif.read_bytes())
    shown = cvl("verify-layout")
    assert shown.code == 3
    assert printed_cures(shown.stdout) == ["cvl convert ocrvqa"]
    assert cvl.typed("cvl convert ocrvqa").code == 0
    assert Path(complete.at(lost)).exists()
    assert cvl("verify-layout").code == 0

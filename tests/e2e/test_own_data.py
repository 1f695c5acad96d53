"""A user's own pictures and records join the tree by one TOML of a few lines, and by nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Cvl, Done, contents

from cvl.annotations import AnnotationFile, open_index
from cvl.demo.internet import Internet
from cvl.root import Root

IN_THE_TREE = """
title = "My pictures"

[[annotations]]
name = "mine"
path = "data/mine/mine.json"
images = "data/mine/images"
joins = [3]
"""

ELSEWHERE = """
title = "My pictures on the shared disk"

[[links]]
path = "data/mine"
target = "{target}"

[[annotations]]
name = "mine"
path = "data/mine/mine.json"
images = "data/mine/images"
joins = [3]
"""

OF_OTHERS = """
title = "My captions of COCO"

[[annotations]]
name = "recaptioned"
path = "data/recaptioned.json"
images = "data"
needs = ["coco"]
joins = [3]
"""


def own_records(images: list[str | None]) -> str:
    def record(number: int, image: str | None) -> dict[str, object]:
        question = "<image>\nWhat is this?" if image else "What is one plus one?"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "A thing of mine."}]
        return {"id": str(number)} | ({"image": image} if image else {}) | {"conversations": turns}

    return json.dumps([record(number, image) for number, image in enumerate(images)])


def fill(folder: Path) -> None:
    """Three pictures and five records: one picture is named twice, one record is text only."""
    (folder / "images" / "cats").mkdir(parents=True)
    names = ["1.jpg", "2.png", "cats/3.jpg"]
    for number, name in enumerate(names):
        Image.fromarray(np.full((8, 8, 3), 40 * number, dtype=np.uint8)).save(folder / "images" / name)
    (folder / "mine.json").write_text(own_records([*names, names[0], None]))


@pytest.fixture
def own(manifests: Path, cvl: Cvl, tmp_path: Path) -> Path:
    """A folder of manifests to put one's own into; the miniature's numbers stay under it."""
    folder = tmp_path / "my-manifests"
    shutil.copytree(manifests, folder)
    cvl.environment["CVL_MANIFESTS"] = str(folder)
    return folder


def state_of(done: Done, name: str = "mine") -> dict[str, object]:
    found = {state["name"]: state for state in done.json["annotations"]}
    state: dict[str, object] = found[name]
    return state


def test_own_data_in_the_tree_is_known_to_every_command(cvl: Cvl, own: Path, complete: Root) -> None:
    fill(complete.at("data/mine"))
    (own / "mine.toml").write_text(IN_THE_TREE)

    listed = cvl("sources")
    assert listed.code == 0
    assert any(line.startswith("mine ") for line in listed.stdout.splitlines())
    assert "My pictures" in cvl("sources", "mine").stdout
    assert cvl("sources", "mine", "--json").json[0]["status"]["stages"] == [3]

    verified = cvl("verify-layout", "--stage", "3", "--json")
    assert verified.code == 0
    state = state_of(verified)
    assert (state["records"], state["text_only"], state["missing"]) == (5, 1, 0)

    file = AnnotationFile("mine", complete.at("data/mine/mine.json"), "data/mine/images")
    with open_index(file, complete.indexes) or pytest.fail("there is no index") as index:
        assert [index.image(number) for number in range(5)] == ["1.jpg", "2.png", "cats/3.jpg", "1.jpg", None]


def test_a_missing_own_picture_is_found_and_its_records_are_skipped(cvl: Cvl, own: Path, complete: Root) -> None:
    fill(complete.at("data/mine"))
    (own / "sources" / "mine.toml").write_text(IN_THE_TREE)
    complete.at("data/mine/images/1.jpg").unlink()
    verified = cvl("verify-layout", "--stage", "3", "--json")
    assert verified.code == 3
    (problem,) = verified.json["problems"]
    place = complete.at("data/mine/images/1.jpg")
    assert (problem["kind"], problem["source"], problem["count"]) == ("missing-images", "mine", 1)
    assert problem["cure"] == f"put them into {place.parent}"
    assert problem["examples"] == ["data/mine/images/1.jpg"]
    assert json.loads(complete.skiplist.read_bytes())["annotations"]["mine"]["reasons"] == {"missing-image": "0,3"}
    Image.new("RGB", (8, 8)).save(place)
    assert cvl("verify-layout", "--stage", "3").code == 0


def test_a_stage_that_own_data_does_not_join_does_not_read_it(cvl: Cvl, own: Path, complete: Root) -> None:
    complete.at("data/mine").mkdir()
    complete.at("data/mine/mine.json").write_text("this is no JSON")
    (own / "mine.toml").write_text(IN_THE_TREE)
    first = cvl("verify-layout", "--stage", "1", "--json")
    assert first.code == 0
    assert "mine" not in {state["name"] for state in first.json["annotations"]}
    assert cvl("verify-layout", "--stage", "3").code == 3


def test_own_data_elsewhere_is_linked_by_fetch_and_never_copied(
    cvl: Cvl, own: Path, complete: Root, tmp_path: Path, internet: Internet
) -> None:
    shared = tmp_path / "shared disk" / "mine"
    fill(shared)
    before = contents(shared)
    (own / "mine.toml").write_text(ELSEWHERE.format(target=shared))

    unlinked = cvl("verify-layout", "--stage", "3", "--json")
    assert unlinked.code == 3
    assert {problem["kind"] for problem in unlinked.json["problems"]} == {"missing-link", "missing-annotations"}
    assert {problem["cure"] for problem in unlinked.json["problems"]} == {"cvl fetch mine"}

    fetched = cvl.typed("cvl fetch mine")
    assert (fetched.code, fetched.stdout) == (0, "0 files fetched (0 B), 0 were here already, 1 link made\n")
    assert complete.at("data/mine").readlink() == shared
    assert cvl.typed("cvl fetch mine").stdout == "0 files fetched (0 B), 0 were here already\n"
    verified = cvl("verify-layout", "--stage", "3", "--json")
    assert verified.code == 0
    assert state_of(verified)["records"] == 5
    assert contents(shared) == before
    assert internet.exchanges == []


def test_a_picture_missing_elsewhere_is_not_to_be_fetched(cvl: Cvl, own: Path, complete: Root, tmp_path: Path) -> None:
    """The link stands, so `cvl fetch` has nothing left to bring."""
    fill(tmp_path / "mine")
    complete.at("data/mine").symlink_to(tmp_path / "mine")
    (own / "mine.toml").write_text(ELSEWHERE.format(target=tmp_path / "mine"))
    (tmp_path / "mine" / "images" / "2.png").unlink()
    (problem,) = cvl("verify-layout", "--stage", "3", "--json").json["problems"]
    assert problem["cure"] == f"put them into {complete.at('data/mine/images')}"


def test_own_text_for_pictures_of_another_source(cvl: Cvl, own: Path, complete: Root) -> None:
    names = sorted(path.name for path in complete.at("data/coco/train2017").iterdir())
    (own / "recaptioned.toml").write_text(OF_OTHERS)
    complete.at("data/recaptioned.json").write_text(own_records([f"coco/train2017/{name}" for name in names]))
    complete.at(f"data/coco/train2017/{names[0]}").unlink()
    verified = cvl("verify-layout", "--stage", "3", "--json")
    assert verified.code == 3
    assert state_of(verified, "recaptioned")["missing"] == 1
    assert {problem["cure"] for problem in verified.json["problems"]} == {"cvl fetch coco"}


def test_a_slip_in_an_own_manifest_is_told_with_file_key_and_mend(cvl: Cvl, own: Path, complete: Root) -> None:
    (own / "mine.toml").write_text(IN_THE_TREE.replace("joins", "join"))
    for command in ("sources", "status", "verify-layout"):
        done = cvl(command)
        assert (done.code, done.stdout) == (2, "")
        assert str(own / "mine.toml") in done.stderr
        assert "join" in done.stderr
        assert "hint: did you mean `joins`?" in done.stderr

"""Pictures that are missing, pictures that cannot be read, and a data set of the user's own in the mix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import Told, Typed, changed, folder_of, losses, train_here, weights
from PIL import Image
from workshop import RECORDS, TEXT_ONLY_EVERY, Workshop, build_workshop

from cvl.errors import CvlError, UsageError

OWN = """
title = "My pictures"
[[annotations]]
name = "mine"
path = "data/mine/mine.json"
images = "data/mine"
joins = [3]
"""

MANY = 200
MISSING = (11, 77, 133)
DAMAGED = (3, 104, 199)


def cut(picture: Path) -> None:
    picture.write_bytes(picture.read_bytes()[:-300])


def stub(picture: Path) -> None:
    picture.write_bytes(picture.read_bytes()[:30])


def page(picture: Path) -> None:
    picture.write_bytes(b"<!DOCTYPE html><html><body>Not Found</body></html>")


KINDS: dict[str, Callable[[Path], None]] = {"cut": cut, "stub": stub, "page": page}


@pytest.fixture(scope="module")
def holes(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A tree of 160 pictures, of which three are missing and three cannot be read, each in a way of its own."""
    shop = build_workshop(tmp_path_factory.mktemp("holes"), MANY)
    for number in MISSING:
        shop.picture(number).unlink()
    for number, damage in zip(DAMAGED, KINDS.values(), strict=True):
        damage(shop.picture(number))
    return shop


@pytest.fixture(scope="module")
def trained(holes: Workshop) -> tuple[Told, Any]:
    told = Told()
    return told, train_here(holes, 1, "epochs=2", told=told)


def test_records_whose_pictures_are_missing_are_counted_before_the_first_step(trained: tuple[Told, Any]) -> None:
    (row,) = trained[0].brief.data
    assert row.skipped == {"missing image": len(MISSING)}
    assert row.records == MANY - len(MISSING)
    assert row.pictures == MANY - MANY // TEXT_ONLY_EVERY - len(MISSING)


def test_exactly_the_records_whose_pictures_cannot_be_read_are_noted_once(
    holes: Workshop, trained: tuple[Told, Any]
) -> None:
    told, done = trained
    assert done.damaged == len(DAMAGED)
    assert len(told.steps) == done.steps == 2 * -(-(MANY - len(MISSING)) // 8)
    lines = [json.loads(line) for line in (done.folder / "damaged.jsonl").read_text().splitlines()]
    # Each was met in both epochs, or more often where it completed a batch.
    assert len(lines) >= 2 * len(DAMAGED)
    assert {line["record"] for line in lines} == set(DAMAGED)
    assert {line["path"] for line in lines} == {str(holes.picture(number)) for number in DAMAGED}
    reasons = {line["record"]: line["reason"] for line in lines}
    assert "truncated" in reasons[3].lower()
    assert "Truncated" in reasons[104]
    assert "not a picture" in reasons[199]
    provenance = json.loads((done.folder / "provenance.json").read_text())
    assert provenance["damaged"] == len(DAMAGED)
    assert provenance["data"][0]["skipped"] == {"missing image": len(MISSING)}


def test_a_run_without_missing_pictures_is_the_run_without_their_records(
    holes: Workshop, trained: tuple[Told, Any], tmp_path: Path
) -> None:
    shop = build_workshop(tmp_path, MANY)
    records = json.loads(shop.records.read_text())
    shop.records.write_text(json.dumps([record for record in records if int(record["id"]) not in MISSING]))
    for number, damage in zip(DAMAGED, KINDS.values(), strict=True):
        damage(shop.picture(number))
    told = Told()
    done = train_here(shop, 1, "epochs=2", told=told)
    assert [step.loss for step in told.steps] == [step.loss for step in trained[0].steps]
    assert changed(weights(trained[1].folder), weights(done.folder)) == set()


def test_nothing_of_a_damaged_record_is_learnt(workshop: Workshop) -> None:
    """However it is damaged, and whatever its text says, the outcome is the same; and another one than with it."""
    whole = train_here(workshop, 3, name="whole", start=start_of(workshop))
    found = []
    for name, damage in KINDS.items():
        damage(workshop.picture(7))
        found.append(weights(train_here(workshop, 3, name=name, start=start_of(workshop)).folder))
    assert changed(found[0], found[1]) == changed(found[1], found[2]) == set()
    assert changed(weights(whole.folder), found[0])


def start_of(shop: Workshop) -> Path:
    """A model to start stage 3 from: what a stage 1 leaves."""
    if not folder_of(shop, "start", 1).is_done:
        train_here(shop, 1, name="start")
    return folder_of(shop, "start", 1).path


def test_a_run_without_any_picture_that_can_be_read_is_one_only_on_request(workshop: Workshop) -> None:
    start = start_of(workshop)
    pictures = [number for number in range(RECORDS) if number % TEXT_ONLY_EVERY]
    for number in pictures:
        page(workshop.picture(number))
    told = Told()
    with pytest.raises(
        CvlError, match=r"32 of 40 records have pictures that cannot be read, such as .*\.jpg: "
    ) as caught:
        train_here(workshop, 3, start=start)
    assert "--set max_skipped=SHARE" in str(caught.value.hint)
    done = train_here(workshop, 3, "max_skipped=0.8", start=start, told=told)
    assert done.damaged == len(pictures)
    assert len(told.steps) == 5
    # Of a batch in which nothing is left nothing is learnt.
    assert any(step.loss == 0 for step in told.steps)
    assert any(step.loss > 1 for step in told.steps)


def test_too_many_missing_pictures_are_refused_before_anything_is_done(workshop: Workshop) -> None:
    for number in (1, 2, 3):
        workshop.picture(number).unlink()
    with pytest.raises(UsageError, match=r"3 of 40 records would be left out, more than 5.0%") as caught:
        train_here(workshop, 1)
    assert caught.value.hint == "`cvl verify-layout --stage 1` says why; --set max_skipped=0.08 goes on"
    assert not folder_of(workshop, "tiny", 1).path.exists()
    assert train_here(workshop, 1, "max_skipped=0.08").steps == 5


def test_a_refused_restart_leaves_what_was_trained(workshop: Workshop) -> None:
    done = train_here(workshop, 1)
    for number in (1, 2, 3):
        workshop.picture(number).unlink()
    with pytest.raises(UsageError, match="would be left out"):
        train_here(workshop, 1, restart=True)
    assert (done.folder / "provenance.json").is_file()
    assert weights(done.folder)


def test_without_any_record_there_is_nothing_to_train_on(workshop: Workshop) -> None:
    with pytest.raises(UsageError, match="stage 1 has no record to train on"):
        train_here(workshop, 1, "data=-tiny")


def test_an_instruction_file_that_nobody_knows_is_refused(workshop: Workshop) -> None:
    with pytest.raises(UsageError, match="`nothing`"):
        train_here(workshop, 1, "data=nothing")


@pytest.fixture
def own(workshop: Workshop) -> Workshop:
    """A tree with a data set of the user's own: four records, three pictures, one of which is missing."""
    (workshop.manifests / "mine.toml").write_text(OWN)
    folder = workshop.root.data / "mine"
    folder.mkdir()
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat of mine."}]
    text = [{"from": "human", "value": "One plus one?"}, {"from": "gpt", "value": "Two."}]
    records: list[dict[str, Any]] = [{"image": f"{number}.png", "conversations": turns} for number in range(3)]
    (folder / "mine.json").write_text(json.dumps([*records, {"conversations": text}]))
    for number in range(2):
        Image.new("RGB", (30, 30), (number, 0, 0)).save(folder / f"{number}.png")
    return workshop


def test_a_data_set_of_ones_own_joins_stage_3_by_six_lines(own: Workshop, typed: Typed) -> None:
    start = start_of(own)
    page(own.picture(6))
    done = typed(own, "train", "--stage", "3", "--model", "tiny", "--from", start, "--json")
    assert done.code == 0, done.stderr
    briefing, *steps, trained = done.lines
    assert briefing["briefing"]["data"] == [
        {"name": "tiny", "records": 40, "pictures": 32, "skipped": {}, "remarks": {}},
        {"name": "mine", "records": 3, "pictures": 2, "skipped": {"missing image": 1}, "remarks": {}},
    ]
    assert briefing["briefing"]["steps"] == len(steps) == 6
    assert [step["loss"] for step in steps] == losses(folder_of(own, "tiny", 3))
    assert (trained["damaged"], trained["already"], trained["steps"]) == (1, False, 6)
    (line,) = folder_of(own, "tiny", 3).damaged.read_text().splitlines()
    assert (json.loads(line)["annotation"], json.loads(line)["record"]) == ("tiny", 6)


def test_ones_own_data_is_no_part_of_the_other_stages(own: Workshop) -> None:
    told = Told()
    train_here(own, 1, told=told)
    assert [row.name for row in told.brief.data] == ["tiny"]

from __future__ import annotations

import json

import pytest
from bench import WORKER, Told, folder_of, train_here
from workshop import RECORDS, Workshop

from cvl.manifest import load_catalog, override
from cvl.train.batch import Batching
from cvl.train.briefing import differences
from cvl.train.parts import REPORTED
from cvl.train.progress import Briefing, DataRow

FIFTH = 310_016
PROJECTOR = 128 * 64 + 64 + 64 * 64 + 64


def brief(shop: Workshop, stage: int, *changes: str, name: str) -> Briefing:
    """What is told before the first step of a run that then takes its course."""
    told = Told()
    before = folder_of(shop, "tiny", stage - 1).path if stage > 1 else None
    train_here(shop, stage, *changes, name=name, start=before, restart=True, told=told)
    return told.brief


@pytest.fixture(scope="module")
def first(journey: Workshop) -> Briefing:
    return brief(journey, 1, name=f"briefed-{WORKER}")


def test_it_says_which_parts_learn_and_how_large_they_are(first: Briefing) -> None:
    assert tuple(part.name for part in first.parts) == REPORTED
    learning = {part.name: part.trainable for part in first.parts if part.trainable}
    assert learning == {"vision_tower.stage5": FIFTH, "projector": PROJECTOR}
    assert all(part.trainable in (0, part.parameters) for part in first.parts)
    assert sum(part.parameters for part in first.parts) == 604_584


def test_it_says_where_the_weights_come_from(journey: Workshop, first: Briefing) -> None:
    assert first.start == "vicuna-7b-v1.5 and LAION-CLIP-ConvNeXt-Large-512"
    third = brief(journey, 3, name=f"briefed-{WORKER}")
    assert third.start == f"the checkpoint at {folder_of(journey, 'tiny', 2).path}"


def test_it_says_how_the_batch_comes_about_and_how_many_steps_there_are(first: Briefing) -> None:
    assert first.batching == Batching(processes=1, micro=4, accumulation=2)
    assert (first.steps, first.warmup, first.resumed) == (RECORDS // 8, 1, 0)


@pytest.mark.parametrize(
    ("changes", "steps", "warmup"),
    [
        (["epochs=3"], 15, 1),
        (["batch_size=16"], 3, 1),  # 40 records are two and a half batches: the last one is completed
        (["batch_size=4", "warmup_ratio=0.31"], 10, 4),
        (["warmup_ratio=0"], 5, 0),
    ],
)
def test_steps_and_warm_up_are_counted_as_the_run_takes_them(
    journey: Workshop, changes: list[str], steps: int, warmup: int
) -> None:
    told = Told()
    train_here(journey, 1, *changes, name=f"counted-{WORKER}", restart=True, told=told)
    assert (told.brief.steps, told.brief.warmup) == (steps, warmup)
    assert len(told.steps) == steps
    rates = [step.learning_rate for step in told.steps]
    # The rate is that of the step: it has risen to its peak when as many steps are over.
    assert rates[warmup] == pytest.approx(1e-3)
    assert rates == sorted(rates[: warmup + 1]) + sorted(rates[warmup + 1 :], reverse=True)


def test_it_says_what_the_run_takes_of_each_file(first: Briefing) -> None:
    assert first.data == (DataRow("tiny", RECORDS, 32, {}, {}),)


def test_it_says_only_the_rates_of_parts_that_learn(journey: Workshop, first: Briefing) -> None:
    assert first.rates == {"vision_tower": 1e-3, "projector": 1e-3}
    published = brief(journey, 1, "train=+lm_head", "projector_learning_rate=1e-4", name="published-brief")
    assert published.rates == {"vision_tower": 1e-3, "projector": 1e-4, "language_model": 1e-3}


def test_it_says_what_differs_from_the_document(first: Briefing) -> None:
    told = {entry.key: (entry.value, entry.shipped) for entry in first.differences}
    assert told["learning_rate"] == (1e-3, 3e-4)
    assert told["batch_size"] == (8, 256)
    assert told["deepspeed"] == ("none", "zero2")
    assert "epochs" not in told
    assert "warmup_ratio" not in told


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_shipped_stages_differ_in_nothing(number: int) -> None:
    stage = load_catalog().stages[number]
    assert differences(stage, number) == ()
    (only,) = differences(override(stage, ["epochs=2"]), number)
    assert (only.key, only.value, only.shipped) == ("epochs", 2, 1)


def test_it_says_what_it_runs_on(first: Briefing) -> None:
    assert (first.stage, first.title, first.model) == (1, "Tiny", "Tiny")
    assert (first.precision, first.zero, first.device, first.notes) == ("fp32", "none", "CPU", ())


def test_records_left_out_and_records_mended_are_counted_by_reason(workshop: Workshop) -> None:
    records = json.loads(workshop.records.read_text())
    records[1]["conversations"] = []
    records[2]["conversations"][1]["from"] = "robot"
    records[3]["conversations"][0]["value"] = "What is it?"
    workshop.records.write_text(json.dumps(records))
    workshop.picture(4).unlink()
    told = Told()
    train_here(workshop, 1, "max_skipped=0.2", told=told)
    (row,) = told.brief.data
    assert row.records == RECORDS - 3
    assert sum(row.skipped.values()) == 3
    assert row.skipped["missing image"] == 1
    assert sum(row.remarks.values()) == 1
    assert "the picture is not seen" in next(iter(row.remarks))

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import MODEL, folder_of
from workshop import GOLDEN, RECORDS, Workshop

from cvl.errors import UsageError
from cvl.manifest import load_catalog, override
from cvl.train.batch import batching
from cvl.train.inspect import inspect
from cvl.train.job import Job
from cvl.train.progress import Inspected, Piece
from cvl.train.samples.mix import read_mix
from cvl.train.trainer import order_of

SYSTEM = (
    "<s> A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. USER: "
)


def look(shop: Workshop, count: int, *changes: str, start: Path | None = None) -> list[Inspected]:
    catalog = load_catalog(shop.manifests)
    stage = override(catalog.stages[1], changes)
    job = Job(1, stage, MODEL, MODEL, str(start) if start is not None else None)
    return inspect(catalog.with_stage(1, stage), shop.root, job, count)


def by_record(samples: list[Inspected]) -> dict[int, Inspected]:
    return {sample.record: sample for sample in samples}


def test_a_sample_with_a_picture_shows_its_tokens_and_what_is_learnt(workshop: Workshop) -> None:
    sample = by_record(look(workshop, RECORDS))[7]
    assert (sample.annotation, sample.picture, sample.dropped) == ("tiny", workshop.picture(7), 0)
    assert sample.damaged is None
    before, picture, after, answer = sample.pieces
    assert (before.text, before.labelled, before.picture) == (SYSTEM, False, False)
    # 128 pixels, a token for every 64 × 64 of them.
    assert picture == Piece("", 4, labelled=False, picture=True)
    assert after.text.strip() == "What is number 7? ASSISTANT:"
    assert (after.labelled, after.picture) == (False, False)
    assert (answer.text.strip(), answer.labelled) == ("It is green .</s>", True)


def test_a_sample_without_a_picture_has_no_tokens_of_one(workshop: Workshop) -> None:
    sample = by_record(look(workshop, RECORDS))[5]
    assert sample.picture is None
    assert [piece.picture for piece in sample.pieces] == [False, False]
    assert [piece.labelled for piece in sample.pieces] == [False, True]


def test_they_come_in_the_order_in_which_the_run_will_take_them(workshop: Workshop) -> None:
    catalog = load_catalog(workshop.manifests)
    mix = read_mix(catalog, workshop.root, 1)
    order = list(order_of(mix, catalog.stages[1], batching(8, 1, 4)))
    assert [sample.record for sample in look(workshop, 10)] == order[:10]


def test_there_are_no_more_than_the_run_has(workshop: Workshop) -> None:
    assert len(look(workshop, 1000)) == RECORDS


def test_nothing_is_trained_and_no_weights_are_put_together(workshop: Workshop) -> None:
    look(workshop, 1)
    assert not workshop.root.checkpoints.exists()


@pytest.mark.parametrize("length", [40, 60])
def test_what_is_cut_off_is_counted(workshop: Workshop, length: int) -> None:
    whole, cut = (by_record(look(workshop, RECORDS, *changes))[13] for changes in ([], [f"max_length={length}"]))
    assert sum(piece.tokens for piece in cut.pieces) == length
    assert cut.dropped == sum(piece.tokens for piece in whole.pieces) - length
    assert whole.dropped == 0


def test_a_picture_that_cannot_be_read_is_told_with_the_reason(workshop: Workshop) -> None:
    workshop.picture(7).write_bytes(b"<html>404</html>")
    workshop.picture(8).unlink()
    samples = by_record(look(workshop, RECORDS))
    for number, reason in ((7, "found b'<html>404</html>'"), (8, "No such file")):
        assert reason in str(samples[number].damaged)
        assert samples[number].pieces == ()
        assert samples[number].picture == workshop.picture(number)
    assert samples[9].damaged is None


def test_what_the_published_code_would_learn_otherwise_is_remarked(workshop: Workshop) -> None:
    records = json.loads(workshop.records.read_text())
    records[6]["conversations"][1]["value"] = "It is </s> red."
    workshop.records.write_text(json.dumps(records))
    samples = by_record(look(workshop, RECORDS))
    assert len(samples[6].remarks) == 2
    assert samples[7].remarks == ()


def test_start_weights_are_not_needed_but_their_folders_are(workshop: Workshop) -> None:
    for weights in workshop.root.at("models").glob("*/model.safetensors"):
        weights.unlink()
    assert len(look(workshop, 2)) == 2
    workshop.root.at("models/vicuna-7b-v1.5/config.json").unlink()
    with pytest.raises(UsageError, match="the start weights of tiny are not here"):
        look(workshop, 2)


def test_a_published_checkpoint_brings_its_tokenizer_and_its_towers_preprocessing(workshop: Workshop) -> None:
    expected = look(workshop, 3)
    assert look(workshop, 3, start=GOLDEN / "model/golden_ckpt") == expected


def test_a_trained_stage_serves_as_well(journey: Workshop) -> None:
    assert look(journey, 3, start=folder_of(journey, "tiny", 3).path) == look(journey, 3)

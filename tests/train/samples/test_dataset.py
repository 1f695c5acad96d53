"""Samples read from the disk when their turn comes: the same in every process, and none of them ends the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructions import GOOD, STAGE, TEXT, OwnData, having, record
from PIL import Image
from torch.utils.data import DataLoader

from cvl.annotations import Problem
from cvl.errors import AnnotationError
from cvl.manifest import Catalog
from cvl.root import Root
from cvl.train.samples.collate import Collator
from cvl.train.samples.conversation import prompt_of
from cvl.train.samples.damage import Damaged, DamageLog
from cvl.train.samples.dataset import Sample, SampleDataset
from cvl.train.samples.mix import read_mix
from cvl.train.samples.pictures import Preprocessing, open_picture, pixel_values
from cvl.train.samples.sampler import GroupedSampler
from cvl.train.samples.tokens import PICTURE, encode, load_tokenizer
from cvl.verify.verify import verify

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
HOW = Preprocessing(resolution=64, mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711))
TOKENIZER = load_tokenizer(GOLDEN / "tokenizer")
# From Python 3.12 on forking warns where there are threads: torch's, which wait and hold no lock.
IN_FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
PICTURED = record("1.png", *GOOD)
SPOKEN = record(None, *TEXT)


def dataset_of(own: OwnData) -> SampleDataset:
    return SampleDataset(read_mix(own.catalog, own.root, STAGE), TOKENIZER, HOW)


def sample(dataset: SampleDataset, number: int) -> Sample:
    found = dataset[number]
    assert isinstance(found, Sample)
    return found


def test_a_sample_is_the_record_in_tokens_and_its_picture(own: OwnData) -> None:
    own.draw("1.png")
    own.add("a", [SPOKEN, PICTURED])
    dataset = dataset_of(own)
    assert len(dataset) == 2
    found = sample(dataset, 1)
    expected = encode(TOKENIZER, prompt_of(PICTURED))
    assert np.array_equal(found.tokens.input_ids, expected.input_ids)
    assert np.array_equal(found.tokens.labels, expected.labels)
    assert np.count_nonzero(found.tokens.input_ids == PICTURE) == 1
    assert found.pixel_values is not None
    assert found.pixel_values.dtype == np.float32
    assert np.array_equal(found.pixel_values, pixel_values(open_picture(own.images / "1.png"), HOW))


def test_a_text_only_record_has_no_picture(own: OwnData) -> None:
    own.add("a", [SPOKEN])
    found = sample(dataset_of(own), 0)
    assert found.pixel_values is None
    assert PICTURE not in found.tokens.input_ids


@pytest.mark.parametrize("problem", [Problem.IMAGE_WITHOUT_PLACEHOLDER, Problem.PLACEHOLDER_WITHOUT_IMAGE])
def test_a_picture_without_a_place_in_the_text_is_not_opened(own: OwnData, problem: Problem) -> None:
    own.add("a", [having(problem)])
    assert not (own.images / "1.png").exists()
    found = sample(dataset_of(own), 0)
    assert found.pixel_values is None
    assert PICTURE not in found.tokens.input_ids


def test_numbers_are_those_of_the_mix(own: OwnData) -> None:
    own.draw("1.png", "2.png")
    own.add("a", [having(Problem.NO_ANSWER), PICTURED])
    own.add("b", [record("2.png", *GOOD)])
    dataset = dataset_of(own)
    for number, name in enumerate(("1.png", "2.png")):
        found = sample(dataset, number).pixel_values
        assert found is not None
        assert np.array_equal(found, pixel_values(open_picture(own.images / name), HOW))
    with pytest.raises(IndexError):
        dataset[2]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def page(path: Path) -> None:
    path.write_bytes(b"<html><body>404 Not Found</body></html>")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, remove, empty, page, folder])
def test_a_picture_that_cannot_be_read_is_damage_and_no_exception(own: OwnData, damage: Any) -> None:
    own.draw("1.png")
    own.add("a", [SPOKEN, PICTURED])
    own.verify()
    dataset = dataset_of(own)
    path = own.images / "1.png"
    damage(path)
    found = dataset[1]
    assert isinstance(found, Damaged)
    assert (found.annotation, found.record, found.path) == ("a", 1, str(path))
    assert found.reason
    assert str(path) not in found.reason
    assert isinstance(dataset[0], Sample)


@pytest.mark.parametrize("name", ["x" * 5000, "1.png/../1.png", "absent/1.png"])
def test_a_path_that_no_file_can_have_is_damage_and_no_exception(own: OwnData, name: str) -> None:
    own.draw("1.png")
    own.add("a", [record(name, *GOOD)])
    assert isinstance(dataset_of(own)[0], Damaged)


def test_a_path_with_a_zero_byte_is_no_path_and_its_record_is_left_out(own: OwnData) -> None:
    own.draw("1.png")
    own.add("a", [record("1.png\0", *GOOD), SPOKEN])
    assert len(dataset_of(own)) == 1


def test_a_path_that_begins_with_a_slash_stays_in_the_folder(own: OwnData, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    Image.new("RGB", (8, 8)).save(outside)
    own.add("a", [record(str(outside), *GOOD)])
    found = dataset_of(own)[0]
    assert isinstance(found, Damaged)
    assert found.path == f"{own.images}{outside}"


def rewritten(own: OwnData, records: list[Any]) -> SampleDataset:
    """A dataset whose file was written over, in place, after it was made."""
    path = own.add("a", [PICTURED, SPOKEN])
    own.draw("1.png", "2.png")
    dataset = dataset_of(own)
    path.write_text(json.dumps(records))
    return dataset


@pytest.mark.parametrize(
    "records",
    [[], [SPOKEN, PICTURED], [record("2.png", *GOOD), SPOKEN], [record("1.png", *GOOD[:1], ("bot", GOOD[1][1]))]],
    ids=["emptied", "other order", "another picture", "another speaker"],
)
def test_a_file_that_changes_while_it_is_in_use_ends_the_run_with_a_reason(own: OwnData, records: list[Any]) -> None:
    dataset = rewritten(own, records)
    with pytest.raises(AnnotationError, match=r"a\.json was changed while it was in use: record 0 ") as caught:
        dataset[0]
    assert caught.value.hint == "start again, once nobody changes the file any more"


def test_a_file_that_is_replaced_or_removed_is_read_on_as_it_was(own: OwnData) -> None:
    path = own.add("a", [SPOKEN, SPOKEN])
    dataset = dataset_of(own)
    before = sample(dataset, 1).tokens.input_ids
    path.unlink()
    assert np.array_equal(sample(dataset, 1).tokens.input_ids, before)


def everything(loader: DataLoader[Any]) -> list[dict[str, Any]]:
    return [{name: tensor.numpy().copy() for name, tensor in batch.items()} for batch in loader]


@IN_FORKS
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_worker_processes_give_the_same_batches(own: OwnData, tmp_path: Path, how: str) -> None:
    names = [f"{number}.png" for number in range(6)]
    own.draw(*names)
    own.add("a", [record(name, *GOOD) for name in names] + [SPOKEN] * 3)
    own.verify()
    cut(own.images / "4.png")
    dataset = dataset_of(own)
    logs = [DamageLog(tmp_path / name) for name in ("here.jsonl", "there.jsonl")]
    collators = [Collator(1, 2048, 0, HOW.resolution, log) for log in logs]
    sampler = GroupedSampler(dataset.mix.lengths(), 4, 2, seed=1)
    here = everything(DataLoader(dataset, 2, sampler=sampler, collate_fn=collators[0]))
    there = everything(
        DataLoader(dataset, 2, sampler=sampler, collate_fn=collators[1], num_workers=2, multiprocessing_context=how)
    )
    assert len(here) == len(there) == 6
    for one, other in zip(here, there, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert logs[0].read() == logs[1].read()
    assert [damaged.record for damaged in logs[1].read()] == [4]


@IN_FORKS
def test_an_error_in_a_worker_comes_out_as_it_is(own: OwnData) -> None:
    dataset = rewritten(own, [])
    with pytest.raises(AnnotationError) as here:
        dataset[0]
    loader = DataLoader(dataset, 1, collate_fn=list, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(AnnotationError) as there:
        next(iter(loader))
    assert (str(there.value), there.value.hint) == (str(here.value), here.value.hint)
    assert "\n" not in str(there.value)


def damage_some(root: Root, names: list[str]) -> tuple[set[str], set[str]]:
    """Removes or cuts 3 % of the pictures of these names; which are missing, and which are damaged."""
    chosen = np.random.default_rng(7).permutation(names)[: max(4, round(0.03 * len(names)))].tolist()
    missing, damaged = set(chosen[::2]), set(chosen[1::2])
    for name in missing:
        (root.data / name).unlink()
    for name in damaged:
        os.truncate(root.data / name, (root.data / name).stat().st_size // 2)
    return missing, damaged


@IN_FORKS
def test_exactly_the_records_whose_pictures_are_missing_or_damaged_are_left_out(
    complete: Root, catalog: Catalog, tmp_path: Path
) -> None:
    records = json.loads(complete.at("data/llava/llava_v1_5_mix665k.json").read_bytes())
    images = [item.get("image") for item in records]
    missing, damaged = damage_some(complete, sorted({image for image in images if image}))
    lost, broken = ([n for n, image in enumerate(images) if image in names] for names in (missing, damaged))
    verify(catalog, complete, STAGE)

    mix = read_mix(catalog, complete, STAGE)
    (part,) = mix.parts
    assert mix.skipped == {"missing image": len(lost)}
    assert part.numbers.tolist() == sorted(set(range(len(records))) - set(lost))

    log = DamageLog(tmp_path / "damaged.jsonl")
    dataset = SampleDataset(mix, TOKENIZER, HOW)
    loader = DataLoader(dataset, 16, collate_fn=Collator(1, 2048, 0, HOW.resolution, log), num_workers=1)
    batches = everything(loader)
    assert [noted.record for noted in log.read()] == broken
    assert {Path(noted.path).relative_to(complete.data).as_posix() for noted in log.read()} == damaged
    assert sum(len(batch["input_ids"]) for batch in batches) == len(records) - len(lost) - len(broken)
    seen = sum(int((batch["input_ids"] == PICTURE).sum()) for batch in batches)
    assert seen == sum(image is not None for image in images) - len(lost) - len(broken)

"""The log of damaged pictures, written by many processes at once."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from pathlib import Path

import pytest

from cvl.errors import DiskError
from cvl.train.samples.damage import Damaged, DamageLog

FIRST = Damaged("llava665k", 7, "data/coco/train2017/7.jpg", "cut short")
SECOND = Damaged("llava665k", 12, "data/gqa/images/12.jpg", "empty file")
OTHER = Damaged("sharegpt4v100k", 3, "data/wikiart/images/\udce9.jpg", "not a picture")


@pytest.fixture
def log(tmp_path: Path) -> DamageLog:
    return DamageLog(tmp_path / "damaged.jsonl")


def test_a_log_that_nobody_wrote_is_empty(log: DamageLog) -> None:
    assert log.read() == ()
    assert not log.path.exists()


def test_records_are_read_by_file_and_number_each_once(log: DamageLog) -> None:
    for damaged in (OTHER, SECOND, FIRST, SECOND, FIRST):
        log(damaged)
    assert log.read() == (FIRST, SECOND, OTHER)


def test_of_two_reasons_for_one_record_the_first_is_kept(log: DamageLog) -> None:
    log(FIRST)
    log(Damaged(FIRST.annotation, FIRST.record, FIRST.path, "no such file"))
    assert log.read() == (FIRST,)


def test_each_record_is_a_line_for_people_and_programs(log: DamageLog) -> None:
    log(FIRST)
    log(OTHER)
    lines = [json.loads(line) for line in log.path.read_bytes().splitlines()]
    assert lines[0] == {
        "annotation": "llava665k",
        "record": 7,
        "path": "data/coco/train2017/7.jpg",
        "reason": "cut short",
    }
    assert lines[1]["path"] == OTHER.path


@pytest.mark.parametrize("end", [1, 20, -1])
def test_a_line_that_was_not_finished_is_passed_over(log: DamageLog, end: int) -> None:
    log(FIRST)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole[: end if end > 0 else len(whole) - 2])
    assert log.read() == (FIRST,)


@pytest.mark.parametrize("line", ["", "null", "5", "[]", "{}", '{"annotation": "a"}', '{"annotation": "a", "rest": 1}'])
def test_a_line_that_is_no_record_is_passed_over(log: DamageLog, line: str) -> None:
    log.path.write_text(f"{line}\n")
    log(FIRST)
    assert log.read() == (FIRST,)


def test_a_log_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="damaged"):
        DamageLog(tmp_path / "nowhere" / "damaged.jsonl")(FIRST)


def _note(log: DamageLog, first: int) -> None:
    for number in range(first, first + 200):
        log(Damaged("a", number, f"data/{'x' * (number % 300)}.jpg", "cut short"))


def test_processes_that_write_at_once_keep_their_lines_apart(log: DamageLog) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_note, args=(log, 200 * writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert [damaged.record for damaged in log.read()] == list(range(600))


def test_a_log_is_sent_by_its_path(log: DamageLog) -> None:
    pickle.loads(pickle.dumps(log))(FIRST)
    assert log.read() == (FIRST,)

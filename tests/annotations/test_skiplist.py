"""The skip list: ranges of record numbers by reason, void once their instruction file changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cvl.annotations import AnnotationFile, index_of
from cvl.annotations.skiplist import MISSING_IMAGE, VERSION, SkipEntry, entry, read_skiplist, update_skiplist
from cvl.errors import UsageError

RECORD = {
    "image": "coco/1.jpg",
    "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A circle."}],
}


@pytest.fixture
def file(tmp_path: Path) -> AnnotationFile:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([RECORD] * 12))
    return AnnotationFile("mine", path, "data")


def test_an_entry_says_which_records_of_which_file(file: AnnotationFile, tmp_path: Path) -> None:
    with index_of(file, tmp_path / "index") as index:
        made = entry(index, {MISSING_IMAGE: [0, 1, 2, 7], "no-answer": [11]})
        assert made.speaks_of(index)
    assert (made.size, made.mtime_ns) == (file.path.stat().st_size, file.path.stat().st_mtime_ns)
    assert made.records == 12
    assert made.reasons == {"missing-image": "0-2,7", "no-answer": "11"}
    assert made.numbers() == {0, 1, 2, 7, 11}


def test_a_mask_says_of_each_record_whether_it_is_skipped() -> None:
    made = SkipEntry(1, 1, 9, {"missing-image": "0,3-4,8", "no-answer": "4"})
    assert np.flatnonzero(made.mask("missing-image")).tolist() == [0, 3, 4, 8]
    assert made.mask("no-answer").tolist() == [False] * 4 + [True] + [False] * 4


def test_a_reason_that_no_record_has_is_left_out(file: AnnotationFile, tmp_path: Path) -> None:
    with index_of(file, tmp_path / "index") as index:
        assert entry(index, {MISSING_IMAGE: []}).reasons == {}


def test_a_record_with_two_reasons_is_skipped_once() -> None:
    assert SkipEntry(1, 1, 9, {"missing-image": "3-4", "no-answer": "4"}).numbers() == {3, 4}


def test_an_entry_is_void_once_its_file_has_changed(file: AnnotationFile, tmp_path: Path) -> None:
    with index_of(file, tmp_path / "index") as index:
        made = entry(index, {MISSING_IMAGE: [3]})
    os.utime(file.path, ns=(1, 1))
    with index_of(file, tmp_path / "index") as index:
        assert not made.speaks_of(index)


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = {"a": SkipEntry(10, 20, 30, {"missing-image": "1"}), "b": SkipEntry(1, 2, 3, {})}
    update_skiplist(tmp_path / "notes" / "skiplist.json", entries)
    assert read_skiplist(tmp_path / "notes" / "skiplist.json") == entries


def test_entries_of_other_files_stay(tmp_path: Path) -> None:
    path = tmp_path / "skiplist.json"
    update_skiplist(path, {"a": SkipEntry(1, 1, 1, {"missing-image": "0"}), "b": SkipEntry(1, 1, 1, {})})
    update_skiplist(path, {"a": SkipEntry(2, 2, 2, {})})
    assert read_skiplist(path) == {"a": SkipEntry(2, 2, 2, {}), "b": SkipEntry(1, 1, 1, {})}


def test_the_file_can_be_read_by_people_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "skiplist.json"
    update_skiplist(path, {"b": SkipEntry(1, 1, 1, {}), "a": SkipEntry(1, 1, 1, {})})
    text = path.read_text()
    assert text.endswith("}\n")
    assert text.index('"a"') < text.index('"b"')
    assert json.loads(text)["version"] == VERSION


def test_without_a_file_nothing_is_skipped(tmp_path: Path) -> None:
    assert read_skiplist(tmp_path / "skiplist.json") == {}


ENTRY = '{{"version": 1, "annotations": {{"a": {{"size": 1, "mtime_ns": 1, "records": 9, "reasons": {{"x": "{}"}}}}}}}}'


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"version": 1}',
        '{"version": 99, "annotations": {}}',
        *map(ENTRY.format, ("", "all", "1-", "1,,2", "-1")),
    ],
)
def test_what_is_no_skip_list_of_this_version_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "skiplist.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="skiplist") as caught:
        read_skiplist(path)
    assert caught.value.hint == "remove it and run `cvl verify-layout`"
    assert path.read_text() == content

"""The report as a value and as the file that `cvl status` reads."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cvl.verify.report import VERSION, AnnotationState, FolderState, Kind, Problem, Report
from cvl.verify.verify import read_report


def problem(kind: Kind, count: int) -> Problem:
    return Problem(kind, "coco", "data/coco/train2017", count, "2 pictures", "cvl fetch coco", ("data/coco/1.jpg",))


REPORT = Report(
    stage=None,
    folders=(FolderState("coco", "data/coco/train2017", 3, 1), FolderState("web", "data/web/images", None, 7)),
    annotations=(AnnotationState("llava665k", "data/llava/a.json", 10, 2, 3, {"missing-image": 3}, {"odd": 1}),),
    problems=(problem(Kind.MISSING_FILES, 2), problem(Kind.MISSING_IMAGES, 3), problem(Kind.MISSING_IMAGES, 4)),
    stages={1: True, 3: False},
)


def write(path: Path, report: Report) -> Path:
    path.write_bytes(msgspec.json.encode(report))
    return path


def test_images_missing_are_those_that_an_instruction_file_names() -> None:
    assert REPORT.images_missing == 7


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_report(write(tmp_path / "verify.json", REPORT)) == REPORT


def test_kinds_are_written_as_words() -> None:
    written = msgspec.json.decode(msgspec.json.encode(REPORT))
    assert [entry["kind"] for entry in written["problems"]] == ["missing-files", "missing-images", "missing-images"]
    assert written["version"] == VERSION


def test_without_a_report_there_is_none(tmp_path: Path) -> None:
    assert read_report(tmp_path / "verify.json") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stage": 1}'])
def test_what_is_no_report_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "verify.json").write_bytes(content)
    assert read_report(tmp_path / "verify.json") is None


def test_a_report_of_another_version_is_passed_over(tmp_path: Path) -> None:
    other = msgspec.structs.replace(REPORT, version=VERSION + 1)
    assert read_report(write(tmp_path / "verify.json", other)) is None

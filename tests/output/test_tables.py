"""Results as people see them: what must be said, where, and with which next step."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cvl.convert.jpeg import ConversionReport, Converted, Left, Removal
from cvl.images import ImageKind
from cvl.manifest import Catalog
from cvl.output import converted, tables
from cvl.root import Root
from cvl.status import SourceStatus, StageStatus, Status, source_status
from cvl.verify.report import AnnotationState, FolderState, Kind, Problem, Report

LONG_CURE = "find /somewhere/very/deep/VG_100K/VG_100K -mindepth 1 -maxdepth 1 -exec mv -n -t /somewhere {} +"


def row(out: str, first: str) -> list[str]:
    """The cells of the line that begins with `first`."""
    line = next(line for line in out.splitlines() if line.startswith(first))
    return re.split(r"\s{2,}", line.strip())


def test_sources_are_listed_with_what_each_asks(
    catalog: Catalog, tree: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.print_sources(catalog, source_status(catalog, tree))
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1 + len(catalog.sources)
    assert row(out, "sam")[3:] == [
        "1,2",
        "0 of 51",
        "SA-1B Dataset Research License",
        "accept Meta's licence and save its list of links",
    ]
    assert row(out, "gqa")[4:] == ["0 of 1", "not stated", "nothing"]


def test_a_source_in_full_tells_where_every_file_comes_from_and_lands(
    catalog: Catalog, tree: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    (status,) = source_status(catalog, tree, ("webdata",))
    tables.print_source(catalog.sources["webdata"], status)
    out = capsys.readouterr().out
    assert "academic use only" in out
    assert row(out, "webdata-wikiart.zip")[2:] == [
        "sha256, single-source",
        "data",
        "gdrive://1FxB2Nw-vWUcTUSI_dBpPIykb-uGYoEqV",
    ]


@pytest.mark.parametrize("name", ["allava", "coco", "convnext", "lcs", "llava", "ocrvqa", "sam", "vflan", "vg"])
def test_every_kind_of_source_can_be_shown_in_full(
    catalog: Catalog, tree: Root, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (status,) = source_status(catalog, tree, (name,))
    tables.print_source(catalog.sources[name], status)
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: {catalog.sources[name].title}\n")
    assert all(file.url in out for file in catalog.sources[name].files)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sam", "gate: visit https://ai.meta.com/datasets/segment-anything-downloads/: accept the licence there"),
        ("sam", "(--mirror hub-backup: a re-upload whose licence status is unclear)"),
        ("coco", "mirror: https://s3.amazonaws.com/images.cocodataset.org/zips/train2017.zip (used by itself"),
        ("ocrvqa", "alternative: --alternative ocrvqa=urls: "),
        ("vflan", "link: data/allava/allava_vflan/images/images_191task_1k → data/vflan/images_191task_1k"),
    ],
)
def test_a_source_in_full_tells_of_its_gate_and_of_other_ways(
    catalog: Catalog, tree: Root, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    (status,) = source_status(catalog, tree, (name,))
    tables.print_source(catalog.sources[name], status)
    assert said in capsys.readouterr().out


def test_a_conversion_is_summed_up_and_what_it_left_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    made = (Converted("1.gif", "1.jpg", ImageKind.GIF, 10), Converted("2.jpg", "2.jpg", ImageKind.GIF, 10))
    report = ConversionReport(5, 1, 1, converted=made, unreadable=(Left("3.jpg", "empty file"),))
    converted.print_converted(report, dry_run=False)
    out, err = capsys.readouterr()
    assert out == ("5 files looked at: 1 are JPEGs, 1 were converted before, 2 converted (2 GIF), 1 cannot be read\n")
    assert err == "3.jpg: empty file\n"
    converted.print_converted(report, dry_run=True)
    assert "2 would be converted (2 GIF)" in capsys.readouterr().out


def test_removed_originals_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    converted.print_removed(Removal(2, 3000, (Left("a/1.jpg", "1.jpg is cut short"),)))
    assert capsys.readouterr() == ("2 originals removed, 3.0 kB freed, 1 kept\n", "a/1.jpg: 1.jpg is cut short\n")


REPORT = Report(
    stage=None,
    folders=(FolderState("coco", "data/coco/train2017", 118_287, 0), FolderState("web", "data/web/images", None, 7)),
    annotations=(
        AnnotationState("llava665k", "data/llava/a.json", 665_298, 40_688, 7, {"missing-image": 7, "no-answer": 1}, {}),
        AnnotationState("lcs", "data/lcs.json", 0, 0, 0, {}, {}),
    ),
    problems=(
        Problem(Kind.MISSING_IMAGES, "gqa", "data/gqa/images", 7, "7 pictures", "cvl fetch gqa", ("data/gqa/1.jpg",)),
        Problem(Kind.DOUBLED_FOLDER, "vg", "data/vg/VG_100K/VG_100K", 3, "3 files", LONG_CURE),
    ),
    stages={1: True, 3: False},
)


def test_a_report_tells_folders_files_problems_and_stages(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_report(REPORT)
    out = capsys.readouterr().out
    assert row(out, "data/coco/train2017") == ["data/coco/train2017", "coco", "118,287", "0"]
    assert row(out, "data/web/images") == ["data/web/images", "web", "any", "7"]
    assert row(out, "llava665k")[1:] == ["665,298", "40,688", "7", "7 missing-image, 1 no-answer"]
    assert row(out, "lcs")[1:] == ["0", "0", "0", "none"]
    assert "missing-images data/gqa/images: 7 pictures\n    data/gqa/1.jpg\n  cure: cvl fetch gqa\n" in out
    assert out.endswith("stage 1: ready\nstage 3: not ready\n7 images missing, 2 problems\n")


def test_a_cure_is_one_line_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "40")
    tables.print_report(REPORT)
    assert LONG_CURE in capsys.readouterr().out


STATUS = Status(
    root="/trees/ShareGPT4V",
    sources=(
        SourceStatus("coco", 1, 1, 19_336_861_798, 19_336_861_798, (1, 2, 3)),
        SourceStatus("mine", 0, 0, 0, 0, ()),
    ),
    stages=(StageStatus(1, "Projector initialisation", True, ("7b-768",)), StageStatus(3, "Tuning", None, ())),
    verified_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    problems=2,
    next_command="cvl verify-layout",
)


def test_status_tells_where_the_journey_stands_and_what_is_next(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_status(STATUS)
    out = capsys.readouterr().out
    assert out.startswith("tree: /trees/ShareGPT4V\n")
    assert row(out, "coco") == ["coco", "1,2,3", "1/1", "19.3 GB of 19.3 GB"]
    assert row(out, "mine") == ["mine", "-", "0/0", "0 B of ?"]
    assert "last verified: 2026-01-02 03:04 UTC, 2 problems\n" in out
    assert "stage 1, Projector initialisation: data complete yes, trained 7b-768\n" in out
    assert "stage 3, Tuning: data complete not asked, trained not yet\n" in out
    assert out.endswith("next: cvl verify-layout\n")


def test_status_of_a_tree_that_nobody_verified(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_status(replace(STATUS, verified_at=None))
    assert "last verified: never\n" in capsys.readouterr().out


def test_status_of_a_proven_tree_leads_on_to_training(capsys: pytest.CaptureFixture[str]) -> None:
    stages = (replace(STATUS.stages[0], begun=("wider",)),)
    tables.print_status(replace(STATUS, stages=stages, next_command="cvl train --stage 2"))
    out = capsys.readouterr().out
    assert "trained 7b-768, wider begun" in out
    assert out.splitlines()[-1] == "next: cvl train --stage 2"

"""Repairs as people see them: shown first, then done, then taken back."""

from __future__ import annotations

import re

import pytest

from cvl.output.repairs import print_applied, print_repairs, print_undone
from cvl.verify.repair import Applied, Left, Plan, Repair, RepairKind, Undone

FLATTEN = Repair(
    RepairKind.DOUBLED_FOLDER,
    "vg",
    "data/vg/VG_100K/VG_100K",
    "data/vg/VG_100K",
    64_346,
    "unpacked one folder too deep",
)
CONVERT = Repair(RepairKind.NOT_JPEG, "", "data/mine/1.jpg", "data/mine/1.jpg", 1, "a GIF under the name of a JPEG")


def cells(out: str, first: str) -> list[str]:
    line = next(line for line in out.splitlines() if line.startswith(first))
    return re.split(r"\s{2,}", line.strip())


def test_every_repair_has_a_line_with_what_becomes_what_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    print_repairs(Plan((FLATTEN, CONVERT)))
    out, err = capsys.readouterr()
    assert cells(out, str(FLATTEN.kind))[1:] == ["vg", "64,346", FLATTEN.path, FLATTEN.to, FLATTEN.why]
    assert cells(out, str(CONVERT.kind))[1:] == ["-", "1", CONVERT.path, "a JPEG of that name", CONVERT.why]
    assert "2 repairs, 64,347 files; no picture is deleted" in out
    assert err == ""


def test_where_nothing_can_be_repaired_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_repairs(Plan())
    assert capsys.readouterr() == ("nothing here is a mistake that can be repaired without asking anybody\n", "")


def test_what_is_left_is_named_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    print_repairs(Plan((FLATTEN,), (Left("data/[bold]gqa", "two folders could be it"),)))
    assert capsys.readouterr().err == "left as it is: data/[bold]gqa: two folders could be it\n"


def test_of_very_much_that_is_left_the_rest_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    print_applied(Applied(1, 1, tuple(Left(f"data/{number}.jpg", "cut short") for number in range(1_234))))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 51
    assert lines[-1] == "and 1,184 more"


def test_what_was_done_ends_with_how_to_take_it_back(capsys: pytest.CaptureFixture[str]) -> None:
    print_applied(Applied(1, 2_000))
    assert capsys.readouterr().out == (
        "1 repair done, 2,000 names changed\nto take it back: cvl verify-layout --undo\n"
    )


def test_where_no_name_was_changed_there_is_nothing_to_take_back(capsys: pytest.CaptureFixture[str]) -> None:
    print_applied(Applied(0, 0))
    assert "--undo" not in capsys.readouterr().out


def test_what_was_taken_back_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    print_undone(Undone("20261122T101530", 1))
    print_undone(None)
    assert capsys.readouterr().out == (
        "the repair of 20261122T101530 is taken back: 1 name as before\nthere is no repair to take back\n"
    )

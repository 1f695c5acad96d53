"""The benchmark of conversion runs, small, and finds the same pictures made by ours and by the document's loop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from contests import Outcome, run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run("convert.py", tmp_path_factory.mktemp("convert"), "--rounds", "2")


def test_every_scenario_has_its_figures(done: Outcome) -> None:
    assert done.code == 0, done.stderr
    assert list(done.report["scenarios"]) == ["gifs", "scan"]
    for name, count in (("gifs", 60), ("scan", 300)):
        figures = done.rows(name)["cvl convert"]["figures"]
        assert figures["rate"] == pytest.approx(count / figures["seconds"])
        assert len(figures["runs"]) == 2
        assert figures["ratio"] == 1
        assert done.report["scenarios"][name]["load_before"] >= 0


def test_the_document_s_loop_is_compared_with_and_makes_the_same(done: Outcome) -> None:
    loop = done.rows("gifs")["the document's loop"]
    assert loop["trouble"] == ""
    assert loop["figures"]["ratio"] > 0


def test_each_scenario_has_a_table(done: Outcome) -> None:
    tables = done.stdout.strip().split("\n\n")
    for table, (name, scenario) in zip(tables, done.report["scenarios"].items(), strict=True):
        title, header, *lines = table.splitlines()
        assert title.startswith(f"{name}: {scenario['files']} ")
        assert header.split()[0] == "seconds"
        assert [line.strip().startswith(row["name"]) for line, row in zip(lines, scenario["rows"], strict=True)]


def test_nothing_is_left_behind(done: Outcome) -> None:
    assert done.left == []


def test_who_is_not_installed_has_a_row_that_says_so(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    done = run("convert.py", tmp_path, "--rounds", "1", path=str(programs))
    assert done.code == 0, done.stderr
    assert done.rows("gifs")["mogrify -format jpg"]["trouble"] == "mogrify is not installed"
    assert done.rows("scan")["file"]["trouble"] == "file is not installed"
    assert "find is not installed" in done.stdout


def test_a_program_that_makes_too_few_is_found_out(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mogrify").write_text("#!/bin/sh\nexit 0\n")
    (programs / "mogrify").chmod(0o755)
    done = run("convert.py", tmp_path, "--rounds", "1", "--scenario", "gifs", path=f"{programs}:{os.environ['PATH']}")
    assert done.rows("gifs")["mogrify -format jpg"]["trouble"] == "expected 60 JPEGs, found 0"
    assert done.code == 0

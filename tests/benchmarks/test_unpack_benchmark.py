"""The benchmark of unpacking runs, with miniatures of its archives, and says who is not there to be compared with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from contests import Outcome, run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run("unpack.py", tmp_path_factory.mktemp("unpack"), "--rounds", "1")


def test_every_archive_is_unpacked_and_has_its_figures(done: Outcome) -> None:
    assert done.code == 0, done.stderr
    assert list(done.report["scenarios"]) == ["stored", "deflated", "tar.gz"]
    for name, scenario in done.report["scenarios"].items():
        figures = done.rows(name)["cvl"]["figures"]
        assert figures["rate"] == pytest.approx(scenario["files"] / figures["seconds"])
        assert figures["ratio"] == 1
        assert figures["peak"] > 10_000_000


def test_each_scenario_has_a_table_and_nothing_is_left(done: Outcome) -> None:
    tables = done.stdout.strip().split("\n\n")
    for table, name in zip(tables, done.report["scenarios"], strict=True):
        assert table.startswith(f"{name}: ")
    assert done.left == []


def test_gnu_tar_is_compared_with(done: Outcome) -> None:
    ours, theirs = (done.rows("tar.gz")[name]["figures"] for name in ("cvl", "tar xzf"))
    assert theirs["ratio"] == pytest.approx(theirs["seconds"] / ours["seconds"])


def test_who_is_not_installed_has_a_row_that_says_so(tmp_path: Path) -> None:
    done = run("unpack.py", tmp_path, "--rounds", "1", "--scenario", "stored", path=str(tmp_path))
    assert done.code == 0, done.stderr
    troubles = {name: row["trouble"] for name, row in done.rows("stored").items()}
    assert troubles == {"cvl": "", "unzip": "unzip is not installed", "bsdtar": "bsdtar is not installed"}


def test_a_contender_that_brings_other_bytes_is_found_out(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "unzip").write_text(
        '#!/bin/sh\nfor last; do :; done\nmkdir -p "$last/images"\necho > "$last/images/1"\n'
    )
    (programs / "unzip").chmod(0o755)
    done = run("unpack.py", tmp_path, "--rounds", "1", "--scenario", "stored", path=f"{programs}:{os.environ['PATH']}")
    assert done.rows("stored")["unzip"]["trouble"] == "expected 40 files, found 1, 0 of them right"
    assert done.code == 0

"""The benchmark of fetching runs, with miniatures of its scenarios, and says who is not there to be compared with."""

from __future__ import annotations

import os
from pathlib import Path

import nginx
import pytest
from contests import Outcome, run

pytestmark = pytest.mark.skipif(nginx.PROGRAM is None, reason=nginx.ABSENT)

MANY = ("small", "ledger")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run("fetch.py", tmp_path_factory.mktemp("fetch"), "--rounds", "1")


def test_every_scenario_is_fetched_and_has_its_figures(done: Outcome) -> None:
    assert done.code == 0, done.stderr
    assert list(done.report["scenarios"]) == ["big", "limited", "hub", "drive", "small", "ledger"]
    for name, scenario in done.report["scenarios"].items():
        figures = done.rows(name)["cvl"]["figures"]
        amount = scenario["files"] if name in MANY else scenario["bytes"]
        assert figures["rate"] == pytest.approx(amount / figures["seconds"])
        assert len(figures["runs"]) == 1
        assert figures["cpu"] > 0
        assert figures["peak"] > 10_000_000
        assert figures["ratio"] == 1


def test_cpu_is_stated_for_a_gigabyte_where_bytes_move(done: Outcome) -> None:
    figures = done.rows("big")["cvl"]["figures"]
    assert figures["cpu_per_gb"] == pytest.approx(figures["cpu"] / 3_000_000 * 1e9)
    assert done.rows("ledger")["cvl"]["figures"]["cpu_per_gb"] is None


def test_the_hub_s_and_drive_s_own_programs_are_compared_with(done: Outcome) -> None:
    for scenario, name in (("hub", "hf download, then sha256sum"), ("drive", "gdown, then sha256sum")):
        ours, theirs = done.rows(scenario)["cvl"]["figures"], done.rows(scenario)[name]["figures"]
        assert theirs["ratio"] == pytest.approx(theirs["seconds"] / ours["seconds"])


def test_the_share_of_a_limit_is_of_all_connections(done: Outcome) -> None:
    figures = done.rows("limited")["cvl"]["figures"]
    assert figures["notes"]["share"] == pytest.approx(3_000_000 / (4 * 1_000_000 * figures["seconds"]))
    assert 1 <= figures["notes"]["connections_at_once"] <= 4


def test_each_scenario_has_a_table(done: Outcome) -> None:
    tables = done.stdout.strip().split("\n\n")
    for table, (name, scenario) in zip(tables, done.report["scenarios"].items(), strict=True):
        title, header, *lines = table.splitlines()
        assert title.startswith(f"{name}: ")
        assert header.split()[0] == "seconds"
        assert [line.strip().startswith(row["name"]) for line, row in zip(lines, scenario["rows"], strict=True)]


def test_nothing_is_left_behind(done: Outcome) -> None:
    assert done.left == []


def test_who_is_not_installed_has_a_row_that_says_so(tmp_path: Path) -> None:
    done = run("fetch.py", tmp_path, "--rounds", "1", "--scenario", "big", "small", path=str(tmp_path))
    assert done.code == 0, done.stderr
    assert done.rows("big")["cvl"]["figures"]
    absent = {row["name"]: row["trouble"] for scenario in ("big", "small") for row in done.rows(scenario).values()}
    assert absent == {
        "cvl": "",
        "aria2c -x16 -s16 --checksum": "aria2c is not installed",
        "curl, then sha256sum": "curl is not installed",
        "aria2c -j32": "aria2c is not installed",
        "img2dataset": "img2dataset is not installed",
    }
    assert "aria2c is not installed" in done.stdout


def test_a_contender_that_brings_other_bytes_is_found_out_and_tells_in_its_row(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "aria2c").write_text('#!/bin/sh\nwhile [ "$1" != -d ]; do shift; done\necho nothing > "$2/big.bin"\n')
    (programs / "aria2c").chmod(0o755)
    done = run("fetch.py", tmp_path, "--rounds", "1", "--scenario", "big", path=f"{programs}:{os.environ['PATH']}")
    row = done.rows("big")["aria2c -x16 -s16 --checksum"]
    assert row["figures"] is None
    assert row["trouble"].startswith("expected one file of 3000000 bytes")
    assert done.code == 0


def test_medians_and_ratios_are_over_the_rounds_in_alternating_order(tmp_path: Path) -> None:
    done = run("fetch.py", tmp_path, "--rounds", "3", "--scenario", "big")
    mine = done.rows("big")["cvl"]["figures"]
    for row in done.rows("big").values():
        if figures := row["figures"]:
            assert figures["seconds"] == sorted(figures["runs"])[1]
            ratios = [theirs / ours for theirs, ours in zip(figures["runs"], mine["runs"], strict=True)]
            assert figures["ratio"] == pytest.approx(sorted(ratios)[1])
    present = [row["name"] for row in done.rows("big").values() if row["figures"]]
    told = [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("round ")]
    assert told == [*present, *reversed(present), *present]

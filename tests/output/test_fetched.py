"""A fetch before and after: what must be said of it, where, and with which next step."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cvl.download.lists.expand import Expanded
from cvl.download.plan import Action, Plan, Step
from cvl.download.run import Outcome, Result
from cvl.download.select import Remote
from cvl.download.survey import Found, Presence
from cvl.errors import GateError, GoneError, RefusedError
from cvl.manifest import Link
from cvl.output.console import print_json
from cvl.output.fetched import plain_result, print_fetched, print_plan, print_skipped

COCO = Remote("coco", "coco-train2017.zip", ("http://host.example/train2017.zip",), size=2_000_000)
GQA = Remote("gqa", "gqa-images.zip", ("https://host.example/images.zip",))
BOOKS = replace(COCO, source="ocrvqa", name="books.json")
LEDGER = Path("ledgers/books.sqlite")


def row(out: str, first: str) -> list[str]:
    """The cells of the line that begins with `first`."""
    line = next(line for line in out.splitlines() if line.startswith(first))
    return re.split(r"\s{2,}", line.strip())


def step(remote: Remote, action: Action, left: int | None) -> Step:
    return Step(remote, action, Found(Presence.ABSENT), left)


def short(reasons: Mapping[str, int], *, gone: int = 2, failed: int = 1, missing: Path | None = None) -> Result:
    expanded = Expanded(done=380, gone=gone, failed=failed, bytes=9, ledger=LEDGER, reasons=reasons, missing=missing)
    return Result((Outcome(BOOKS, expanded=expanded),))


class TestPlan:
    def test_a_plan_names_every_file_and_what_it_costs(self, capsys: pytest.CaptureFixture[str]) -> None:
        steps = (step(COCO, Action.RESUME, 1_500_000), step(GQA, Action.FETCH, None), step(COCO, Action.KEEP, 0))
        link = Link(path="data/b/images", target="data/a/images")
        print_plan(Plan(steps, (link,), True, 4_000_000, 9_000_000_000))
        out = capsys.readouterr().out
        assert row(out, "coco") == ["coco", COCO.name, "resume", "1.5 MB", COCO.urls[0]]
        assert row(out, "gqa") == ["gqa", GQA.name, "fetch", "?", GQA.urls[0]]
        assert "data/b/images" in out
        assert out.splitlines()[-1] == (
            "to move: 1.5 MB and 1 file of unknown size; on disk at its peak: 4.0 MB of 9.0 GB free"
        )

    def test_sources_that_a_plan_leaves_out_are_told_on_stderr(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_skipped({"sam": GateError("there is no list of links", hint="visit https://ai.example/")})
        assert capsys.readouterr() == ("", "sam: skipped: there is no list of links\n")


class TestSummary:
    def test_what_was_fetched_is_summed_up_by_source_and_in_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        outcomes = (
            Outcome(COCO, bytes=1_000_000, seconds=10.0),
            Outcome(replace(COCO, name="b.zip"), bytes=500_000, seconds=5.0),
            Outcome(GQA, bytes=7_000, seconds=0.5),
        )
        print_fetched(Result(outcomes, kept=3, links=2, seconds=10.0))
        out, err = capsys.readouterr()
        assert row(out, "source") == ["source", "fetched", "bytes", "time in sum", "rate a file", "failed"]
        assert row(out, "coco") == ["coco", "2", "1.5 MB", "15 s", "100 kB/s", "0"]
        assert row(out, "gqa") == ["gqa", "1", "7.0 kB", "0.5 s", "14.0 kB/s", "0"]
        assert row(out, "in all") == ["in all", "3", "1.5 MB", "16 s", "97.2 kB/s", "0"]
        assert out.splitlines()[-1] == ("3 files fetched (1.5 MB in 10 s, 151 kB/s), 3 were here already, 2 links made")
        assert err == ""

    def test_one_source_needs_no_row_for_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_fetched(Result((Outcome(COCO, bytes=2_000_000, seconds=4.0),), kept=1, links=1, seconds=4.0))
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3
        assert lines[-1] == "1 file fetched (2.0 MB in 4 s, 500 kB/s), 1 was here already, 1 link made"

    def test_what_moved_nothing_has_no_rate(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_fetched(Result((Outcome(COCO, seconds=30.0), Outcome(GQA)), seconds=30.0))
        out = capsys.readouterr().out
        assert row(out, "coco") == ["coco", "1", "0 B", "30 s", "-", "0"]
        assert row(out, "gqa") == ["gqa", "1", "0 B", "-", "-", "0"]
        assert out.splitlines()[-1] == "2 files fetched (0 B), 0 were here already"

    def test_nothing_to_do_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_fetched(Result(kept=83))
        assert capsys.readouterr() == ("0 files fetched (0 B), 83 were here already\n", "")

    def test_scripts_get_the_same_in_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        outcomes = (Outcome(COCO, bytes=1000, seconds=2.0), Outcome(GQA, GoneError("404")))
        print_json(plain_result(Result(outcomes, seconds=2.5)))
        told = json.loads(capsys.readouterr().out)
        assert (told["kind"], told["bytes"], told["failed"]) == ("result", 1000, 1)
        assert told["result"]["seconds"] == 2.5
        assert [outcome["seconds"] for outcome in told["result"]["outcomes"]] == [2.0, 0.0]


class TestFailures:
    def test_failures_are_told_on_stderr_each_with_a_hint(self, capsys: pytest.CaptureFixture[str]) -> None:
        gone = GoneError("http://host.example/train2017.zip: the server says 404")
        refused = RefusedError("no list", hint="name it with --sam-links")
        result = Result((Outcome(COCO, gone), Outcome(GQA, refused)), link_errors=(GoneError("two match"),))
        print_fetched(result)
        out, err = capsys.readouterr()
        assert row(out, "coco") == ["coco", "0", "0 B", "-", "-", "1"]
        assert row(out, "in all") == ["in all", "0", "0 B", "-", "-", "2"]
        assert err.splitlines() == [
            f"{COCO.name} failed: {gone}",
            "  hint: run the same command again",
            f"{GQA.name} failed: no list",
            "  hint: name it with --sam-links",
            "link failed: two match",
        ]

    def test_a_list_tells_how_many_are_missing_why_and_where_each_is_named(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        missing = Path("/a/tree/data/.cvl/ledgers/books.missing.tsv")
        result = short({"the server says 404": 1_800, "timed out": 2}, gone=1_800, failed=2, missing=missing)
        assert result.failed
        print_fetched(result)
        assert capsys.readouterr().err.splitlines() == [
            "books.json: 1,800 addresses are gone for good, 2 failed for now",
            "  1,800: the server says 404",
            "  2: timed out",
            f"  each with its reason: {missing}",
            "  hint: --retry-failed asks all of them again",
        ]

    def test_of_many_reasons_the_rest_is_counted(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_fetched(short({f"reason {number}": 10 - number for number in range(8)}, gone=1, failed=51))
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "books.json: 1 address is gone for good, 51 failed for now"
        assert lines[5:7] == ["  6: reason 4", "  12: 3 other reasons"]
        assert len(lines) == 8

    def test_a_list_that_is_whole_is_no_news(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_fetched(short({}, gone=0, failed=0))
        assert capsys.readouterr().err == ""

    def test_the_path_can_be_copied_from_a_narrow_terminal(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("COLUMNS", "20")
        missing = Path("/a/rather/long/folder of/somebody/books.missing.tsv")
        print_fetched(short({"the server says 404": 3}, missing=missing))
        assert str(missing) in capsys.readouterr().err

"""`cvl convert --part I/N`, as in a Slurm array: parts at once on one tree make what one command makes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import Cvl, contents

from cvl.exclusive import exclusive, shared
from cvl.root import Root

FOLDER = "data/ocr_vqa/images"
CONVERT = ("convert", "ocrvqa")
COUNT = 60


def picture(number: int) -> bytes:
    """A GIF, PNG or JPEG, and now and then half a GIF."""
    image = Image.linear_gradient("L").resize((40 + number, 30))
    target = io.BytesIO()
    image.save(target, ("GIF", "PNG", "JPEG")[number % 3])
    return target.getvalue()[:-200] if number % 12 == 0 else target.getvalue()


@pytest.fixture
def filled(tree: Root) -> Root:
    """A tree with a folder of pictures under all sorts of names."""
    tree.at(FOLDER).mkdir(parents=True)
    for number in range(COUNT):
        (tree.at(FOLDER) / f"{number:07}{('.jpg', '.gif', '.jpg')[number % 3]}").write_bytes(picture(number))
    return tree


@pytest.fixture
def expected(filled: Root, cvl: Cvl, tmp_path: Path) -> tuple[dict[str, str], Any]:
    """What one command makes of a copy of the tree, and what it reports."""
    copy = tmp_path / "copy"
    shutil.copytree(filled.path, copy)
    done = cvl(*CONVERT, "--root", copy, "--json")
    assert done.code == 1, "some of the pictures are cut"
    return pictures(Root(copy)), done.json


def pictures(root: Root) -> dict[str, str]:
    return {name: digest for name, digest in contents(root.data).items() if not name.endswith(".lock")}


def counts(report: Any) -> Counter[str]:
    return Counter({key: len(value) if isinstance(value, list) else value for key, value in report.items() if value})


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("at_once", [False, True])
def test_two_parts_make_and_report_what_one_command_does(
    cvl: Cvl, filled: Root, expected: tuple[dict[str, str], Any], at_once: bool
) -> None:
    commands = [(*CONVERT, "--json", "--jobs", "1", "--part", part) for part in ("1/2", "2/2")]
    if at_once:
        done = [finish(process) for process in [cvl.start(*command) for command in commands]]
        reports = [cvl_json(out) for _, out, _ in done]
    else:
        reports = [cvl(*command).json for command in commands]
    assert pictures(filled) == expected[0]
    together = counts(reports[0] | {"by_kind": 0}) + counts(reports[1] | {"by_kind": 0})
    assert together == counts(expected[1] | {"by_kind": 0})
    for report in reports:
        assert 0 < report["scanned"] < COUNT


def cvl_json(out: str) -> Any:
    import json

    return json.loads(out)


def test_a_part_works_while_another_one_has_the_tree(cvl: Cvl, filled: Root) -> None:
    with shared(filled):
        done = cvl(*CONVERT, "--part", "1/2")
    assert "another cvl" not in done.stderr
    assert "files looked at" in done.stdout


@pytest.mark.parametrize("arguments", [CONVERT, (*CONVERT, "--part", "1/1"), (*CONVERT, "--part", "1/2")])
def test_a_whole_command_and_parts_wait_for_each_other(cvl: Cvl, filled: Root, arguments: tuple[str, ...]) -> None:
    with ExitStack() as held:
        held.enter_context((exclusive if "1/2" in arguments else shared)(filled))
        process = cvl.start(*arguments)
        assert process.stderr is not None
        assert "another cvl is at work" in process.stderr.readline()
        held.close()
        code, out, _ = finish(process)
    assert code == 1
    assert "files looked at" in out


def test_a_dry_run_of_a_part_holds_nothing_and_writes_nothing(cvl: Cvl, filled: Root) -> None:
    before = contents(filled.path)
    with exclusive(filled):
        done = cvl(*CONVERT, "--part", "2/2", "--dry-run")
    assert "would be converted" in done.stdout
    assert {name: it for name, it in contents(filled.path).items() if not name.endswith(".lock")} == before


def test_a_part_moves_what_is_damaged_to_its_place_in_quarantine(cvl: Cvl, filled: Root, tmp_path: Path) -> None:
    codes = [cvl(*CONVERT, "--part", part, "--quarantine", tmp_path / "bad").code for part in ("1/2", "2/2")]
    assert 1 in codes
    moved = sorted(path.relative_to(tmp_path / "bad").as_posix() for path in (tmp_path / "bad").rglob("*.*"))
    assert moved == [f"ocr_vqa/images/{number:07}.jpg" for number in range(0, COUNT, 12)]
    assert cvl(*CONVERT).code == 0


def test_the_report_says_where_a_file_was_moved(cvl: Cvl, filled: Root, tmp_path: Path) -> None:
    done = cvl(*CONVERT, "--quarantine", tmp_path / "bad")
    said = "".join(done.stderr.split())
    assert done.code == 1
    assert "0000012.jpg:damagedGIF:" in said
    assert f"movedto{tmp_path}/bad/ocr_vqa/images/0000012.jpg" in said


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "one"])
def test_what_is_no_part_is_wrong_usage_with_an_example(cvl: Cvl, filled: Root, part: str) -> None:
    done = cvl(*CONVERT, "--part", part)
    assert done.code == 2
    assert "expected I/N" in done.stderr
    assert "--part $SLURM_ARRAY_TASK_ID/8" in done.stderr


def test_names_of_any_kind_are_reported(cvl: Cvl, filled: Root) -> None:
    """Names that are no text, or that would give a terminal orders, on both streams."""
    names = [os.fsdecode(b"caf\xe9.jpg"), "\x1b[2J.jpg", "a\nb.jpg", "bücher.jpg"]
    for name in names:
        (filled.at(FOLDER) / name).write_bytes(b"<html>")
    done = cvl(*CONVERT)
    assert done.code == 1
    assert "\x1b" not in done.stdout + done.stderr
    report = cvl(*CONVERT, "--json").json
    assert {left["name"] for left in report["unreadable"]} >= {"bücher.jpg", "a\nb.jpg"}

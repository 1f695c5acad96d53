"""`cvl demo`: the whole journey by one command."""

from __future__ import annotations

import html
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from support import Cvl, Trace, traces

from cvl.demo.exam import sit_exam
from cvl.demo.questions import draw_questions
from cvl.demo.run import DATA, training
from cvl.root import Root

NOTES = {"ShareGPT4V/data/.cvl/verify.json", "ShareGPT4V/data/.cvl/skiplist.json", "ShareGPT4V/sam-links.txt"}
"""What every run writes anew: two results of verification, and a list of links whose time is counted from now."""

BLOCKED = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Blocker())
"""

HIDDEN = """
import importlib.util

found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {name!r} else found(name, package)
"""


@pytest.fixture
def demo(tmp_path: Path) -> Cvl:
    """Runs `cvl demo` with nothing but its own internet."""
    return Cvl(tmp_path, {})


@pytest.fixture(scope="session")
def first(shared: Path) -> Path:
    """Where `cvl demo d` was run once; what it showed is in `shown.txt`. Not to be changed."""
    folder = shared / "demo"
    with FileLock(shared / "demo.lock"):
        if not (folder / "shown.txt").exists():
            folder.mkdir()
            done = Cvl(folder, {})("demo", "d", "--seeds", "0")
            assert done.code == 0, done.stderr
            (folder / "shown.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def walked(first: Path, tmp_path: Path) -> Path:
    """The folder of a demo that was run before."""
    shutil.copytree(first / "d", tmp_path / "d", symlinks=True)
    return tmp_path / "d"


def changed(before: dict[str, Trace], folder: Path) -> set[str]:
    """What was written since, but for what every run writes anew."""
    after = traces(folder)
    names = {name for name in before | after if before.get(name) != after.get(name)}
    return {
        name for name in names - NOTES if not name.endswith(".lock") and not name.startswith(("manifests/", "home/"))
    }


def test_the_demo_walks_the_whole_journey(first: Path) -> None:
    shown = (first / "shown.txt").read_text()
    for command in DATA:
        assert f"\n$ {command}\n" in shown
    assert "\n0 images missing, 0 problems\n" in shown
    for stage in (1, 2, 3):
        assert f"\nstage {stage}: ready\n" in shown
    assert "\ndata\n├── allava\n" in shown


def test_a_second_walk_moves_and_rewrites_nothing_and_can_be_kept_as_a_picture(walked: Path, demo: Cvl) -> None:
    before = traces(walked)
    again = demo("demo", "d", "--seeds", "0", "--record", "pictures/walk.svg")
    assert again.code == 0
    fetches = [line for line in again.stdout.splitlines() if "files fetched" in line]
    assert len(fetches) == 3
    assert all(line.startswith("0 files fetched (0 B)") for line in fetches)
    assert changed(before, walked) == set()

    picture = html.unescape((demo.folder / "pictures" / "walk.svg").read_text(encoding="utf-8")).replace("\xa0", " ")
    for line in (*DATA, "0 images missing, 0 problems"):
        assert line in picture


def test_the_demo_for_scripts_prints_json_alone_on_stdout(walked: Path, demo: Cvl) -> None:
    before = traces(walked)
    done = demo("demo", "d", "--json", "--seeds", "0")
    assert done.code == 0
    assert done.lines[-1]["next_command"] == "cvl train --stage 1"
    assert "$ cvl verify-layout --json\n" in done.stderr
    assert "├── allava" in done.stderr
    assert changed(before, walked) == set()


@pytest.mark.parametrize("name", ["trustme", "tomli_w", "safetensors"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(demo: Cvl, tmp_path: Path, name: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKED.format(name=name))
    path = f"{tmp_path}:{demo.environment['PYTHONPATH']}"
    done = demo("demo", "d", "--seeds", "0", env={"PYTHONPATH": path})
    assert (done.code, done.stdout) == (2, "")
    assert f"the demo needs {name}, which is not installed\n\nhint: pip install 'cvl[demo]'\n" in done.stderr
    assert not (tmp_path / "d").exists()


def test_the_demo_leaves_a_folder_of_something_else_alone(demo: Cvl, tmp_path: Path) -> None:
    (tmp_path / "d" / "internet").mkdir(parents=True)
    (tmp_path / "d" / "internet" / "thesis.tex").write_text("mine")
    done = demo("demo", "d")
    assert done.code == 2
    assert "holds files that are not of a miniature world" in done.stderr
    assert [path.name for path in (tmp_path / "d").rglob("*")] == ["internet", "thesis.tex"]


def test_the_demo_ends_with_the_code_of_the_command_that_fails(demo: Cvl, tmp_path: Path) -> None:
    (tmp_path / "d" / "ShareGPT4V").mkdir(parents=True)
    (tmp_path / "d" / "ShareGPT4V" / "cvl.lock").write_text("no lock")
    done = demo("demo", "d", "--json", "--seeds", "0")
    assert done.code == 2
    assert "is not a lock file" in done.stderr
    assert done.lines == []


def test_a_folder_of_the_data_half_alone_is_not_trained_in(walked: Path, demo: Cvl) -> None:
    done = demo("demo", "d")
    assert (done.code, done.stdout) == (2, "")
    assert "was filled for the data half alone" in done.stderr


def test_training_needs_torch(demo: Cvl, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDDEN.format(name="torch"))
    path = f"{tmp_path}:{demo.environment['PYTHONPATH']}"
    done = demo("demo", "d", env={"PYTHONPATH": path})
    assert (done.code, done.stdout) == (2, "")
    assert "cvl demo needs torch, which is not installed\n\nhint: pip install 'cvl[demo]'\n" in done.stderr


def test_the_miniature_trains_to_the_end_and_sits_its_exam(cvl: Cvl, complete: Root, tmp_path: Path) -> None:
    for command in training(0, "small"):
        done = cvl(*command.split()[1:], "--set", "epochs=1", env={"OMP_NUM_THREADS": "1"})
        assert done.code == 0, done.stderr
        assert "the stage says" in done.stderr  # how it differs from the document
    questions = draw_questions(tmp_path / "unseen", 8)
    checkpoint = complete.checkpoints / "small/stage3"
    exam = sit_exam(checkpoint, questions)
    assert [len(sitting.graded) for sitting in (exam.with_picture, exam.without)] == [len(questions)] * 2
    asked = cvl("chat", checkpoint, "--image", questions[0].image, questions[0].question, "--max-new-tokens", "4")
    assert asked.code == 0, asked.stderr

"""`cvl verify-layout --fix` and `--undo` as typed: shown, asked, done, killed, finished, and taken back."""

from __future__ import annotations

import os
import pty
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import Cvl, contents

from cvl.root import Root

FIX, UNDO = ("verify-layout", "--fix"), ("verify-layout", "--undo")
VG = "data/vg/VG_100K"
TEXT = "data/textvqa/train_images"
VFLAN_LINK = "data/allava/allava_vflan/images/images_191task_1k"
ALIAS = "data/web-celebrity/images/Choi_Min-sik.jpg"
BOOKS = "data/ocr_vqa/images"
REPAIRS = 6
"""What `spoil` takes to be put right: two folders, names, two links, pictures."""


def shift(root: Root, path: str, to: str) -> None:
    aside = root.at("data/aside")
    root.at(path).rename(aside)
    root.at(to).parent.mkdir(parents=True, exist_ok=True)
    aside.rename(root.at(to))


def spoil(root: Root) -> None:
    """One mistake of each kind that people make by hand."""
    for path in sorted(root.at(VG).glob("*.jpg"))[:3]:
        path.rename(path.with_suffix(".JPG"))
    shift(root, VG, f"{VG}/VG_100K")
    shift(root, TEXT, "data/textvqa/train_val_images/train_images")
    root.at(VFLAN_LINK).unlink()
    root.at(ALIAS).unlink()
    for gif in sorted((root.originals / "ocr_vqa" / "images").iterdir())[:2]:
        root.at(f"{BOOKS}/{gif.name}").write_bytes(gif.read_bytes())


def tree_of(root: Root) -> dict[str, str]:
    """Everything but cvl's notes: folders, files by digest, links by what they say."""
    folders = {path.relative_to(root.path).as_posix(): "folder" for path in root.data.rglob("*/") if path.is_dir()}
    return {name: what for name, what in (folders | contents(root.path)).items() if not name.startswith("data/.cvl")}


@pytest.fixture
def spoilt(complete: Root) -> Root:
    spoil(complete)
    return complete


def test_a_spoilt_tree_is_shown_repaired_and_proven_and_taken_back(cvl: Cvl, spoilt: Root) -> None:
    before = tree_of(spoilt)
    assert cvl("verify-layout").code == 3
    fixed = cvl(*FIX)
    assert fixed.code == 0, fixed.stderr
    assert f"{REPAIRS} repairs done" in fixed.stdout
    assert "to take it back: cvl verify-layout --undo" in fixed.stdout
    for name in (VG, "train_val_images/train_images", VFLAN_LINK, ALIAS, BOOKS):
        assert name in fixed.stdout
    assert fixed.stdout.splitlines()[-1] == "0 images missing, 0 problems"
    undone = cvl(*UNDO)
    assert undone.code == 3, "the tree is as spoilt as it was, and verification says so"
    assert "is taken back" in undone.stdout
    assert tree_of(spoilt) == before
    again = cvl(*UNDO)
    assert "there is no repair to take back" in again.stdout


def test_a_dry_run_shows_the_same_and_renames_nothing(cvl: Cvl, spoilt: Root) -> None:
    before = tree_of(spoilt)
    shown = cvl(*FIX, "--dry-run")
    assert shown.code == 3
    assert f"{REPAIRS} repairs" in shown.stdout
    assert tree_of(spoilt) == before
    assert not (spoilt.notes / "repairs").exists()
    table = shown.stdout.partition(f"{REPAIRS} repairs")[0]
    assert cvl(*FIX, "--yes").stdout.startswith(table)


def test_a_sound_tree_is_left_alone(cvl: Cvl, complete: Root) -> None:
    before = tree_of(complete)
    fixed = cvl(*FIX)
    assert fixed.code == 0
    assert fixed.stdout.splitlines()[-1] == "0 images missing, 0 problems"
    assert tree_of(complete) == before
    assert not (complete.notes / "repairs").exists()


def test_what_cannot_be_repaired_stays_a_problem_with_its_cure(cvl: Cvl, spoilt: Root) -> None:
    shutil.rmtree(spoilt.at("data/gqa/images"))
    fixed = cvl(*FIX)
    assert fixed.code == 3
    assert f"{REPAIRS} repairs done" in fixed.stdout
    assert "cure: cvl fetch gqa" in fixed.stdout
    assert "cure: find" not in fixed.stdout


def test_for_scripts_the_report_after_the_repair_is_the_only_line(cvl: Cvl, spoilt: Root) -> None:
    fixed = cvl(*FIX, "--json")
    assert (fixed.code, fixed.json["problems"]) == (0, [])


@pytest.mark.parametrize("options", [("--fix", "--undo"), ("--yes",), ("--dry-run",)])
def test_options_that_make_no_sense_together_are_refused(cvl: Cvl, spoilt: Root, options: tuple[str, ...]) -> None:
    before = tree_of(spoilt)
    refused = cvl("verify-layout", *options)
    assert refused.code == 2
    assert "hint: " in refused.stderr
    assert tree_of(spoilt) == before


def test_what_was_changed_since_is_named_and_nothing_is_undone(cvl: Cvl, spoilt: Root) -> None:
    assert cvl(*FIX).code == 0
    changed = sorted(spoilt.at(VG).glob("*.jpg"))[0]
    changed.write_bytes(changed.read_bytes() + b"more")
    before = tree_of(spoilt)
    refused = cvl(*UNDO)
    assert refused.code == 1
    assert f"{VG}/{changed.name} was changed" in refused.stderr
    assert tree_of(spoilt) == before


def answer(cvl: Cvl, text: bytes) -> int:
    """Type `cvl verify-layout --fix` in a terminal, and an answer to what it asks; returns the exit code."""
    process, terminal = pty.fork()
    if not process:
        os.chdir(cvl.folder)
        os.execve(sys.executable, [sys.executable, "-m", "cvl", *FIX], {**cvl.environment, "TERM": "xterm"})
    shown = b""
    while True:
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:  # how a terminal says that nobody is left on its other side
            break
        if not chunk:
            break
        asked_before, shown = b"[y/N]" in shown, shown + chunk
        if b"[y/N]" in shown and not asked_before:
            os.write(terminal, text)
    os.close(terminal)
    assert b"[y/N]" in shown
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_in_a_terminal_it_asks_first(cvl: Cvl, spoilt: Root) -> None:
    before = tree_of(spoilt)
    assert answer(cvl, b"n\n") == 3
    assert tree_of(spoilt) == before
    assert answer(cvl, b"y\n") == 0
    assert tree_of(spoilt) != before


# --- Killed.


class Ground:
    """A spoilt tree with a few thousand pictures, what a repair makes of it, and how long its journal gets.

    Args:
        begins: the size that the journal has before the first act.
        fixed_at: its size after the last one.
        undone_at: its size after all were taken back.
    """

    def __init__(self, cvl: Cvl, root: Root) -> None:
        self.cvl, self.root = cvl, root
        for number in range(4000):
            root.at(f"{VG}/VG_100K/more{number}.jpg").write_bytes(b"\xff\xd8\xff")
        self.before = tree_of(root)
        assert cvl(*FIX).code == 0
        self.fixed = tree_of(root)
        self.begins = self._journal().read_bytes().index(b'{"at": 0}')
        self.fixed_at = self.journal_size()
        cvl(*UNDO)
        self.undone_at = self.journal_size()
        assert tree_of(root) == self.before

    def _journal(self) -> Path:
        return max((self.root.notes / "repairs").glob("*.jsonl"), default=Path("none yet"))

    def journal_size(self) -> int:
        journal = self._journal()
        return journal.stat().st_size if journal.exists() else 0

    def forget(self) -> None:
        shutil.rmtree(self.root.notes / "repairs")

    def kill_when(self, command: tuple[str, ...], size: int) -> bool:
        """Start a command, and kill it when the journal has a size; False if it ended before."""
        process = self.cvl.start(*command)
        while process.poll() is None:
            if self.journal_size() >= size:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return True
        process.communicate()
        return False

    def kill_after(self, command: tuple[str, ...], seconds: float) -> None:
        """Start a command, and kill it after a while, if it is not done by then."""
        process = self.cvl.start(*command)
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, fetched: Root, manifests: Path) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    root = Root(folder / "tree")
    shutil.copytree(fetched.path, root.path, symlinks=True)
    spoil(root)
    return Ground(Cvl(folder, {"CVL_ROOT": str(root.path), "CVL_MANIFESTS": str(manifests)}), root)


def kill_and_finish(ground: Ground, seed: int) -> None:
    """A repair and its undoing, each killed somewhere, maybe twice, and started again."""
    draw = random.Random(seed)
    ground.forget()
    ground.kill_when(FIX, draw.randint(ground.begins, ground.fixed_at))
    if draw.random() < 0.3:
        ground.kill_after(FIX, draw.uniform(0, 1.5))
    finished = ground.cvl(*FIX)
    assert finished.code == 0, finished.stderr
    assert tree_of(ground.root) == ground.fixed
    ground.kill_when(UNDO, draw.randint(ground.fixed_at, ground.undone_at))
    if draw.random() < 0.3:
        ground.kill_after(UNDO, draw.uniform(0, 1.5))
    ground.cvl(*UNDO)
    assert tree_of(ground.root) == ground.before


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_repair_ends_with_the_same_tree_and_is_undone_whole(ground: Ground, seed: int) -> None:
    kill_and_finish(ground, seed)


def test_a_killed_repair_can_be_undone_at_once(ground: Ground) -> None:
    ground.forget()
    assert ground.kill_when(FIX, (ground.begins + ground.fixed_at) // 2)
    assert tree_of(ground.root) not in (ground.before, ground.fixed)
    ground.cvl(*UNDO)
    assert tree_of(ground.root) == ground.before


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 150))
def test_fifty_kills_of_a_repair_and_of_its_undoing(ground: Ground, seed: int) -> None:
    kill_and_finish(ground, seed)


def test_a_repair_waits_for_whoever_holds_the_tree(cvl: Cvl, spoilt: Root) -> None:
    from cvl.exclusive import exclusive

    with exclusive(spoilt):
        process = cvl.start(*FIX)
        assert process.stderr is not None
        line = next(line for line in process.stderr if "waiting for it to end" in line)
        assert "another cvl is at work" in line
        assert not list(Path(spoilt.notes / "repairs").glob("*"))
    process.communicate()
    assert process.returncode == 0

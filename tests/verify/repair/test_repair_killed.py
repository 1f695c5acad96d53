"""A repair that is cut short at any act: finished by the next one, or taken back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from repairable import CATALOG, copy, planned, snapshot

from cvl.errors import CvlError
from cvl.root import Root
from cvl.verify import repair
from cvl.verify.repair import apply_repairs, finish_repairs, plan_repairs, undo_repairs
from cvl.verify.repairs import journal as journals
from cvl.verify.repairs.acts import Act
from cvl.verify.repairs.journal import Phase
from cvl.verify.verify import verify


class Killed(BaseException):
    """Stands for a SIGKILL: nothing that would clean up runs."""


def kill_at(patch: pytest.MonkeyPatch, number: int, *, after: bool) -> None:
    """Let the process "die" right before or right after act `number` of what is carried out next."""
    left = iter(range(number, -1, -1))
    perform = repair.perform

    def dying(root: Path, act: Act) -> None:
        last = next(left) == 0
        if last and not after:
            raise Killed
        perform(root, act)
        if last:
            raise Killed

    patch.setattr(repair, "perform", dying)


def cut_short(work: Callable[[], object], number: int, *, after: bool) -> bool:
    """Do some work until it is killed; False if it came to its end."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, number, after=after)
        try:
            work()
        except Killed:
            return True
    return False


def every_kill(spoilt: Root, place: Path) -> Iterator[tuple[Root, int, bool]]:
    """A copy of the spoilt tree for each instant at which a repair of it can be killed."""
    report = verify(CATALOG, spoilt)
    number = 0
    while True:
        for after in (False, True):
            shutil.rmtree(place, ignore_errors=True)
            root = copy(spoilt, place)
            plan = plan_repairs(CATALOG, root, report)
            if not cut_short(lambda: apply_repairs(root, plan), number, after=after):  # noqa: B023
                return
            yield root, number, after
        number += 1


def test_a_repair_killed_at_any_act_is_finished_and_can_be_undone(spoilt: Root, tmp_path: Path) -> None:
    before = snapshot(spoilt)
    reference = copy(spoilt, tmp_path / "reference")
    apply_repairs(reference, planned(reference))
    kills = 0
    for root, _, _ in every_kill(spoilt, tmp_path / "killed"):
        assert finish_repairs(root) is Phase.APPLIED
        assert snapshot(root) == snapshot(reference)
        undo_repairs(root)
        assert snapshot(root) == before
        kills += 1
    assert kills > 40


def test_a_repair_killed_at_any_act_can_be_undone_at_once(spoilt: Root, tmp_path: Path) -> None:
    before = snapshot(spoilt)
    for root, number, after in every_kill(spoilt, tmp_path / "killed"):
        undone = undo_repairs(root)
        assert undone is not None
        assert undone.acts == number + after
        assert snapshot(root) == before


def test_an_undo_killed_at_any_act_is_finished_by_either(spoilt: Root, tmp_path: Path) -> None:
    before = snapshot(spoilt)
    done = copy(spoilt, tmp_path / "done")
    acts = apply_repairs(done, planned(done)).acts
    for number in range(acts):
        for after, finish in ((False, finish_repairs), (True, undo_repairs)):
            shutil.rmtree(tmp_path / "killed", ignore_errors=True)
            root = copy(done, tmp_path / "killed")
            assert cut_short(lambda: undo_repairs(root), number, after=after)  # noqa: B023
            finish(root)
            assert snapshot(root) == before
            assert undo_repairs(root) is None


def test_a_journal_whose_last_marks_were_lost_is_read_from_the_names(spoilt: Root) -> None:
    """As after a power failure: the renames are on the disk, what was appended is not, or half of it."""
    before = snapshot(spoilt)
    plan = planned(spoilt)
    assert cut_short(lambda: apply_repairs(spoilt, plan), 4, after=True)
    (path,) = journals.folder_of(spoilt).glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-4]) + b'{"at')
    assert finish_repairs(spoilt) is Phase.APPLIED
    assert verify(CATALOG, spoilt).problems == ()
    undo_repairs(spoilt)
    assert snapshot(spoilt) == before


def test_jpegs_of_a_run_that_never_had_a_journal_are_swept_away(spoilt: Root) -> None:
    before = snapshot(spoilt)
    plan = planned(spoilt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "begin", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            apply_repairs(spoilt, plan)
    assert snapshot(spoilt) == before
    assert list(journals.folder_of(spoilt).glob("*.jpegs"))
    assert finish_repairs(spoilt) is None
    assert list(journals.folder_of(spoilt).iterdir()) == []


def test_a_plan_of_a_tree_that_had_an_unfinished_repair_is_refused(spoilt: Root) -> None:
    plan = planned(spoilt)
    assert cut_short(lambda: apply_repairs(spoilt, plan), 3, after=True)
    with pytest.raises(CvlError, match="an earlier repair was unfinished, and is finished now"):
        apply_repairs(spoilt, plan)
    assert verify(CATALOG, spoilt).problems == ()

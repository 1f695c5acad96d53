"""`cvl verify-layout --fix` and `--undo`: known mistakes in a tree put right, by renaming only, and taken back.

A plan is a value: it is shown before anything happens. What it does is rehearsed on the tree as it is by then, written
down in a journal, and only then carried out. A kill leaves a journal from which the next `--fix` goes on, and which
`--undo` takes back. No picture is ever deleted or replaced: one that must give its name away is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cvl.errors import CvlError
from cvl.events import Event, EventKind, Reporter, silent
from cvl.exclusive import exclusive
from cvl.files import disk_errors, settle
from cvl.images import encode_jpeg
from cvl.root import Root
from cvl.verify.repairs import journal as journals
from cvl.verify.repairs.acts import Act, ActKind, is_done, move, perform
from cvl.verify.repairs.draft import Draft
from cvl.verify.repairs.journal import Journal, Phase
from cvl.verify.repairs.jpegs import Encode, make_jpegs, sweep_jpegs
from cvl.verify.repairs.planning import plan_repairs
from cvl.verify.repairs.sketch import folders_to_make
from cvl.verify.repairs.values import Applied, Left, Picture, Plan, Repair, RepairKind, Undone

__all__ = [
    "Applied",
    "Left",
    "Plan",
    "Repair",
    "RepairKind",
    "Undone",
    "apply_repairs",
    "finish_repairs",
    "plan_repairs",
    "undo_repairs",
]

_TOLD_EVERY = 1000
_AGAIN = "run the same command again"


def apply_repairs(
    root: Root, plan: Plan, report: Reporter = silent, *, encode: Encode = encode_jpeg, jobs: int | None = None
) -> Applied:
    """Carry out a plan, all of it or nothing, while holding the tree. A picture that cannot be read is left as it is.

    Args:
        root: the tree.
        plan: made of this tree by `plan_repairs`.
        report: is told how it goes on.
        encode: makes JPEGs of pictures that are none.
        jobs: processes that do so; None is one a core.

    Raises:
        CvlError: the tree is not what it was when the plan was made; nothing was changed.
        DiskError: a name cannot be given, for want of permission or room; run again, it goes on there.
    """
    if not plan.repairs:
        return Applied(0, 0)
    with _held(root, report):
        if _finish(root, report) is not None:
            raise CvlError("an earlier repair was unfinished, and is finished now", hint=_AGAIN)
        name = journals.new_name(root)
        pictures = [picture for repair in plan.repairs for picture in repair.pictures]
        jpegs = journals.folder_of(root) / f"{name}.jpegs"
        made, left = make_jpegs(jpegs, pictures, encode, jobs)
        acts = _rehearsed(root, _acts(root, plan, made), "the tree is no longer what it was", _AGAIN)
        if acts:
            _go_on(root, journals.begin(root, name, acts), 0, report)
        elif pictures:
            jpegs.rmdir()
    done = sum(bool(repair.acts) or any(picture in made for picture in repair.pictures) for repair in plan.repairs)
    return Applied(done, len(acts), left)


def finish_repairs(root: Root, report: Reporter = silent) -> Phase | None:
    """Go on with a repair, or an undoing, that was cut short. Returns what it came to; None if there was none.

    Raises what `apply_repairs` and `undo_repairs` do.
    """
    if not journals.folder_of(root).is_dir():
        return None
    with _held(root, report):
        return _finish(root, report)


def undo_repairs(root: Root, report: Reporter = silent) -> Undone | None:
    """Take the last repair back that was not yet: every name and link is what it was. None if there is none.

    Raises:
        CvlError: something that it touched was changed since; says what. Nothing was changed.
        DiskError: a name cannot be given, for want of permission or room; run again, it goes on there.
    """
    if not journals.folder_of(root).is_dir():
        return None
    with _held(root, report):
        journal = journals.latest(root)
        return _take_back(root, journal, report) if journal is not None else None


@contextmanager
def _held(root: Root, report: Reporter) -> Iterator[None]:
    with disk_errors(root.path), exclusive(root, report):
        journals.folder_of(root).mkdir(exist_ok=True)
        sweep_jpegs(journals.folder_of(root))
        yield


def _finish(root: Root, report: Reporter) -> Phase | None:
    journal = journals.latest(root)
    if journal is None or journal.phase is Phase.APPLIED:
        return None
    if journal.phase is Phase.UNDOING:
        _take_back(root, journal, report)
        return Phase.UNDONE
    done = _acts_done(root, journal)
    what = f"the repair of {journal.name}, which was cut short, cannot go on"
    _rehearsed(root, journal.acts[done:], what, "take it back with `cvl verify-layout --undo`")
    _go_on(root, journal, done, report)
    return Phase.APPLIED


def _acts(root: Root, plan: Plan, made: dict[Picture, Path]) -> Iterator[Act]:
    """All that is to be done, in order, once the JPEGs are made."""
    yield from (act for repair in plan.repairs for act in repair.acts)
    draft = Draft(root.path)
    for picture, jpeg in made.items():
        if picture.keep:
            for act in folders_to_make(draft, picture.keep.rpartition("/")[0]):
                draft.apply(act)
                yield act
            yield move(picture.path, picture.keep)
        yield move(str(jpeg.relative_to(root.path)), picture.path)


def _rehearsed(root: Root, acts: Iterable[Act], problem: str, hint: str) -> tuple[Act, ...]:
    """The acts with what their files are now, after all of them were tried on a draft.

    Raises:
        CvlError: one of them could not be done, or a file is not what it was when it was written down.
    """
    draft = Draft(root.path)
    looked: list[Act] = []
    try:
        for act in acts:
            looked.append(_stamped(draft, act))
            draft.apply(act)
    except CvlError as error:
        raise CvlError(f"{problem}: {error}", hint=hint) from error
    return tuple(looked)


def _stamped(draft: Draft, act: Act) -> Act:
    real = draft.real_file(act.path) if act.kind is ActKind.MOVE else None
    if real is None:
        return act
    status = Path(real).stat(follow_symlinks=False)
    found = replace(act, size=status.st_size, mtime=status.st_mtime_ns)
    if act.size >= 0 and found != act:
        raise CvlError(f"{act.path} was changed: it had {act.size:,} bytes, now {status.st_size:,}, or another date")
    return found


def _acts_done(root: Root, journal: Journal) -> int:
    """How many acts of a repair that was cut short are done."""
    done = journal.at
    while done < len(journal.acts) and is_done(root.path, journal.acts[done]):
        done += 1
    return done


def _acts_left(root: Root, journal: Journal) -> int:
    """How many acts of a repair are done and not taken back."""
    if journal.phase is Phase.APPLYING:
        return _acts_done(root, journal)
    if journal.phase is Phase.APPLIED:
        return len(journal.acts)
    left = journal.at + 1
    while left and is_done(root.path, journal.acts[left - 1].inverse):
        left -= 1
    return left


def _go_on(root: Root, journal: Journal, done: int, report: Reporter) -> None:
    with journals.writing(journal) as pen:
        steps = ((number, journal.acts[number]) for number in range(done, len(journal.acts)))
        _perform(root, steps, pen.at, len(journal.acts) - done, report)
        if journal.jpegs.is_dir():
            journal.jpegs.rmdir()
        settle(root.data)
        pen.end(Phase.APPLIED)


def _take_back(root: Root, journal: Journal, report: Reporter) -> Undone:
    count = _acts_left(root, journal)
    if any(act.path.startswith(f"{journal.jpegs.relative_to(root.path)}/") for act in journal.acts):
        journal.jpegs.mkdir(exist_ok=True)
    steps = [(number, journal.acts[number].inverse) for number in reversed(range(count))]
    problem = f"the repair of {journal.name} cannot be taken back"
    _rehearsed(root, (act for _, act in steps), problem, "put that back as it was, and run the same command again")
    with journals.writing(journal) as pen:
        _perform(root, steps, pen.back, count, report)
        if journal.jpegs.is_dir():
            shutil.rmtree(journal.jpegs)
        settle(root.data)
        pen.end(Phase.UNDONE)
    return Undone(journal.name, count)


def _perform(
    root: Root, steps: Iterable[tuple[int, Act]], note: Callable[[int], None], total: int, report: Reporter
) -> None:
    for done, (number, act) in enumerate(steps, 1):
        note(number)
        perform(root.path, act)
        if done % _TOLD_EVERY == 0 or done == total:
            report(Event(EventKind.PROGRESS, "repair", "", done, total))

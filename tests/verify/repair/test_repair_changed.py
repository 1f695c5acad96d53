"""A tree that has changed between a plan, its repair and its undoing: nothing of anybody's is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from repairable import ALIAS, BOOKS, CATALOG, TEXT, VG, picture, planned, shift, snapshot

from cvl.errors import CvlError
from cvl.images import encode_jpeg
from cvl.root import Root
from cvl.verify.repair import Plan, apply_repairs, finish_repairs, plan_repairs, undo_repairs
from cvl.verify.repairs import journal as journals
from cvl.verify.report import Kind, Report
from cvl.verify.verify import verify


def test_a_plan_of_a_tree_that_has_changed_is_refused_and_nothing_is_done(root: Root) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    plan = planned(root)
    root.at(f"{VG}/5.jpg").write_bytes(b"came meanwhile")
    before = snapshot(root)
    with pytest.raises(CvlError, match=r"the tree is no longer what it was: data/vg/VG_100K/5\.jpg is there already"):
        apply_repairs(root, plan)
    assert snapshot(root) == before


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def in_the_way(path: Path) -> None:
    inner = path.parent / "VG_100K"
    inner.mkdir()
    (inner / path.name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (change, r"data/vg/VG_100K/1\.jpg was changed: it had [\d,]+ bytes, now [\d,]+"),
        (Path.unlink, r"data/vg/VG_100K/1\.jpg is not there"),
        (in_the_way, "data/vg/VG_100K/VG_100K is there already"),
    ],
)
def test_what_was_changed_since_is_named_and_nothing_is_undone(
    root: Root, spoil: Callable[[Path], None], reason: str
) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    apply_repairs(root, planned(root))
    spoil(root.at(f"{VG}/1.jpg"))
    before = snapshot(root)
    for _ in range(2):
        with pytest.raises(CvlError, match=reason) as caught:
            undo_repairs(root)
        assert caught.value.hint
        assert "cannot be taken back" in str(caught.value)
    assert snapshot(root) == before


def test_a_link_that_says_something_else_by_now_is_not_undone(root: Root) -> None:
    root.at(ALIAS).unlink()
    apply_repairs(root, planned(root))
    root.at(ALIAS).unlink()
    root.at(ALIAS).symlink_to("Luke_Evans.jpg")
    with pytest.raises(CvlError, match=r"Choi_Min-sik\.jpg is no link to Choi_Min_sik\.jpg"):
        undo_repairs(root)


def test_what_came_since_stays_where_it_is(root: Root) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    before = snapshot(root)
    apply_repairs(root, planned(root))
    root.at(f"{VG}/new.jpg").write_bytes(b"new")
    undo_repairs(root)
    root.at(f"{VG}/new.jpg").unlink()
    assert snapshot(root) == before


def test_repairs_are_undone_one_by_one_the_last_one_first(root: Root) -> None:
    states = [snapshot(root)]
    for path in (VG, TEXT):
        shift(root, path, f"{path}/{path.rpartition('/')[2]}")
        states.append(snapshot(root))
        apply_repairs(root, planned(root))
    undo_repairs(root)
    assert snapshot(root) == states[2]
    root.at(f"{TEXT}/train_images").rename(root.at("data/kept"))
    root.at(TEXT).rmdir()
    root.at("data/kept").rename(root.at(TEXT))
    undo_repairs(root)
    assert snapshot(root) == states[1]
    assert undo_repairs(root) is None


def test_nothing_is_ever_replaced_by_a_move(root: Root) -> None:
    from cvl.verify.repairs.acts import move, perform

    with pytest.raises(FileExistsError):
        perform(root.path, move(f"{VG}/1.jpg", f"{VG}/2.jpg"))
    with pytest.MonkeyPatch.context() as patch:
        # As on a network file system that knows no such flag.
        patch.setattr("cvl.verify.repairs.acts._RENAMEAT2", None)
        with pytest.raises(FileExistsError):
            perform(root.path, move(f"{VG}/1.jpg", f"{VG}/2.jpg"))
        perform(root.path, move(f"{VG}/1.jpg", f"{VG}/new.jpg"))
    assert root.at(f"{VG}/new.jpg").read_bytes() == picture("JPEG", f"{VG}/1.jpg")


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b'{"version": 1, "acts": 2}\n{"act": "move", "path": "a", "to": "b"}\n']
)
def test_a_damaged_journal_is_named(root: Root, content: bytes) -> None:
    journals.folder_of(root).mkdir(parents=True)
    (journals.folder_of(root) / "20260101.jsonl").write_bytes(content)
    with pytest.raises(CvlError, match=r"20260101\.jsonl cannot be read") as caught:
        undo_repairs(root)
    assert caught.value.hint


def test_a_journal_of_another_version_is_not_guessed_at(root: Root) -> None:
    journals.folder_of(root).mkdir(parents=True)
    (journals.folder_of(root) / "20260101.jsonl").write_text('{"version": 2}\n')
    with pytest.raises(CvlError, match="is of version 2, expected 1"):
        finish_repairs(root)


def test_a_report_without_problems_is_not_even_looked_into(root: Root) -> None:
    assert plan_repairs(CATALOG, root, Report(None, (), (), (), {})) == Plan()


def test_only_what_was_asked_about_is_repaired(root: Root) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    report = verify(CATALOG, root)
    others = Report(None, (), (), tuple(p for p in report.problems if p.kind is Kind.MISSING_LINK), {})
    assert plan_repairs(CATALOG, root, others) == Plan()


def test_jpegs_are_those_of_the_conversion(root: Root) -> None:
    gif = picture("GIF", "b1")
    root.at(f"{BOOKS}/b1.jpg").write_bytes(gif)
    apply_repairs(root, planned(root))
    assert root.at(f"{BOOKS}/b1.jpg").read_bytes() == encode_jpeg(gif)

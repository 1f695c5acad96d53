"""What cannot be read is moved where the user wants it, never deleted, and can be moved back."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from specimens import CUT_GIF, GIF, JPEG, PAGE, PNG, document_jpeg, fill, run, stamps, tree

from cvl.convert.jpeg import Conversion, Left
from cvl.errors import UsageError

DAMAGED = {"cut.gif": CUT_GIF, "sub/deep/cut.jpg": JPEG[:-5], "page.jpg": PAGE, "empty.png": b""}


@pytest.fixture
def strict(conversion: Conversion, tmp_path: Path) -> Conversion:
    return replace(conversion, quarantine=tmp_path / "damaged/ocr_vqa/images")


def quarantine_of(conversion: Conversion) -> Path:
    assert conversion.quarantine is not None
    return conversion.quarantine


def test_what_cannot_be_read_is_moved_with_its_relative_path_and_said_where(strict: Conversion) -> None:
    fill(strict.folder, DAMAGED | {"good.jpg": JPEG, "good.gif": GIF, "notes.txt": b"mine"})
    report = run(strict)
    assert tree(quarantine_of(strict)) == DAMAGED
    assert sorted(tree(strict.folder)) == ["good.gif", "good.jpg", "notes.txt"]
    assert {left.name: left.moved_to for left in report.unreadable} == {
        name: str(quarantine_of(strict) / name) for name in DAMAGED
    }
    assert run(strict).unreadable == ()


def test_moving_back_undoes_it(strict: Conversion) -> None:
    fill(strict.folder, DAMAGED)
    before = stamps(strict.folder)
    for left in run(strict).unreadable:
        Path(left.moved_to).rename(strict.folder / left.name)
    assert {path: stamp for path, stamp in stamps(strict.folder).items() if path.is_file()} == {
        path: stamp for path, stamp in before.items() if path.is_file()
    }


def test_without_one_nothing_is_moved(conversion: Conversion) -> None:
    fill(conversion.folder, DAMAGED)
    assert {left.moved_to for left in run(conversion).unreadable} == {""}
    assert tree(conversion.folder) == DAMAGED


def test_a_dry_run_says_where_and_moves_nothing(strict: Conversion) -> None:
    fill(strict.folder, DAMAGED | {"cut.png": PNG})
    before = stamps(strict.folder)
    planned = run(strict, dry_run=True)
    assert stamps(strict.folder) == before
    assert not quarantine_of(strict).exists()
    assert run(strict) == planned


def test_a_name_that_is_free_now_is_taken_in_the_same_run(strict: Conversion) -> None:
    fill(strict.folder, {"x.jpg": CUT_GIF, "x.gif": GIF})
    planned = run(strict, dry_run=True)
    report = run(strict)
    assert report == planned
    assert tree(strict.folder) == {"x.gif": GIF, "x.jpg": document_jpeg(GIF)}
    assert tree(quarantine_of(strict)) == {"x.jpg": CUT_GIF}


def test_another_file_of_that_name_in_quarantine_stays(strict: Conversion) -> None:
    for data in (CUT_GIF, PAGE, b""):
        fill(strict.folder, {"x.jpg": data})
        run(strict)
    assert tree(quarantine_of(strict)) == {"x.jpg": CUT_GIF, "x.jpg.1": PAGE, "x.jpg.2": b""}


def test_a_link_is_moved_itself_and_what_it_leads_to_stays(strict: Conversion, tmp_path: Path) -> None:
    fill(tmp_path / "store", {"cut": CUT_GIF})
    (strict.folder / "x.jpg").symlink_to("../../../store/cut")
    (left,) = run(strict).unreadable
    assert Path(left.moved_to).is_symlink()
    assert tree(tmp_path / "store") == {"cut": CUT_GIF}
    Path(left.moved_to).rename(strict.folder / "x.jpg")
    assert (strict.folder / "x.jpg").read_bytes() == CUT_GIF


def test_a_quarantine_in_the_folder_is_not_looked_into(conversion: Conversion) -> None:
    inside = replace(conversion, quarantine=conversion.folder / "damaged")
    fill(conversion.folder, {"x.jpg": CUT_GIF})
    run(inside)
    assert tree(conversion.folder) == {"damaged/x.jpg": CUT_GIF}
    assert run(inside).scanned == 0


@pytest.mark.parametrize("around", [".", "..", "../.."])
def test_a_quarantine_around_the_folder_is_refused(conversion: Conversion, around: str) -> None:
    fill(conversion.folder, {"x.jpg": CUT_GIF})
    with pytest.raises(UsageError, match="cannot be around it") as caught:
        run(replace(conversion, quarantine=conversion.folder / around))
    assert "--quarantine" in (caught.value.hint or "")
    assert tree(conversion.folder) == {"x.jpg": CUT_GIF}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system: memory, where there is one."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write to")
    folder = memory / f"cvl-test-{os.getpid()}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_quarantine_on_another_disk_gets_the_same_bytes_times_and_links(
    conversion: Conversion, elsewhere: Path
) -> None:
    fill(conversion.folder, DAMAGED)
    (conversion.folder / "link.jpg").symlink_to("page.jpg")
    times = {name: (conversion.folder / name).stat().st_mtime_ns for name in DAMAGED}
    run(replace(conversion, quarantine=elsewhere))
    assert tree(conversion.folder) == {}
    assert (elsewhere / "link.jpg").readlink() == Path("page.jpg")
    (elsewhere / "link.jpg").unlink()
    assert tree(elsewhere) == DAMAGED
    assert {name: (elsewhere / name).stat().st_mtime_ns for name in DAMAGED} == times


def test_a_copy_that_a_killed_run_had_finished_is_not_made_twice(
    conversion: Conversion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On another disk a file is copied, and then removed: between the two it is in both places."""

    def refuse(self: Path, target: Path) -> Path:
        if self.parent == conversion.folder:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", refuse)
    fill(conversion.folder, {"x.jpg": CUT_GIF})
    fill(tmp_path / "quarantine", {"x.jpg": CUT_GIF, ".cvl-x.jpg-1-2.tmp": CUT_GIF[:9]})
    (left,) = run(replace(conversion, quarantine=tmp_path / "quarantine")).unreadable
    assert left == Left("x.jpg", left.reason, str(tmp_path / "quarantine/x.jpg"))
    assert tree(tmp_path / "quarantine") == {"x.jpg": CUT_GIF}
    assert tree(conversion.folder) == {}

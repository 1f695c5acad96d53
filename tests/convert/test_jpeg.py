"""Whatever is not a real JPEG becomes one, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from specimens import CMYK, CUT_GIF, FOREIGN, GIF, JPEG, PAGE, PNG, animated_gif, document_jpeg, fill, run, stamps, tree

from cvl.convert import jpeg
from cvl.convert.jpeg import Conversion, ConversionReport, Converted, Left, convert_folder, remove_originals
from cvl.errors import DiskError, UsageError
from cvl.images import ImageKind

# What becomes of which file.


@pytest.mark.parametrize("suffix", FOREIGN)
def test_a_picture_under_its_own_name_gets_the_documents_jpeg_beside_it(conversion: Conversion, suffix: str) -> None:
    data = FOREIGN[suffix]
    fill(conversion.folder, {f"782118577{suffix}": data})
    report = run(conversion)
    expected = document_jpeg(data)
    assert tree(conversion.folder) == {f"782118577{suffix}": data, "782118577.jpg": expected}
    kind = ImageKind(suffix.removeprefix("."))
    assert report.converted == (Converted(f"782118577{suffix}", "782118577.jpg", kind, len(expected)),)
    assert not conversion.originals.exists()


@pytest.mark.parametrize("suffix", FOREIGN)
@pytest.mark.parametrize("name", ["1437717772.jpg", "1437717772.jpeg", "1437717772.JPG"])
def test_a_picture_under_a_jpegs_name_is_kept_and_replaced(conversion: Conversion, name: str, suffix: str) -> None:
    fill(conversion.folder, {name: FOREIGN[suffix]})
    report = run(conversion)
    assert tree(conversion.folder) == {name: document_jpeg(FOREIGN[suffix])}
    assert tree(conversion.originals) == {name: FOREIGN[suffix]}
    assert [(item.source, item.target) for item in report.converted] == [(name, name)]


def test_the_first_frame_of_an_animation_is_what_stays(conversion: Conversion) -> None:
    fill(conversion.folder, {"a.gif": animated_gif()})
    run(conversion)
    assert (conversion.folder / "a.jpg").read_bytes() == document_jpeg(animated_gif())


def test_real_jpegs_are_left_alone_cmyk_ones_too(conversion: Conversion) -> None:
    fill(conversion.folder, {"a.jpg": JPEG, "b.jpeg": JPEG, "C.JPG": JPEG, "d.jpg": CMYK})
    before = stamps(conversion.folder)
    assert run(conversion) == ConversionReport(scanned=4, already_jpeg=4)
    assert stamps(conversion.folder) == before


def test_a_jpeg_under_another_suffix_gets_a_second_name_and_is_not_encoded_again(conversion: Conversion) -> None:
    fill(conversion.folder, {"a.gif": JPEG, "without_suffix": JPEG})
    report = run(conversion)
    for name in ("a.gif", "without_suffix"):
        second = conversion.folder / f"{name.removesuffix('.gif')}.jpg"
        assert second.samefile(conversion.folder / name)
        assert second.read_bytes() == JPEG
    assert report.by_kind == {ImageKind.JPEG: 2}


def test_where_the_disk_has_no_hard_links_bytes_are_copied(
    conversion: Conversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    fill(conversion.folder, {"a.gif": JPEG, "b.jpg": GIF})
    run(conversion)
    assert tree(conversion.folder) == {"a.gif": JPEG, "a.jpg": JPEG, "b.jpg": document_jpeg(GIF)}
    assert tree(conversion.originals) == {"b.jpg": GIF}


def test_nested_folders_are_converted_in_their_own_places(conversion: Conversion) -> None:
    fill(conversion.folder, {"top.gif": GIF, "a.b/deep/x.gif": GIF, "a.b/deep/y.jpg": PNG, "a.b/plain": GIF})
    run(conversion)
    made = {"top.jpg", "a.b/deep/x.jpg", "a.b/deep/y.jpg", "a.b/plain.jpg"}
    assert {name for name in tree(conversion.folder) if name.endswith(".jpg")} == made
    assert tree(conversion.originals) == {"a.b/deep/y.jpg": PNG}


def test_hidden_folders_links_to_folders_and_the_originals_are_not_entered(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    conversion = Conversion(folder, folder / "originals")
    fill(folder, {".cache/a.gif": GIF, "originals/b.gif": GIF})
    fill(tmp_path / "elsewhere", {"c.gif": GIF})
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert run(conversion) == ConversionReport()


def test_a_link_to_a_picture_is_converted_like_the_picture(conversion: Conversion, tmp_path: Path) -> None:
    fill(tmp_path / "store", {"one": GIF, "two": PNG})
    (conversion.folder / "a.gif").symlink_to(tmp_path / "store/one")
    (conversion.folder / "b.jpg").symlink_to("../../../store/two")
    run(conversion)
    assert (conversion.folder / "a.jpg").read_bytes() == document_jpeg(GIF)
    assert not (conversion.folder / "b.jpg").is_symlink()
    assert (conversion.folder / "b.jpg").read_bytes() == document_jpeg(PNG)
    assert tree(conversion.originals) == {"b.jpg": PNG}
    assert tree(tmp_path / "store") == {"one": GIF, "two": PNG}


def test_a_pipe_is_no_file_and_does_not_stop_the_run(conversion: Conversion) -> None:
    os.mkfifo(conversion.folder / "pipe.jpg")
    assert run(conversion).scanned == 0


def test_what_cannot_be_read_is_reported_with_its_reason_and_left(conversion: Conversion) -> None:
    files = {"cut.gif": CUT_GIF, "cut_too.jpg": CUT_GIF, "empty.jpg": b"", "page.jpg": PAGE, "page_too.png": PAGE}
    fill(conversion.folder, files)
    report = run(conversion)
    assert tree(conversion.folder) == files
    assert not conversion.originals.exists()
    reasons = {left.name: left.reason for left in report.unreadable}
    assert list(reasons) == sorted(files)
    assert reasons["cut.gif"].startswith("damaged GIF: image file is truncated")
    assert reasons["empty.jpg"] == "empty file"
    assert "<!DOCTYPE html>" in reasons["page.jpg"]


def test_files_that_are_no_pictures_by_name_and_content_are_only_counted(conversion: Conversion) -> None:
    fill(conversion.folder, {"dataset.json": b"{}", "README": b"BM", "loadDataset.py": b""})
    assert run(conversion) == ConversionReport(scanned=3, other=3)


def test_a_new_jpeg_can_be_read_by_whom_the_umask_allows(conversion: Conversion) -> None:
    fill(conversion.folder, {"a.gif": GIF, "b.jpg": GIF})
    before = os.umask(0o022)
    try:
        run(conversion)
    finally:
        os.umask(before)
    assert [(conversion.folder / name).stat().st_mode & 0o777 for name in ("a.jpg", "b.jpg")] == [0o644, 0o644]


# Two files for one name.


def test_of_two_sources_for_one_name_the_first_by_name_is_taken_and_the_other_reported(conversion: Conversion) -> None:
    fill(conversion.folder, {"x.png": PNG, "x.gif": GIF, "x.json": b"{}"})
    report = run(conversion)
    assert (conversion.folder / "x.jpg").read_bytes() == document_jpeg(GIF)
    assert report.shadowed == (Left("x.png", "x.gif comes first"),)
    assert report.other == 1


def test_a_source_that_cannot_be_read_leaves_the_name_to_the_next(conversion: Conversion) -> None:
    fill(conversion.folder, {"x.gif": CUT_GIF, "x.png": PNG})
    report = run(conversion)
    assert (conversion.folder / "x.jpg").read_bytes() == document_jpeg(PNG)
    assert ([left.name for left in report.unreadable], report.shadowed) == (["x.gif"], ())


def test_the_file_that_has_the_name_already_comes_before_all_others(conversion: Conversion) -> None:
    fill(conversion.folder, {"x.gif": GIF, "x.jpg": PNG})
    report = run(conversion)
    assert (conversion.folder / "x.jpg").read_bytes() == document_jpeg(PNG)
    assert report.shadowed == (Left("x.gif", "x.jpg comes first"),)


@pytest.mark.parametrize("content", [PAGE, b"", CUT_GIF])
def test_a_name_is_not_taken_from_a_file_that_cannot_be_read(conversion: Conversion, content: bytes) -> None:
    fill(conversion.folder, {"x.gif": GIF, "x.jpg": content})
    report = run(conversion)
    assert (conversion.folder / "x.jpg").read_bytes() == content
    assert [left.name for left in report.unreadable] == ["x.jpg"]
    assert report.shadowed == (Left("x.gif", "x.jpg cannot be read"),)


def test_a_name_is_not_taken_from_what_is_no_file(conversion: Conversion) -> None:
    fill(conversion.folder, {"x.gif": GIF, "y.gif": GIF})
    (conversion.folder / "x.jpg").mkdir()
    (conversion.folder / "y.jpg").symlink_to("nowhere")
    assert run(conversion).shadowed == (Left("x.gif", "x.jpg is no file"), Left("y.gif", "y.jpg is no file"))
    assert (conversion.folder / "y.jpg").is_symlink()


def test_a_second_original_of_one_name_does_not_push_out_the_first(conversion: Conversion) -> None:
    """As when another mirror was fetched after a conversion."""
    for original in (GIF, PNG, FOREIGN[".bmp"], PNG):
        fill(conversion.folder, {"x.jpg": original})
        run(conversion)
    assert tree(conversion.originals) == {"x.jpg": GIF, "x.jpg.1": PNG, "x.jpg.2": FOREIGN[".bmp"]}


# Running again.

MIXED = {f"name{suffix}": data for suffix, data in FOREIGN.items()} | {
    f"in_place_{suffix[1:]}.jpg": data for suffix, data in FOREIGN.items()
}
MIXED = {f"{number}_{name}": data for number, (name, data) in enumerate(MIXED.items())}
MIXED |= {"good.jpg": JPEG, "mislabelled.gif": JPEG, "cut.jpg": CUT_GIF, "list.json": b"{}", "sub/x.gif": GIF}


def test_a_second_run_rewrites_nothing(conversion: Conversion) -> None:
    fill(conversion.folder, MIXED)
    first = run(conversion)
    before = stamps(conversion.folder) | stamps(conversion.originals)
    second = run(conversion)
    assert stamps(conversion.folder) | stamps(conversion.originals) == before
    assert (len(first.converted), len(second.converted)) == (12, 0)
    assert second.already_converted == 7
    assert second.unreadable == first.unreadable


def test_a_dry_run_says_the_same_and_writes_nothing(conversion: Conversion) -> None:
    fill(conversion.folder, MIXED | {"two.gif": GIF, "two.png": PNG, ".cvl-left.tmp": b"half"})
    before = stamps(conversion.folder.parent)
    planned = run(conversion, dry_run=True)
    assert stamps(conversion.folder.parent) == before
    assert not conversion.originals.exists()
    assert run(conversion) == planned


def test_what_a_killed_run_left_is_cleaned_up_and_never_converted(conversion: Conversion) -> None:
    left = {".cvl-0123.tmp": GIF, "sub/.cvl-4567.tmp": JPEG[:50]}
    own = {".cvl-notes.txt": b"mine", "backup.tmp": b"mine too"}
    fill(conversion.folder, left | own)
    fill(conversion.originals, {".cvl-89ab.tmp": GIF[:50]})
    assert run(conversion) == ConversionReport(scanned=2, other=2)
    assert tree(conversion.folder) == own
    assert tree(conversion.originals) == {}


def test_many_workers_do_and_report_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "SHARD_FILES", 4)
    reports, trees, told = [], [], []
    for jobs in (1, 3):
        conversion = Conversion(tmp_path / f"{jobs}/images", tmp_path / f"{jobs}/originals")
        fill(conversion.folder, MIXED)
        report = convert_folder(conversion, jobs=jobs, on_progress=lambda done, total: told.append((done, total)))
        reports.append(report)
        trees.append(tree(tmp_path / str(jobs)))
    assert reports[0] == reports[1]
    assert trees[0] == trees[1]
    assert told.count((len(MIXED), len(MIXED))) == 2
    assert all(0 < done <= total == len(MIXED) for done, total in told)


def test_the_report_is_json_with_its_sums(conversion: Conversion) -> None:
    fill(conversion.folder, {"a.gif": GIF, "b.jpg": GIF, "c.png": PNG, "d.jpg": b""})
    report = run(conversion)
    found = json.loads(json.dumps(report.as_json()))
    assert found["by_kind"] == {"gif": 2, "png": 1}
    assert found["bytes"] == report.bytes == 2 * len(document_jpeg(GIF)) + len(document_jpeg(PNG))
    assert found["unreadable"] == [{"name": "d.jpg", "reason": "empty file", "moved_to": ""}]
    assert found["converted"][0] == {
        "source": "a.gif",
        "target": "a.jpg",
        "kind": "gif",
        "bytes": len(document_jpeg(GIF)),
    }


# What cannot be done at all.


def test_a_missing_folder_is_wrong_usage_with_the_command_that_mends_it(conversion: Conversion) -> None:
    missing = Conversion(conversion.folder / "missing", conversion.originals)
    for act in (convert_folder, remove_originals):
        with pytest.raises(UsageError, match="missing: no such folder") as caught:
            act(missing)
        assert "cvl fetch" in (caught.value.hint or "")


@pytest.fixture
def without_rights() -> Iterator[None]:
    """Root may write where nobody else may, so root becomes nobody for the length of a test."""
    Image.init()  # Pillow loads its formats when the first picture is read, from where nobody may be unable to read
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


@pytest.fixture
def read_only() -> Iterator[Conversion]:
    """A folder, reachable for everybody, in which nobody may write."""
    root = Path(tempfile.mkdtemp())
    folder = root / "images"
    fill(folder, {"a.jpg": JPEG, "b.jpg": JPEG})
    folder.chmod(0o555)
    root.chmod(0o755)
    yield Conversion(folder, root / "originals")
    folder.chmod(0o755)
    shutil.rmtree(root)


@pytest.mark.usefixtures("without_rights")
def test_a_read_only_folder_that_is_complete_is_no_error(read_only: Conversion) -> None:
    assert run(read_only) == ConversionReport(scanned=2, already_jpeg=2)


def test_a_read_only_folder_with_work_to_do_is_a_disk_error(
    read_only: Conversion, request: pytest.FixtureRequest
) -> None:
    read_only.folder.chmod(0o755)
    fill(read_only.folder, {"c.gif": GIF})
    read_only.folder.chmod(0o555)
    request.getfixturevalue("without_rights")
    with pytest.raises(DiskError, match="Permission denied") as caught:
        run(read_only)
    assert caught.value.hint
    assert sorted(tree(read_only.folder)) == ["a.jpg", "b.jpg", "c.gif"]

"""Whatever is not a real JPEG becomes one, and nothing is lost, whenever the run is killed."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import cvl
from cvl.convert import jpeg
from cvl.convert.jpeg import Conversion, ConversionReport, Converted, Left, Removal, convert_folder, remove_originals
from cvl.errors import DiskError, UsageError
from cvl.images import ImageKind, decode, kind_of


def drawing(mode: str = "RGB", *, seed: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of its own for each seed."""
    gradient = Image.linear_gradient("L").resize(size).convert("RGB")
    dots = Image.frombytes("RGB", (6, 5), random.Random(seed).randbytes(90)).resize(size)
    return Image.blend(gradient, dots, 0.5).convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def animated_gif() -> bytes:
    others = [Image.new("RGB", (48, 40), colour) for colour in ("red", "blue")]
    return encoded(drawing(), "GIF", save_all=True, append_images=others, duration=40)


GIF = encoded(drawing("P"), "GIF", transparency=5, interlace=1)
PNG = encoded(drawing(seed=1).quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
JPEG = encoded(drawing(seed=2), "JPEG")
CMYK = encoded(drawing("CMYK", seed=3), "JPEG")
CUT_GIF = GIF[: len(GIF) // 2]
PAGE = b"<!DOCTYPE html><title>404 Not Found</title>"
FOREIGN = {
    ".gif": GIF,
    ".png": PNG,
    ".webp": encoded(drawing(seed=4), "WEBP"),
    ".bmp": encoded(drawing(seed=5), "BMP"),
    ".tiff": encoded(drawing(seed=6), "TIFF"),
}


@pytest.fixture
def conversion(tmp_path: Path) -> Conversion:
    """An empty folder to be converted, with the folder for originals where the tree has it."""
    (tmp_path / "data/ocr_vqa/images").mkdir(parents=True)
    return Conversion(tmp_path / "data/ocr_vqa/images", tmp_path / "data/.cvl/originals/ocr_vqa/images")


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, what a killed run left included."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def document_jpeg(data: bytes) -> bytes:
    """What the source document's loop makes of a file with these bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as img:
            return encoded(img.convert("RGB"), "JPEG", quality=95)


def run(conversion: Conversion, *, dry_run: bool = False) -> ConversionReport:
    report = convert_folder(conversion, jobs=1, dry_run=dry_run)
    lists = (report.converted, report.unreadable, report.shadowed)
    assert report.scanned == report.already_jpeg + report.already_converted + report.other + sum(map(len, lists))
    return report


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
    assert found["unreadable"] == [{"name": "d.jpg", "reason": "empty file"}]
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


# Removal of the originals.


def test_originals_are_removed_where_their_jpeg_is_whole(conversion: Conversion) -> None:
    fill(conversion.folder, {"a.gif": GIF, "sub/b.jpg": PNG, "c.gif": JPEG, "d.jpg": JPEG, "notes.txt": b"hello"})
    run(conversion)
    removal = remove_originals(conversion, jobs=1)
    assert removal == Removal(files=3, bytes=len(GIF) + len(PNG)), "c.gif shares its bytes with c.jpg"
    assert sorted(tree(conversion.folder)) == ["a.jpg", "c.jpg", "d.jpg", "notes.txt", "sub/b.jpg"]
    assert not conversion.originals.exists()
    assert remove_originals(conversion, jobs=1) == Removal()
    assert run(conversion) == ConversionReport(scanned=5, already_jpeg=4, other=1)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (document_jpeg(GIF)[:-400], "x.jpg: damaged JPEG: image file is truncated"),
        (PNG, "x.jpg: expected a JPEG, found a PNG"),
        (b"", "x.jpg: empty file"),
        (None, "x.jpg: No such file"),
    ],
)
@pytest.mark.parametrize("original", ["x.gif", "x.jpg"])
def test_an_original_stays_where_its_jpeg_is_not_whole(
    conversion: Conversion, original: str, damage: bytes | None, reason: str
) -> None:
    fill(conversion.folder, {original: GIF})
    run(conversion)
    (conversion.folder / "x.jpg").unlink()
    if damage is not None:
        fill(conversion.folder, {"x.jpg": damage})
    removal = remove_originals(conversion, jobs=1)
    assert (removal.files, removal.bytes) == (0, 0)
    place = (conversion.originals if original == "x.jpg" else conversion.folder) / original
    assert place.read_bytes() == GIF
    assert [left.name for left in removal.kept] == [str(place)]
    assert removal.kept[0].reason.startswith(reason)


def test_originals_stay_where_nothing_tells_which_of_them_the_jpeg_was_made_from(conversion: Conversion) -> None:
    files = {"x.gif": GIF, "x.png": PNG, "y.gif": GIF, "y.jpg": PNG}
    fill(conversion.folder, files)
    run(conversion)
    removal = remove_originals(conversion, jobs=1)
    assert (removal.files, len(removal.kept)) == (0, 4)
    assert set(files) <= set(tree(conversion.folder))
    assert tree(conversion.originals) == {"y.jpg": PNG}


def test_a_picture_stays_that_its_jpeg_is_only_a_link_to(conversion: Conversion) -> None:
    fill(conversion.folder, {"x.gif": JPEG})
    (conversion.folder / "x.jpg").symlink_to("x.gif")
    assert run(conversion).already_jpeg == 1
    removal = remove_originals(conversion, jobs=1)
    assert (removal.files, len(removal.kept)) == (0, 1)
    assert (conversion.folder / "x.jpg").read_bytes() == JPEG


def test_files_that_are_no_pictures_are_not_taken_for_originals(conversion: Conversion) -> None:
    files = {"x.jpg": JPEG, "x.json": b"{}", "x.gif": PAGE}
    fill(conversion.folder, files)
    assert remove_originals(conversion, jobs=1) == Removal()
    assert tree(conversion.folder) == files


# Killed at any instant.


def assert_nothing_lost(conversion: Conversion, files: dict[str, bytes]) -> None:
    """Every original is whole under its own name or among the originals, and no JPEG is half written."""
    kept = tree(conversion.originals)
    for name, data in files.items():
        assert data in ((conversion.folder / name).read_bytes(), kept.get(name)), f"{name} is lost"
    for path in conversion.folder.rglob("*.jpg"):
        if path.read_bytes() not in files.values():
            assert kind_of(path) is ImageKind.JPEG
            decode(path)


def finished(folder: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """What the tree is after a run that nobody disturbed."""
    conversion = Conversion(folder / "images", folder / "originals")
    fill(conversion.folder, files)
    convert_folder(conversion, jobs=1)
    return tree(folder)


def python(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A process, leader of a group of its own, that can import this module."""
    places = [str(Path(cvl.__file__).parents[1]), str(Path(__file__).parent)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        start_new_session=True,
    )


STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename"}


def convert_and_die(conversion: Conversion, step: int) -> None:
    """Converts until just before the given act on a file of the tree, then is killed."""
    root, steps = str(conversion.folder.parent), itertools.count()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in STEPS and str(arguments[0]).startswith(root) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    convert_folder(conversion, jobs=1)
    os._exit(0)


def kill_at_every_step(root: Path, files: dict[str, bytes]) -> int:
    """How many steps a run has, after each of which it was killed, checked and repeated. Forks."""
    expected = finished(root / "expected", files)
    for step in itertools.count():
        conversion = Conversion(root / f"{step}/images", root / f"{step}/originals")
        fill(conversion.folder, files)
        child = os.fork()
        if child == 0:
            convert_and_die(conversion, step)
        _, status = os.waitpid(child, 0)
        assert_nothing_lost(conversion, files)
        convert_folder(conversion, jobs=1)
        assert tree(root / str(step)) == expected
        if not os.WIFSIGNALED(status):
            return step
    raise AssertionError("unreachable")


def test_a_run_killed_before_any_single_act_on_a_file_loses_nothing(tmp_path: Path) -> None:
    """In a process of its own, which has no threads and so may fork."""
    code = "import sys, test_jpeg as t, pathlib; print(t.kill_at_every_step(pathlib.Path(sys.argv[1]), t.FOUR))"
    process = python(code, tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert int(out) > 20


FOUR = {"beside.gif": GIF, "in_place.jpg": PNG, "mislabelled.gif": JPEG, "sub/deep.jpg": GIF}

CONVERT = """
import sys
from pathlib import Path
from cvl.convert import jpeg

if __name__ == "__main__":
    jpeg.SHARD_FILES = 8
    conversion = jpeg.Conversion(Path(sys.argv[1]), Path(sys.argv[2]))
    jpeg.convert_folder(conversion, jobs=int(sys.argv[3]), on_progress=lambda *_: print("shard", flush=True))
"""


def many_files(count: int) -> dict[str, bytes]:
    """GIFs and bitmaps, half of them under a JPEG's name; neighbours differ."""
    pictures = [drawing(seed=seed, size=(320, 240)) for seed in range(24)]
    data = [encoded(it.convert("P"), "GIF") if seed % 3 else encoded(it, "BMP") for seed, it in enumerate(pictures)]
    return {f"{number}{'.gif' if number % 2 else '.jpg'}": data[number % 24] for number in range(count)}


def kill_at_random(conversion: Conversion, dice: random.Random, *, jobs: int, shards: int) -> bool:
    """Whether a run, with all its workers, was killed before its end: some milliseconds after any of its shards."""
    process = python(CONVERT, conversion.folder, conversion.originals, str(jobs))
    assert process.stdout is not None
    for _ in range(dice.randrange(shards)):
        process.stdout.readline()
    time.sleep(dice.uniform(0, 0.03))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


def kill_again_and_again(root: Path, files: dict[str, bytes], dice: random.Random, *, jobs: int, times: int) -> int:
    """How many runs were killed before their end; after all of them one runs undisturbed."""
    conversion = Conversion(root / "images", root / "originals")
    fill(conversion.folder, files)
    kills = 0
    for _ in range(times):
        kills += kill_at_random(conversion, dice, jobs=jobs, shards=len(files) // 8)
        assert_nothing_lost(conversion, files)
    convert_folder(conversion, jobs=1)
    return kills


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_killed_at_random_instants_is_completed_by_the_next(tmp_path: Path, jobs: int) -> None:
    files = many_files(240)
    expected = finished(tmp_path / "expected", files)
    kills = kill_again_and_again(tmp_path / "killed", files, random.Random(jobs), jobs=jobs, times=3)
    assert tree(tmp_path / "killed") == expected
    assert kills > 0


@pytest.mark.soak
def test_many_runs_killed_at_random_instants_lose_nothing(tmp_path: Path) -> None:
    files = many_files(600)
    expected = finished(tmp_path / "expected", files)
    kills = 0
    for seed in range(40):
        kills += kill_again_and_again(tmp_path / "killed", files, random.Random(seed), jobs=1 + seed % 3, times=6)
        assert tree(tmp_path / "killed") == expected
        shutil.rmtree(tmp_path / "killed")
    assert kills > 40

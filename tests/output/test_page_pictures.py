"""Small copies of pictures, of damaged ones too, and of nothing that is not an ordinary file of the tree."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from cvl.annotations.place import Notes
from cvl.errors import ImageError
from cvl.output.page.damaged import SHOWN, damaged_files
from cvl.output.page.pictures import THUMBNAIL_SIDE, Size, size_of, thumbnail
from cvl.root import Root
from cvl.verify.report import Kind, Problem, Report


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "tree" / "data").mkdir(parents=True)
    return Root(tmp_path / "tree")


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (width, height), random.Random(7).randbytes(width * height * channels))


def encoded(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode"), [("jpeg", "RGB"), ("jpeg", "CMYK"), ("png", "RGBA"), ("gif", "P"), ("bmp", "L")]
)
def test_a_copy_is_a_small_jpeg_of_the_same_shape(root: Root, kind: str, mode: str) -> None:
    root.at("data/a.jpg").write_bytes(encoded(noise(400, 200, mode), kind))
    copy = thumbnail(root, "data/a.jpg")
    assert (copy.width, copy.height, copy.original, copy.flaw) == (THUMBNAIL_SIDE, THUMBNAIL_SIDE // 2, (400, 200), "")
    with Image.open(io.BytesIO(copy.jpeg)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (copy.width, copy.height))


def test_a_copy_is_never_larger_than_its_original(root: Root) -> None:
    root.at("data/a.png").write_bytes(encoded(noise(5, 3), "png"))
    assert thumbnail(root, "data/a.png").width == 5


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif"])
def test_what_is_left_of_a_cut_picture_is_shown_with_its_flaw(root: Root, kind: str) -> None:
    whole = encoded(noise(120, 120, "P" if kind == "gif" else "RGB"), kind)
    root.at("data/a.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    copy = thumbnail(root, "data/a.jpg")
    assert copy.original == (120, 120)
    assert copy.flaw.startswith(f"damaged {kind.upper()}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"<html>gone</html>", "not a picture"), (b"\xff\xd8\xff\xe0", "no header of a JPEG")],
)
def test_of_what_is_no_picture_nothing_is_shown_and_the_reason_told(root: Root, content: bytes, reason: str) -> None:
    root.at("data/a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        thumbnail(root, "data/a.jpg")
    assert size_of(root, "data/a.jpg") is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("data/none.jpg", "not there"),
        ("data/../../secret.png", "leads out of the tree"),
        ("/etc/passwd", "leads out of the tree"),
        ("data", "not an ordinary file"),
        ("data/a\0b.jpg", "not a name that a file can have"),
        ("data/\ud800.jpg", "not a name that a file can have"),
        (f"data/{'x' * 10_000}.jpg", "File name too long"),
    ],
)
def test_paths_that_lead_nowhere_good_are_refused(root: Root, path: str, reason: str) -> None:
    (root.path.parent / "secret.png").write_bytes(encoded(noise(4, 4), "png"))
    with pytest.raises(ImageError, match=reason):
        thumbnail(root, path)
    assert size_of(root, path) is None


def test_a_pipe_is_not_waited_for(root: Root) -> None:
    os.mkfifo(root.at("data/a.jpg"))
    with pytest.raises(ImageError, match="not an ordinary file"):
        thumbnail(root, "data/a.jpg")
    assert size_of(root, "data/a.jpg") is None


def test_a_huge_picture_is_measured_and_not_decoded(root: Root) -> None:
    Image.new("1", (20_000, 10_000)).save(root.at("data/a.png"))
    with pytest.raises(ImageError, match="20,000 × 10,000 pixels, too many"):
        thumbnail(root, "data/a.png")
    size = size_of(root, "data/a.png")
    assert size is not None
    assert (size.width, size.height) == (20_000, 10_000)


def test_a_huge_file_is_not_read(root: Root) -> None:
    with root.at("data/a.png").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(ImageError, match="1,000,000,000 bytes, too many"):
        thumbnail(root, "data/a.png")


def test_a_size_comes_from_the_header_alone(root: Root) -> None:
    whole = encoded(noise(300, 100), "jpeg")
    root.at("data/a.jpg").write_bytes(whole[:800])
    assert size_of(root, "data/a.jpg") == Size(300, 100, 800)


def test_what_pillow_is_told_is_taken_back(root: Root) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    root.at("data/a.jpg").write_bytes(encoded(noise(50, 50), "jpeg")[:900])
    thumbnail(root, "data/a.jpg")
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def damage(path: str, text: str = "", kind: Kind = Kind.DAMAGED_IMAGES) -> Problem:
    return Problem(kind, "coco", "data", 1, "1 × cut short", "cvl fetch coco", (f"{path}{text}",))


def named(root: Root, *problems: Problem) -> list[str]:
    report = Report(None, (), (), problems, {})
    return [file.path for file in damaged_files(report, root, Notes(root.notes))]


@pytest.mark.parametrize("path", ["data/a.jpg", "data/a: b.jpg", "data/a: b: c", "data/a.jpg: not JPEG: "])
def test_a_damaged_file_is_told_from_what_is_wrong_with_it(root: Root, path: str) -> None:
    root.at(path).write_bytes(b"x")
    assert named(root, damage(path, ": damaged JPEG: image file is truncated")) == [path]
    assert named(root, damage(path)) == [path]


@pytest.mark.parametrize("path", ["data/none.jpg", "data/a\0b", "data/" + "x" * 10_000])
def test_a_damaged_file_that_is_gone_is_named_all_the_same(root: Root, path: str) -> None:
    assert named(root, damage(path)) == [path]


def test_the_list_that_a_cure_reads_names_more_than_the_examples(root: Root) -> None:
    lists = Notes(root.notes).lists
    lists.mkdir(parents=True)
    paths = [f"data/{number}: \udcff.jpg" for number in range(9)]
    (lists / "damaged-images-coco").write_bytes(b"".join(os.fsencode(path) + b"\0" for path in paths))
    assert named(root, damage(paths[0])) == paths
    assert named(root, damage("data/0.jpg", kind=Kind.NOT_JPEG), damage(paths[3])) == ["data/0.jpg", *paths]


def test_problems_that_are_about_no_file_that_is_there_show_none(root: Root) -> None:
    assert named(root, damage("data/0.jpg", kind=Kind.MISSING_IMAGES)) == []


def test_no_more_are_named_than_are_shown(root: Root) -> None:
    assert len(named(root, *(damage(f"data/{number}.jpg") for number in range(SHOWN + 9)))) == SHOWN

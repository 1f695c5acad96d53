"""Photographs of real cameras and files of real programs, which scikit-image brings along."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from specimens import document_jpeg, fill, run, tree

from cvl.convert.jpeg import Conversion, convert_folder
from cvl.images import ImageKind, decode, decode_reduced, decode_strictly, glance

skimage = pytest.importorskip("skimage", reason="scikit-image is not installed, and no photographs with it")
FOLDER = Path(skimage.__file__).parent / "data"
PICTURES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".jpg", ".png", ".tif", ".gif"})
JPEGS = [path for path in PICTURES if path.suffix == ".jpg"]


def test_there_are_some_of_each() -> None:
    assert {path.suffix for path in PICTURES} == {".jpg", ".png", ".tif", ".gif"}
    assert len(PICTURES) > 20


@pytest.mark.parametrize("path", JPEGS, ids=lambda path: path.name)
def test_a_photograph_is_known_for_a_jpeg_by_its_two_ends(path: Path) -> None:
    assert glance(path) == (ImageKind.JPEG, True)
    with Image.open(path) as photograph:
        assert decode_strictly(path).size == photograph.size


@pytest.mark.parametrize("path", JPEGS, ids=lambda path: path.name)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_cut_photograph_is_found_by_its_end_and_told_by_its_decoder(
    conversion: Conversion, path: Path, share: float
) -> None:
    data = path.read_bytes()
    fill(conversion.folder, {"photo.jpg": data[: int(len(data) * share)]})
    assert glance(conversion.folder / "photo.jpg") == (ImageKind.JPEG, False)
    (left,) = run(conversion).unreadable
    assert left.reason.startswith("damaged JPEG: ")


def test_all_of_them_are_converted_as_the_documents_loop_does_it(conversion: Conversion) -> None:
    originals = {path.name: path.read_bytes() for path in PICTURES}
    fill(conversion.folder, originals)
    report = convert_folder(conversion, jobs=2)
    assert report.already_jpeg == len(JPEGS)
    assert {left.name: left.reason for left in report.unreadable} == {
        "multipage_rgb.tif": "damaged TIFF: its header makes no sense, or is of an unsupported variant"
    }
    made = {name: data for name, data in tree(conversion.folder).items() if name not in originals}
    assert made == {
        str(Path(name).with_suffix(".jpg")): document_jpeg(data)
        for name, data in originals.items()
        if not name.endswith((".jpg", "_rgb.tif"))
    }


@pytest.mark.parametrize("path", JPEGS, ids=lambda path: path.name)
def test_a_photograph_decoded_at_a_lower_scale_shows_the_same(path: Path) -> None:
    small, size = decode_reduced(path, 200)
    whole = decode(path)
    assert (size, small.mode) == (whole.size, whole.mode)
    assert 200 <= max(small.size) < max(whole.size)
    shrunk = whole.resize(small.size, Image.Resampling.BOX)
    differences = [abs(a - b) for a, b in zip(small.tobytes(), shrunk.tobytes(), strict=True)]
    assert sum(differences) / len(differences) < 6

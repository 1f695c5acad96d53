"""Originals go only where their JPEG is proven."""

from __future__ import annotations

import pytest
from specimens import GIF, JPEG, PAGE, PNG, document_jpeg, fill, run, tree

from cvl.convert.jpeg import Conversion, ConversionReport, Removal, remove_originals

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

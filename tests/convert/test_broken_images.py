"""Files that are broken: each is listed with its reason and left, or moved to a quarantine. See docs/images.md."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from specimens import FOREIGN, GIF, JPEG, PNG, document_jpeg, drawing, encoded, fill, run, tree

from cvl.convert.jpeg import Conversion, ConversionReport

LARGE = drawing(seed=9, size=(400, 300))
WHOLE = {
    "GIF": encoded(LARGE.convert("P"), "GIF"),
    "PNG": encoded(LARGE, "PNG"),
    "WEBP": encoded(LARGE, "WEBP"),
    "BMP": encoded(LARGE, "BMP"),
    "TIFF": encoded(LARGE, "TIFF", compression="tiff_lzw"),
    "JPEG": encoded(LARGE, "JPEG"),
}
PHOTO = WHOLE["JPEG"]


def reason(conversion: Conversion, name: str, data: bytes) -> str:
    """Why a file is refused, which stays as it is, or goes to a quarantine with all its bytes."""
    fill(conversion.folder, {name: data})
    (left,) = run(conversion).unreadable
    assert tree(conversion.folder) == {name: data}
    quarantine = conversion.folder.parents[2] / "quarantine"
    (moved,) = run(replace(conversion, quarantine=quarantine)).unreadable
    assert (tree(conversion.folder), tree(quarantine)) == ({}, {name: data})
    assert (moved.name, moved.reason) == (left.name, left.reason) == (name, left.reason)
    assert moved.moved_to == str(quarantine / name)
    return left.reason


# Cut.


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("suffix", [".jpg", ".gif"])
def test_a_cut_picture_is_listed(conversion: Conversion, kind: str, share: float, suffix: str) -> None:
    data = WHOLE[kind]
    assert reason(conversion, f"cut{suffix}", data[: int(len(data) * share)]).startswith(f"damaged {kind}: ")


def test_a_jpeg_that_lacks_nothing_but_its_last_byte_is_listed(conversion: Conversion) -> None:
    assert reason(conversion, "cut.jpg", PHOTO[:-1]).startswith("damaged JPEG: image file is truncated")


def test_a_gif_that_lacks_nothing_but_its_last_byte_is_converted(conversion: Conversion) -> None:
    """All its pixels are here; other programs do not mind either."""
    fill(conversion.folder, {"x.gif": GIF[:-1]})
    run(conversion)
    assert (conversion.folder / "x.jpg").read_bytes() == document_jpeg(GIF)


def test_a_jpeg_filled_up_with_zeros_where_it_was_cut_is_listed(conversion: Conversion) -> None:
    """As a download leaves it that had its room reserved."""
    data = PHOTO[: len(PHOTO) // 2].ljust(len(PHOTO), b"\0")
    assert reason(conversion, "x.jpg", data).startswith("damaged JPEG: image file is truncated")


# Damaged.


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_a_flipped_byte_in_the_pixels_is_listed_where_the_format_shows_it(conversion: Conversion, kind: str) -> None:
    data = bytearray(WHOLE[kind])
    data[len(data) // 2] ^= 0xFF
    if kind == "GIF":
        data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    assert reason(conversion, "x.gif", bytes(data)).startswith(f"damaged {kind}: ")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_header_without_sense_is_listed_with_the_same_words_each_time(conversion: Conversion, kind: str) -> None:
    head = WHOLE[kind][: {"BMP": 18}.get(kind, 12)]
    text = reason(conversion, "x.jpg", head.ljust(500, b"\0"))
    assert text.startswith(f"damaged {kind}: ")
    assert " at 0x" not in text, "the address of an object is another one in every run"


def test_a_jpeg_damaged_in_its_middle_shows_only_when_all_of_it_is_decoded(conversion: Conversion) -> None:
    data = PHOTO[: len(PHOTO) // 2] + PHOTO[-2:]
    fill(conversion.folder, {"x.jpg": data})
    assert run(conversion) == ConversionReport(scanned=1, already_jpeg=1)
    (left,) = run(replace(conversion, thorough=True)).unreadable
    assert left.reason.startswith("damaged JPEG: ")


# No pictures at all.


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "found b'<!DOCTYPE html>"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "found b'<?xml version="),
        (b'{"error": "Too Many Requests"}', "found b'"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 47000\n", "found b'version https://"),
        (gzip.compress(JPEG, mtime=0), "found b'\\x1f\\x8b"),
        (bytes(47_000), "found b'\\x00"),
        (b"\0\0\0\x1cftypavif" + bytes(90), "ftypavif"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(90), "jP  "),
        (PNG[1:], "found b'PNG"),
        (b"BM is how this text begins, and it is none", "found b'BM is how"),
    ],
    ids=[
        "empty",
        "web page",
        "error of a bucket",
        "error of an interface",
        "pointer of git-lfs",
        "gzipped",
        "zeros",
        "AVIF",
        "JPEG 2000",
        "first byte lost",
        "text that begins as a bitmap",
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_what_is_no_picture_is_listed_by_what_it_begins_with(
    conversion: Conversion, data: bytes, found: str, suffix: str
) -> None:
    assert found in reason(conversion, f"x{suffix}", data)


# Odd, but sound.


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\xff\xd8 a second picture", b"MotionPhoto_Data" + bytes(99)])
def test_a_jpeg_that_goes_on_behind_its_end_is_one(conversion: Conversion, tail: bytes) -> None:
    fill(conversion.folder, {"x.jpg": PHOTO + tail, "y.gif": PHOTO + tail})
    report = run(conversion)
    assert (report.already_jpeg, [item.target for item in report.converted]) == (1, ["y.jpg"])
    assert (conversion.folder / "x.jpg").read_bytes() == PHOTO + tail


def test_several_jpegs_in_one_file_as_3d_cameras_write_them_are_a_jpeg(conversion: Conversion) -> None:
    data = encoded(LARGE, "MPO", save_all=True, append_images=[drawing(seed=1)])
    fill(conversion.folder, {"x.jpg": data, "y.mpo": data})
    report = run(conversion)
    assert (report.already_jpeg, [item.target for item in report.converted]) == (1, ["y.jpg"])


SOUND = {
    "animated GIF": encoded(LARGE, "GIF", save_all=True, append_images=[drawing(seed=7, size=(400, 300))]),
    "transparent GIF": encoded(LARGE.convert("P"), "GIF", transparency=3),
    "interlaced GIF": encoded(LARGE.convert("P"), "GIF", interlace=1),
    "PNG with a palette": encoded(LARGE.quantize(31), "PNG", transparency=bytes(range(31))),
    "PNG with alpha": encoded(LARGE.convert("RGBA"), "PNG"),
    "grey PNG with alpha": encoded(LARGE.convert("LA"), "PNG"),
    "PNG of 16 bits": encoded(LARGE.convert("I;16"), "PNG"),
    "PNG of one bit": encoded(LARGE.convert("1"), "PNG"),
    "animated PNG": encoded(LARGE, "PNG", save_all=True, append_images=[drawing(seed=7, size=(400, 300))]),
    "WebP with alpha": encoded(LARGE.convert("RGBA"), "WEBP", lossless=True),
    "animated WebP": encoded(LARGE, "WEBP", save_all=True, append_images=[drawing(seed=7, size=(400, 300))]),
    "BMP with a palette": encoded(LARGE.convert("P"), "BMP"),
    "BMP of one bit": encoded(LARGE.convert("1"), "BMP"),
    "TIFF of several pages": encoded(LARGE, "TIFF", save_all=True, append_images=[drawing(seed=7)]),
    "CMYK TIFF": encoded(LARGE.convert("CMYK"), "TIFF"),
    "TIFF of 16 bits": encoded(LARGE.convert("I;16"), "TIFF"),
    "TIFF of floats": encoded(LARGE.convert("F"), "TIFF"),
    "TIFF with JPEG inside": encoded(LARGE, "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("name", SOUND)
def test_every_odd_picture_becomes_the_documents_jpeg_under_any_name(conversion: Conversion, name: str) -> None:
    fill(conversion.folder, {"x.jpg": SOUND[name], "y.dat": SOUND[name], "z.png": SOUND[name]})
    run(conversion)
    expected = document_jpeg(SOUND[name])
    assert [(conversion.folder / f"{stem}.jpg").read_bytes() == expected for stem in "xyz"] == [True] * 3
    assert tree(conversion.originals) == {"x.jpg": SOUND[name]}
    assert document_jpeg(FOREIGN[".png"]) != expected

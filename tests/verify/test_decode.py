"""What is found of one picture at each depth, with real photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
from photographs import encoded, photograph, zeroed

from cvl.images import ImageKind
from cvl.verify.decode import Depth, Verdict, look

PHOTOGRAPHS = ("rocket.jpg", "retina.jpg", "hubble_deep_field.jpg")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "1.jpg"


def found(path: Path, content: bytes, depth: Depth) -> Verdict:
    path.write_bytes(content)
    return look(path, depth)


@pytest.mark.parametrize("depth", Depth)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_real_photographs_are_sound(path: Path, name: str, depth: Depth) -> None:
    verdict = found(path, photograph(name), depth)
    assert (verdict.sound, verdict.kind) == (True, ImageKind.JPEG)


SOUND = {
    "gray": lambda: encoded("JPEG", "L"),
    "four inks": lambda: encoded("JPEG", "CMYK"),
    "progressive": lambda: encoded("JPEG", progressive=True),
    "full chroma": lambda: encoded("JPEG", subsampling=0),
    "with a thumbnail's end inside": lambda: encoded("JPEG", exif=b"Exif\0\0" + b"\xff\xd8\xff\xd9" * 4),
    "text behind its end": lambda: photograph() + b"made by a camera\n",
    "zeros behind its end": lambda: photograph() + bytes(4096),
    "png": lambda: encoded("PNG"),
    "png with a palette": lambda: encoded("PNG", "P"),
    "gif": lambda: encoded("GIF", "P"),
    "webp": lambda: encoded("WEBP"),
    "bmp": lambda: encoded("BMP"),
    "tiff": lambda: encoded("TIFF"),
}


@pytest.mark.parametrize("depth", Depth)
@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND.keys())
def test_whatever_can_be_read_is_sound(path: Path, make: object, depth: Depth) -> None:
    assert callable(make)
    assert found(path, make(), depth).sound


@pytest.mark.parametrize("depth", [Depth.QUICK, Depth.FULL])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_that_is_cut_short_is_found(path: Path, name: str, share: float, depth: Depth) -> None:
    data = photograph(name)
    verdict = found(path, data[: int(len(data) * share)], depth)
    assert verdict.reason == "cut-short-image"
    assert "truncated" in verdict.text


@pytest.mark.parametrize("depth", [Depth.QUICK, Depth.FULL])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_missing_end_marker_is_found(path: Path, mode: str, depth: Depth) -> None:
    assert found(path, encoded("JPEG", mode)[:-2], depth).reason == "cut-short-image"


@pytest.mark.parametrize("depth", [Depth.QUICK, Depth.FULL])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_other_formats_that_are_cut_short_are_found(path: Path, kind: str, depth: Depth) -> None:
    data = encoded(kind, "P" if kind == "GIF" else "RGB")
    assert not found(path, data[: len(data) // 2], depth).sound


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_zeros_in_the_middle_are_found_by_the_full_decoding_only(path: Path, name: str) -> None:
    data = zeroed(photograph(name))
    assert found(path, data, Depth.QUICK).sound
    verdict = found(path, data, Depth.FULL)
    assert verdict.reason == "damaged-image"
    assert verdict.text.startswith("damaged JPEG: Corrupt JPEG data")


def test_zeros_in_the_middle_of_four_inks_and_of_many_scans_are_found(path: Path) -> None:
    for data in (encoded("JPEG", "CMYK"), encoded("JPEG", progressive=True)):
        assert found(path, zeroed(data), Depth.FULL).reason == "damaged-image"


@pytest.mark.parametrize("depth", Depth)
def test_a_file_without_a_byte_is_empty(path: Path, depth: Depth) -> None:
    assert found(path, b"", depth) == Verdict(None, "empty-image", "it has no byte")


@pytest.mark.parametrize("depth", Depth)
@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>quota", bytes(5000), b"version https://git-lfs"])
def test_what_is_no_picture_is_told_with_its_beginning(path: Path, content: bytes, depth: Depth) -> None:
    verdict = found(path, content, depth)
    assert (verdict.reason, verdict.kind) == ("no-picture", None)
    assert repr(content[:16]) in verdict.text


@pytest.mark.parametrize("depth", Depth)
def test_what_cannot_be_opened_is_told_with_the_system_s_reason(tmp_path: Path, depth: Depth) -> None:
    assert look(tmp_path / "gone.jpg", depth) == Verdict(None, "unreadable-image", "No such file or directory")
    assert look(tmp_path, depth).reason == "unreadable-image"


def test_the_header_alone_tells_the_kind(path: Path) -> None:
    data = encoded("PNG")
    assert found(path, data[:100], Depth.HEADER) == Verdict(ImageKind.PNG)


def test_a_huge_picture_is_damage_and_no_bomb(path: Path) -> None:
    data = bytearray(encoded("BMP"))
    data[18:26] = (60_000).to_bytes(4, "little") * 2
    verdict = found(path, bytes(data), Depth.QUICK)
    assert not verdict.sound
    assert "60000 × 60000 pixels" in verdict.text

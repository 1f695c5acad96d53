"""What a file is, whether it is whole, and that its JPEG is the one that the source document's loop writes."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFile

from cvl import images
from cvl.errors import ImageError
from cvl.images import (
    HEAD_BYTES,
    ImageKind,
    decode,
    decode_reduced,
    decode_strictly,
    encode_jpeg,
    ends_whole,
    glance,
    identify,
    kind_of,
    read,
    sniff,
)

FORMATS = {kind: kind.name for kind in ImageKind}


def drawing(mode: str = "RGB", size: tuple[int, int] = (61, 47)) -> Image.Image:
    """A picture with edges and a gradient, so that two encodings of it are unlikely to be equal by chance."""
    picture = Image.radial_gradient("L").resize(size).convert("RGB")
    ImageDraw.Draw(picture).ellipse((5, 5, size[0] // 2, size[1] // 2), fill=(200, 30, 60))
    return picture.convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def document_snippet(source: Path, target: Path) -> bytes:
    """The conversion as the source document writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(source) as img:
            img.convert("RGB").save(target, "JPEG", quality=95)
    return target.read_bytes()


def animated_gif() -> bytes:
    others = [Image.new("RGB", (61, 47), colour) for colour in ("red", "blue")]
    return encoded(drawing(), "GIF", save_all=True, append_images=others, duration=40)


def palette_with_alpha() -> bytes:
    picture = drawing().quantize(16)
    return encoded(picture, "PNG", transparency=bytes(range(0, 256, 16)))


def noisy_tiff() -> bytes:
    """A TIFF that claims a longer description than the file has bytes, which Pillow warns about."""
    data = encoded(drawing(), "TIFF", tiffinfo={270: "x" * 99})
    description = struct.pack("<HHI", 270, 2, 100)
    assert description in data
    return data.replace(description, struct.pack("<HHI", 270, 2, 100_000))


PICTURES = {
    "gif": encoded(drawing("P"), "GIF"),
    "gif interlaced": encoded(drawing("P"), "GIF", interlace=1),
    "gif not interlaced": encoded(drawing("P"), "GIF", interlace=0),
    "gif transparent": encoded(drawing("P"), "GIF", transparency=7),
    "gif grey": encoded(drawing("L"), "GIF"),
    "gif with a comment": encoded(drawing("P"), "GIF", comment=b"scanned 1999"),
    "gif animated": animated_gif(),
    "png": encoded(drawing(), "PNG"),
    "png palette and alpha": palette_with_alpha(),
    "png palette and one transparent colour": encoded(drawing("P"), "PNG", transparency=3),
    "png alpha": encoded(drawing("RGBA"), "PNG"),
    "png one bit": encoded(drawing("1"), "PNG"),
    "png sixteen bit": encoded(Image.new("I;16", (61, 47), 40000), "PNG"),
    "webp": encoded(drawing(), "WEBP", lossless=True),
    "bmp": encoded(drawing(), "BMP"),
    "tiff": encoded(drawing(), "TIFF"),
    "tiff that makes Pillow warn": noisy_tiff(),
    "jpeg cmyk": encoded(drawing("CMYK"), "JPEG"),
}


@pytest.mark.parametrize("kind", ImageKind)
def test_every_kind_is_told_by_its_first_bytes(kind: ImageKind, tmp_path: Path) -> None:
    data = encoded(drawing(), FORMATS[kind])
    misnamed = tmp_path / "x.jpg"
    misnamed.write_bytes(data)
    assert sniff(data[:HEAD_BYTES]) is identify(data) is kind_of(misnamed) is kind_of(str(misnamed)) is kind


@pytest.mark.parametrize("kind", ImageKind)
def test_a_kind_has_the_suffix_that_is_usual_for_it(kind: ImageKind) -> None:
    assert Image.registered_extensions()[kind.suffix] == kind.name
    assert kind.suffix in images.PICTURE_SUFFIXES


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!DOCTYPE html>",
        b"BM is not only a bitmap but also a text",
        b"BM",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"GIF is a format",
        b"\xff\xd8",
        b"II as a word",
        b"%PDF-1.7",
    ],
)
def test_what_only_looks_like_a_picture_is_none(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.gif").write_bytes(head)
    assert sniff(head) is None
    assert kind_of(tmp_path / "x.gif") is None


def test_asking_for_the_kind_of_a_missing_file_raises_what_open_does(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kind_of(tmp_path / "missing.jpg")


JPEG = encoded(drawing(size=(400, 300)), "JPEG")


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (JPEG, (ImageKind.JPEG, True)),
        (JPEG[:-1], (ImageKind.JPEG, False)),
        (JPEG[:100], (ImageKind.JPEG, False)),
        (JPEG[:3], (ImageKind.JPEG, False)),
        (JPEG + b"\0", (ImageKind.JPEG, False)),
        (PICTURES["gif"][:60], (ImageKind.GIF, True)),
        (b"", (None, True)),
        (b"\xff", (None, True)),
    ],
    ids=["whole", "last byte", "cut", "three bytes", "tail", "cut GIF", "empty", "one byte"],
)
def test_a_glance_tells_the_kind_and_whether_a_jpeg_ends_as_one(
    data: bytes, seen: tuple[ImageKind | None, bool], tmp_path: Path
) -> None:
    (tmp_path / "x.jpg").write_bytes(data)
    assert glance(tmp_path / "x.jpg") == glance(str(tmp_path / "x.jpg")) == seen
    assert (sniff(data[:HEAD_BYTES]), ends_whole(data)) == seen


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "hole.tif").open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(ImageError, match="2147483649 bytes, at most 2147483648 are read"):
        read(tmp_path / "hole.tif")


@pytest.mark.parametrize(
    "damaged",
    [JPEG[: len(JPEG) // 2] + JPEG[-2:], JPEG[:3000] + bytes(200) + JPEG[3200:]],
    ids=["middle lost", "middle zeroed"],
)
def test_what_libjpeg_only_remarks_on_is_refused_by_who_is_strict(damaged: bytes, tmp_path: Path) -> None:
    assert decode(damaged).size == (400, 300)
    (tmp_path / "x.jpg").write_bytes(damaged)
    with pytest.raises(ImageError, match=r"x\.jpg: damaged JPEG: Corrupt JPEG data"):
        decode_strictly(tmp_path / "x.jpg")


@pytest.mark.parametrize("name", [*PICTURES, "jpeg", "jpeg grey", "jpeg progressive", "jpeg with a tail"])
def test_a_sound_picture_passes_the_strict_too(name: str) -> None:
    jpegs = {
        "jpeg": JPEG,
        "jpeg grey": encoded(drawing("L"), "JPEG"),
        "jpeg progressive": encoded(drawing(), "JPEG", progressive=True),
        "jpeg with a tail": JPEG + b"tail",
    }
    data = (PICTURES | jpegs)[name]
    assert decode_strictly(data).tobytes() == decode(data).tobytes()


@pytest.mark.parametrize("name", PICTURES)
def test_the_jpeg_is_byte_for_byte_the_one_of_the_source_document(name: str, tmp_path: Path) -> None:
    source = tmp_path / "picture"
    source.write_bytes(PICTURES[name])
    assert encode_jpeg(source) == document_snippet(source, tmp_path / "expected.jpg")
    assert encode_jpeg(PICTURES[name]) == encode_jpeg(source)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    with Image.open(io.BytesIO(PICTURES["gif animated"])) as animation:
        animation.seek(2)
        animation.seek(0)
        first = animation.convert("RGB").tobytes()
    assert decode(PICTURES["gif animated"]).convert("RGB").tobytes() == first


def test_decoding_keeps_the_mode_of_the_file() -> None:
    picture = decode(PICTURES["jpeg cmyk"])
    assert (picture.mode, picture.size, picture.format) == ("CMYK", (61, 47), "JPEG")


@pytest.mark.parametrize("kind", [ImageKind.JPEG, ImageKind.PNG, ImageKind.GIF, ImageKind.WEBP, ImageKind.BMP])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_file_is_refused_not_padded(kind: ImageKind, share: float) -> None:
    data = encoded(drawing(size=(200, 150)), FORMATS[kind])
    with pytest.raises(ImageError, match=f"^damaged {kind.name}: "):
        encode_jpeg(data[: int(len(data) * share)])


def test_a_file_cut_within_its_header_is_refused() -> None:
    for kind in ImageKind:
        with pytest.raises(ImageError):
            decode(encoded(drawing(), FORMATS[kind])[:24])


def test_the_message_begins_with_the_path_and_names_the_reason(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gif"
    cut.write_bytes(PICTURES["gif"][:600])
    with pytest.raises(ImageError, match="damaged GIF: image file is truncated") as caught:
        encode_jpeg(cut)
    assert str(caught.value).startswith(f"{cut}: ")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg: empty file$"):
        decode(tmp_path / "empty.jpg")


def test_a_web_page_is_shown_for_what_it_is() -> None:
    with pytest.raises(ImageError, match=r"not a picture: expected JPEG, .*, found b'<!DOCTYPE html>"):
        identify(b"<!DOCTYPE html><title>Not found</title>")


def test_a_missing_file_is_an_image_error_with_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        encode_jpeg(tmp_path / "missing.gif")


def test_a_folder_is_an_image_error_too(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="directory"):
        decode(tmp_path)


@pytest.mark.parametrize(
    ("least", "size"), [(401, (800, 601)), (400, (400, 301)), (200, (200, 151)), (100, (100, 76)), (1, (100, 76))]
)
def test_a_jpeg_is_reduced_by_a_power_of_two_that_leaves_enough(least: int, size: tuple[int, int]) -> None:
    picture, whole = decode_reduced(encoded(drawing(size=(800, 601)), "JPEG"), least)
    assert picture.size == size
    assert whole == (800, 601)


@pytest.mark.parametrize("kind", [kind for kind in ImageKind if kind is not ImageKind.JPEG])
def test_other_kinds_are_not_reduced(kind: ImageKind) -> None:
    data = encoded(drawing(size=(800, 601)), FORMATS[kind])
    picture, whole = decode_reduced(data, 10)
    assert picture.size == whole == (800, 601)
    assert picture.tobytes() == decode(data).tobytes()


def test_a_reduced_picture_s_errors_are_those_of_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(drawing(size=(800, 601)), "JPEG")[:-2000])
    with pytest.raises(ImageError, match=r"x\.jpg: damaged JPEG"):
        decode_reduced(path, 10)
    with pytest.raises(ImageError, match=r"missing\.jpg: No such file"):
        decode_reduced(tmp_path / "missing.jpg", 10)


def test_a_poster_beyond_pillows_own_bound_is_legitimate() -> None:
    poster = encoded(Image.new("1", (15_000, 14_000)), "PNG")
    bound = Image.MAX_IMAGE_PIXELS
    assert bound is not None
    assert 2 * bound < 15_000 * 14_000 < images.MAX_PIXELS
    assert decode(poster).size == (15_000, 14_000)
    assert bound == Image.MAX_IMAGE_PIXELS, "Pillow's bound is the program's, not ours to keep"


@pytest.mark.parametrize("size", [(17_000, 16_000), (40_000, 40_000)])
def test_a_picture_beyond_the_bound_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    header = encoded(Image.new("1", (8, 8)), "BMP")
    huge = header[:18] + size[0].to_bytes(4, "little") + size[1].to_bytes(4, "little") + header[26:]
    with pytest.raises(ImageError, match=f"^{size[0]} × {size[1]} pixels, at most 268435456 are decoded$"):
        decode(huge)


def test_a_picture_too_wide_for_a_jpeg_is_refused_with_its_size() -> None:
    with pytest.raises(ImageError, match="65501 × 1 pixels, a JPEG has at most 65500 a side"):
        encode_jpeg(encoded(Image.new("L", (65501, 1)), "PNG"))
    assert identify(encode_jpeg(encoded(Image.new("L", (65500, 1)), "PNG"))) is ImageKind.JPEG


def test_colours_that_cannot_become_rgb_are_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Image.Image:
        raise ValueError("conversion not supported")

    data = PICTURES["png"]
    monkeypatch.setattr(Image.Image, "convert", refuse)
    with pytest.raises(ImageError, match="RGB picture that cannot become an RGB JPEG: conversion not supported"):
        encode_jpeg(data)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_damage_raises_nothing_but_an_image_error(data: st.DataObject) -> None:
    picture = bytearray(
        data.draw(st.sampled_from([PICTURES[name] for name in ("gif animated", "png", "webp", "tiff")]))
    )
    for place in data.draw(st.lists(st.integers(6, len(picture) - 1), min_size=1, max_size=8)):
        picture[place] ^= data.draw(st.integers(1, 255))
    with suppress(ImageError):
        assert identify(encode_jpeg(bytes(picture))) is ImageKind.JPEG


def test_pillows_switch_that_pads_cut_files_stays_off() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_nothing_reaches_stderr_even_where_pillow_would_warn(tmp_path: Path) -> None:
    """In a process of its own, where no test runner catches what is printed."""
    names = ["png palette and alpha", "tiff that makes Pillow warn"]
    paths = [tmp_path / f"{number}.jpg" for number in range(len(names))]
    for path, name in zip(paths, names, strict=True):
        path.write_bytes(PICTURES[name])
    code = (
        "import sys, pathlib; from cvl.images import encode_jpeg; [encode_jpeg(pathlib.Path(p)) for p in sys.argv[1:]]"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_pillow_does_warn_about_the_pictures_that_the_silence_is_tested_with() -> None:
    for name, message in {
        "png palette and alpha": "Transparency",
        "tiff that makes Pillow warn": "Tag data|corrupt EXIF",
    }.items():
        with pytest.warns(UserWarning, match=message), Image.open(io.BytesIO(PICTURES[name])) as picture:
            picture.convert("RGB")

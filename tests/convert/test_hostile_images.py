"""Files that attack: each is refused with a word, nothing else is touched, and the run goes on. See docs/images.md."""

from __future__ import annotations

import errno
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from specimens import FOREIGN, GIF, JPEG, PAGE, PNG, document_jpeg, encoded, fill, run, stamps, tree

import cvl
from cvl import images
from cvl.convert.jpeg import Conversion, ConversionReport, convert_folder

HUGE = 40_000
TIFF_BYTES = 16


def gif_of_size(size: int) -> bytes:
    return GIF[:6] + struct.pack("<HH", size, size) + GIF[10:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(size: int) -> bytes:
    return PNG[:8] + chunk(b"IHDR", struct.pack(">II", size, size) + PNG[24:29]) + PNG[33:]


def png_with(extra: bytes) -> bytes:
    """A sound PNG with another chunk right behind its header."""
    return PNG[:33] + extra + PNG[33:]


def bmp_of_size(size: int) -> bytes:
    bitmap = FOREIGN[".bmp"]
    return bitmap[:18] + struct.pack("<ii", size, -size) + bitmap[26:]


def tiff(width: int, *, following: int = 0, strip: int = 0, extra: tuple[int, int, int, int] | None = None) -> bytes:
    """A grey TIFF of 4 lines, written by hand: what it claims of itself need not be so."""
    tags = [(256, 4, 1, width), (257, 4, 1, 4 if width == 4 else width), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [extra] if extra else []
    begin = strip or 8 + 2 + 12 * (len(tags) + 4) + 4
    tags += [(273, 4, 1, begin), (277, 3, 1, 1), (278, 4, 1, 4), (279, 4, 1, TIFF_BYTES)]
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    header = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return header + table + struct.pack("<I", following) + bytes(range(TIFF_BYTES))


def jpeg_of_size(size: int) -> bytes:
    frame = JPEG.index(b"\xff\xc0")
    return JPEG[: frame + 5] + struct.pack(">HH", size, size) + JPEG[frame + 9 :]


def reason(conversion: Conversion, name: str, data: bytes) -> str:
    """Why a file is refused; it and its neighbours stay as they are."""
    fill(conversion.folder, {name: data, "neighbour.gif": GIF})
    before = stamps(conversion.folder)
    report = run(conversion)
    assert [item.source for item in report.converted] == ["neighbour.gif"]
    after = stamps(conversion.folder)
    assert {path: after[path] for path in before} == before
    (left,) = report.unreadable
    assert left.name == name
    return left.reason


def limited(memory: int) -> Callable[[], None]:
    """Lets a process have so many bytes of memory and no more."""
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


# More pixels than memory.


@pytest.mark.parametrize(
    "bomb", [gif_of_size(HUGE), png_of_size(HUGE), bmp_of_size(HUGE), tiff(HUGE)], ids=["gif", "png", "bmp", "tiff"]
)
@pytest.mark.parametrize("suffix", [".gif", ".jpg"])
def test_a_picture_that_claims_too_many_pixels_is_refused_by_its_header(
    conversion: Conversion, bomb: bytes, suffix: str
) -> None:
    assert reason(conversion, f"bomb{suffix}", bomb) == "40000 × 40000 pixels, at most 268435456 are decoded"


def test_a_gif_whose_frame_is_larger_than_its_canvas_is_refused(conversion: Conversion) -> None:
    frame = GIF.index(b"\x2c\0\0\0\0")
    bomb = GIF[: frame + 5] + struct.pack("<HH", 65535, 65535) + GIF[frame + 9 :]
    assert reason(conversion, "bomb.gif", bomb) == "65535 × 65535 pixels, at most 268435456 are decoded"


def test_a_jpeg_that_claims_too_many_pixels_is_not_decoded_and_told_when_it_is(conversion: Conversion) -> None:
    fill(conversion.folder, {"bomb.jpg": jpeg_of_size(65500)})
    assert run(conversion) == ConversionReport(scanned=1, already_jpeg=1)
    (left,) = run(replace(conversion, thorough=True)).unreadable
    assert left.reason == "65500 × 65500 pixels, at most 268435456 are decoded"


def test_a_picture_too_wide_for_a_jpeg_is_refused_and_kept(conversion: Conversion) -> None:
    wide = encoded(Image.new("L", (65501, 1)), "PNG")
    assert reason(conversion, "wide.png", wide) == "65501 × 1 pixels, a JPEG has at most 65500 a side"


# More bytes than memory.


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(100_000_000), 9)),
        chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(100_000_000), 9)),
        chunk(b"iTXt", b"comment\0\1\0\0\0" + zlib.compress(bytes(100_000_000), 9)),
    ],
    ids=["colour profile", "text", "international text"],
)
def test_a_png_whose_text_or_profile_swells_is_refused(conversion: Conversion, bomb: bytes) -> None:
    assert reason(conversion, "bomb.png", png_with(bomb)).startswith("damaged PNG: Decompressed data too large")


def test_pixels_that_a_png_packs_beyond_its_size_are_not_unpacked(conversion: Conversion) -> None:
    pixels = chunk(b"IDAT", zlib.compress(bytes(200_000_000), 9))
    fill(conversion.folder, {"bomb.png": PNG[:33] + pixels + chunk(b"IEND", b"")})
    code = "import sys; from pathlib import Path; from cvl.images import encode_jpeg; encode_jpeg(Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(conversion.folder / "bomb.png")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=limited(280_000_000))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_of_a_terabyte_is_not_read(conversion: Conversion) -> None:
    """A hole in a file needs no disk, but memory when it is read."""
    fill(conversion.folder, {"hole.gif": GIF})
    with (conversion.folder / "hole.gif").open("r+b") as file:
        file.truncate(2**40)
    (left,) = run(conversion).unreadable
    assert left.reason == "1099511627776 bytes, at most 2147483648 are read"


def test_too_little_memory_is_told_and_no_reason_to_move_a_file(
    conversion: Conversion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def exhaust(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images.Image, "open", exhaust)
    fill(conversion.folder, {"large.gif": GIF})
    (left,) = run(replace(conversion, quarantine=tmp_path / "quarantine")).unreadable
    assert (left.reason, left.moved_to) == ("not enough memory to decode it", "")
    assert tree(conversion.folder) == {"large.gif": GIF}


# Work without end.


def test_of_an_animation_of_thousands_of_frames_one_is_decoded(conversion: Conversion) -> None:
    frames = [Image.new("P", (8, 8), number % 256) for number in range(2000)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    fill(conversion.folder, {"long.gif": data})
    run(conversion)
    assert (conversion.folder / "long.jpg").read_bytes() == document_jpeg(data)


def test_a_tiff_whose_pages_form_a_circle_ends_with_its_first(conversion: Conversion) -> None:
    fill(conversion.folder, {"circle.tif": tiff(4, following=8)})
    assert len(run(conversion).converted) == 1


# Places outside of the file.


def test_a_tiff_that_points_behind_its_end_is_refused(conversion: Conversion) -> None:
    assert reason(conversion, "far.tif", tiff(4, strip=10**6)).startswith("damaged TIFF: image file is truncated")


def test_a_tiff_whose_tag_claims_gigabytes_reads_what_it_has(conversion: Conversion) -> None:
    fill(conversion.folder, {"tag.tif": tiff(4, extra=(270, 2, 2**32 - 1, 8))})
    assert len(run(conversion).converted) == 1


# Programs in place of pictures.


@pytest.mark.parametrize(
    "program",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touched) (w) file closefile\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"\x7fELF\x02\x01\x01" + bytes(57),
        b"#!/bin/sh\ntouch touched\n",
        b"%PDF-1.7\n",
    ],
    ids=["PostScript", "SVG", "ELF", "shell", "PDF"],
)
@pytest.mark.parametrize("name", ["program.jpg", "program.gif"])
def test_a_program_under_a_pictures_name_is_no_picture_and_is_never_run(
    conversion: Conversion, monkeypatch: pytest.MonkeyPatch, program: bytes, name: str
) -> None:
    monkeypatch.chdir(conversion.folder)
    assert reason(conversion, name, program).startswith("not a picture: expected JPEG, ")
    assert sorted(tree(conversion.folder)) == ["neighbour.gif", "neighbour.jpg", name]


def test_what_hangs_on_behind_a_picture_does_not_come_into_its_jpeg(conversion: Conversion) -> None:
    archive = b"PK\x03\x04" + bytes(200)
    fill(conversion.folder, {"both.gif": GIF + archive, "page.gif": GIF + PAGE})
    run(conversion)
    for name in ("both.jpg", "page.jpg"):
        assert (conversion.folder / name).read_bytes() == document_jpeg(GIF)


# Names and links.

ODD = [
    "-rf.gif",
    "a b.gif",
    "a\nb.gif",
    "\x1b[2J.gif",
    "'; rm -rf $HOME #.gif",
    "a\\b.gif",
    "bücher 図書.gif",
    "\u202egpj.gif",
    "..gif",
    "...gif",
    "x.jpg.gif",
    "*.gif",
    "%s{0}.gif",
    "trailing .gif",
    os.fsdecode(b"caf\xe9.gif"),
    "n" * 251 + ".gif",
    "é" * 125 + ".gif",
]


@pytest.mark.parametrize("jobs", [1, 2])
def test_whatever_a_file_is_called_its_jpeg_is_called_alike(conversion: Conversion, jobs: int) -> None:
    fill(conversion.folder, dict.fromkeys(ODD, GIF))
    report = convert_folder(conversion, jobs=jobs)
    assert {item.source for item in report.converted} == set(ODD)
    expected = dict.fromkeys(ODD, GIF) | dict.fromkeys([f"{name[:-4]}.jpg" for name in ODD], document_jpeg(GIF))
    assert tree(conversion.folder) == expected


def test_a_name_too_long_for_a_jpegs_suffix_is_told(conversion: Conversion) -> None:
    fill(conversion.folder, {"n" * 253: GIF, "a.gif": GIF})
    report = run(conversion)
    assert [item.source for item in report.converted] == ["a.gif"]
    (left,) = report.shadowed
    assert left.reason == "the name of its JPEG would have 257 bytes, the file system takes 255"


def test_a_link_out_of_the_tree_is_read_and_nothing_is_written_there(conversion: Conversion, tmp_path: Path) -> None:
    fill(tmp_path / "outside", {"secret": b"root:x:0:0", "picture": GIF})
    (conversion.folder / "secret.jpg").symlink_to(tmp_path / "outside/secret")
    (conversion.folder / "picture.jpg").symlink_to(tmp_path / "outside/picture")
    before = stamps(tmp_path / "outside")
    report = run(conversion)
    assert [left.name for left in report.unreadable] == ["secret.jpg"]
    assert (conversion.folder / "picture.jpg").read_bytes() == document_jpeg(GIF)
    assert {path: stamp[1] for path, stamp in stamps(tmp_path / "outside").items()} == {
        path: stamp[1] for path, stamp in before.items()
    }


def test_links_that_lead_nowhere_or_to_themselves_do_not_stop_the_run(conversion: Conversion) -> None:
    (conversion.folder / "circle.jpg").symlink_to("circle.jpg")
    (conversion.folder / "nowhere.gif").symlink_to("missing.gif")
    (conversion.folder / "up.gif").symlink_to("..")
    fill(conversion.folder, {"a.gif": GIF, "circle.gif": GIF})
    report = run(conversion)
    assert [item.source for item in report.converted] == ["a.gif"]
    assert [(left.name, left.reason) for left in report.shadowed] == [("circle.gif", "circle.jpg is no file")]


def test_a_pipe_or_socket_under_a_pictures_name_is_not_opened(conversion: Conversion) -> None:
    os.mkfifo(conversion.folder / "pipe.jpg")
    os.mkfifo(conversion.folder / "pipe.gif")
    assert run(conversion).scanned == 0


def test_a_folder_under_a_pictures_name_is_a_folder(conversion: Conversion) -> None:
    fill(conversion.folder, {"x.jpg/y.gif": GIF, "x.gif": GIF})
    report = run(conversion)
    assert [item.target for item in report.converted] == ["x.jpg/y.jpg"]
    assert [left.reason for left in report.shadowed] == ["x.jpg is no file"]


def test_two_names_of_one_file_are_converted_each(conversion: Conversion) -> None:
    fill(conversion.folder, {"one.jpg": GIF})
    os.link(conversion.folder / "one.jpg", conversion.folder / "two.jpg")
    run(conversion)
    assert tree(conversion.folder) == dict.fromkeys(["one.jpg", "two.jpg"], document_jpeg(GIF))
    assert tree(conversion.originals) == dict.fromkeys(["one.jpg", "two.jpg"], GIF)


def test_a_read_only_picture_is_converted_and_its_original_kept_as_it_was(conversion: Conversion) -> None:
    fill(conversion.folder, {"x.jpg": GIF})
    (conversion.folder / "x.jpg").chmod(0o444)
    run(conversion)
    assert (conversion.originals / "x.jpg").stat().st_mode & 0o777 == 0o444
    assert (conversion.folder / "x.jpg").read_bytes() == document_jpeg(GIF)


def test_a_file_that_may_not_be_read_is_told_and_stays(
    conversion: Conversion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even where what cannot be read is moved: nobody knows what it is."""
    fill(conversion.folder, {"secret.jpg": GIF})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    (left,) = run(replace(conversion, quarantine=tmp_path / "quarantine")).unreadable
    assert (left.reason, left.moved_to) == ("Permission denied", "")

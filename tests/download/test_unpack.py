"""Only what the manifest includes, each file whole or absent, and nothing outside of the folder."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fetching import JPEG
from hypothesis import given
from hypothesis import strategies as st
from support import traces
from unpacking import (
    ALL,
    JPGS,
    PICTURES,
    Pack,
    bzip2_tar,
    contents,
    deflated,
    gzipped_tar,
    plain_tar,
    refused,
    stored,
    unpacked,
    without_folders,
    xz_tar,
)

import cvl
from cvl.download.archives.unpack import Unpacked, destination, included
from cvl.errors import ArchiveError
from cvl.manifest import Unpack

EVERYTHING = {
    "images/": b"",
    **PICTURES,
    "images/readme.txt": b"words",
    "images/.DS_Store": b"\0",
    "__MACOSX/images/._1.jpg": b"\0",
    "masks/1.json": b"{}",
}


@pytest.fixture(params=[stored, deflated, plain_tar, gzipped_tar, xz_tar, bzip2_tar])
def pack(request: pytest.FixtureRequest) -> Pack:
    packing: Pack = request.param
    return packing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tree" / "data" / "mine"


# What lands where


def test_only_what_is_included_is_written_byte_for_byte(folder: Path, pack: Pack) -> None:
    done = unpacked(folder, pack(EVERYTHING), JPGS)
    assert contents(folder) == PICTURES
    assert done == Unpacked(tuple(PICTURES), sum(map(len, PICTURES.values())), written=6)


def test_without_patterns_everything_is_written(folder: Path, pack: Pack) -> None:
    unpacked(folder, pack(EVERYTHING))
    assert contents(folder) == without_folders(EVERYTHING)


def test_what_is_excluded_is_left_out_although_included(folder: Path, pack: Pack) -> None:
    spec = Unpack(into="data/mine", include=("images/*",), exclude=("*/.*", "*.txt"))
    unpacked(folder, pack(EVERYTHING), spec)
    assert contents(folder) == PICTURES


def test_leading_folders_are_dropped(folder: Path, pack: Pack) -> None:
    spec = Unpack(into="data", include=("data/wikiart/images/*",), strip=1)
    unpacked(folder, pack({"data/wikiart/images/a.jpg": JPEG}), spec)
    assert contents(folder) == {"wikiart/images/a.jpg": JPEG}


def test_flattening_keeps_the_last_name_only(folder: Path, pack: Pack) -> None:
    spec = Unpack(into="data/mine", flatten=True)
    unpacked(folder, pack({"mnt/user/a.jpg": JPEG, "mnt/user/deep/b.jpg": JPEG, "c.jpg": JPEG}), spec)
    assert contents(folder) == {"a.jpg": JPEG, "b.jpg": JPEG, "c.jpg": JPEG}


def test_flattening_makes_absolute_names_harmless(folder: Path, pack: Pack) -> None:
    spec = Unpack(into="data/mine", flatten=True)
    unpacked(folder, pack({"/mntcephfs/data/1.jpeg": JPEG}), spec)
    assert contents(folder) == {"1.jpeg": JPEG}


def test_two_members_that_would_become_one_file_are_refused(folder: Path, pack: Pack) -> None:
    spec = Unpack(into="data/mine", flatten=True)
    said = refused(folder, pack({"a/1.jpg": JPEG, "b/1.jpg": JPEG + b"other"}), spec)
    assert "two members would both become 1.jpg" in said


def test_an_archive_without_anything_that_is_wanted_is_refused(folder: Path, pack: Pack) -> None:
    spec = Unpack(into="data/mine", include=("pictures/*.jpg",))
    assert "none of its members is one that the manifest includes: ('pictures/*.jpg',)" in refused(
        folder, pack(EVERYTHING), spec
    )


@pytest.mark.parametrize("members", [5, 7])
def test_another_number_of_files_than_the_publisher_s_is_refused(folder: Path, pack: Pack, members: int) -> None:
    spec = JPGS.model_copy(update={"members": members})
    assert f"expected {members} files, found 6" in refused(folder, pack(EVERYTHING), spec)


def test_empty_files_are_files(folder: Path, pack: Pack) -> None:
    unpacked(folder, pack({"a.jpg": b"", "b.jpg": JPEG}))
    assert contents(folder) == {"a.jpg": b"", "b.jpg": JPEG}


def test_names_beyond_ascii_survive(folder: Path, pack: Pack) -> None:
    unpacked(folder, pack({"Bücher & Co/絵.jpg": JPEG}))
    assert contents(folder) == {"Bücher & Co/絵.jpg": JPEG}


def test_names_that_are_utf8_and_do_not_say_so_are_read_as_such(folder: Path) -> None:
    # As Info-ZIP writes them on Unix; zipfile would read them in the letters of MS-DOS.
    archive = bytearray(stored({"Bücher.jpg": JPEG}))
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(signature) + flags_at + 1] &= ~0x08
    unpacked(folder, bytes(archive))
    assert contents(folder) == {"Bücher.jpg": JPEG}


def test_names_in_the_letters_of_ms_dos_are_read_as_such(folder: Path) -> None:
    archive = bytearray(stored({"Bücher.jpg": JPEG}).replace("ü".encode(), b"\x81b"))
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(signature) + flags_at + 1] &= ~0x08
    unpacked(folder, bytes(archive))
    assert contents(folder) == {"Bübcher.jpg": JPEG}


def test_a_name_that_is_no_text_is_refused(folder: Path) -> None:
    archive = plain_tar({"images/1.jpg": JPEG}).replace(b"images/1.jpg", b"images/\xff.jpg")
    header = bytearray(archive[:512])
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * ord(" "))
    said = refused(folder, bytes(header) + archive[512:])
    assert "has a name that is not UTF-8" in said
    assert said.isascii()


@pytest.mark.parametrize("name", ["/", "//", ".", "./", ""])
def test_a_name_that_names_nothing_is_refused(name: str) -> None:
    for spec in (ALL, Unpack(into="data/m", flatten=True)):
        with pytest.raises(ArchiveError):
            destination(name, spec)


def test_the_longest_names_that_a_disk_takes_are_written(folder: Path, pack: Pack) -> None:
    unpacked(folder, pack({f"images/{'x' * 251}.jpg": JPEG}))
    assert len(contents(folder)) == 1


@pytest.mark.parametrize(
    ("packing", "spec", "total"),
    [(stored, JPGS, 6), (gzipped_tar, JPGS, None), (gzipped_tar, JPGS.model_copy(update={"members": 6}), 6)],
)
def test_progress_grows_to_the_number_of_members(folder: Path, packing: Pack, spec: Unpack, total: int | None) -> None:
    told: list[tuple[int, int | None]] = []
    unpacked(folder, packing(EVERYTHING), spec, progress=lambda done, of: told.append((done, of)))
    assert told == sorted(told, key=lambda each: each[0])
    assert told[-1] == (6, total)
    assert {of for _, of in told} == {total}


def test_zips_beyond_four_gigabytes_have_other_headers_and_are_read(folder: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("a.jpg", "w", force_zip64=True) as member:
        member.write(JPEG)
    unpacked(folder, stream.getvalue())
    assert contents(folder) == {"a.jpg": JPEG}


def test_members_of_a_tar_that_begin_with_a_dot_and_a_slash_are_taken_for_what_they_are(folder: Path) -> None:
    spec = Unpack(into="data/sam/images", include=("*.jpg",), flatten=True)
    unpacked(folder, gzipped_tar({"./sa_1.jpg": JPEG, "./sa_1.json": b"{}"}), spec)
    assert contents(folder) == {"sa_1.jpg": JPEG}


@pytest.mark.parametrize(
    ("name", "spec", "lands"),
    [
        ("images/1.jpg", ALL, "images/1.jpg"),
        ("./images//1.jpg", ALL, "images/1.jpg"),
        ("a/b/c.jpg", Unpack(into="data/m", strip=2), "c.jpg"),
        ("/a/b.jpg", Unpack(into="data/m", flatten=True), "b.jpg"),
        ("../a/b.jpg", Unpack(into="data/m", flatten=True), "b.jpg"),
    ],
)
def test_a_destination_follows_from_name_and_recipe(name: str, spec: Unpack, lands: str) -> None:
    assert destination(name, spec) == lands


def test_a_name_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(ArchiveError, match=r"nothing is left of the member `a/b\.jpg` after 2 leading folders"):
        destination("a/b.jpg", Unpack(into="data/m", strip=2))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("images/1.jpg", True), ("images/deep/1.jpg", True), ("images/1.JPG", False), ("1.jpg", False)],
)
def test_patterns_cross_slashes_and_tell_cases_apart(name: str, wanted: bool) -> None:
    assert included(name, JPGS) is wanted


@given(st.text(min_size=1, max_size=30), st.integers(0, 3), st.booleans())
def test_no_name_leads_out_of_the_folder(name: str, strip: int, flatten: bool) -> None:
    try:
        lands = destination(name, Unpack(into="data/m", strip=strip, flatten=flatten))
    except ArchiveError:
        return
    inside = Path(os.path.normpath(Path("/tree/data/m") / lands))
    assert inside.is_relative_to("/tree/data/m")
    assert inside != Path("/tree/data/m")
    assert "\\" not in lands


# Again


def test_a_second_time_nothing_is_written(folder: Path, pack: Pack) -> None:
    archive = pack(EVERYTHING)
    unpacked(folder, archive, JPGS)
    before = traces(folder)
    assert unpacked(folder, archive, JPGS) == Unpacked(tuple(PICTURES), sum(map(len, PICTURES.values())), written=0)
    assert traces(folder) == before


def test_only_what_is_missing_or_of_another_size_is_written(folder: Path, pack: Pack) -> None:
    archive = pack(PICTURES)
    unpacked(folder, archive)
    (folder / "images/1.jpg").unlink()
    (folder / "images/2.jpg").write_bytes(b"half")
    assert unpacked(folder, archive).written == 2
    assert contents(folder) == PICTURES


def test_what_is_there_may_be_kept_whatever_its_size(folder: Path, pack: Pack) -> None:
    archive = pack(PICTURES)
    unpacked(folder, archive)
    (folder / "images/1.jpg").unlink()
    (folder / "images/2.jpg").write_bytes(b"converted")
    assert unpacked(folder, archive, keep_existing=True).written == 1
    assert contents(folder) == PICTURES | {"images/2.jpg": b"converted"}


def test_permissions_of_members_are_not_taken_over(folder: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo("a.jpg")
        entry.external_attr = (stat.S_IFREG | stat.S_ISUID | 0o777) << 16
        archive.writestr(entry, JPEG)
    unpacked(folder, stream.getvalue())
    assert not (folder / "a.jpg").stat().st_mode & (stat.S_ISUID | 0o111)


_WITHOUT_ISAL = """
import sys
sys.modules["isal"] = None
from pathlib import Path
from cvl.download.archives import inflate
from cvl.download.archives.unpack import unpack
from cvl.manifest import Unpack

for number, archive in enumerate(sys.argv[2:]):
    unpack(Path(archive), Unpack(into="data/mine"), Path(sys.argv[1], str(number)), lambda done, total: None)
print(inflate.crc32.__module__)
"""


def test_where_there_is_no_isal_zlib_does_the_same(tmp_path: Path) -> None:
    packed = {"a.zip": deflated(PICTURES), "a.tar.gz": gzipped_tar(PICTURES)}
    for name, content in packed.items():
        (tmp_path / name).write_bytes(content)
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    command = [sys.executable, "-c", _WITHOUT_ISAL, str(tmp_path / "tree"), *(str(tmp_path / name) for name in packed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "zlib"
    assert contents(tmp_path / "tree/0") == contents(tmp_path / "tree/1") == PICTURES

"""Zips that attack, lie or are damaged: refused before anything is written, or read as far as they can be."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from fetching import JPEG, names_below, noise
from unpacking import (
    ALL,
    JPGS,
    LINK,
    PICTURES,
    PIPE,
    SIX,
    Pack,
    Zip,
    contents,
    deflated,
    refused,
    refused_untouched,
    stored,
    unpacked,
    zip_with_mode,
)

import cvl
from cvl.manifest import Unpack

FLAT = Unpack(into="data/mine", flatten=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tree" / "data" / "mine"


def raw_deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


# Shapes of good zips


def test_members_written_to_a_pipe_have_their_sizes_behind_them_and_are_read(folder: Path) -> None:
    class Pipe(io.RawIOBase):
        """Takes bytes and cannot go back, so that zipfile writes data descriptors."""

        def __init__(self) -> None:
            self.taken = io.BytesIO()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            return self.taken.write(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name, content in PICTURES.items():
            archive.writestr(name, content)
    unpacked(folder, pipe.taken.getvalue())
    assert contents(folder) == PICTURES


def test_a_zip_of_more_members_than_two_bytes_count_is_read(folder: Path) -> None:
    built = Zip()
    for number in range(70_000):
        built.add(f"{number}.jpg" if number % 1000 == 0 else f"{number}.txt", b"x")
    # More than 65,535 make a zip64 directory, which stands before the usual one.
    at = len(built.body)
    count, size = built.count, len(built.directory)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, at)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at + size, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    done = unpacked(
        folder,
        bytes(built.body + built.directory + end64 + locator + end),
        Unpack(into="data/mine", include=("*.jpg",)),
    )
    assert len(done.members) == 70


def test_sizes_and_places_beyond_four_gigabytes_are_read_from_the_wide_field(folder: Path) -> None:
    built = Zip()
    wide = struct.pack("<HHQQ", 1, 16, len(JPEG), len(JPEG))
    built.add("a.jpg", JPEG, size=2**32 - 1, packed_size=2**32 - 1, extra=wide)
    unpacked(folder, built.bytes())
    assert contents(folder) == {"a.jpg": JPEG}


def test_what_stands_before_a_zip_does_not_matter(folder: Path) -> None:
    unpacked(folder, b"#!/bin/sh\nexec unzip $0\n" + deflated(PICTURES))
    assert contents(folder) == PICTURES


def test_a_comment_at_the_end_does_not_hide_the_directory(folder: Path) -> None:
    stream = io.BytesIO(stored(PICTURES))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = b"words " * 1000
    unpacked(folder, stream.getvalue())
    assert contents(folder) == PICTURES


def test_names_that_info_zip_escapes_are_taken_from_the_field_beside_them(folder: Path) -> None:
    raw = b"#U7d75.jpg"
    field = b"\1" + zlib.crc32(raw).to_bytes(4, "little") + "絵.jpg".encode()
    stale = b"\1" + bytes(4) + b"other.jpg"
    built = Zip()
    built.add(raw, extra=struct.pack("<HH", 0x7075, len(field)) + field)
    built.add("b.jpg", extra=struct.pack("<HH", 0x7075, len(stale)) + stale)
    unpacked(folder, built.bytes())
    assert sorted(contents(folder)) == ["b.jpg", "絵.jpg"]


@pytest.mark.parametrize("packing", [stored, deflated])
def test_members_of_many_pieces_are_whole(folder: Path, packing: Pack) -> None:
    big = {"a.bin": noise(5_000_001), "b.bin": bytes(3_000_000) + noise(1000), "c.bin": noise(2**20)}
    unpacked(folder, packing(big))
    assert contents(folder) == big


def test_files_in_thousands_of_folders_are_written_by_all_threads(folder: Path) -> None:
    many = {f"{number % 300:05d}/{number:09d}.jpg": b"%d" % number for number in range(2000)}
    done = unpacked(folder, stored(many))
    assert contents(folder) == many
    assert done.members == tuple(many)


# Attacks


HOSTILE = ["/etc/passwd.jpg", "../out.jpg", "images/../../out.jpg", "images/..", "a\\..\\out.jpg", "..\\out.jpg"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_that_would_leave_its_folder_stops_a_zip(folder: Path, name: str) -> None:
    said = refused_untouched(folder, stored({**PICTURES, name: b"hostile"}))
    assert said == f"the member `{name}` would land outside of its folder"


@pytest.mark.parametrize("name", ["a\\b.jpg", ".."])
def test_flattening_does_not_make_every_name_good(folder: Path, name: str) -> None:
    refused_untouched(folder, stored({name: JPEG}), FLAT)


@pytest.mark.parametrize("mode", [LINK, PIPE], ids=["link", "pipe"])
def test_links_and_devices_in_a_zip_are_refused(folder: Path, mode: int) -> None:
    said = refused_untouched(folder, zip_with_mode(mode))
    assert said == "the member `images/link.jpg` is a link or a device"


def test_a_hostile_member_that_nobody_wants_does_no_harm_in_a_zip(folder: Path) -> None:
    unpacked(folder, stored({**PICTURES, "../out.txt": b"hostile"}), JPGS)
    assert contents(folder) == PICTURES


def test_two_members_of_one_name_are_refused(folder: Path) -> None:
    built = Zip()
    built.add("images/2.jpg", JPEG)
    built.add("images/2.jpg", JPEG + b"other")
    assert refused_untouched(folder, built.bytes()) == "two members would both become images/2.jpg"


def test_names_that_differ_in_capital_letters_only_are_two_files(folder: Path) -> None:
    put = {"images/A.jpg": JPEG, "images/a.JPG": JPEG + b"other"}
    unpacked(folder, stored(put))
    assert {name: (folder / name).read_bytes() for name in put} == put


def test_where_the_disk_takes_them_for_one_names_that_differ_in_capital_letters_only_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvl.download.archives.landing.folds_case", lambda _: True)
    said = refused_untouched(folder, stored({"images/A.jpg": JPEG, "images/a.JPG": JPEG + b"other"}))
    assert said.startswith("two members would become images/A.jpg and images/a.JPG, which are the same file on a disk")


@pytest.mark.parametrize("names", [("a", "a/b.jpg"), ("a/b.jpg", "a"), ("a/b/c/d.jpg", "a/b")])
def test_a_name_that_is_a_file_and_a_folder_is_refused(folder: Path, names: tuple[str, str]) -> None:
    said = refused_untouched(folder, stored(dict.fromkeys(names, JPEG)))
    assert "would have to be a file and a folder at once" in said


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("images/" + "x" * 256, "has a name of 256 bytes: file systems take 255"),
        ("絵" * 86, "has a name of 258 bytes: file systems take 255"),
        ("/".join(["folder"] * 400)[1:], "has a path of more than 2,048 bytes"),
        ("x" * 60_000, "has a name of 60,000 bytes: file systems take 255"),
    ],
)
def test_names_that_no_disk_takes_are_refused(folder: Path, name: str, reason: str) -> None:
    said = refused_untouched(folder, stored({"a.jpg": JPEG, name: JPEG}))
    assert reason in said
    assert len(said) < 300


def test_a_name_with_control_characters_cannot_speak_to_the_terminal(folder: Path) -> None:
    said = refused_untouched(folder, stored({"../\x1b[2J\n.jpg": JPEG}))
    assert said == "the member `../\\x1b[2J\\n.jpg` would land outside of its folder"


def test_an_encrypted_member_is_refused(folder: Path) -> None:
    built = Zip()
    built.add("images/0.jpg", JPEG)
    built.add("images/2.jpg", JPEG, flags=1)
    assert refused_untouched(folder, built.bytes()) == "the member `images/2.jpg` is encrypted"


@pytest.mark.parametrize(("method", "called"), [(9, "Deflate64"), (14, "LZMA"), (77, "method 77")])
def test_a_compression_that_is_not_read_is_refused_by_its_name(folder: Path, method: int, called: str) -> None:
    built = Zip()
    built.add("images/2.jpg", JPEG, method=method)
    said = refused_untouched(folder, built.bytes())
    assert said == f"the member `images/2.jpg` has a compression that is not read here: {called}"


def test_a_bomb_is_refused_by_what_its_directory_says(folder: Path) -> None:
    content = bytes(70_000_000)
    built = Zip()
    built.add("a.bin", raw_deflated(content), method=8, content=content)
    said = refused_untouched(folder, built.bytes())
    assert "would become 70,000,000, which no pictures do: it is a bomb" in said


def test_a_bomb_whose_directory_lies_writes_no_more_than_it_says(folder: Path) -> None:
    content = bytes(300_000_000)
    built = Zip()
    built.add("a.bin", raw_deflated(content), method=8, size=1000, crc=zlib.crc32(content))
    limit = 20_000_000
    code = _RUN.format(limit=limit)
    path = folder.parents[2] / "archive.zip"
    path.write_bytes(built.bytes())
    done = _python(code, path, folder)
    assert "it holds more than the 1,000 bytes that the directory says" in done
    assert names_below(folder) == []


def test_members_that_share_their_bytes_are_refused_as_a_bomb(folder: Path) -> None:
    built = Zip()
    at = built.add("0.jpg", noise(5000))
    for number in range(1, 50):
        built.add(f"{number}.jpg", noise(4000), at=at)
    assert refused_untouched(folder, built.bytes()) == "members overlap each other: it is damaged, or a bomb"


def test_a_member_that_reaches_into_the_directory_is_refused(folder: Path) -> None:
    built = Zip()
    built.add("a.jpg", JPEG, size=len(JPEG) + 500, packed_size=len(JPEG) + 500)
    assert "the member `a.jpg` should end at byte" in refused_untouched(folder, built.bytes())


def test_a_stored_member_of_two_sizes_is_refused(folder: Path) -> None:
    built = Zip()
    built.add("a.jpg", JPEG, size=10**9)
    assert "the member `a.jpg` is stored" in refused_untouched(folder, built.bytes())


# A file may not grow beyond `limit`, nor may the process take much memory.
_RUN = """
import resource, sys
from pathlib import Path
from cvl.download.archives.unpack import unpack
from cvl.errors import ArchiveError
from cvl.manifest import Unpack

resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    unpack(Path(sys.argv[1]), Unpack(into="data/mine"), Path(sys.argv[2]), lambda done, total: None)
except ArchiveError as error:
    print(error)
# Not ru_maxrss, which begins with what the process had that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def _python(code: str, *arguments: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_directory_of_very_many_entries_takes_little_memory(folder: Path) -> None:
    built = Zip()
    name, header = (
        b"images/%09d.jpg",
        struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0),
    )
    count = 400_000
    built.directory = bytearray().join(header + name % number for number in range(count))
    built.body, built.count = bytearray(100), count
    path = folder.parents[2] / "archive.zip"
    path.write_bytes(built.bytes())
    reason, peak = _python(_RUN.format(limit=10**9), path, folder).splitlines()
    # All of them would stand at the same place, which is seen after all of them were looked at.
    assert "overlap" in reason
    assert int(peak) * 1024 < 300 * count + 130_000_000
    assert not folder.exists()


# Damage


@pytest.mark.parametrize("packing", [stored, deflated])
def test_a_flipped_byte_costs_its_member_and_no_other(folder: Path, packing: Pack) -> None:
    archive = bytearray(packing(PICTURES))
    archive[archive.index(b"images/3.jpg") + 60] ^= 0xFF
    said = refused(folder, bytes(archive), JPGS)
    assert said.startswith("damaged: images/3.jpg: ")
    assert said.endswith("; found 5; lost: `images/3.jpg`")
    assert sorted(contents(folder)) == sorted(PICTURES.keys() - {"images/3.jpg"})


def test_what_stood_in_the_place_of_a_damaged_member_still_stands(folder: Path) -> None:
    archive = bytearray(stored(PICTURES))
    archive[archive.index(b"images/3.jpg") + 60] ^= 0xFF
    (folder / "images").mkdir(parents=True)
    (folder / "images/3.jpg").write_bytes(b"an older one")
    refused(folder, bytes(archive), SIX)
    assert (folder / "images/3.jpg").read_bytes() == b"an older one"


def test_many_damaged_members_are_counted_and_some_are_named(folder: Path) -> None:
    built = Zip()
    for number in range(100):
        built.add(f"{number}.jpg", JPEG, crc=0 if number % 4 else zlib.crc32(JPEG))
    said = refused(folder, built.bytes(), ALL.model_copy(update={"members": 100}))
    assert "; and 72 times more; expected 100 files, found 25; lost: " in said
    assert said.endswith(" and 70 more")
    assert len(contents(folder)) == 25


def test_a_member_that_ends_early_is_lost(folder: Path) -> None:
    built = Zip()
    built.add("a.jpg", raw_deflated(JPEG), method=8, content=JPEG, size=len(JPEG) + 1)
    built.add("b.jpg", raw_deflated(JPEG)[:-1], method=8, content=JPEG)
    built.add("c.jpg", JPEG)
    said = refused(folder, built.bytes())
    assert said.endswith("found 1; lost: `a.jpg`, `b.jpg`") or said.endswith("found 1; lost: `b.jpg`, `a.jpg`")
    assert sorted(contents(folder)) == ["c.jpg"]


def test_a_header_that_names_another_member_is_told(folder: Path) -> None:
    built = Zip()
    first = built.add("a.jpg", JPEG)
    built.body = built.body.replace(b"a.jpg", b"b.jpg")
    assert first == 0
    assert "a.jpg: its own header is not the one that the directory says" in refused(folder, built.bytes())


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_zip_that_is_cut_is_refused(folder: Path, keep: float) -> None:
    archive = stored(PICTURES)
    said = refused_untouched(folder, archive[: int(len(archive) * keep)])
    assert said == "damaged: the directory at its end is not there: it was cut off, or is no zip"


def test_a_zip_whose_directory_is_damaged_is_refused(folder: Path) -> None:
    archive = bytearray(stored(PICTURES))
    archive[archive.rindex(b"PK\x01\x02")] ^= 0xFF
    assert refused_untouched(folder, bytes(archive)).startswith("its directory is damaged at byte ")


def test_a_part_of_a_split_zip_is_refused(folder: Path) -> None:
    archive = bytearray(stored(PICTURES))
    archive[archive.rindex(b"PK\5\6") + 4] = 3
    assert "one part of a zip of several" in refused_untouched(folder, bytes(archive))


def test_a_disk_that_is_full_ends_the_work_and_leaves_no_half_file(folder: Path) -> None:
    path = folder.parents[2] / "archive.zip"
    path.write_bytes(stored({"small.jpg": JPEG, "big.bin": noise(3_000_000)}))
    code = (
        _RUN.format(limit=1_000_000)
        .replace("except ArchiveError", "except OSError")
        .replace("import resource, sys", "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)")
    )
    assert "File too large" in _python(code, path, folder)
    assert set(names_below(folder)) <= {"small.jpg"}

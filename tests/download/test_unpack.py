"""Only what the manifest includes, each file whole or absent, and nothing outside of the folder."""

from __future__ import annotations

import io
import itertools
import os
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fetching import JPEG, names_below, noise, tarred, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import traces

import cvl
from cvl.download.unpack import Unpacked, destination, included, unpack
from cvl.errors import ArchiveError, Cancelled
from cvl.manifest import Unpack

PICTURES = {f"images/{number}.jpg": JPEG + noise(200 + number, number) for number in range(6)}
EVERYTHING = {
    "images/": b"",
    **PICTURES,
    "images/readme.txt": b"words",
    "images/.DS_Store": b"\0",
    "__MACOSX/images/._1.jpg": b"\0",
    "masks/1.json": b"{}",
}
JPGS = Unpack(into="data/mine", include=("images/*.jpg",))
ALL = Unpack(into="data/mine")

Pack = Callable[[dict[str, bytes]], bytes]


def stored(members: dict[str, bytes]) -> bytes:
    return zipped(members)


def deflated(members: dict[str, bytes]) -> bytes:
    return zipped(members, deflated=True)


def plain_tar(members: dict[str, bytes]) -> bytes:
    return tarred(_files(members))


def gzipped_tar(members: dict[str, bytes]) -> bytes:
    return tarred(_files(members), "w:gz")


def xz_tar(members: dict[str, bytes]) -> bytes:
    return tarred(_files(members), "w:xz")


def _files(members: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in members.items() if not name.endswith("/")}


@pytest.fixture(params=[stored, deflated, plain_tar, gzipped_tar, xz_tar])
def pack(request: pytest.FixtureRequest) -> Pack:
    packing: Pack = request.param
    return packing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tree" / "data" / "mine"


def nothing(_done: int, _total: int | None) -> None:
    pass


def unpacked(folder: Path, archive: bytes, spec: Unpack = ALL, **options: Any) -> Unpacked:
    path = folder.parents[2] / "archive.zip"  # nothing is judged by its name
    path.write_bytes(archive)
    return unpack(path, spec, folder, options.pop("progress", nothing), **options)


def refused(folder: Path, archive: bytes, spec: Unpack = ALL) -> str:
    with pytest.raises(ArchiveError) as caught:
        unpacked(folder, archive, spec)
    assert not [name for name in names_below(folder.parents[2]) if name.endswith(".tmp")]
    return str(caught.value)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names_below(folder)} if folder.exists() else {}


# What lands where


def test_only_what_is_included_is_written_byte_for_byte(folder: Path, pack: Pack) -> None:
    done = unpacked(folder, pack(EVERYTHING), JPGS)
    assert contents(folder) == PICTURES
    assert done == Unpacked(tuple(PICTURES), sum(map(len, PICTURES.values())), written=6)


def test_without_patterns_everything_is_written(folder: Path, pack: Pack) -> None:
    unpacked(folder, pack(EVERYTHING))
    assert contents(folder) == _files(EVERYTHING)


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


def test_progress_counts_members(folder: Path) -> None:
    for archive, spec, total in [
        (stored(EVERYTHING), JPGS, 6),
        (gzipped_tar(EVERYTHING), JPGS, None),
        (gzipped_tar(EVERYTHING), JPGS.model_copy(update={"members": 6}), 6),
    ]:
        told: list[tuple[int, int | None]] = []
        unpacked(folder, archive, spec, progress=lambda done, of, told=told: told.append((done, of)))
        assert told == [(number, total) for number in range(1, 7)]


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


# Hostile members


HOSTILE = ["/etc/passwd.jpg", "../out.jpg", "images/../../out.jpg", "images/..", "a\\..\\out.jpg", "..\\out.jpg"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_that_would_leave_its_folder_stops_a_zip_before_anything_is_written(folder: Path, name: str) -> None:
    said = refused(folder, stored({**PICTURES, name: b"hostile"}))
    assert f"the member `{name}` would land outside of its folder" in said
    assert names_below(folder.parents[2]) == ["archive.zip"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_that_would_leave_its_folder_stops_a_tar_at_that_member(folder: Path, name: str) -> None:
    said = refused(folder, gzipped_tar({"images/1.jpg": JPEG, name: b"hostile", "images/2.jpg": JPEG}))
    assert "would land outside of its folder" in said
    assert names_below(folder.parents[2]) == ["archive.zip", "tree/data/mine/images/1.jpg"]


def test_a_hostile_member_that_nobody_wants_does_no_harm(folder: Path, pack: Pack) -> None:
    unpacked(folder, pack({**PICTURES, "../out.txt": b"hostile"}), JPGS)
    assert contents(folder) == PICTURES


@pytest.mark.parametrize("name", ["a\\b.jpg", ".."])
def test_flattening_does_not_make_every_name_good(folder: Path, name: str) -> None:
    refused(folder, stored({name: JPEG}), Unpack(into="data/mine", flatten=True))
    assert contents(folder) == {}


def tar_with(kind: bytes, target: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("images/link.jpg")
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
        behind = tarfile.TarInfo("images/link.jpg/behind.jpg")
        behind.size = len(JPEG)
        archive.addfile(behind, io.BytesIO(JPEG))
    return stream.getvalue()


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["symbolic link", "hard link", "character device", "block device", "pipe"],
)
def test_links_and_devices_in_a_tar_are_refused(folder: Path, kind: bytes) -> None:
    assert "the member `images/link.jpg` is a link or a device" in refused(folder, tar_with(kind, "/etc"))
    assert contents(folder) == {}


def test_links_in_a_zip_are_refused_before_anything_is_written(folder: Path) -> None:
    stream = io.BytesIO(stored(PICTURES))
    with zipfile.ZipFile(stream, "a") as archive:
        link = zipfile.ZipInfo("images/link.jpg")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "the member `images/link.jpg` is a link or a device" in refused(folder, stream.getvalue())
    assert contents(folder) == {}


def test_a_link_that_nobody_wants_does_no_harm(folder: Path) -> None:
    spec = Unpack(into="data/mine", include=("*/behind.jpg",), flatten=True)
    unpacked(folder, tar_with(tarfile.SYMTYPE, "/etc"), spec)
    assert contents(folder) == {"behind.jpg": JPEG}


def test_permissions_of_members_are_not_taken_over(folder: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo("a.jpg")
        entry.external_attr = (stat.S_IFREG | stat.S_ISUID | 0o777) << 16
        archive.writestr(entry, JPEG)
    unpacked(folder, stream.getvalue())
    assert not (folder / "a.jpg").stat().st_mode & (stat.S_ISUID | 0o111)


# Damage


def test_a_flipped_byte_in_a_zip_is_told_and_the_member_is_not_there(folder: Path) -> None:
    for packing in (stored, deflated):
        archive = bytearray(packing(PICTURES))
        archive[archive.index(b"images/3.jpg") + 60] ^= 0xFF
        assert "damaged after 3 files" in refused(folder, bytes(archive), JPGS)
        assert sorted(contents(folder)) == ["images/0.jpg", "images/1.jpg", "images/2.jpg"]


def test_a_zip_whose_directory_is_damaged_is_told(folder: Path) -> None:
    archive = bytearray(stored(PICTURES))
    archive[archive.rindex(b"PK\x01\x02")] ^= 0xFF
    assert "damaged" in refused(folder, bytes(archive))


def test_an_encrypted_zip_is_told(folder: Path) -> None:
    archive = bytearray(stored({"a.jpg": JPEG}))
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(signature) + flags_at] |= 1
    assert "encrypted" in refused(folder, bytes(archive))


def test_a_kind_of_compression_that_nobody_knows_is_told(folder: Path) -> None:
    archive = bytearray(stored({"a.jpg": JPEG}))
    for signature, method_at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        archive[archive.index(signature) + method_at] = 99
    assert "compression" in refused(folder, bytes(archive))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no more", JPEG * 100, b"\x1f\x8b\x08 no gzip"])
def test_what_is_no_archive_is_told(folder: Path, content: bytes) -> None:
    assert "damaged" in refused(folder, content)


@pytest.mark.parametrize("packing", [plain_tar, gzipped_tar])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_tar_that_is_cut_is_told(folder: Path, packing: Pack, share: float) -> None:
    archive = packing(PICTURES)
    if packing is plain_tar:
        archive = archive[: 6 * 1024]
    assert "damaged" in refused(folder, archive[: int(len(archive) * share)])


@pytest.mark.parametrize("cut", [1024, 1024 + 100, 1024 + 512, 1024 + 600, 3 * 1024])
def test_a_tar_that_is_cut_between_two_members_is_told(folder: Path, cut: int) -> None:
    # Each member is a block of 512 bytes for its header and one for its content.
    archive = plain_tar(PICTURES)
    assert archive.index(b"images/1.jpg") == 1024
    assert "damaged" in refused(folder, archive[:cut])


def test_a_damaged_header_is_not_the_end_of_a_tar(folder: Path) -> None:
    archive = bytearray(plain_tar(PICTURES))
    archive[2 * 1024 + 5] ^= 0xFF
    assert "damaged after 2 files" in refused(folder, bytes(archive))


def test_a_cut_stream_that_gave_all_that_is_wanted_is_good_enough(folder: Path) -> None:
    # Four of SA-1B's shards are published like this: judged by the number of pictures, not by the container's end.
    members = {**PICTURES, "images/last.json": noise(5000)}
    archive = gzipped_tar(members)[:-3000]
    counted = JPGS.model_copy(update={"members": 6})
    done = unpacked(folder, archive, counted)
    assert contents(folder) == PICTURES
    assert len(done.members) == 6


def test_a_cut_stream_that_lacks_a_picture_is_told(folder: Path) -> None:
    archive = gzipped_tar(PICTURES)
    counted = JPGS.model_copy(update={"members": 6})
    said = refused(folder, archive[: len(archive) * 2 // 3], counted)
    assert "damaged after" in said or "expected 6 files" in said


def test_empty_blocks_in_the_middle_are_not_the_end_where_the_number_tells(folder: Path) -> None:
    names = list(PICTURES)
    first, second = ({name: PICTURES[name] for name in part} for part in (names[:3], names[3:]))
    archive = plain_tar(first) + plain_tar(second)
    unpacked(folder, archive, JPGS.model_copy(update={"members": 6}))
    assert contents(folder) == PICTURES


def test_bytes_behind_the_end_of_a_stream_do_not_matter_where_the_number_tells(folder: Path) -> None:
    archive = gzipped_tar(PICTURES) + b"\x01rubbish" * 100
    unpacked(folder, archive, JPGS.model_copy(update={"members": 6}))
    assert contents(folder) == PICTURES


ARCHIVES = [
    stored(PICTURES),
    deflated(PICTURES),
    plain_tar(PICTURES)[: 14 * 1024],
    gzipped_tar(PICTURES),
    xz_tar(PICTURES),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    archive=st.sampled_from(ARCHIVES),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
def test_whatever_the_damage_it_is_an_archive_error_or_whole_members_inside(
    archive: bytes, damage: list[tuple[float, int]], cut: float | None
) -> None:
    damaged = bytearray(archive)
    for place, value in damage:
        damaged[int(place * len(damaged))] = value
    if cut is not None:
        damaged = damaged[: int(cut * len(damaged))]
    with TemporaryDirectory() as top:
        folder = Path(top) / "tree" / "data" / "mine"
        try:
            done = unpacked(folder, bytes(damaged), JPGS)
        except ArchiveError:
            done = None
        found = names_below(Path(top))
        assert all(name == "archive.zip" or name.startswith("tree/data/mine/") for name in found)
        assert not any(name.endswith(".tmp") for name in found)
        if done is not None:
            assert all((folder / name).is_file() for name in done.members)


# Again, and killed


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


def test_a_wish_to_stop_ends_the_work_between_two_members(folder: Path, pack: Pack) -> None:
    def stop(done: int, _total: int | None) -> None:
        if done == 3:
            raise Cancelled("stopped")

    archive = pack(PICTURES)
    with pytest.raises(Cancelled):
        unpacked(folder, archive, progress=stop)
    assert contents(folder) == dict(itertools.islice(PICTURES.items(), 3))
    assert unpacked(folder, archive).written == 3


KILLED = """
import os, sys
from pathlib import Path
from cvl.download.unpack import unpack
from cvl.manifest import Unpack

def nothing(done, total):
    print(done, flush=True)

unpack(Path(sys.argv[1]), Unpack(into="data/mine"), Path(sys.argv[2]), nothing)
"""


@pytest.mark.parametrize("packing", [stored, gzipped_tar])
def test_a_kill_leaves_whole_files_only(tmp_path: Path, packing: Pack) -> None:
    big = {f"images/{number}.jpg": noise(4_000_000, number) for number in range(8)}
    archive, folder = tmp_path / "archive.zip", tmp_path / "tree"
    archive.write_bytes(packing(big))
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    command = [sys.executable, "-c", KILLED, str(archive), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    left = {name: content for name, content in contents(folder).items() if not Path(name).name.startswith(".cvl-")}
    assert len(left) >= 2
    assert left.items() <= big.items()
    unpack(archive, ALL, folder, nothing)
    assert {name: content for name, content in contents(folder).items() if ".cvl-" not in name} == big

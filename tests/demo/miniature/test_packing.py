from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from cvl.demo.miniature.packing import TAR_TIME, ZIP_TIME, Member, ZipStyle, compress, tar, write_tar_gz, write_zip

MEMBERS = (
    Member("images/"),
    Member("images/1.jpg", b"first" * 100),
    Member("images/größe_図.jpg", b"second" * 100),
    Member("images/empty.jpg"),
)
LOCAL_HEADER = 30
"""Bytes of a zip's local header before the name."""


@pytest.mark.parametrize("style", [ZipStyle(), ZipStyle(deflated=True), ZipStyle(zip64=True)])
def test_a_zip_holds_its_members_in_order_and_passes_its_own_check(tmp_path: Path, style: ZipStyle) -> None:
    write_zip(tmp_path / "a.zip", MEMBERS, style)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [member.name for member in MEMBERS]
        assert [archive.read(name) for name in archive.namelist()] == [member.data for member in MEMBERS]


@pytest.mark.parametrize(("deflated", "method"), [(False, zipfile.ZIP_STORED), (True, zipfile.ZIP_DEFLATED)])
def test_members_are_stored_unless_deflation_is_asked_for(tmp_path: Path, deflated: bool, method: int) -> None:
    write_zip(tmp_path / "a.zip", MEMBERS, ZipStyle(deflated=deflated))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {entry.compress_type for entry in archive.infolist() if not entry.is_dir()} == {method}


def test_names_beyond_ascii_are_flagged_as_utf8(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", MEMBERS)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        flagged = {entry.filename: bool(entry.flag_bits & 0x800) for entry in archive.infolist()}
    assert flagged == {member.name: not member.name.isascii() for member in MEMBERS}


def test_zip64_headers_are_longer_than_their_names(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", MEMBERS[1:2], ZipStyle(zip64=True))
    data, member = (tmp_path / "a.zip").read_bytes(), MEMBERS[1]
    assert data.index(member.data) > LOCAL_HEADER + len(member.name)


def test_zips_depend_on_nothing_but_their_members(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_zip(tmp_path / "one.zip", MEMBERS)
    finally:
        os.umask(before)
    write_zip(tmp_path / "two.zip", MEMBERS)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {ZIP_TIME}


def test_files_and_folders_have_ordinary_permissions(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", MEMBERS)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert modes["images/"] == 0o040755
    assert modes["images/1.jpg"] == 0o100644


def test_a_gzipped_tar_holds_its_members_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    write_tar_gz(path, MEMBERS[1:])
    with tarfile.open(path, "r:gz") as archive:
        entries = archive.getmembers()
        assert [entry.name for entry in entries] == [member.name for member in MEMBERS[1:]]
        assert {(entry.mtime, entry.mode, entry.uid, entry.uname) for entry in entries} == {(TAR_TIME, 0o644, 0, "")}


def test_tars_and_gzip_streams_depend_on_nothing_but_their_contents() -> None:
    assert compress(tar(MEMBERS[1:])) == compress(tar(MEMBERS[1:]))
    header = compress(b"text")[:10]
    assert header[4:8] == bytes(4), "a gzip header's time"
    assert header[3] == 0, "a gzip header's flags: no name"
    assert gzip.decompress(compress(b"text")) == b"text"

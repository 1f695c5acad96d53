"""A finished part is held to its size, its kind and its digest before anybody calls it a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fetching import HOST, JPEG, PAGE, md5, remote, sha256, tarred, zipped

from cvl.download.select import Remote
from cvl.download.transport.check import algorithms, check
from cvl.download.transport.part import Part
from cvl.errors import DigestError, WrongContentError

ZIP = zipped({"a.jpg": JPEG * 20})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.part"


def checked(path: Path, wanted: Remote, content: bytes, *, accept: bool = False) -> str:
    part, arrived = Part(path, algorithms(wanted)), path.with_name("arrived")
    arrived.write_bytes(content)
    part.adopt(arrived, HOST)
    return check(wanted, part, accept_digest=accept)


def test_the_sha256_is_told_for_the_lock_whatever_is_known(path: Path) -> None:
    for known in (remote(), remote(md5=md5(b"x")), remote(sha256=sha256(b"x"), md5="0" * 32)):
        assert checked(path, known, b"x") == sha256(b"x")


def test_only_the_digests_that_are_needed_are_computed() -> None:
    assert algorithms(remote()) == ("sha256",)
    assert algorithms(remote(sha256="0" * 64, md5="0" * 32)) == ("sha256",)
    assert algorithms(remote(md5="0" * 32)) == ("sha256", "md5")


def test_another_size_is_refused_with_both_numbers(path: Path) -> None:
    with pytest.raises(WrongContentError, match=r"file\.bin: expected 2,000 bytes, found 1"):
        checked(path, remote(size=2000), b"x")


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_another_digest_of_a_confirmed_file_is_damage(path: Path, algorithm: str) -> None:
    expected = "0" * {"sha256": 64, "md5": 32}[algorithm]
    found = {"sha256": sha256, "md5": md5}[algorithm](b"x")
    known = remote(**{algorithm: expected})
    for accept in (False, True):
        with pytest.raises(DigestError, match=f"expected {algorithm} {expected}, found {found}; .*damaged"):
            checked(path, known, b"x", accept=accept)


def test_another_digest_from_a_single_source_may_be_accepted(path: Path) -> None:
    known = remote(sha256="0" * 64, certainty="single-source")
    with pytest.raises(DigestError, match="single source, which may be wrong") as caught:
        checked(path, known, b"x")
    assert "nothing was deleted" in (caught.value.hint or "")
    assert "cvl fetch mine --accept-digest" in (caught.value.hint or "")
    assert path.read_bytes() == b"x"
    assert checked(path, known, b"x", accept=True) == sha256(b"x")


def test_accepting_a_digest_does_not_accept_a_size(path: Path) -> None:
    known = remote(size=2, sha256="0" * 64, certainty="single-source")
    with pytest.raises(WrongContentError, match="expected 2 bytes"):
        checked(path, known, b"x", accept=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.zip", ZIP),
        ("a.zip", zipped({})),
        ("a.tar", tarred({"a.jpg": JPEG})),
        ("a.tar", tarred({"a.jpg": JPEG}, "w:gz")),
        ("a.json", b"[1]"),
        ("a.json", b'\xef\xbb\xbf\r\n {"a": 1}'),
        ("a.bin", b"whatever"),
        ("a.bin", b""),
        ("a", b"no suffix"),
        ("page.bin", b"plain text that speaks of <html> pages"),
    ],
)
def test_a_file_of_its_kind_passes(path: Path, name: str, content: bytes) -> None:
    assert checked(path, remote(name=name), content) == sha256(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.zip", ZIP[:-30]),
        ("a.zip", ZIP[: len(ZIP) // 2]),
        ("a.zip", b""),
        ("a.zip", tarred({"a.jpg": JPEG})),
        ("a.tar", ZIP),
        ("a.tar", b"BM" + bytes(600)),
        ("a.json", b"version https://git-lfs.github.com/spec/v1\n"),
        ("a.json", b""),
    ],
)
def test_a_file_of_another_kind_is_refused(path: Path, name: str, content: bytes) -> None:
    with pytest.raises(WrongContentError, match=f"{name}: this is no whole {name.rpartition('.')[2]} file"):
        checked(path, remote(name=name), content)


@pytest.mark.parametrize("page", [PAGE, b"\n  <HTML>", b"<head>", b'<?xml version="1.0"?><Error/>'])
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.json", "a.bin", "a"])
def test_a_web_page_is_no_file_under_any_name(path: Path, name: str, page: bytes) -> None:
    with pytest.raises(WrongContentError, match="begins with a web page"):
        checked(path, remote(name=name), page)


def test_a_web_page_of_the_right_size_is_told_as_a_page_not_as_damage(path: Path) -> None:
    known = remote(name="a.zip", size=len(PAGE), sha256="0" * 64)
    with pytest.raises(WrongContentError, match="a web page"):
        checked(path, known, PAGE)
    with pytest.raises(WrongContentError, match="a web page"):
        checked(path, replace(known, certainty="single-source"), PAGE, accept=True)

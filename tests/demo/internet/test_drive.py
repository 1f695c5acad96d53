from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import gdown
import httpx
import pytest
from gdown.exceptions import DownloadError, FileURLRetrievalError

from cvl.demo.internet import Fault, FaultKind, Internet

FILE_ID = "1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2"
PAGE = f"https://drive.google.com/uc?id={FILE_ID}"
DIRECT = f"https://drive.usercontent.google.com/download?id={FILE_ID}&export=download&confirm=t"
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 400


@pytest.fixture
def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    folder = tmp_path / "internet" / "drive" / FILE_ID
    folder.mkdir(parents=True)
    (folder / "share_textvqa.zip").write_bytes(CONTENT)
    with Internet(tmp_path / "internet") as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        yield internet


def fetch(folder: Path, *, file_id: str = FILE_ID, **options: object) -> Path:
    output = folder / "fetched.zip"
    gdown.download(id=file_id, output=str(output), quiet=True, use_cookies=False, **options)  # type: ignore[arg-type]
    return output


def test_gdown_goes_through_the_page_to_the_file(internet: Internet, tmp_path: Path) -> None:
    hasher = hashlib.sha256()
    assert fetch(tmp_path, hasher=hasher).read_bytes() == CONTENT
    assert hasher.digest() == hashlib.sha256(CONTENT).digest()
    first, second = internet.exchanges
    assert (first.url, first.status) == (PAGE, 200)
    assert second.url.startswith("https://drive.usercontent.google.com/download?")
    assert second.bytes_sent == len(CONTENT)


def test_gdown_learns_the_name_of_the_file(internet: Internet) -> None:
    found = gdown.download(id=FILE_ID, quiet=True, use_cookies=False, skip_download=True)
    assert getattr(found, "path", None) == "share_textvqa.zip"


def test_gdown_takes_the_direct_address_too(internet: Internet, tmp_path: Path) -> None:
    gdown.download(url=DIRECT, output=str(tmp_path / "file"), quiet=True, use_cookies=False)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_gdown_resumes_what_was_cut(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["gdown.download"], "CHUNK_SIZE", 1000)
    internet.inject(Fault("*usercontent*", FaultKind.TRUNCATE, after=5000))
    with pytest.raises(DownloadError, match="incomplete"):
        fetch(tmp_path, resume=True)
    assert fetch(tmp_path, resume=True).read_bytes() == CONTENT
    assert [each.range for each in internet.exchanges if each.status == 206] == ["bytes=5000-"]


def test_gdown_tells_the_quota(internet: Internet, tmp_path: Path) -> None:
    internet.inject(Fault("https://drive.google.com/*", FaultKind.QUOTA))
    with pytest.raises(FileURLRetrievalError, match="Too many users have viewed"):
        fetch(tmp_path)
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_the_quota_may_meet_the_direct_address_with_status_200(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.QUOTA))
    page = httpx.get(DIRECT)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "Quota exceeded" in page.text
    assert httpx.get(DIRECT).content == CONTENT


def test_an_unknown_id_gets_404_and_a_page(internet: Internet, tmp_path: Path) -> None:
    for file_id in ("0" * 33, "..", "", "../drive"):
        reply = httpx.get("https://drive.google.com/uc", params={"id": file_id})
        assert (reply.status_code, reply.headers["content-type"]) == (404, "text/html; charset=utf-8")
    with pytest.raises(FileURLRetrievalError):
        fetch(tmp_path, file_id="0" * 33)


def test_without_confirmation_the_content_host_shows_the_page(internet: Internet) -> None:
    reply = httpx.get(f"https://drive.usercontent.google.com/download?id={FILE_ID}&export=download")
    assert 'id="download-form"' in reply.text
    assert "Content-Disposition" not in reply.headers


def test_the_form_asks_for_confirmation_with_hidden_fields(internet: Internet) -> None:
    html = httpx.get(PAGE).text
    for name in ("id", "export", "confirm", "uuid"):
        assert f'<input type="hidden" name="{name}" value="' in html
    assert 'action="https://drive.usercontent.google.com/download"' in html


def test_the_file_comes_in_ranges_under_its_own_name(internet: Internet) -> None:
    reply = httpx.get(DIRECT, headers={"Range": "bytes=4-7"})
    assert (reply.status_code, reply.content) == (206, CONTENT[4:8])
    assert "share_textvqa.zip" in reply.headers["content-disposition"]


def test_a_name_beyond_ascii_survives(internet: Internet, tmp_path: Path) -> None:
    folder = tmp_path / "internet" / "drive" / ("b" * 33)
    folder.mkdir()
    (folder / "Bücher & Co.zip").write_bytes(b"x")
    found = gdown.download(id="b" * 33, quiet=True, use_cookies=False, skip_download=True)
    assert getattr(found, "path", None) == "Bücher & Co.zip"

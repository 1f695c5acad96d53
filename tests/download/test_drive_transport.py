"""Drive files come through gdown, which knows Google's pages; what comes is held to size and digest like all else."""

from __future__ import annotations

import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gdown
import pytest
from fetching import JPEG, MakeSession, Told, names_below, noise, remote, sha256, zipped

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.part import Journal, Part
from cvl.download.session import Session
from cvl.download.transfer import transfer
from cvl.errors import Cancelled, DigestError, RefusedError, TransferError, WrongContentError
from cvl.events import Event, EventKind

FILE_ID = "1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2"
URL = f"gdrive://{FILE_ID}"
ZIP = zipped({f"{number}.jpg": JPEG + noise(300_000, number) for number in range(4)})
WANTED = remote(URL, name="mine-wikiart.zip", size=len(ZIP), sha256=sha256(ZIP))
FILES = "https://drive.usercontent.google.com/*"


@pytest.fixture(autouse=True)
def published(site: Publisher, web: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put(URL, ZIP, name="wikiart.zip")
    # The package has a function of the module's name.
    monkeypatch.setattr(importlib.import_module("gdown.download"), "CHUNK_SIZE", 10_000)


def asked(web: Internet) -> list[str | None]:
    """The ranges of the file that were asked for. gdown asks for the whole first, and reads it only if it has none."""
    return [exchange.range for exchange in web.exchanges if "usercontent" in exchange.url]


def unfinished(session: Session, content: bytes) -> Path:
    """What gdown leaves when its process is killed."""
    path = session.root.downloads / "mine-wikiart.zip.partab12cd34.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_the_way_leads_through_the_page_to_the_file(session: Session, web: Internet) -> None:
    arrived = transfer(WANTED, session)
    assert arrived.path.read_bytes() == ZIP
    assert (arrived.seen.url, arrived.seen.size, arrived.seen.sha256) == (URL, len(ZIP), sha256(ZIP))
    assert web.exchanges[0].url.startswith("https://drive.google.com/uc?")
    assert names_below(session.root.path) == ["data/.cvl/downloads/mine-wikiart.zip.part"]


def test_nothing_has_to_be_known_beforehand(session: Session) -> None:
    assert transfer(replace(WANTED, size=None, sha256=None), session).path.read_bytes() == ZIP


def test_progress_is_reported(session: Session, told: Told) -> None:
    transfer(WANTED, session)
    last = told.of(EventKind.PROGRESS)[-1]
    assert (last.name, last.done, last.total) == ("mine-wikiart.zip", len(ZIP), len(ZIP))


@pytest.mark.parametrize("pattern", ["https://drive.google.com/*", "*"])
def test_a_used_up_quota_is_told_with_the_ways_out(session: Session, web: Internet, pattern: str) -> None:
    web.inject(Fault(pattern, FaultKind.QUOTA, times=9))
    with pytest.raises(RefusedError, match=r"Drive does not hand out the file: .*Too many users") as caught:
        transfer(WANTED, session)
    hint = caught.value.hint or ""
    assert "wait some hours" in hint
    assert "cookies.txt" in hint
    assert "--from" in hint
    assert [path for path in names_below(session.root.path) if not path.endswith(".json")] == []


def test_a_quota_page_in_place_of_the_file_is_never_saved(session: Session, web: Internet) -> None:
    web.inject(Fault(FILES, FaultKind.QUOTA, times=9))
    with pytest.raises(RefusedError, match="does not hand out the file"):
        transfer(replace(WANTED, size=None, sha256=None), session)
    assert not any(b"<html" in path.read_bytes() for path in session.root.path.rglob("*") if path.is_file())


def test_an_unknown_file_is_refused(session: Session) -> None:
    with pytest.raises(RefusedError, match=f"gdrive://{'0' * 33}: Drive does not hand out the file"):
        transfer(replace(WANTED, urls=(f"gdrive://{'0' * 33}",)), session)


def test_a_web_page_that_somebody_put_on_drive_is_no_archive(session: Session, site: Publisher) -> None:
    other = "a" * 33
    site.put(f"gdrive://{other}", b"<!DOCTYPE html><p>Moved", name="wikiart.zip")
    with pytest.raises(WrongContentError, match="begins with a web page"):
        transfer(replace(WANTED, urls=(f"gdrive://{other}",), size=None, sha256=None), session)


def test_a_cut_transfer_goes_on_where_it_was_cut(session: Session, web: Internet) -> None:
    web.inject(Fault(FILES, FaultKind.TRUNCATE, after=500_000))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, None, "bytes=500000-"]


def test_a_killed_transfer_goes_on_where_it_was_killed(session: Session, web: Internet) -> None:
    unfinished(session, ZIP[:700_000])
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, "bytes=700000-"]
    assert names_below(session.root.path) == ["data/.cvl/downloads/mine-wikiart.zip.part"]


def test_a_part_of_another_transport_is_not_taken_for_the_file(session: Session) -> None:
    part = Part(session.root.downloads / "mine-wikiart.zip.part")
    part.begin(Journal("https://host.example/copy.zip", '"tag"'))
    part.path.write_bytes(ZIP[:1000])
    assert transfer(WANTED, session).path.read_bytes() == ZIP


def test_what_was_unfinished_and_wrong_is_fetched_once_more(session: Session, web: Internet) -> None:
    unfinished(session, bytes(700_000))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, "bytes=700000-", None]


def test_wrong_bytes_from_a_single_source_are_kept_until_the_user_decides(session: Session, web: Internet) -> None:
    doubtful = replace(WANTED, sha256="0" * 64, certainty="single-source")
    with pytest.raises(DigestError, match="single source"):
        transfer(doubtful, session)
    assert transfer(doubtful, replace(session, accept_digest=True)).path.read_bytes() == ZIP
    assert asked(web) == [None]


@pytest.mark.parametrize("pattern", ["https://drive.google.com/*", FILES])
def test_a_connection_that_breaks_is_tried_again(session: Session, web: Internet, pattern: str) -> None:
    web.inject(Fault(pattern, FaultKind.RESET))
    assert transfer(WANTED, session).path.read_bytes() == ZIP


def test_a_connection_that_always_breaks_is_given_up(session: Session, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.RESET, times=99))
    with pytest.raises(TransferError, match=URL) as caught:
        transfer(WANTED, session)
    assert type(caught.value) is TransferError


def test_a_wish_to_stop_is_heard_and_what_came_is_kept(make_session: MakeSession, web: Internet) -> None:
    cancel = threading.Event()

    def stop_in_the_middle(event: Event) -> None:
        if event.kind is EventKind.PROGRESS:
            cancel.set()

    session = make_session(cancel=cancel, report=stop_in_the_middle)
    with pytest.raises(Cancelled):
        transfer(WANTED, session)
    (left,) = session.root.downloads.glob("*.part")
    here = left.read_bytes()
    assert ZIP.startswith(here)
    assert 0 < len(here) < len(ZIP)
    cancel.clear()
    assert transfer(WANTED, replace(session, report=Told())).path.read_bytes() == ZIP
    assert asked(web)[-1] == f"bytes={len(here)}-"


def test_a_wish_to_stop_before_the_first_byte_asks_nothing(make_session: MakeSession, web: Internet) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled, match="what is done stays done"):
        transfer(WANTED, make_session(cancel=cancel))
    assert web.exchanges == []


@pytest.mark.parametrize("excess", [0, 10])
def test_what_a_kill_left_whole_or_too_long_does_not_stop_the_next_run(
    session: Session, web: Internet, excess: int
) -> None:
    unfinished(session, ZIP + bytes(excess))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert names_below(session.root.path) == ["data/.cvl/downloads/mine-wikiart.zip.part"]


COOKIES = "# Netscape HTTP Cookie File\n.google.com\tTRUE\t/\tTRUE\t2147483647\tSID\tsigned-in\n"


def test_the_user_s_cookies_are_used_and_left_as_they_are(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / ".cache" / "gdown" / "cookies.txt"
    own.parent.mkdir(parents=True)
    own.write_text(COOKIES)
    shown: list[str] = []

    def download(**arguments: Any) -> Any:
        shown.append(Path(arguments["cookies_file"]).read_text())
        return original(**arguments)

    original = gdown.download
    monkeypatch.setattr(gdown, "download", download)
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert shown == [COOKIES]
    assert own.read_text() == COOKIES


def test_no_cookies_are_kept_where_the_user_has_none(session: Session, tmp_path: Path) -> None:
    transfer(WANTED, session)
    assert not (tmp_path / ".cache").exists()


def test_files_that_come_side_by_side_do_not_spoil_each_other_s_cookies(session: Session, site: Publisher) -> None:
    # gdown would warn of it, and warnings are errors here.
    ids = [f"{letter}" * 33 for letter in "abcdefgh"]
    for file_id in ids:
        site.put(f"gdrive://{file_id}", ZIP, name="x.zip")
    many = [replace(WANTED, name=f"{file_id}.zip", urls=(f"gdrive://{file_id}",)) for file_id in ids]
    with ThreadPoolExecutor(8) as pool:
        arrived = list(pool.map(lambda wanted: transfer(wanted, session), many))
    assert all(each.path.read_bytes() == ZIP for each in arrived)


def test_a_mirror_stands_in_for_a_used_up_quota(session: Session, site: Publisher, web: Internet) -> None:
    site.put("https://mirror.example/wikiart.zip", ZIP)
    web.inject(Fault("*", FaultKind.QUOTA, times=9))
    both = replace(WANTED, urls=(URL, "https://mirror.example/wikiart.zip"))
    assert transfer(both, session).seen.url == "https://mirror.example/wikiart.zip"

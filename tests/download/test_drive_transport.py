"""Drive files come through gdown, which knows Google's pages; what comes is held to size and digest like all else."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gdown
import pytest
from fetching import JPEG, MakeSession, Told, names_below, noise, remote, sha256, until, zipped
from support import Cvl

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.session import Session
from cvl.download.transport import drive
from cvl.download.transport.part import Part
from cvl.download.transport.throttle import Throttle
from cvl.download.transport.transfer import transfer
from cvl.errors import (
    EXIT_CANCELLED,
    Cancelled,
    DigestError,
    GoneError,
    RefusedError,
    TransferError,
    UnreachableError,
    WrongContentError,
)
from cvl.events import Event, EventKind

FILE_ID = "1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2"
URL = f"gdrive://{FILE_ID}"
ZIP = zipped({f"{number}.jpg": JPEG + noise(300_000, number) for number in range(4)})
WANTED = remote(URL, name="mine-wikiart.zip", size=len(ZIP), sha256=sha256(ZIP))
PART = "data/.cvl/downloads/mine-wikiart.zip.part"
PAGES = "https://drive.google.com/*"
FILES = "https://drive.usercontent.google.com/*"
MIRROR = "https://mirror.example/wikiart.zip"


@pytest.fixture(autouse=True)
def published(site: Publisher, web: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put(URL, ZIP, name="wikiart.zip")
    # The package has a function of the module's name.
    monkeypatch.setattr(importlib.import_module("gdown.download"), "CHUNK_SIZE", 10_000)


class Counted(Throttle):
    """A throttle that remembers what passed."""

    taken: list[int]

    def __init__(self, rate: int | None, cancel: threading.Event) -> None:
        super().__init__(rate, cancel)
        self.taken = []

    def take(self, size: int) -> None:
        self.taken.append(size)
        super().take(size)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the real gdown is called with."""
    calls: list[dict[str, Any]] = []

    def download(**arguments: Any) -> Any:
        calls.append(arguments)
        return original(**arguments)

    original = gdown.download
    monkeypatch.setattr(gdown, "download", download)
    return calls


def asked(web: Internet) -> list[str | None]:
    """The ranges of the file that were asked for. gdown asks for the whole first, and reads it only if it has none."""
    return [each.range for each in web.exchanges if "usercontent" in each.url and each.method == "GET"]


def beside_the_part(session: Session) -> list[str]:
    """What lies in the tree that is not of the part itself."""
    return [name for name in names_below(session.root.path) if name not in (PART, f"{PART}.journal")]


def unfinished(session: Session, content: bytes, letters: str = "ab12cd34") -> Path:
    """What gdown leaves when its process is killed."""
    path = session.root.downloads / f"mine-wikiart.zip.part.drive-{FILE_ID}{letters}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fetch(session: Session, url: str = URL) -> Part:
    """Try once, without the policy of trying again."""
    part = Part(session.root.at(PART))
    drive.fetch(url, part, session, session.progress(EventKind.PROGRESS, WANTED.name, WANTED.source))
    return part


# The file


def test_the_way_leads_through_the_page_to_the_file(session: Session, web: Internet) -> None:
    arrived = transfer(WANTED, session)
    assert arrived.path.read_bytes() == ZIP
    assert (arrived.seen.url, arrived.seen.size, arrived.seen.sha256) == (URL, len(ZIP), sha256(ZIP))
    pages = [exchange.url for exchange in web.exchanges if exchange.method == "GET"]
    assert pages[0].startswith("https://drive.google.com/uc?")
    assert beside_the_part(session) == []


def test_nothing_has_to_be_known_beforehand(session: Session) -> None:
    assert transfer(replace(WANTED, size=None, sha256=None), session).path.read_bytes() == ZIP


def test_a_body_without_length_is_taken_and_checked(session: Session, web: Internet) -> None:
    web.inject(Fault(FILES, FaultKind.NO_CONTENT_LENGTH))
    assert transfer(WANTED, session).path.read_bytes() == ZIP


def test_progress_is_reported(session: Session, told: Told) -> None:
    transfer(WANTED, session)
    last = told.of(EventKind.PROGRESS)[-1]
    assert (last.name, last.done, last.total) == ("mine-wikiart.zip", len(ZIP), len(ZIP))


def test_every_byte_that_comes_is_held_to_the_session_s_rate(session: Session) -> None:
    unfinished(session, ZIP[:700_000])
    counted = Counted(None, session.cancel)
    vars(session)["throttle"] = counted
    transfer(WANTED, session)
    assert sum(counted.taken) == len(ZIP) - 700_000


def test_the_session_s_patience_is_gdown_s(make_session: MakeSession, given: list[dict[str, Any]]) -> None:
    transfer(WANTED, make_session(timeout=7.5))
    assert [each["timeout"] for each in given] == [7.5]


def test_a_part_of_another_transport_is_not_taken_for_the_file(session: Session, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(ZIP[:1000])
    session.root.downloads.mkdir(parents=True)
    Part(session.root.at(PART)).adopt(other, MIRROR)
    assert transfer(replace(WANTED, size=None), session).path.read_bytes() == ZIP


def test_a_web_page_that_somebody_put_on_drive_is_no_archive(session: Session, site: Publisher) -> None:
    other = "a" * 33
    site.put(f"gdrive://{other}", b"<!DOCTYPE html><p>Moved", name="wikiart.zip")
    with pytest.raises(WrongContentError, match="begins with a web page"):
        transfer(replace(WANTED, urls=(f"gdrive://{other}",), size=None, sha256=None), session)


def test_wrong_bytes_from_a_single_source_are_kept_until_the_user_decides(session: Session, web: Internet) -> None:
    doubtful = replace(WANTED, sha256="0" * 64, certainty="single-source")
    with pytest.raises(DigestError, match="single source"):
        transfer(doubtful, session)
    assert transfer(doubtful, replace(session, accept_digest=True)).path.read_bytes() == ZIP
    assert asked(web) == [None]


# Refused


@pytest.mark.parametrize("pattern", [PAGES, FILES])
def test_a_used_up_quota_is_told_with_the_ways_out(session: Session, web: Internet, pattern: str) -> None:
    web.inject(Fault(pattern, FaultKind.QUOTA, times=9))
    with pytest.raises(
        RefusedError, match=r"Drive does not hand out the file: Too many users .* up to 24 hours\.$"
    ) as e:
        transfer(WANTED, session)
    hint = e.value.hint or ""
    assert "wait some hours" in hint
    assert "gdown --cookies-from-browser" in hint
    assert "cookies.txt" in hint
    assert "--from" in hint
    assert beside_the_part(session) == []


def test_a_quota_page_in_place_of_the_file_is_never_saved(session: Session, web: Internet) -> None:
    web.inject(Fault(FILES, FaultKind.QUOTA, times=9))
    with pytest.raises(RefusedError, match="does not hand out the file"):
        transfer(replace(WANTED, size=None, sha256=None), session)
    assert not any(b"<html" in path.read_bytes() for path in session.root.path.rglob("*") if path.is_file())


def test_what_came_before_the_quota_was_used_up_is_kept(session: Session, web: Internet) -> None:
    left = unfinished(session, ZIP[:700_000])
    web.inject(Fault("*", FaultKind.QUOTA))
    with pytest.raises(RefusedError):
        transfer(WANTED, session)
    assert left.read_bytes() == ZIP[:700_000]
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web)[-1] == "bytes=700000-"


def test_a_file_that_is_not_shared_is_told_as_such(session: Session, site: Publisher) -> None:
    (site.folder / "drive" / ("b" * 33)).mkdir()
    site.put("https://accounts.google.com/ServiceLogin", b"<!DOCTYPE html><p>Sign in")
    with pytest.raises(RefusedError, match="not shared with everybody, and Drive asks to sign in") as caught:
        transfer(replace(WANTED, urls=(f"gdrive://{'b' * 33}",)), session)
    assert "cookies" in (caught.value.hint or "")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("pattern", [PAGES, FILES])
def test_a_refusal_is_not_asked_again(session: Session, web: Internet, pattern: str, status: int) -> None:
    web.inject(Fault(pattern, FaultKind.STATUS, status=status))
    with pytest.raises(RefusedError, match=f"does not hand out the file: .* with status {status}") as caught:
        transfer(WANTED, session)
    assert "--from" in (caught.value.hint or "")


def test_a_page_of_the_network_in_place_of_drive_s_is_refused(session: Session, web: Internet) -> None:
    web.inject(Fault(PAGES, FaultKind.HTML))
    with pytest.raises(RefusedError, match="a page without a link to it came in its place, with status 200"):
        transfer(WANTED, session)


def test_an_unknown_file_is_gone(session: Session, web: Internet) -> None:
    with pytest.raises(GoneError, match=f"gdrive://{'0' * 33}: the server says 404 Not Found"):
        transfer(replace(WANTED, urls=(f"gdrive://{'0' * 33}",)), session)
    assert len([each for each in web.exchanges if each.method == "GET"]) == 1


def test_of_a_file_that_is_gone_nothing_is_kept(session: Session, web: Internet) -> None:
    unfinished(session, ZIP[:700_000])
    web.inject(Fault(FILES, FaultKind.STATUS, status=404))
    with pytest.raises(GoneError):
        transfer(WANTED, session)
    assert beside_the_part(session) == []


# In trouble


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("pattern", ["https://drive.google.com/uc*", FILES])
def test_a_burst_of_trouble_is_outlasted(
    session: Session, web: Internet, told: Told, pattern: str, status: int
) -> None:
    web.inject(Fault(pattern, FaultKind.STATUS, status=status, times=2))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert [f"the server says {status}" in text for text in told.texts(EventKind.RETRY)] == [True, True]


def test_trouble_without_end_is_given_up_for_now(session: Session, web: Internet) -> None:
    left = unfinished(session, ZIP[:700_000])
    web.inject(Fault("*", FaultKind.STATUS, times=999))
    with pytest.raises(TransferError, match="the server says 503") as caught:
        transfer(WANTED, session)
    assert type(caught.value) is TransferError
    assert left.read_bytes() == ZIP[:700_000]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("pattern", [PAGES, FILES])
def test_the_server_s_wish_for_patience_is_passed_on(
    session: Session, web: Internet, pattern: str, status: int
) -> None:
    web.inject(Fault(pattern, FaultKind.STATUS, status=status, retry_after=7))
    with pytest.raises(TransferError) as caught:
        fetch(session)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [429, 503])
def test_trouble_on_the_way_on_costs_nothing_of_what_is_here(session: Session, web: Internet, status: int) -> None:
    left = unfinished(session, ZIP[:700_000])
    web.inject(Fault(FILES, FaultKind.STATUS, skip=1, status=status, retry_after=3))
    with pytest.raises(TransferError, match=f"the server says {status}") as caught:
        fetch(session)
    assert caught.value.retry_after == 3
    assert left.read_bytes() == ZIP[:700_000]


def test_a_page_on_the_way_on_costs_nothing_of_what_is_here(session: Session, web: Internet) -> None:
    unfinished(session, ZIP[:700_000])
    web.inject(Fault(FILES, FaultKind.QUOTA, skip=1))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, "bytes=700000-", None, "bytes=700000-"]


@pytest.mark.parametrize("pattern", [PAGES, FILES])
def test_a_connection_that_breaks_is_tried_again(session: Session, web: Internet, pattern: str) -> None:
    web.inject(Fault(pattern, FaultKind.RESET))
    assert transfer(WANTED, session).path.read_bytes() == ZIP


def test_a_connection_that_always_breaks_is_given_up(session: Session, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.RESET, times=99))
    with pytest.raises(TransferError, match=URL) as caught:
        transfer(WANTED, session)
    assert type(caught.value) is TransferError


def test_a_silent_server_is_given_up_and_asked_again(make_session: MakeSession, web: Internet, told: Told) -> None:
    web.inject(Fault(FILES, FaultKind.STALL, after=500_000))
    assert transfer(WANTED, make_session(timeout=0.3)).path.read_bytes() == ZIP
    assert [text.partition(";")[0] for text in told.texts(EventKind.RETRY)] == [f"{URL}: timed out"]
    assert asked(web) == [None, None, "bytes=500000-"]


def test_redirects_without_end_are_not_followed_again(session: Session, web: Internet) -> None:
    web.inject(Fault(PAGES, FaultKind.REDIRECT_LOOP))
    with pytest.raises(WrongContentError, match="redirects"):
        transfer(WANTED, session)


def test_a_host_that_cannot_be_reached_is_told_as_such(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=f"{URL}: .*Connection refused"):
        fetch(session)


# Certificates


def test_the_authority_that_the_other_transports_trust_is_trusted_here(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert os.environ["SSL_CERT_FILE"]
    assert transfer(WANTED, session).path.read_bytes() == ZIP


def test_a_certificate_of_nobody_s_is_refused(session: Session, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.UNKNOWN_AUTHORITY))
    with pytest.raises(RefusedError, match="the server's certificate is not trusted") as caught:
        transfer(WANTED, session)
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


# Going on


def test_a_cut_transfer_goes_on_where_it_was_cut(session: Session, web: Internet) -> None:
    web.inject(Fault(FILES, FaultKind.TRUNCATE, after=500_000))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, None, "bytes=500000-"]


def test_a_transfer_that_gets_further_each_time_is_not_given_up(session: Session, web: Internet) -> None:
    assert session.policy.attempts < 8
    web.inject(Fault(FILES, FaultKind.TRUNCATE, after=150_000, times=999))
    assert transfer(WANTED, session).path.read_bytes() == ZIP


def test_a_transfer_that_always_begins_anew_is_given_up(session: Session, web: Internet) -> None:
    web.inject(Fault(FILES, FaultKind.IGNORE_RANGE, times=999))
    web.inject(Fault(FILES, FaultKind.TRUNCATE, after=500_000, times=999))
    with pytest.raises(TransferError):
        transfer(WANTED, session)


def test_a_killed_transfer_goes_on_where_it_was_killed(session: Session, web: Internet) -> None:
    unfinished(session, ZIP[:700_000])
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, "bytes=700000-"]
    assert beside_the_part(session) == []


@pytest.fixture
def command(site: Publisher, web: Internet, tmp_path: Path) -> Cvl:
    """The command line, which finds in Drive what `cvl fetch mine` is to bring, cut to silence after `CUT` bytes."""
    site.put("gdrive://" + "k" * 33, LARGE, name="k.bin")
    manifests = tmp_path / "manifests"
    (manifests / "sources").mkdir(parents=True)
    (manifests / "sources" / "mine.toml").write_text(
        f'title = "Mine"\n[[files]]\nname = "mine.bin"\nurl = "gdrive://{"k" * 33}"\nsize = {len(LARGE)}\n'
        f'sha256 = "{sha256(LARGE)}"\npath = "data/mine/mine.bin"\n'
    )
    web.inject(Fault(FILES, FaultKind.STALL, after=CUT))
    root = {"CVL_ROOT": str(tmp_path / "tree"), "CVL_MANIFESTS": str(manifests)}
    return Cvl(tmp_path, web.environment() | root)


LARGE = noise(4_000_000)
CUT = 3_000_000
LOST = 2**20
"""Bytes that a kill may cost: of the piece that was on its way."""


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_ended_goes_on_where_it_was(
    command: Cvl, web: Internet, tmp_path: Path, signal_: signal.Signals
) -> None:
    root = tmp_path / "tree"
    with command.start("fetch", "mine", "--timeout", "600") as process:
        until(lambda: any(path.stat().st_size > CUT - LOST for path in root.rglob("*.drive-*.part")))
        process.send_signal(signal_)
        process.communicate()
    assert process.returncode == (-signal.SIGKILL if signal_ is signal.SIGKILL else EXIT_CANCELLED)
    (left,) = root.rglob("*.drive-*.part")
    kept = left.stat().st_size
    done = command("fetch", "mine")
    assert done.code == 0, done.stderr
    assert asked(web)[-1] == f"bytes={kept}-"
    assert (root / "data" / "mine" / "mine.bin").read_bytes() == LARGE
    assert names_below(root / "data" / ".cvl" / "downloads") == []


def test_what_was_unfinished_and_wrong_is_fetched_once_more(session: Session, web: Internet) -> None:
    unfinished(session, bytes(700_000))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, "bytes=700000-", None]


@pytest.mark.parametrize("kind", [FaultKind.IGNORE_RANGE, FaultKind.WRONG_CONTENT_RANGE])
def test_what_cannot_be_continued_is_begun_anew(session: Session, web: Internet, told: Told, kind: FaultKind) -> None:
    unfinished(session, ZIP[:700_000])
    web.inject(Fault(FILES, kind))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, "bytes=700000-", None]
    assert "does not go on where the transfer stood" in told.texts(EventKind.RETRY)[0]
    assert beside_the_part(session) == []


def test_what_a_kill_left_whole_is_taken(session: Session, web: Internet) -> None:
    unfinished(session, ZIP)
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, f"bytes={len(ZIP)}-"]
    assert beside_the_part(session) == []


def test_what_a_kill_left_finished_is_taken_without_asking(session: Session, web: Internet) -> None:
    unfinished(session, ZIP).rename(session.root.at(f"{PART}.drive-{FILE_ID}"))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert web.exchanges == []
    assert beside_the_part(session) == []


def test_what_is_longer_than_the_file_is_begun_anew(session: Session, web: Internet) -> None:
    unfinished(session, ZIP + bytes(10))
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, f"bytes={len(ZIP) + 10}-", None]


def test_of_several_unfinished_ones_the_longest_goes_on(session: Session, web: Internet) -> None:
    for length, letters in ((100, "aaaaaaaa"), (700_000, "bbbbbbbb"), (5000, "cccccccc")):
        unfinished(session, ZIP[:length], letters)
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert asked(web) == [None, "bytes=700000-"]
    assert beside_the_part(session) == []


def test_what_is_unfinished_of_another_file_is_not_continued(session: Session, site: Publisher, web: Internet) -> None:
    unfinished(session, bytes(700_000))
    site.put("gdrive://" + "n" * 33, ZIP, name="new.zip")
    transfer(replace(WANTED, urls=("gdrive://" + "n" * 33,)), session)
    assert asked(web) == [None]


# Stopping


def test_a_wish_to_stop_is_heard_and_what_came_is_kept(make_session: MakeSession, web: Internet) -> None:
    cancel = threading.Event()

    def stop_in_the_middle(event: Event) -> None:
        if event.kind is EventKind.PROGRESS:
            cancel.set()

    session = make_session(cancel=cancel, report=stop_in_the_middle)
    with pytest.raises(Cancelled):
        transfer(WANTED, session)
    (left,) = session.root.downloads.glob("*.drive-*.part")
    here = left.read_bytes()
    assert ZIP.startswith(here)
    assert 0 < len(here) < len(ZIP)
    cancel.clear()
    assert transfer(WANTED, replace(session, report=Told())).path.read_bytes() == ZIP
    assert asked(web)[-1] == f"bytes={len(here)}-"


@pytest.mark.parametrize("fault", [Fault(FILES, FaultKind.STALL, after=500_000), Fault(PAGES, FaultKind.STALL)])
def test_a_wish_to_stop_does_not_wait_for_a_silent_server(
    make_session: MakeSession, web: Internet, fault: Fault
) -> None:
    cancel = threading.Event()
    session = make_session(cancel=cancel, timeout=600.0)
    web.inject(fault)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(transfer, WANTED, session)
        until(lambda: sum(each.bytes_sent for each in web.exchanges if each.method == "GET") >= fault.after)
        until(lambda: any(each.method == "GET" for each in web.exchanges))
        cancel.set()
        with pytest.raises(Cancelled, match="what is done stays done"):
            running.result(timeout=60)


def test_a_wish_to_stop_does_not_wait_for_a_limited_rate(make_session: MakeSession, told: Told) -> None:
    cancel = threading.Event()
    session = make_session(cancel=cancel, limit_rate=100)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(transfer, WANTED, session)
        until(lambda: bool(told.of(EventKind.PROGRESS)))
        cancel.set()
        with pytest.raises(Cancelled):
            running.result(timeout=60)


def test_a_wish_to_stop_before_the_first_byte_asks_nothing(make_session: MakeSession, web: Internet) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled, match="what is done stays done"):
        transfer(WANTED, make_session(cancel=cancel))
    assert web.exchanges == []


# Cookies

COOKIES = "# Netscape HTTP Cookie File\n.google.com\tTRUE\t/\tTRUE\t2147483647\tSID\tsigned-in\n"


@pytest.fixture
def cookies(tmp_path: Path) -> Path:
    own = tmp_path / ".cache" / "gdown" / "cookies.txt"
    own.parent.mkdir(parents=True)
    own.write_text(COOKIES)
    return own


def test_the_user_s_cookies_are_used_and_left_as_they_are(
    session: Session, cookies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, int]] = []

    def download(**arguments: Any) -> Any:
        copy = Path(arguments["cookies_file"])
        shown.append((copy.read_text(), copy.stat().st_mode & 0o777))
        return original(**arguments)

    original = gdown.download
    monkeypatch.setattr(gdown, "download", download)
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    assert shown == [(COOKIES, 0o600)]
    assert cookies.read_text() == COOKIES
    assert beside_the_part(session) == []


def test_no_cookies_are_kept_where_the_user_has_none(session: Session, tmp_path: Path) -> None:
    transfer(WANTED, session)
    assert not (tmp_path / ".cache").exists()


def test_cookies_that_cannot_be_read_are_told_of_and_left_alone(session: Session, cookies: Path, told: Told) -> None:
    cookies.write_text('{"cookies": "in another format"}')
    assert transfer(WANTED, session).path.read_bytes() == ZIP
    (note,) = told.texts(EventKind.NOTE)
    assert str(cookies) in note
    assert cookies.read_text() == '{"cookies": "in another format"}'


def test_files_that_come_side_by_side_do_not_spoil_each_other_s_cookies(
    session: Session, site: Publisher, cookies: Path
) -> None:
    # gdown would warn of it, and warnings are errors here.
    ids = [f"{letter}" * 33 for letter in "abcdefgh"]
    for file_id in ids:
        site.put(f"gdrive://{file_id}", ZIP, name="x.zip")
    many = [replace(WANTED, name=f"{file_id}.zip", urls=(f"gdrive://{file_id}",)) for file_id in ids]
    with ThreadPoolExecutor(8) as pool:
        arrived = list(pool.map(lambda wanted: transfer(wanted, session), many))
    assert all(each.path.read_bytes() == ZIP for each in arrived)
    assert cookies.read_text() == COOKIES


# Mirrors


@pytest.mark.parametrize(
    "fault",
    [
        Fault("*google*", FaultKind.QUOTA, times=99),
        Fault("*google*", FaultKind.STATUS, times=999),
        Fault("*google*", FaultKind.STATUS, times=99, status=404),
    ],
)
def test_a_mirror_stands_in_and_nothing_of_drive_s_stays(
    session: Session, site: Publisher, web: Internet, fault: Fault
) -> None:
    site.put(MIRROR, ZIP)
    unfinished(session, ZIP[:700_000])
    web.inject(fault)
    assert transfer(replace(WANTED, urls=(URL, MIRROR)), session).seen.url == MIRROR
    assert beside_the_part(session) == []


def test_forgetting_takes_what_is_of_this_part_and_nothing_else(session: Session) -> None:
    mine = unfinished(session, ZIP[:10])
    finished = mine.rename(mine.with_name(mine.name[:-13]))
    unfinished(session, ZIP[:20])
    other = mine.with_name(f"other-{mine.name}")
    other.touch()
    drive.forget(session.root.at(PART))
    drive.forget(session.root.at(PART))
    assert not finished.exists()
    assert names_below(session.root.downloads) == [other.name]


def test_forgetting_where_there_is_no_folder_is_nothing(session: Session) -> None:
    drive.forget(session.root.at(PART))
    assert not session.root.path.exists()

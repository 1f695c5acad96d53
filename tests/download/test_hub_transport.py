"""Hub files: resolved and authenticated by huggingface_hub, moved by our own ranges, pinned to a revision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fetching import JPEG, MakeSession, Told, noise, remote, sha256, zipped
from huggingface_hub import HfApi, close_session, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.internet import hub as stand_in
from cvl.demo.internet.exchange import Reply
from cvl.demo.miniature.publish import Publisher
from cvl.download.lock import Seen
from cvl.download.session import Session
from cvl.download.transport.hub import translated
from cvl.download.transport.journal import Version
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Policy
from cvl.download.transport.transfer import transfer
from cvl.errors import GoneError, RefusedError, TransferError, UnreachableError, WrongContentError
from cvl.events import Event, EventKind

REPO = "datasets/owner/name"
URL = f"hf://{REPO}/deep/images.zip"
CDN = "https://cdn-lfs.huggingface.co/*"
HUB = "https://huggingface.co/*"
PINNED = "0123456789abcdef0123456789abcdef01234567"
ZIP = zipped({f"{number}.jpg": JPEG + noise(30_000, number) for number in range(5)})
SMALL = b'{"small": true}'
IN_FLIGHT = 64 << 10
"""Bytes that the server has sent when it breaks off, and that the client has not yet read."""


@pytest.fixture(autouse=True)
def repository(site: Publisher, web: Internet) -> Path:
    site.put(f"hf://{REPO}/deep/images.zip", ZIP)
    site.put(f"hf://{REPO}/small.json", SMALL)
    site.pin(REPO, PINNED)
    return site.folder / "hub" / REPO


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return "hf_secret"


def pinned(path: str = "deep/images.zip", **known: Any) -> Any:
    return remote(f"hf://{REPO}@{PINNED}/{path}", name=path.rpartition("/")[2], **known)


def head(web: Internet) -> str:
    """The commit that the main branch stands at."""
    return HfApi().dataset_info("owner/name").sha or ""


def test_a_large_file_comes_from_the_content_network(session: Session, web: Internet) -> None:
    arrived = transfer(pinned(), session)
    assert arrived.path.read_bytes() == ZIP
    assert web.body_bytes(CDN) == len(ZIP)
    assert (arrived.seen.url, arrived.seen.revision) == (f"hf://{REPO}@{PINNED}/deep/images.zip", PINNED)
    assert arrived.seen.sha256 == sha256(ZIP)


def test_a_small_file_comes_from_the_hub_itself(session: Session, web: Internet) -> None:
    assert transfer(pinned("small.json"), session).path.read_bytes() == SMALL
    assert web.body_bytes(CDN) == 0


def test_without_a_revision_the_head_of_main_is_taken_and_told(session: Session, web: Internet) -> None:
    seen = transfer(remote(URL, name="images.zip"), session).seen
    assert seen.revision == head(web)
    assert seen.revision != PINNED


def test_the_revision_that_the_lock_saw_is_taken_again(session: Session, web: Internet, repository: Path) -> None:
    first = head(web)
    session.lock.record("images.zip", Seen(URL, 1, "0" * 64, revision=first))
    (repository / ".revisions").write_text(f"{PINNED}\n{first}\n")
    (repository / "more.txt").write_text("a later commit")
    assert head(web) != first
    assert transfer(remote(URL, name="images.zip"), session).seen.revision == first


def test_the_lock_of_another_address_pins_nothing(session: Session, web: Internet) -> None:
    session.lock.record("images.zip", Seen("hf://datasets/other/name/images.zip", 1, "0" * 64, revision=PINNED))
    assert transfer(remote(URL, name="images.zip"), session).seen.revision == head(web)


def test_the_manifest_s_revision_goes_before_the_lock_s(session: Session) -> None:
    wanted = pinned()
    session.lock.record("images.zip", Seen(wanted.urls[0], 1, "0" * 64, revision="f" * 40))
    assert transfer(wanted, session).seen.revision == PINNED


def test_the_hub_names_size_and_digest_where_the_manifest_does_not(session: Session, web: Internet) -> None:
    web.inject(Fault(CDN, FaultKind.FLIP, after=100))
    assert transfer(pinned(), session).path.read_bytes() == ZIP
    assert len([each for each in web.exchanges if "cdn-lfs" in each.url and each.method == "GET"]) == 2


def test_a_file_that_the_hub_says_is_another_one_is_refused_before_a_byte_moves(
    session: Session, web: Internet
) -> None:
    with pytest.raises(WrongContentError, match="the publisher changed the file") as caught:
        transfer(pinned(sha256="0" * 64), session)
    assert sha256(ZIP) in str(caught.value)
    assert web.body_bytes(CDN) == 0


def test_a_doubtful_digest_may_differ_from_the_hub_s_if_the_user_accepts(session: Session, web: Internet) -> None:
    doubtful = pinned(sha256="0" * 64, certainty="single-source")
    with pytest.raises(WrongContentError):
        transfer(doubtful, session)
    assert transfer(doubtful, replace(session, accept_digest=True)).path.read_bytes() == ZIP


def test_a_size_that_the_hub_contradicts_is_refused(session: Session) -> None:
    with pytest.raises(WrongContentError, match="expected 5 bytes"):
        transfer(pinned(size=5), session)


# Broken transfers


def test_a_cut_transfer_goes_on_under_a_new_link(session: Session, web: Internet) -> None:
    web.inject(Fault(CDN, FaultKind.TRUNCATE, after=100_000, method="GET"))
    assert transfer(pinned(), session).path.read_bytes() == ZIP
    assert web.body_bytes(CDN) <= len(ZIP) + IN_FLIGHT


def test_a_kill_costs_nothing_but_the_bytes_in_flight(session: Session, web: Internet) -> None:
    part = Part(session.root.downloads / "images.zip.part")
    part.begin(Version("https://cdn-lfs.huggingface.co/of/another/day", None, len(ZIP)))
    part.write(ZIP[:100_000], 0)
    part.note(0, 100_000)
    part.close()
    assert transfer(pinned(), session).path.read_bytes() == ZIP
    assert web.body_bytes(CDN) == len(ZIP) - 100_000


def test_a_link_that_ran_out_is_resolved_anew(session: Session, web: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "LINK_LIFETIME", -10.0)

    def heal(event: Event) -> None:
        if event.kind is EventKind.RETRY:
            monkeypatch.setattr(stand_in, "LINK_LIFETIME", 3600.0)

    assert transfer(pinned(), replace(session, report=heal)).path.read_bytes() == ZIP
    statuses = [each.status for each in web.exchanges if "cdn-lfs" in each.url and each.method == "GET"]
    assert statuses[0] == 403
    assert set(statuses[1:]) <= {200, 206}


def test_a_link_that_runs_out_in_mid_file_is_renewed_and_the_transfer_goes_on_where_it_stood(
    make_session: MakeSession, site: Publisher, web: Internet, told: Told
) -> None:
    content = noise(24 << 20)
    site.put(f"hf://{REPO}/large.bin", content)
    web.inject(Fault(CDN, FaultKind.EXPIRE, status=403, skip=3, times=99))
    wanted = remote(f"hf://{REPO}/large.bin", name="large.bin")
    session = make_session(policy=Policy(attempts=10, base=0.01))
    assert transfer(wanted, session).path.read_bytes() == content
    links = {each.url for each in web.exchanges if each.status == 206}
    assert len(links) >= 3
    renewals = [text for text in told.texts(EventKind.RETRY) if "asking the hub for a fresh address" in text]
    assert renewals
    in_flight = len(renewals) * session.connections.total * (1 << 20)
    assert web.body_bytes(CDN) <= len(content) + in_flight


def test_of_what_was_here_when_a_link_ran_out_nothing_is_fetched_again(session: Session, web: Internet) -> None:
    web.inject(Fault(CDN, FaultKind.TRUNCATE, after=100_000, method="GET"))
    web.inject(Fault(CDN, FaultKind.EXPIRE, status=410, skip=1, times=9))
    assert transfer(pinned(), session).path.read_bytes() == ZIP
    assert web.body_bytes(CDN) <= len(ZIP) + IN_FLIGHT


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_hub_in_trouble_is_asked_again(session: Session, web: Internet, status: int) -> None:
    web.inject(Fault(HUB, FaultKind.STATUS, status=status, times=2))
    assert transfer(pinned("small.json"), session).path.read_bytes() == SMALL


def test_a_hub_that_asks_to_wait_is_waited_for(make_session: MakeSession, web: Internet) -> None:
    # The policy's own wait would outlast the test.
    session = make_session(policy=Policy(attempts=2, base=1e6, cap=1e6))
    web.inject(Fault(HUB, FaultKind.STATUS, status=429, retry_after=0, method="HEAD", times=1))
    assert transfer(pinned("small.json"), session).path.read_bytes() == SMALL


# What cannot be had


def test_a_gated_repository_says_what_to_do(session: Session, repository: Path) -> None:
    (repository / ".gated").touch()
    with pytest.raises(RefusedError, match="asks you to accept its terms") as caught:
        transfer(pinned(), session)
    assert "hf auth login" in (caught.value.hint or "")
    assert "HF_TOKEN" in (caught.value.hint or "")


def test_a_token_opens_a_gated_repository(session: Session, repository: Path, token: str) -> None:
    (repository / ".gated").touch()
    assert transfer(pinned(), session).path.read_bytes() == ZIP
    assert transfer(pinned("small.json"), session).path.read_bytes() == SMALL


def test_the_token_is_the_hub_s_and_the_content_network_never_sees_it(
    session: Session, web: Internet, token: str
) -> None:
    # The network refuses every request that brings a token along.
    assert transfer(pinned(), session).path.read_bytes() == ZIP
    assert 400 not in [each.status for each in web.exchanges]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hf://datasets/owner/nothing/a.zip", "no such repository, or none that this token may see"),
        (f"hf://{REPO}@{'f' * 40}/deep/images.zip", f"no revision {'f' * 40}"),
        (f"hf://{REPO}/images.zip", "no such file"),
    ],
)
def test_what_is_not_there_is_gone(session: Session, url: str, words: str) -> None:
    with pytest.raises(GoneError, match=f"{url}: the hub has {words}"):
        transfer(remote(url), session)


def test_offline_mode_is_respected(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    close_session()
    with pytest.raises(RefusedError, match="HF_HUB_OFFLINE is set") as caught:
        transfer(pinned(), session)
    hint = caught.value.hint or ""
    assert hint.startswith("unset HF_HUB_OFFLINE; ")
    assert "--locked" in hint


@pytest.mark.parametrize("status", [401, 403])
def test_a_hub_that_refuses_is_not_asked_again(session: Session, web: Internet, status: int) -> None:
    """The hub says 401 of what is private, as of what is not there at all."""
    web.inject(Fault(HUB, FaultKind.STATUS, status=status, times=9))
    with pytest.raises(GoneError if status == 401 else RefusedError) as caught:
        transfer(pinned(), session)
    assert len([each for each in web.exchanges if each.method == "HEAD"]) == 1
    if status == 401:
        assert "HF_TOKEN" in (caught.value.hint or "")


def test_a_commit_of_the_lock_that_the_publisher_removed_is_told_as_such(session: Session) -> None:
    session.lock.record("images.zip", Seen(URL, 1, "0" * 64, revision="e" * 40))
    with pytest.raises(GoneError, match=f"the hub has no revision {'e' * 40}") as caught:
        transfer(remote(URL, name="images.zip"), session)
    assert "cvl.lock" in (caught.value.hint or "")


def test_a_mirror_stands_in_for_a_hub_that_is_down(session: Session, site: Publisher, web: Internet) -> None:
    site.put("https://host.example/images.zip", ZIP)
    web.inject(Fault(HUB, FaultKind.STATUS, status=503, times=99))
    both = replace(pinned(sha256=sha256(ZIP)), urls=(URL, "https://host.example/images.zip"))
    assert transfer(both, session).seen.url == "https://host.example/images.zip"


# In trouble


def test_a_hub_that_breaks_off_is_asked_again(session: Session, web: Internet) -> None:
    web.inject(Fault("*/resolve/*small.json", FaultKind.RESET, method="GET"))
    assert transfer(pinned("small.json"), session).path.read_bytes() == SMALL


def test_a_hub_that_cannot_be_reached_may_be_reached_later(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    close_session()
    with pytest.raises(UnreachableError, match=r"small\.json: .*refused"):
        transfer(pinned("small.json"), make_session(policy=Policy(attempts=1)))


def test_a_hub_whose_certificate_is_nobody_s_is_refused(session: Session, web: Internet) -> None:
    web.inject(Fault("https://huggingface.co", FaultKind.UNKNOWN_AUTHORITY, times=9))
    with pytest.raises(RefusedError, match="certificate is not trusted") as caught:
        transfer(pinned("small.json"), session)
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


def said_by_the_hub(status: int, headers: dict[str, str]) -> TransferError:
    """What we make of an answer of the hub's."""
    request = httpx2.Request("HEAD", f"https://huggingface.co/{REPO}/resolve/main/small.json")
    with pytest.raises(TransferError) as caught, translated(URL):
        raise HfHubHTTPError("no", response=httpx2.Response(status, headers=headers, request=request))
    return caught.value


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"RateLimit": '"resolvers";r=0;t=55'}, 55),
        ({"RateLimit": '"resolvers";r=4;t=55'}, None),
        ({"RateLimit": '"resolvers";r=0;t=55', "Retry-After": "7"}, 7),
        ({"RateLimit": "nonsense"}, None),
    ],
)
def test_the_hub_s_wish_for_patience_is_heard_in_both_of_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    error = said_by_the_hub(429, headers)
    assert (error.retry_after, error.overload) == (seconds, True)


# Xet


def test_a_file_in_the_hub_s_xet_storage_comes_from_its_plain_address(
    session: Session, web: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def redirect(url: str, **headers: str) -> Reply:
        refresh = f'<https://huggingface.co/api/{REPO}/xet-read-token/{PINNED}>; rel="xet-auth"'
        return original(url, **headers, X_Xet_Hash="e" * 64, Link=refresh)

    original = stand_in.redirect
    monkeypatch.setattr(stand_in, "redirect", redirect)
    page = hf_hub_url("owner/name", "deep/images.zip", repo_type="dataset", revision=PINNED)
    assert get_hf_file_metadata(page).xet_file_data is not None
    arrived = transfer(pinned(), session)
    assert arrived.path.read_bytes() == ZIP
    assert arrived.seen.sha256 == sha256(ZIP)
    assert web.body_bytes(CDN) == len(ZIP)

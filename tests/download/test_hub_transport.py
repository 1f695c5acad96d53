"""Hub files: resolved and authenticated by huggingface_hub, moved by our own ranges, pinned to a revision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fetching import JPEG, MakeSession, noise, remote, sha256, zipped
from huggingface_hub import HfApi, RepoFile, close_session

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.internet import hub as stand_in
from cvl.demo.miniature.publish import Publisher
from cvl.download.hub import list_snapshot
from cvl.download.lock import Seen
from cvl.download.part import Journal, Part
from cvl.download.policy import Policy
from cvl.download.session import Session
from cvl.download.transfer import transfer
from cvl.errors import GoneError, RefusedError, TransferError, WrongContentError
from cvl.events import Event, EventKind
from cvl.manifest import Snapshot

REPO = "datasets/owner/name"
URL = f"hf://{REPO}/deep/images.zip"
CDN = "https://cdn-lfs.huggingface.co/*"
HUB = "https://huggingface.co/*"
PINNED = "0123456789abcdef0123456789abcdef01234567"
ZIP = zipped({f"{number}.jpg": JPEG + noise(30_000, number) for number in range(5)})
SMALL = b'{"small": true}'


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
    assert web.body_bytes(CDN) == len(ZIP)


def test_a_kill_costs_nothing_but_the_bytes_in_flight(session: Session, web: Internet) -> None:
    part = Part(session.root.downloads / "images.zip.part")
    part.begin(Journal("https://cdn-lfs.huggingface.co/of/another/day", None))
    part.path.write_bytes(ZIP[:100_000])
    assert transfer(pinned(), session).path.read_bytes() == ZIP
    assert web.body_bytes(CDN) == len(ZIP) - 100_000


def test_a_link_that_ran_out_is_resolved_anew(session: Session, web: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "LINK_LIFETIME", -10.0)

    def heal(event: Event) -> None:
        if event.kind is EventKind.RETRY:
            monkeypatch.setattr(stand_in, "LINK_LIFETIME", 3600.0)

    assert transfer(pinned(), replace(session, report=heal)).path.read_bytes() == ZIP
    statuses = [each.status for each in web.exchanges if "cdn-lfs" in each.url and each.method == "GET"]
    assert statuses == [403, 200]


def test_a_content_network_that_always_refuses_is_given_up(session: Session, web: Internet) -> None:
    web.inject(Fault(CDN, FaultKind.STATUS, status=403, times=99))
    with pytest.raises(TransferError, match="403"):
        transfer(pinned(), session)
    assert [each.status for each in web.exchanges if "cdn-lfs" in each.url].count(403) >= session.policy.attempts


def test_a_hub_in_trouble_is_asked_again(session: Session, web: Internet) -> None:
    web.inject(Fault(HUB, FaultKind.STATUS, status=500))
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
        (f"hf://{REPO}@{'f' * 40}/deep/images.zip", "no such revision"),
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
    assert caught.value.hint == "unset HF_HUB_OFFLINE"


def test_a_mirror_stands_in_for_a_hub_that_is_down(session: Session, site: Publisher, web: Internet) -> None:
    site.put("https://host.example/images.zip", ZIP)
    web.inject(Fault(HUB, FaultKind.STATUS, status=503, times=99))
    both = replace(pinned(sha256=sha256(ZIP)), urls=(URL, "https://host.example/images.zip"))
    assert transfer(both, session).seen.url == "https://host.example/images.zip"


# Whole repositories


def snapshot(url: str = f"hf://{REPO}", **fields: Any) -> Any:
    return remote(url, name="whole", path=None, snapshot=Snapshot(into="models/whole", **fields))


def test_a_repository_is_its_files_at_one_commit(session: Session, web: Internet) -> None:
    commit = head(web)
    files = {file.path: file for file in list_snapshot(snapshot(), session)}
    assert set(files) == {"models/whole/deep/images.zip", "models/whole/small.json"}
    archive, small = files["models/whole/deep/images.zip"], files["models/whole/small.json"]
    assert archive.urls == (f"hf://{REPO}@{commit}/deep/images.zip",)
    assert (archive.size, archive.sha256) == (len(ZIP), sha256(ZIP))
    assert (small.size, small.sha256) == (len(SMALL), None)
    assert {file.source for file in files.values()} == {"mine"}


def test_files_of_one_name_in_two_folders_have_two_names(session: Session, site: Publisher) -> None:
    site.put(f"hf://{REPO}/other/images.zip", ZIP)
    names = [file.name for file in list_snapshot(snapshot(), session)]
    assert len(set(names)) == len(names) == 3
    assert not any("/" in name for name in names)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"include": ("*.json",)}, ["small.json"]),
        ({"exclude": ("*.zip",)}, ["small.json"]),
        ({"include": ("deep/*",)}, ["deep/images.zip"]),
        ({"include": ("*.bin",)}, []),
    ],
)
def test_globs_choose_files_of_a_repository(session: Session, fields: dict[str, Any], found: list[str]) -> None:
    paths = [file.path for file in list_snapshot(snapshot(**fields), session)]
    assert paths == [f"models/whole/{name}" for name in found]


def test_a_pinned_repository_stays_at_its_commit(session: Session, site: Publisher) -> None:
    site.put("hf://owner/model/config.json", b"{}")
    site.pin("models/owner/model", PINNED)
    (site.folder / "hub" / "models" / "owner" / "model" / ".revisions").write_text(PINNED)
    files = list_snapshot(snapshot(f"hf://owner/model@{PINNED}"), session)
    assert [file.urls for file in files] == [(f"hf://owner/model@{PINNED}/config.json",)]


def test_a_repository_that_is_not_there_is_gone(session: Session) -> None:
    with pytest.raises(GoneError, match="no such repository"):
        list_snapshot(snapshot("hf://owner/nothing"), session)


def test_a_gated_repository_is_refused_at_the_listing(session: Session, repository: Path) -> None:
    (repository / ".gated").touch()
    with pytest.raises(RefusedError, match="accept its terms"):
        list_snapshot(snapshot(), session)


def test_a_repository_whose_file_would_leave_its_folder_is_refused(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No folder can hold such a name, so the listing is bent on its way.
    hostile = RepoFile(path="deep/../../../x", size=1, oid="0" * 40)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(HfApi, "list_repo_tree", lambda *_args, **_kwargs: [hostile])
    with pytest.raises(WrongContentError, match="would land outside of models/whole"):
        list_snapshot(snapshot(), session)


def test_a_listing_that_breaks_may_work_the_next_time(session: Session, web: Internet) -> None:
    web.inject(Fault("*/api/*", FaultKind.STATUS, status=500, times=99))
    with pytest.raises(TransferError, match="the hub says 500") as caught:
        list_snapshot(snapshot(), session)
    assert type(caught.value) is TransferError


def test_a_hub_that_breaks_off_is_asked_again(session: Session, web: Internet) -> None:
    web.inject(Fault("*/resolve/*small.json", FaultKind.RESET, method="GET"))
    assert transfer(pinned("small.json"), session).path.read_bytes() == SMALL


def test_a_hub_that_cannot_be_reached_may_be_reached_later(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    close_session()
    with pytest.raises(TransferError, match=r"small\.json: .*refused") as caught:
        transfer(pinned("small.json"), make_session(policy=Policy(attempts=1)))
    assert type(caught.value) is TransferError

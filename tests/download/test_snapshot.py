"""Whole hub repositories: listed by the hub at one commit, or by a lock that names every one of their files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fetching import JPEG, MakeSession, Told, noise, remote, sha256, zipped
from huggingface_hub import HfApi, close_session

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.internet import hub as stand_in
from cvl.demo.internet.exchange import Reply, Request, json_reply
from cvl.demo.internet.repository import Repository
from cvl.demo.miniature.publish import Publisher
from cvl.download.lock import Lock, Seen
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.snapshot import list_locked, list_snapshot, record_snapshot, tree_digest
from cvl.download.transport.policy import Policy
from cvl.errors import GoneError, RefusedError, TransferError, UnreachableError, UsageError, WrongContentError
from cvl.events import EventKind
from cvl.manifest import Snapshot

REPO = "datasets/owner/name"
PINNED = "0123456789abcdef0123456789abcdef01234567"
ZIP = zipped({f"{number}.jpg": JPEG + noise(3000, number) for number in range(5)})
SMALL = b'{"small": true}'
API = "*/api/*"
INTO = "models/whole"


@pytest.fixture(autouse=True)
def repository(site: Publisher, web: Internet) -> Path:
    site.put(f"hf://{REPO}/deep/images.zip", ZIP)
    site.put(f"hf://{REPO}/small.json", SMALL)
    site.pin(REPO, PINNED)
    return site.folder / "hub" / REPO


def snapshot(url: str = f"hf://{REPO}", **fields: Any) -> Remote:
    return remote(url, name="whole", path=None, snapshot=Snapshot(into=INTO, **fields))


def head() -> str:
    """The commit that the main branch stands at."""
    return HfApi().dataset_info("owner/name").sha or ""


def move_on(repository: Path) -> None:
    """Commit something; what was there before can still be had under its commit."""
    (repository / ".revisions").write_text(f"{PINNED}\n{head()}\n")
    (repository / "more.txt").write_text("a later commit")


def paths(files: Sequence[Remote]) -> list[str]:
    return sorted((file.path or "").removeprefix(f"{INTO}/") for file in files)


def put_into_tree(files: Sequence[Remote], repository: Path, session: Session) -> None:
    """The files as a fetch leaves them, or as the user brought them."""
    for file, path in zip(files, [(file.path or "").removeprefix(f"{INTO}/") for file in files], strict=True):
        place = session.root.at(file.path or "")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((repository / path).read_bytes())


@pytest.fixture
def frozen(session: Session, make_session: MakeSession, repository: Path) -> Session:
    """A session that holds to a lock which saw the whole repository."""
    files = list_snapshot(snapshot(), session)
    put_into_tree(files, repository, session)
    record_snapshot(snapshot(), files, session)
    return make_session(lock=Lock(session.root.lock, frozen=True))


# Listed by the hub


def test_a_repository_is_its_files_at_one_commit(session: Session) -> None:
    commit = head()
    files = {file.path: file for file in list_snapshot(snapshot(), session)}
    assert set(files) == {f"{INTO}/deep/images.zip", f"{INTO}/small.json"}
    archive, small = files[f"{INTO}/deep/images.zip"], files[f"{INTO}/small.json"]
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
    assert paths(list_snapshot(snapshot(**fields), session)) == found


def test_a_pinned_repository_stays_at_its_commit(session: Session, site: Publisher) -> None:
    site.put("hf://owner/model/config.json", b"{}")
    site.pin("models/owner/model", PINNED)
    (site.folder / "hub" / "models" / "owner" / "model" / ".revisions").write_text(PINNED)
    files = list_snapshot(snapshot(f"hf://owner/model@{PINNED}"), session)
    assert [file.urls for file in files] == [(f"hf://owner/model@{PINNED}/config.json",)]


def test_a_list_of_several_pages_is_read_to_its_end(
    session: Session, site: Publisher, web: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        site.put(f"hf://{REPO}/{number}.json", SMALL)

    def tree(repository: Repository, revision: str, path: str, request: Request) -> Reply:
        entries = json.loads(b"".join(original(repository, revision, path, request).body.chunks()))
        start = int(request.query.get("cursor", "0"))
        page = json_reply(entries[start : start + 3])
        if start + 3 < len(entries):
            following = f"https://huggingface.co/api/{REPO}/tree/{revision}?recursive=true&cursor={start + 3}"
            page.headers["Link"] = f'<{following}>; rel="next"'  # type: ignore[index]
        return page

    original = stand_in._tree
    monkeypatch.setattr(stand_in, "_tree", tree)
    assert len(list_snapshot(snapshot(), session)) == 9
    assert len([each for each in web.exchanges if "/tree/" in each.url]) == 4


# In trouble


@pytest.mark.parametrize("part", ["revision", "tree"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(API, FaultKind.STATUS, status=429, retry_after=0, times=2),
        Fault(API, FaultKind.STATUS, status=500, times=2),
        Fault(API, FaultKind.RESET, times=2),
    ],
)
def test_a_hub_in_trouble_is_asked_for_its_list_again(
    session: Session, web: Internet, told: Told, part: str, fault: Fault
) -> None:
    web.inject(Fault(f"*/api/*/{part}/*", fault.kind, fault.times, status=fault.status, retry_after=fault.retry_after))
    assert len(list_snapshot(snapshot(), session)) == 2
    assert len(told.of(EventKind.RETRY)) == 2


def test_the_hub_s_wish_for_patience_is_heard_and_told(make_session: MakeSession, web: Internet, told: Told) -> None:
    # The policy's own wait would outlast the test.
    session = make_session(policy=Policy(attempts=2, base=1e6, cap=1e6))
    web.inject(Fault(API, FaultKind.STATUS, status=429, retry_after=0))
    assert len(list_snapshot(snapshot(), session)) == 2
    assert [event.wait for event in told.of(EventKind.RETRY)] == [0]


def test_a_listing_that_always_breaks_is_given_up_for_now(session: Session, web: Internet) -> None:
    web.inject(Fault(API, FaultKind.STATUS, status=500, times=99))
    with pytest.raises(TransferError, match="the server says 500") as caught:
        list_snapshot(snapshot(), session)
    assert type(caught.value) is TransferError
    assert len(web.exchanges) >= session.policy.attempts


def test_a_page_in_place_of_the_list_is_refused(session: Session, web: Internet) -> None:
    web.inject(Fault(API, FaultKind.HTML, times=9))
    with pytest.raises(WrongContentError, match="in place of the hub's answer"):
        list_snapshot(snapshot(), session)


@pytest.mark.parametrize("answer", [{"error": "what?"}, ["small.json"], [{"path": "small.json"}]])
def test_something_else_in_place_of_the_list_is_refused(
    session: Session, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(stand_in, "_tree", lambda *_: json_reply(answer))
    with pytest.raises(WrongContentError, match="in place of the hub's answer"):
        list_snapshot(snapshot(), session)


def test_a_repository_that_is_not_there_is_gone(session: Session) -> None:
    with pytest.raises(GoneError, match="no such repository"):
        list_snapshot(snapshot("hf://owner/nothing"), session)


def test_a_revision_that_is_not_there_is_gone(session: Session) -> None:
    with pytest.raises(GoneError, match=f"no revision {'f' * 40}"):
        list_snapshot(snapshot(f"hf://{REPO}@{'f' * 40}"), session)


def test_a_gated_repository_is_refused_at_the_listing(session: Session, repository: Path) -> None:
    (repository / ".gated").touch()
    with pytest.raises(RefusedError, match="accept its terms"):
        list_snapshot(snapshot(), session)


def test_a_token_opens_a_gated_repository(session: Session, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / ".gated").touch()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert len(list_snapshot(snapshot(), session)) == 2


@pytest.mark.parametrize("path", ["deep/../../../x", "/etc/passwd"])
def test_a_repository_whose_file_would_leave_its_folder_is_refused(
    session: Session, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    hostile = {"type": "file", "path": path, "size": 1, "oid": "0" * 40}
    monkeypatch.setattr(stand_in, "_tree", lambda *_: json_reply([hostile]))
    with pytest.raises(WrongContentError, match=f"would land outside of {INTO}"):
        list_snapshot(snapshot(), session)


# What the lock says of it


def test_the_lock_names_every_file_and_the_whole(frozen: Session, repository: Path) -> None:
    whole = frozen.lock.seen("whole")
    assert whole is not None
    assert (whole.url, whole.revision, whole.size) == (f"hf://{REPO}", head(), len(ZIP) + len(SMALL))
    assert set(frozen.lock.beginning("whole--")) == {"whole--deep--images.zip", "whole--small.json"}


def test_the_digest_of_the_whole_can_be_had_with_sha256sum(frozen: Session) -> None:
    listed = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(listed, shell=True, cwd=frozen.root.at(INTO), capture_output=True, text=True, check=True)
    whole = frozen.lock.seen("whole")
    assert whole is not None
    assert done.stdout.split()[0] == whole.sha256


def test_the_digest_of_the_whole_is_of_names_and_bytes_and_no_order() -> None:
    one, two = "1" * 64, "2" * 64
    assert tree_digest({"a": one, "b": two}) == tree_digest({"b": two, "a": one})
    assert len({tree_digest({"a": one, "b": two}), tree_digest({"a": two, "b": one}), tree_digest({"a": one})}) == 3


def test_a_repository_that_moved_on_is_listed_at_the_lock_s_commit(
    session: Session, frozen: Session, make_session: MakeSession, repository: Path
) -> None:
    first = head()
    move_on(repository)
    assert head() != first
    files = list_snapshot(snapshot(), make_session())
    assert {file.urls[0].partition("@")[2][:40] for file in files} == {first}


def test_small_files_are_held_to_the_digest_that_the_lock_saw_at_the_same_commit(
    frozen: Session, make_session: MakeSession, repository: Path
) -> None:
    small = {file.path: file for file in list_snapshot(snapshot(), make_session())}[f"{INTO}/small.json"]
    assert small.sha256 == sha256(SMALL)
    (repository / ".revisions").write_text(f"{PINNED}\n")
    small = list_snapshot(snapshot(f"hf://{REPO}@{PINNED}", include=("small.json",)), make_session())[0]
    assert small.sha256 is None


def test_a_fetch_that_was_stopped_goes_on_with_the_commit_that_it_began_with(
    session: Session, repository: Path
) -> None:
    first = head()
    file = list_snapshot(snapshot(), session)[0]
    session.lock.record(file.name, Seen(file.urls[0], 1, "0" * 64, revision=first))
    move_on(repository)
    assert {file.urls[0].partition("@")[2][:40] for file in list_snapshot(snapshot(), session)} == {first}


def test_files_that_came_from_two_commits_say_nothing_of_the_next(session: Session, repository: Path) -> None:
    for number, name in enumerate(("whole--a", "whole--b")):
        session.lock.record(
            name, Seen(f"hf://{REPO}@{number}{'0' * 39}/a", 1, "0" * 64, revision=f"{number}{'0' * 39}")
        )
    assert {file.urls[0].partition("@")[2][:40] for file in list_snapshot(snapshot(), session)} == {head()}


# Listed by a lock that is held to


def test_a_frozen_lock_lists_the_files_without_the_hub(frozen: Session, web: Internet, repository: Path) -> None:
    commit, asked = head(), None
    move_on(repository)
    asked = len(web.exchanges)
    files = {file.path: file for file in list_snapshot(snapshot(), frozen)}
    assert len(web.exchanges) == asked
    assert set(files) == {f"{INTO}/deep/images.zip", f"{INTO}/small.json"}
    small = files[f"{INTO}/small.json"]
    assert (small.size, small.sha256, small.name) == (len(SMALL), sha256(SMALL), "whole--small.json")
    assert small.urls == (f"hf://{REPO}@{commit}/small.json",)


def test_globs_choose_of_a_frozen_lock_s_files_too(frozen: Session) -> None:
    assert paths(list_snapshot(snapshot(include=("*.json",)), frozen)) == ["small.json"]


def test_a_frozen_lock_is_not_written(frozen: Session) -> None:
    before = frozen.root.lock.stat()
    record_snapshot(snapshot(), list_snapshot(snapshot(include=("*.json",)), frozen), frozen)
    after = frozen.root.lock.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def edited(frozen: Session, **files: dict[str, Any] | None) -> Lock:
    """The lock with entries changed, or taken out."""
    document = json.loads(frozen.root.lock.read_text())
    for name, changes in files.items():
        name = name.replace("__", "--").replace("_", ".")
        if changes is None:
            del document["files"][name]
        else:
            document["files"][name] |= changes
    frozen.root.lock.write_text(json.dumps(document))
    return Lock(frozen.root.lock, frozen=True)


@pytest.mark.parametrize(
    "change",
    [
        {"whole": None},
        {"whole__small_json": None},
        {"whole__small_json": {"sha256": "0" * 64}},
        {"whole__small_json": {"url": f"hf://{REPO}@{PINNED}/small.json"}},
        {"whole__small_json": {"url": "https://host.example/small.json"}},
        {"whole": {"revision": PINNED}},
        {"whole": {"revision": None}},
    ],
)
def test_a_lock_that_does_not_name_every_file_is_no_list(frozen: Session, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="does not name every file of whole") as caught:
        list_locked(snapshot(), edited(frozen, **change))
    assert "without --locked" in (caught.value.hint or "")


def test_a_manifest_that_names_another_commit_contradicts_the_lock(frozen: Session) -> None:
    with pytest.raises(UsageError, match=f"whole: the manifest has hf://{REPO}@{PINNED}, .* has hf://{REPO}$"):
        list_locked(snapshot(f"hf://{REPO}@{PINNED}"), edited(frozen))


def test_a_lock_whose_file_would_leave_the_folder_is_refused(frozen: Session) -> None:
    whole = frozen.lock.seen("whole")
    assert whole is not None
    hostile = {"url": f"hf://{REPO}@{whole.revision}/../../small.json"}
    digests = {"../../small.json": sha256(SMALL), "deep/images.zip": sha256(ZIP)}
    lock = edited(frozen, whole__small_json=hostile, whole={"sha256": tree_digest(digests)})
    with pytest.raises(WrongContentError, match="would land outside"):
        list_locked(snapshot(), lock)


def test_a_hub_that_cannot_be_reached_is_told_as_such(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    close_session()
    with pytest.raises(UnreachableError, match=f"hf://{REPO}: .*refused"):
        list_snapshot(snapshot(), make_session(policy=Policy(attempts=1)))

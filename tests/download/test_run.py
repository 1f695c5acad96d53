"""A plan is carried out: files side by side, failures one by one, and an end that keeps what is done."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fetching import (
    HOST,
    JPEG,
    MakeSession,
    Told,
    catalog_of,
    names_below,
    noise,
    remote,
    sha256,
    tarred,
    until,
    zipped,
)
from filelock import FileLock
from support import Cvl, contents, traces

import cvl
from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.lock import Seen
from cvl.download.plan import Action, Plan, plan
from cvl.download.receipts import read_receipt
from cvl.download.run import Outcome, Result, run
from cvl.download.select import Remote, Wanted
from cvl.download.session import Session
from cvl.download.survey import survey
from cvl.download.transport.part import Part
from cvl.download.transport.ranges import Span
from cvl.errors import AnnotationError, ArchiveError, Cancelled, DigestError, DiskError, GoneError, TransferError
from cvl.events import Event, EventKind
from cvl.manifest import Expand, Link, Snapshot, Unpack
from cvl.root import Root

CATALOG = catalog_of(mine={})
FILES = {f"{number}.json": b"[%d]" % number + b" " * 1000 for number in range(4)}
ZIP = zipped({f"images/{number}.jpg": JPEG + noise(5000, number) for number in range(5)})
ARCHIVE = remote(
    f"{HOST}/images.zip",
    name="mine-images.zip",
    size=len(ZIP),
    sha256=sha256(ZIP),
    unpack=Unpack(into="data/mine", include=("images/*.jpg",)),
)
BIG = noise(3_000_000)
LARGE = remote(f"{HOST}/big.bin", name="big.bin", path="data/mine/big.bin", size=len(BIG), sha256=sha256(BIG))


@pytest.fixture(autouse=True)
def published(site: Publisher, web: Internet) -> None:
    for name, content in FILES.items():
        site.put(f"{HOST}/{name}", content)
    site.put(f"{HOST}/images.zip", ZIP)
    site.put(f"{HOST}/big.bin", BIG)


def single(name: str, **changes: Any) -> Remote:
    return remote(f"{HOST}/{name}", name=name, path=f"data/mine/{name}", **changes)


SINGLES = tuple(single(name) for name in FILES)


def planned(session: Session, *remotes: Remote, links: tuple[Link, ...] = ()) -> Plan:
    wanted = Wanted(("mine",), tuple(session.lock.pin(each) for each in remotes), links)
    found = survey(session.root, CATALOG, wanted, session.downloads, retry_failed=session.retry_failed)
    return plan(wanted, found, jobs=session.jobs, keep_archives=session.keep_archives)


def carry_out(session: Session, *remotes: Remote, links: tuple[Link, ...] = ()) -> Result:
    return run(planned(session, *remotes, links=links), CATALOG, session)


def data(session: Session) -> dict[str, str]:
    """Digests of all files but cvl's own."""
    return {name: digest for name, digest in contents(session.root.data).items() if not name.startswith(".cvl/")}


# Well


def test_everything_lands_and_is_told(session: Session, told: Told) -> None:
    result = carry_out(session, *SINGLES, ARCHIVE)
    assert result.failed == ()
    assert result.bytes == sum(map(len, FILES.values())) + len(ZIP)
    assert [outcome.remote.name for outcome in result.outcomes] == [*FILES, "mine-images.zip"]
    assert set(data(session)) == {f"mine/{name}" for name in FILES} | {f"mine/images/{n}.jpg" for n in range(5)}
    assert {event.name for event in told.of(EventKind.DONE)} == {*FILES, "mine-images.zip"}
    assert {event.name for event in told.of(EventKind.START)} == {*FILES, "mine-images.zip"}


def test_lock_and_receipt_say_what_came(session: Session, make_session: MakeSession) -> None:
    carry_out(session, ARCHIVE)
    seen = make_session().lock.seen("mine-images.zip")
    receipt = read_receipt(session.root, "mine-images.zip")
    assert seen is not None
    assert receipt is not None
    assert seen.sha256 == receipt.sha256 == sha256(ZIP)
    assert seen.url == receipt.url == f"{HOST}/images.zip"


def test_nothing_is_left_beside_the_files(session: Session) -> None:
    carry_out(session, *SINGLES, ARCHIVE)
    notes = [name for name in names_below(session.root.notes) if not name.startswith("receipts/")]
    assert notes == ["tree.lock"]


def test_a_second_run_moves_and_writes_nothing(session: Session, make_session: MakeSession, web: Internet) -> None:
    carry_out(session, *SINGLES, ARCHIVE)
    before, asked = traces(session.root.path), len(web.exchanges)
    result = carry_out(make_session(), *SINGLES, ARCHIVE)
    assert result == Result(kept=5)
    assert traces(session.root.path) == before
    assert len(web.exchanges) == asked


def test_files_come_side_by_side(session: Session) -> None:
    # Each waits for the other to have begun: one after another they would wait for ever.
    both = threading.Barrier(2, timeout=20)

    def meet(event: Event) -> None:
        if event.kind is EventKind.START:
            both.wait()

    assert carry_out(replace(session, report=meet, jobs=2), *SINGLES[:2]).failed == ()


def test_no_more_files_are_in_flight_than_the_user_wants(session: Session) -> None:
    flying, most, lock = 0, 0, threading.Lock()

    def count(event: Event) -> None:
        nonlocal flying, most
        with lock:
            flying += {EventKind.START: 1, EventKind.DONE: -1}.get(event.kind, 0)
            most = max(most, flying)

    carry_out(replace(session, report=count, jobs=2), *SINGLES, ARCHIVE)
    assert most <= 2


def test_links_are_made_after_what_they_stand_for(session: Session, make_session: MakeSession) -> None:
    link = Link(path="data/yours/images", target="data/mine/images")
    result = carry_out(session, ARCHIVE, links=(link,))
    assert (result.links, result.link_errors) == (1, ())
    assert session.root.at("data/yours/images").readlink() == Path("../mine/images")
    assert carry_out(make_session(), ARCHIVE, links=(link,)).kept == 1


def test_a_missing_link_is_made_although_every_file_is_here(session: Session, make_session: MakeSession) -> None:
    carry_out(session, ARCHIVE)
    link = Link(path="data/yours/images", target="data/mine/images")
    result = carry_out(make_session(), ARCHIVE, links=(link,))
    assert (result.links, result.kept, result.outcomes) == (1, 1, ())


def test_a_lost_picture_comes_back(session: Session, make_session: MakeSession) -> None:
    carry_out(session, ARCHIVE)
    before = data(session)
    session.root.at("data/mine/images/3.jpg").unlink()
    assert carry_out(make_session(), ARCHIVE).bytes == len(ZIP)
    assert data(session) == before


def test_an_archive_that_a_killed_run_left_is_unpacked_without_the_network(
    session: Session, make_session: MakeSession, web: Internet
) -> None:
    carry_out(make_session(keep_archives=True), ARCHIVE)
    asked = len(web.exchanges)
    for path in session.root.at("data/mine/images").iterdir():
        path.unlink()
    result = carry_out(session, ARCHIVE)
    assert (result.failed, result.bytes) == ((), 0)
    assert len(web.exchanges) == asked
    receipt = read_receipt(session.root, "mine-images.zip")
    assert receipt is not None
    assert receipt.sha256 == sha256(ZIP)


def test_an_archive_of_another_size_than_is_wanted_now_is_fetched_anew(
    make_session: MakeSession, site: Publisher, web: Internet
) -> None:
    session = make_session(keep_archives=True)
    carry_out(session, ARCHIVE)
    newer = zipped({"images/1.jpg": JPEG + b"newer"})
    site.put(f"{HOST}/images.zip", newer)
    wanted = replace(ARCHIVE, size=len(newer), sha256=sha256(newer))
    assert carry_out(make_session(keep_archives=True), wanted).failed == ()
    assert (session.root.archives / "mine-images.zip").read_bytes() == newer
    assert session.root.at("data/mine/images/1.jpg").read_bytes() == JPEG + b"newer"


def test_what_the_user_brought_is_used_in_place(make_session: MakeSession, tmp_path: Path, web: Internet) -> None:
    downloads = tmp_path / "Downloads"
    downloads.mkdir()
    (downloads / "images.zip").write_bytes(ZIP)
    (downloads / "0.json").write_bytes(FILES["0.json"])
    known = replace(SINGLES[0], size=len(FILES["0.json"]), sha256=sha256(FILES["0.json"]))
    before = traces(downloads)
    result = carry_out(make_session(downloads=downloads), ARCHIVE, known)
    assert (result.failed, result.bytes, len(data(make_session()))) == ((), 0, 6)
    assert traces(downloads) == before
    assert web.exchanges == []
    assert carry_out(make_session(), ARCHIVE, known).kept == 2


def test_what_the_user_brought_and_is_something_else_is_fetched(
    make_session: MakeSession, tmp_path: Path, web: Internet, told: Told
) -> None:
    downloads = tmp_path / "Downloads"
    downloads.mkdir()
    other = bytearray(ZIP)
    other[100] ^= 0xFF
    (downloads / "images.zip").write_bytes(other)
    result = carry_out(make_session(downloads=downloads), ARCHIVE)
    assert (result.failed, result.bytes) == ((), len(ZIP))
    assert any("has another digest than the one that is wanted" in text for text in told.texts(EventKind.RETRY))
    assert (downloads / "images.zip").read_bytes() == other


def test_an_archive_of_the_user_s_that_cannot_be_unpacked_stays_and_the_hint_says_what_to_do(
    make_session: MakeSession, tmp_path: Path
) -> None:
    downloads = tmp_path / "Downloads"
    downloads.mkdir()
    hostile = zipped({"images/../../../x.jpg": JPEG})
    (downloads / "images.zip").write_bytes(hostile)
    wanted = replace(ARCHIVE, size=len(hostile), sha256=sha256(hostile))
    (failure,) = carry_out(make_session(downloads=downloads), wanted).failed
    assert isinstance(failure.error, ArchiveError)
    assert "leave --from out" in (failure.error.hint or "")
    assert (downloads / "images.zip").read_bytes() == hostile


def test_a_file_that_the_user_put_into_the_tree_gets_a_receipt(session: Session, web: Internet) -> None:
    place = session.root.at("data/mine/0.json")
    place.parent.mkdir(parents=True)
    place.write_bytes(FILES["0.json"])
    assert carry_out(session, replace(SINGLES[0], sha256=sha256(FILES["0.json"]))).kept == 1
    assert read_receipt(session.root, "0.json") is not None
    assert web.exchanges == []


# Badly


def test_a_file_that_fails_does_not_stop_the_others(session: Session, web: Internet, told: Told) -> None:
    web.inject(Fault("*1.json", FaultKind.STATUS, status=404, times=99))
    result = carry_out(session, *SINGLES)
    assert [type(outcome.error) for outcome in result.failed] == [GoneError]
    assert set(data(session)) == {"mine/0.json", "mine/2.json", "mine/3.json"}
    (failure,) = told.of(EventKind.FAILED)
    assert failure.name == "1.json"
    assert "404" in failure.text


def test_a_failure_tells_its_hint(session: Session, told: Told) -> None:
    carry_out(session, single("3.json", size=5))
    (failure,) = told.of(EventKind.FAILED)
    assert "newer cvl" in failure.hint


def test_an_archive_that_cannot_be_unpacked_fails_alone(session: Session, site: Publisher) -> None:
    site.put(f"{HOST}/images.zip", zipped({"images/../../../x.jpg": JPEG}))
    result = carry_out(session, replace(ARCHIVE, size=None, sha256=None), SINGLES[0])
    assert [type(outcome.error) for outcome in result.failed] == [ArchiveError]
    assert set(data(session)) == {"mine/0.json"}
    assert not (session.root.path / "x.jpg").exists()


def test_half_a_stream_without_digest_or_length_is_not_taken_for_an_archive(
    session: Session, site: Publisher, web: Internet
) -> None:
    whole = tarred({f"images/{number}.jpg": noise(20_000, number) for number in range(5)}, "w:gz")
    site.put(f"{HOST}/shard.tar", whole[: len(whole) // 2])
    web.inject(Fault("*shard.tar", FaultKind.CHUNKED))
    shard = remote(f"{HOST}/shard.tar", name="shard.tar", unpack=Unpack(into="data/mine"))
    assert [type(outcome.error) for outcome in carry_out(session, shard).failed] == [ArchiveError]
    assert read_receipt(session.root, "shard.tar") is None


def test_what_failed_is_all_that_a_second_run_does(session: Session, make_session: MakeSession, web: Internet) -> None:
    web.inject(Fault("*big.bin", FaultKind.TRUNCATE, after=2_000_000))
    web.inject(Fault("*big.bin", FaultKind.STATUS, status=500, times=99))
    assert [type(outcome.error) for outcome in carry_out(session, LARGE, *SINGLES).failed] == [TransferError]
    web.heal()
    asked = len(web.exchanges)
    again = carry_out(make_session(), LARGE, *SINGLES)
    assert (again.failed, again.kept, again.bytes) == ((), 4, 1_000_000)
    moved = [(exchange.range, exchange.bytes_sent) for exchange in web.exchanges[asked:]]
    assert moved == [("bytes=2000000-2999999", 1_000_000)]


def test_what_does_not_fit_is_refused_before_the_first_byte(session: Session, web: Internet) -> None:
    with pytest.raises(DiskError, match="the disk has"):
        carry_out(session, single("0.json", size=10**18), ARCHIVE)
    assert web.exchanges == []
    assert not session.root.path.exists()


def test_a_full_disk_ends_the_run_and_is_what_is_told(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other file is stopped because of it, and must not be what the run ends with.
    began = threading.Barrier(2, timeout=20)
    write, begun = Part.write, set()

    def full(part: Part, chunk: bytes | memoryview, at: int) -> None:
        if part.path not in begun:
            begun.add(part.path)
            began.wait()
        if part.path.name.startswith("0.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part.path))
        write(part, chunk, at)

    monkeypatch.setattr(Part, "write", full)
    with pytest.raises(DiskError, match="no room left on the disk") as caught:
        carry_out(session, SINGLES[0], LARGE)
    assert "goes on where it stood" in (caught.value.hint or "")
    assert session.cancel.is_set()


def test_a_folder_that_stands_in_the_way_is_told(session: Session) -> None:
    session.root.at("data/mine").mkdir(parents=True)
    session.root.at("data/mine/images").write_bytes(b"a file where a folder is to be")
    with pytest.raises(DiskError, match="data/mine/images"):
        carry_out(session, ARCHIVE)


# Stopping


def test_a_wish_to_stop_ends_everything_and_keeps_every_part(
    make_session: MakeSession, site: Publisher, web: Internet
) -> None:
    cancel = threading.Event()

    def stop(event: Event) -> None:
        if event.kind is EventKind.PROGRESS and event.done:
            cancel.set()

    session = make_session(cancel=cancel, report=stop)
    web.inject(Fault("*big.bin", FaultKind.RATE, rate=3e6))
    with pytest.raises(Cancelled) as caught:
        carry_out(replace(session, jobs=1), LARGE, SINGLES[3])
    assert caught.value.exit_code == 130
    part = Part(session.root.downloads / "big.bin.part")
    content = part.path.read_bytes()
    assert 0 < part.size < len(BIG)
    assert all(content[start:stop] == BIG[start:stop] for start, stop in part.missing().gaps(len(BIG)))
    web.heal()
    assert not any("3.json" in each.url for each in web.exchanges), "nothing more is begun"
    assert carry_out(make_session(), LARGE, SINGLES[3]).failed == ()
    assert session.root.at("data/mine/big.bin").read_bytes() == BIG
    assert [step.action for step in planned(make_session(), LARGE, SINGLES[3]).steps] == [Action.KEEP] * 2


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Whatever runs the tests, SIGINT interrupts the main thread as it does in a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_the_other_files_too(session: Session, ctrl_c: None, web: Internet) -> None:
    def interrupt(event: Event) -> None:
        if event.name == "big.bin" and event.kind is EventKind.PROGRESS and event.done:
            os.kill(os.getpid(), signal.SIGINT)
            session.cancel.wait(20)

    web.inject(Fault("*big.bin", FaultKind.RATE, rate=3e6))
    with pytest.raises(KeyboardInterrupt):
        carry_out(replace(session, report=interrupt, jobs=1), LARGE, *SINGLES)
    assert 0 < Part(session.root.downloads / "big.bin.part").size < len(BIG)
    assert {each.url for each in web.exchanges} == {f"{HOST}/big.bin"}


def test_leftovers_of_a_killed_run_are_swept_away(session: Session) -> None:
    left = [session.root.at("data/mine/images/.cvl-1.jpg-1-2.tmp"), session.root.receipts / ".cvl-x-1-2.tmp"]
    foreign = session.root.at("data/other/.cvl-1.jpg-1-2.tmp")
    verifying = session.root.notes / ".cvl-verify.json-1-2.tmp"
    for path in (*left, foreign, verifying):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    carry_out(session, ARCHIVE)
    assert [path.exists() for path in left] == [False, False]
    assert foreign.exists(), "nothing is swept where nothing is written"
    assert verifying.exists(), "verification holds no lock and may be at work"


# Lists and repositories


LISTED = single("list.json", expand=Expand(into="data/mine/covers", url_field="url", count=2))


def listed(site: Publisher, *keys: str) -> None:
    site.put(f"{HOST}/list.json", json.dumps({key: {"url": f"{HOST}/I/{key}"} for key in keys}).encode())


def test_a_list_is_fetched_and_then_what_it_lists(
    session: Session, make_session: MakeSession, site: Publisher, told: Told
) -> None:
    listed(site, "1", "2")
    site.put(f"{HOST}/I/1", JPEG)
    result = carry_out(session, LISTED)
    assert set(data(session)) == {"mine/list.json", "mine/covers/1.jpg"}
    (outcome,) = result.outcomes
    assert outcome.expanded is not None
    assert (outcome.expanded.done, outcome.expanded.gone, outcome.expanded.failed) == (1, 1, 0)
    assert result.failed == (), "what is gone for good is no failure"
    assert told.texts(EventKind.DONE) == ["1 here, 1 gone, 0 failed"]
    assert carry_out(make_session(), LISTED).kept == 1


def test_entries_that_failed_make_the_list_fail_and_the_next_run_tries_them(
    session: Session, make_session: MakeSession, site: Publisher, web: Internet
) -> None:
    listed(site, "1")
    site.put(f"{HOST}/I/1", JPEG)
    web.inject(Fault("*/I/1", FaultKind.STATUS, status=500, times=99))
    assert len(carry_out(session, LISTED).failed) == 1
    web.heal()
    asked = len(web.exchanges)
    again = carry_out(make_session(), LISTED)
    assert (again.failed, again.bytes) == ((), len(JPEG))
    assert [each.url for each in web.exchanges[asked:]] == [f"{HOST}/I/1"]


def test_what_is_gone_is_tried_again_when_the_user_asks(
    session: Session, make_session: MakeSession, site: Publisher
) -> None:
    listed(site, "1")
    carry_out(session, LISTED)
    site.put(f"{HOST}/I/1", JPEG)
    assert carry_out(make_session(), LISTED).kept == 1
    assert carry_out(make_session(retry_failed=True), LISTED).bytes == len(JPEG)


def test_a_list_that_is_none_fails_alone(session: Session, site: Publisher) -> None:
    site.put(f"{HOST}/list.json", b"[]")
    result = carry_out(session, LISTED, SINGLES[0])
    assert [type(outcome.error) for outcome in result.failed] == [AnnotationError]
    assert "mine/0.json" in data(session)


WHOLE = remote("hf://owner/model", name="model", snapshot=Snapshot(into="models/m", exclude=("*.md",)))


def repository(site: Publisher) -> dict[str, bytes]:
    files = {"config.json": b"{}", "deep/model.bin": noise(50_000)}
    for name, content in files.items():
        site.put(f"hf://owner/model/{name}", content)
    site.put("hf://owner/model/README.md", b"# words")
    return files


def test_a_repository_lands_file_by_file(session: Session, make_session: MakeSession, site: Publisher) -> None:
    files = repository(site)
    result = carry_out(session, WHOLE)
    assert (result.failed, result.bytes) == ((), sum(map(len, files.values())))
    assert contents(session.root.at("models/m")) == {name: sha256(content) for name, content in files.items()}
    assert carry_out(make_session(), WHOLE) == Result(kept=1)


def test_a_repository_that_broke_goes_on_with_the_files_that_are_missing(
    session: Session, make_session: MakeSession, site: Publisher, web: Internet
) -> None:
    files = repository(site)
    web.inject(Fault("https://cdn-lfs*", FaultKind.STATUS, status=500, times=99))
    assert len(carry_out(session, WHOLE).failed) == 1
    assert read_receipt(session.root, "model") is None
    web.heal()
    assert carry_out(make_session(), WHOLE).bytes == len(files["deep/model.bin"])


def test_a_lost_file_of_a_repository_comes_back_alone(
    session: Session, make_session: MakeSession, site: Publisher
) -> None:
    repository(site)
    carry_out(session, WHOLE)
    session.root.at("models/m/config.json").unlink()
    assert carry_out(make_session(), WHOLE).bytes == 2


# One at a time


@contextmanager
def held(session: Session) -> Iterator[None]:
    """Another process at work on the tree."""
    session.root.notes.mkdir(parents=True, exist_ok=True)
    with FileLock(session.root.notes / "tree.lock"):
        yield


def until_it_waits(told: Told) -> None:
    until(lambda: bool(told.of(EventKind.NOTE)))


def test_the_second_process_waits_says_so_and_moves_nothing_that_the_first_brought(
    make_session: MakeSession, web: Internet
) -> None:
    told, second = Told(), make_session()
    second = replace(second, report=told)
    made = planned(second, *SINGLES, ARCHIVE)
    with ThreadPoolExecutor(1) as pool:
        with TemporaryDirectory() as elsewhere, held(second):
            waiting = pool.submit(run, made, CATALOG, second)
            until_it_waits(told)
            first = make_session(root=Root(Path(elsewhere)))
            carry_out(first, *SINGLES, ARCHIVE)
            moved = web.body_bytes()
            _copy(first, second)
        result = waiting.result()
    assert told.texts(EventKind.NOTE) == [f"another cvl is at work on {second.root.path}; waiting for it to end"]
    assert (result.outcomes, result.kept) == ((), 5)
    assert web.body_bytes() == moved


def _copy(first: Session, second: Session) -> None:
    """What the first process did, done to the tree of the second one; its lock is another one's."""
    shutil.copytree(first.root.path, second.root.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tree.lock"))


def test_what_both_processes_saw_is_in_the_lock_of_the_tree(make_session: MakeSession) -> None:
    told = Told()
    second = replace(make_session(), report=told)
    made = planned(second, SINGLES[1])
    with ThreadPoolExecutor(1) as pool:
        with held(second):
            waiting = pool.submit(run, made, CATALOG, second)
            until_it_waits(told)
            make_session().lock.record("first.json", Seen(f"{HOST}/first.json", 1, "0" * 64))
        waiting.result()
    files = json.loads(second.root.lock.read_text())["files"]
    assert list(files) == ["1.json", "first.json"]


def test_what_the_first_process_saw_holds_for_the_second_too(make_session: MakeSession) -> None:
    told = Told()
    second = replace(make_session(), report=told)
    made = planned(second, SINGLES[1])
    with ThreadPoolExecutor(1) as pool:
        with held(second):
            waiting = pool.submit(run, made, CATALOG, second)
            until_it_waits(told)
            make_session().lock.record("1.json", Seen(f"{HOST}/1.json", len(FILES["1.json"]), "0" * 64))
        (failure,) = waiting.result().failed
    assert isinstance(failure.error, DigestError)


def test_a_wish_to_stop_ends_the_wait(make_session: MakeSession) -> None:
    cancel = threading.Event()
    session = make_session(cancel=cancel, report=lambda event: cancel.set() if event.kind is EventKind.NOTE else None)
    with held(session), pytest.raises(Cancelled):
        carry_out(session, ARCHIVE)


# A disk that cannot be written

WITHOUT_RIGHTS = """
import ctypes, os, sys
# The superuser may write everywhere; who gives this right up, may not.
libc = ctypes.CDLL(None)
for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
FETCH = """
import sys
from pathlib import Path
from cvl.download.fetch import Options, execute, prepare
from cvl.download.select import Request
from cvl.errors import CvlError
from cvl.manifest import load_catalog
from cvl.root import Root
catalog, root = load_catalog(Path(sys.argv[1])), Root(Path(sys.argv[2]))
try:
    request = Request(names=tuple(sys.argv[3:]))
    result = execute(prepare(catalog, root, request, Options()), catalog, root, Options())
    print(result.kept, len(result.outcomes), result.links)
except CvlError as error:
    print(type(error).__name__, error)
"""
MANIFEST = f"""
title = "mine"
links = [{{ path = "data/mine/second", target = "data/mine/images" }}]

[[files]]
name = "mine-images.zip"
url = "{HOST}/images.zip"
unpack = {{ into = "data/mine", include = ["images/*.jpg"] }}

[[files]]
name = "mine-list.json"
url = "{HOST}/list.json"
path = "data/mine/list.json"
expand = {{ into = "data/mine/covers", url_field = "url" }}

[[files]]
name = "mine-0.json"
url = "{HOST}/0.json"
path = "data/mine/0.json"
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine.toml").write_text(MANIFEST)
    (folder / "late.toml").write_text(
        'title = "late"\n[[files]]\nname = "late.json"\n' + f'url = "{HOST}/1.json"\npath = "data/late/1.json"\n'
    )
    return folder


def fetch_as_a_process(manifests: Path, session: Session, *names: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS, FETCH, str(manifests), str(session.root.path), *names],
        env=os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]
    for each in folders:
        each.chmod(0o555)
    try:
        yield
    finally:
        for each in folders:
            each.chmod(0o755)


def test_a_complete_tree_that_cannot_be_written_is_complete(
    session: Session, site: Publisher, web: Internet, manifests: Path
) -> None:
    listed(site, "1", "2")
    site.put(f"{HOST}/I/1", JPEG)
    assert fetch_as_a_process(manifests, session, "mine") == "0 3 1"
    # As somebody copied it here: nothing has the times that the receipts know.
    os.utime(session.root.at("data/mine/0.json"), (0, 0))
    moved = web.body_bytes()
    with read_only(session.root.path):
        before = traces(session.root.path)
        assert fetch_as_a_process(manifests, session, "mine") == "3 0 0"
        assert traces(session.root.path) == before
    assert web.body_bytes() == moved


def test_a_tree_that_lacks_something_and_cannot_be_written_is_told(
    session: Session, site: Publisher, web: Internet, manifests: Path
) -> None:
    listed(site)
    fetch_as_a_process(manifests, session, "mine")
    with read_only(session.root.path):
        said = fetch_as_a_process(manifests, session, "late")
    assert said.startswith("DiskError cannot use")
    assert "Permission denied" in said


# Fairly


def test_two_sources_share_the_connections(site: Publisher, web: Internet, tmp_path: Path, tree: Root) -> None:
    """Each could use all four: the second one to begin gets its half all the same, while the first goes on."""
    own = tmp_path / "two"
    own.mkdir()
    size = 24 << 20
    for name in ("one", "two"):
        site.put(f"{HOST}/{name}.bin", noise(size, len(name)))
        file = f'name = "{name}.bin"\nurl = "{HOST}/{name}.bin"\npath = "data/{name}/{name}.bin"\nsize = {size}\n'
        (own / f"{name}.toml").write_text(f'title = "{name}"\n[[files]]\n{file}')
    web.inject(Fault("*.bin", FaultKind.RATE, rate=1e6))
    command = Cvl(tmp_path, web.environment() | {"CVL_ROOT": str(tree.path), "CVL_MANIFESTS": str(own)})

    def under_way(name: str) -> int:
        exchanges = [each for each in web.exchanges if each.url.endswith(f"/{name}.bin") and each.range is not None]
        return sum(each.bytes_sent < span_of(each.range).size for each in exchanges)

    with command.start("fetch", "one", "two", "--connections", "4") as process:
        until(lambda: process.poll() is not None or under_way("one") == under_way("two") == 2)
        assert process.poll() is None, process.communicate()
        web.heal()
        assert under_way("one") + under_way("two") <= 4
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def span_of(asked: str | None) -> Span:
    start, _, last = (asked or "").removeprefix("bytes=").partition("-")
    return Span(int(start), int(last) + 1)


# Results


def test_a_result_counts_failures_and_bytes() -> None:
    good, bad = Outcome(SINGLES[0], bytes=5), Outcome(SINGLES[1], TransferError("x"), bytes=2)
    result = Result((good, bad), kept=3)
    assert result.failed == (bad,)
    assert result.bytes == 7

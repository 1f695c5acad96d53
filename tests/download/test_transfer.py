"""One file from wherever it can be had: tried again, from the next mirror, and proven before it is called finished."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from fetching import HOST, JPEG, PAGE, MakeSession, Told, md5, names_below, noise, remote, sha256, tarred, zipped

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.links import LinkList
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.transport import mirrors
from cvl.download.transport.connections import Connections
from cvl.download.transport.journal import Version
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Policy
from cvl.download.transport.transfer import transfer
from cvl.errors import (
    Cancelled,
    DigestError,
    GoneError,
    RefusedError,
    TransferError,
    WebPageError,
    WrongContentError,
)
from cvl.events import Event, EventKind

URL = f"{HOST}/file.bin"
MIRROR = "https://mirror.example/copy.bin"
CONTENT = noise(2_000_000)
WRONG = noise(2_000_000, seed=1)
ALL = "bytes=0-1999999"
KNOWN = remote(URL, size=len(CONTENT), sha256=sha256(CONTENT))
DOUBTFUL = replace(KNOWN, sha256=sha256(b"what one person saw"), certainty="single-source")


@pytest.fixture(autouse=True)
def published(site: Publisher, web: Internet) -> None:
    site.put(URL, CONTENT)


@pytest.fixture
def single(make_session: MakeSession) -> Session:
    """A session of one connection, whose requests come one after another."""
    return make_session(connections=Connections(1))


def part_of(session: Session) -> Part:
    """What a transfer of `file.bin` leaves when it does not end well, as a new process finds it."""
    return Part(session.root.downloads / "file.bin.part")


def begun(session: Session, content: bytes) -> None:
    """The part of a killed process that had these first bytes."""
    part = part_of(session)
    part.begin(Version(URL, None, len(CONTENT)))
    part.write(content, 0)
    part.note(0, len(content))
    part.close()


def statuses(web: Internet) -> list[int]:
    return [int(exchange.status) for exchange in web.exchanges]


def ranges(web: Internet) -> list[str | None]:
    return [exchange.range for exchange in web.exchanges]


def test_a_finished_file_lies_with_its_journal_only_in_the_folder_of_downloads(session: Session) -> None:
    arrived = transfer(KNOWN, session)
    assert arrived.path.read_bytes() == CONTENT
    downloads = "data/.cvl/downloads/"
    assert names_below(session.root.path) == [f"{downloads}file.bin.part", f"{downloads}file.bin.part.journal"]


def test_what_was_seen_is_told_for_the_lock(session: Session) -> None:
    seen = transfer(remote(f"{URL}?sig=secret"), session).seen
    assert (seen.url, seen.size, seen.sha256) == (URL, len(CONTENT), sha256(CONTENT))
    assert seen.etag is not None
    assert seen.revision is None


def test_progress_is_reported_with_the_size_that_is_known(session: Session, told: Told) -> None:
    transfer(KNOWN, session)
    last = told.of(EventKind.PROGRESS)[-1]
    assert (last.name, last.source, last.done, last.total) == ("file.bin", "mine", len(CONTENT), len(CONTENT))
    assert told.texts(EventKind.CHECK) == ["checking"]


def test_an_estimate_is_the_total_where_the_server_does_not_tell(session: Session, told: Told, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.NO_RANGES))
    web.inject(Fault("*", FaultKind.CHUNKED))
    transfer(remote(URL, approximate_size=123), session)
    assert {event.total for event in told.of(EventKind.PROGRESS)} == {123}


# Trying again


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATE, FaultKind.RESET, FaultKind.STALL])
def test_a_broken_transfer_goes_on_where_it_broke(impatient: Session, web: Internet, kind: FaultKind) -> None:
    web.inject(Fault("*", kind, after=1_000_000))
    session = replace(impatient, connections=Connections(1))
    assert transfer(KNOWN, session).path.read_bytes() == CONTENT
    assert ranges(web)[0] == ALL
    if kind is not FaultKind.RESET:  # which may take back what the client has not read yet
        assert ranges(web)[1:] == ["bytes=1000000-1999999"]
        assert web.body_bytes() == len(CONTENT)


def test_as_long_as_bytes_come_failures_do_not_add_up(session: Session, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.TRUNCATE, after=100_000, times=10))
    assert session.policy.attempts < 10
    assert transfer(KNOWN, session).path.read_bytes() == CONTENT
    assert web.body_bytes() == len(CONTENT)


def test_so_many_failures_in_a_row_are_the_end_and_what_came_is_kept(single: Session, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.TRUNCATE, after=500_000))
    web.inject(Fault("*", FaultKind.STATUS, status=500, times=9))
    with pytest.raises(TransferError, match="500"):
        transfer(KNOWN, single)
    assert statuses(web) == [206, 500, 500]
    kept = part_of(single)
    assert (kept.prefix, kept.size, kept.path.read_bytes()[:500_000]) == (500_000, 500_000, CONTENT[:500_000])
    web.heal()
    assert transfer(KNOWN, single).path.read_bytes() == CONTENT
    assert [asked for asked in ranges(web)[3:] if asked and asked.startswith("bytes=0-")] == []


def test_what_the_connections_have_spent_is_not_tried_again_from_the_beginning(single: Session, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=500, times=99))
    with pytest.raises(TransferError, match="500"):
        transfer(KNOWN, single)
    assert len(web.exchanges) == single.policy.attempts


def test_a_file_that_keeps_changing_is_given_up(
    make_session: MakeSession, site: Publisher, web: Internet, told: Told
) -> None:
    """Each time some of it comes before the change is noticed, which is no progress."""
    file = site.folder / "http" / "host.example" / "file.bin"

    def change(event: Event) -> None:
        told(event)
        if event.kind is EventKind.RETRY:
            os.utime(file, ns=(0, len(told.of(EventKind.RETRY))))

    session = make_session(report=change, connections=Connections(1))
    web.inject(Fault("*", FaultKind.TRUNCATE, after=500_000, times=99))
    with pytest.raises(TransferError):
        transfer(remote(URL), session)
    assert len(web.exchanges) < 3 * session.policy.attempts


def test_a_burst_of_errors_within_the_policy_is_survived(single: Session, web: Internet, told: Told) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=500, times=2))
    transfer(KNOWN, single)
    assert statuses(web) == [500, 500, 206]
    assert all("the server says 500" in text and "again in" in text for text in told.texts(EventKind.RETRY))


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_names_a_time_is_asked_again_then(make_session: MakeSession, web: Internet, status: int) -> None:
    # The policy's own wait would outlast the test: only the server's wish ends it.
    session = make_session(policy=Policy(attempts=2, base=1e6, cap=1e6))
    web.inject(Fault("*", FaultKind.STATUS, status=status, retry_after=0))
    transfer(KNOWN, session)
    assert statuses(web) == [status, 206]


def test_a_server_that_names_a_date_is_asked_again_then(make_session: MakeSession, web: Internet) -> None:
    session = make_session(policy=Policy(attempts=2, base=1e6, cap=1e6))
    date = format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)
    web.inject(Fault("*", FaultKind.STATUS, status=429, retry_after=date))
    transfer(KNOWN, session)
    assert statuses(web) == [429, 206]


@pytest.mark.parametrize("wish", [3600, "Wed, 21 Oct 2037 07:28:00 GMT"])
def test_a_server_that_asks_for_too_much_patience_is_given_up(session: Session, web: Internet, wish: int | str) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=429, retry_after=wish, times=9))
    with pytest.raises(TransferError, match="429"):
        transfer(KNOWN, session)
    assert statuses(web) == [429]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("*", FaultKind.STATUS, status=404, times=9), GoneError),
        (Fault("*", FaultKind.STATUS, status=403, times=9), RefusedError),
        (Fault("*", FaultKind.CONTENT_ENCODING, times=9), WrongContentError),
        (Fault("*", FaultKind.REDIRECT_LOOP, times=9), WrongContentError),
    ],
    ids=["404", "403", "gzip", "loop"],
)
def test_what_cannot_get_better_is_not_tried_again(
    session: Session, web: Internet, told: Told, fault: Fault, error: type[Exception]
) -> None:
    web.inject(fault)
    with pytest.raises(error):
        transfer(KNOWN, session)
    assert told.of(EventKind.RETRY) == []
    assert names_below(session.root.path) == []


def test_one_web_page_is_forgiven(session: Session, web: Internet, told: Told) -> None:
    web.inject(Fault("*", FaultKind.HTML))
    assert transfer(KNOWN, session).path.read_bytes() == CONTENT
    (text,) = told.texts(EventKind.RETRY)
    assert "found a web page" in text


def test_a_second_web_page_is_the_end(session: Session, web: Internet, told: Told) -> None:
    web.inject(Fault("*", FaultKind.HTML, times=9))
    with pytest.raises(WebPageError):
        transfer(KNOWN, session)
    assert len(web.exchanges) == 2
    assert names_below(session.root.path) == []


def test_a_wish_to_stop_ends_the_wait(make_session: MakeSession, web: Internet) -> None:
    session = make_session(policy=Policy(attempts=2, base=1e6, cap=1e6), cancel=threading.Event())
    session = replace(session, report=lambda event: session.cancel.set() if event.kind is EventKind.RETRY else None)
    web.inject(Fault("*", FaultKind.STATUS))
    with pytest.raises(Cancelled) as caught:
        transfer(KNOWN, session)
    assert "run the same command again" in (caught.value.hint or "")


def test_a_wish_to_stop_ends_the_transfer_and_keeps_what_came(make_session: MakeSession, web: Internet) -> None:
    cancel = threading.Event()
    session = make_session(cancel=cancel)

    def stop_after_a_while(event: Any) -> None:
        if event.kind is EventKind.PROGRESS and event.done:
            cancel.set()

    web.inject(Fault("*", FaultKind.RATE, rate=3e6))
    with pytest.raises(Cancelled):
        transfer(KNOWN, replace(session, report=stop_after_a_while))
    assert 0 < part_of(session).size < len(CONTENT)
    cancel.clear()
    web.heal()
    assert transfer(KNOWN, session).path.read_bytes() == CONTENT


# Proof


ZIP = zipped({f"{number}.jpg": JPEG + noise(50_000, number) for number in range(10)})
PROMISED = remote(f"{HOST}/images.zip", name="images.zip")


def test_a_truncated_archive_is_resumed_and_never_taken_for_a_whole_one(
    session: Session, web: Internet, site: Publisher
) -> None:
    site.put(f"{HOST}/images.zip", ZIP)
    web.inject(Fault("*", FaultKind.TRUNCATE, after=300_000, times=9))
    with pytest.raises(TransferError, match=r"ended|closed|end of file"):
        transfer(PROMISED, replace(session, policy=Policy(attempts=1, base=0)))
    assert not any(name.endswith(".zip") for name in names_below(session.root.path))
    web.heal()
    assert transfer(PROMISED, session).path.read_bytes() == ZIP
    assert web.body_bytes() == len(ZIP)


def test_half_an_archive_from_a_server_that_says_no_length_is_no_archive(
    session: Session, site: Publisher, web: Internet
) -> None:
    site.put(f"{HOST}/images.zip", ZIP[: len(ZIP) // 2])
    web.inject(Fault("*", FaultKind.NO_RANGES))
    web.inject(Fault("*", FaultKind.CHUNKED))
    with pytest.raises(WrongContentError, match="this is no whole zip file"):
        transfer(PROMISED, session)
    assert names_below(session.root.path) == []


@pytest.mark.parametrize("name", ["images.zip", "shard.tar", "file.bin"])
@pytest.mark.parametrize("known", [{}, {"size": len(PAGE)}, {"sha256": "0" * 64, "certainty": "single-source"}])
def test_a_page_under_another_type_is_never_kept(
    session: Session, site: Publisher, name: str, known: dict[str, Any]
) -> None:
    site.put(f"{HOST}/{name}", PAGE)
    with pytest.raises(WrongContentError):
        transfer(remote(f"{HOST}/{name}", name=name, **known), replace(session, accept_digest=True))
    assert not any(PAGE in path.read_bytes() for path in session.root.path.rglob("*") if path.is_file())


def test_a_flipped_byte_is_noticed_discarded_and_fetched_once_more(session: Session, web: Internet, told: Told) -> None:
    web.inject(Fault("*", FaultKind.FLIP, after=700_000))
    assert transfer(KNOWN, session).path.read_bytes() == CONTENT
    assert ranges(web) == [ALL, ALL]
    assert any("damaged" in text and "fetching it once more" in text for text in told.texts(EventKind.RETRY))


def test_a_file_that_is_damaged_twice_is_an_error_and_not_kept(session: Session, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.FLIP, after=700_000, times=9))
    with pytest.raises(DigestError, match="damaged or were changed"):
        transfer(KNOWN, session)
    assert ranges(web) == [ALL, ALL]
    assert names_below(session.root.path) == []


def test_a_flipped_byte_before_a_cut_is_noticed_too(single: Session, web: Internet) -> None:
    begun(single, b"\0" + CONTENT[1 : 2 * 500_000])
    assert transfer(KNOWN, single).path.read_bytes() == CONTENT
    assert ranges(web) == ["bytes=1000000-1999999", ALL]


def test_a_doubtful_digest_costs_nothing_and_says_so(session: Session, web: Internet) -> None:
    with pytest.raises(
        DigestError, match="the size is right, and the manifest has this digest from a single source"
    ) as caught:
        transfer(DOUBTFUL, session)
    assert "cvl fetch mine --accept-digest" in (caught.value.hint or "")
    assert part_of(session).complete
    assert part_of(session).path.read_bytes() == CONTENT
    assert len(web.exchanges) == 1


def test_an_accepted_digest_takes_the_file_without_a_second_transfer(session: Session, web: Internet) -> None:
    with pytest.raises(DigestError):
        transfer(DOUBTFUL, session)
    arrived = transfer(DOUBTFUL, replace(session, accept_digest=True))
    assert arrived.path.read_bytes() == CONTENT
    assert arrived.seen.sha256 == sha256(CONTENT)
    assert len(web.exchanges) == 1


def test_an_accepted_digest_of_a_size_that_the_server_told_asks_nothing(session: Session, web: Internet) -> None:
    unknown = replace(DOUBTFUL, size=None, sha256=None, md5=md5(b"what one person saw"))
    with pytest.raises(DigestError):
        transfer(unknown, session)
    transfer(unknown, replace(session, accept_digest=True))
    assert statuses(web) == [206]


def test_a_file_that_is_all_here_is_not_asked_for(session: Session, web: Internet) -> None:
    begun(session, CONTENT)
    assert transfer(KNOWN, session).seen.url == URL
    assert web.exchanges == []


@pytest.mark.parametrize("after", [0, 1, 65_536, 1_999_999])
def test_the_part_of_a_killed_process_is_continued(session: Session, web: Internet, after: int) -> None:
    begun(session, CONTENT[:after])
    assert transfer(KNOWN, session).path.read_bytes() == CONTENT
    assert web.body_bytes() == len(CONTENT) - after


# Mirrors


def mirrored(**changes: Any) -> Remote:
    return replace(KNOWN, urls=(URL, MIRROR), **changes)


def test_the_first_address_is_enough(session: Session, site: Publisher, web: Internet) -> None:
    site.put(MIRROR, CONTENT)
    assert transfer(mirrored(), session).seen.url == URL
    assert not any("mirror.example" in exchange.url for exchange in web.exchanges)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(f"{URL}*", FaultKind.STATUS, status=404, times=9),
        Fault(f"{URL}*", FaultKind.STATUS, status=403, times=9),
        Fault(f"{URL}*", FaultKind.STATUS, status=500, times=9),
        Fault(f"{URL}*", FaultKind.HTML, times=9),
        Fault(f"{URL}*", FaultKind.FLIP, times=9),
        Fault(f"{URL}*", FaultKind.REDIRECT_LOOP, times=9),
    ],
    ids=["404", "403", "500", "page", "flipped", "loop"],
)
def test_whatever_is_wrong_with_the_first_the_next_is_tried(
    session: Session, site: Publisher, web: Internet, told: Told, fault: Fault
) -> None:
    site.put(MIRROR, CONTENT)
    web.inject(fault)
    arrived = transfer(mirrored(), session)
    assert (arrived.seen.url, arrived.path.read_bytes()) == (MIRROR, CONTENT)
    assert told.texts(EventKind.RETRY)[-1].endswith("trying the next mirror")


def test_a_mirror_goes_on_with_the_bytes_of_the_first(session: Session, site: Publisher, web: Internet) -> None:
    site.put(MIRROR, CONTENT)
    web.inject(Fault(URL, FaultKind.TRUNCATE, after=1_500_000))
    web.inject(Fault(URL, FaultKind.STATUS, times=9))
    assert transfer(mirrored(), session).path.read_bytes() == CONTENT
    assert web.body_bytes(MIRROR) == 500_000


def test_without_a_digest_a_mirror_begins_anew(session: Session, site: Publisher, web: Internet) -> None:
    site.put(MIRROR, WRONG)
    web.inject(Fault(URL, FaultKind.TRUNCATE, after=1_500_000))
    web.inject(Fault(URL, FaultKind.STATUS, times=9))
    unknown = mirrored(sha256=None)
    assert transfer(unknown, session).path.read_bytes() == WRONG
    assert web.exchanges[-1].range == ALL
    assert web.body_bytes(MIRROR) == len(WRONG)


def test_a_mirror_with_other_bytes_is_caught_by_the_digest(session: Session, site: Publisher, web: Internet) -> None:
    site.put(MIRROR, WRONG)
    web.inject(Fault(URL, FaultKind.STATUS, status=404, times=9))
    with pytest.raises(DigestError):
        transfer(mirrored(), session)
    assert names_below(session.root.path) == []


def test_when_all_fail_the_last_one_s_reason_is_told(session: Session, web: Internet, told: Told) -> None:
    web.inject(Fault(URL, FaultKind.STATUS, status=403, times=9))
    with pytest.raises(GoneError, match=r"mirror\.example.*404"):
        transfer(mirrored(), session)
    assert "403" in told.texts(EventKind.RETRY)[0]


def test_an_address_that_crawls_is_left_for_the_next_which_goes_on(
    session: Session, site: Publisher, web: Internet, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "_WINDOW", 0.4)
    monkeypatch.setattr(mirrors, "_CRAWL", 2e6)
    site.put(MIRROR, CONTENT)
    web.inject(Fault(URL, FaultKind.SLOW, after=500_000, rate=20_000, times=99))
    arrived = transfer(mirrored(), session)
    assert (arrived.seen.url, arrived.path.read_bytes()) == (MIRROR, CONTENT)
    assert web.body_bytes(MIRROR) < len(CONTENT) - 400_000
    assert any("kB/s; trying the next mirror" in text for text in told.texts(EventKind.RETRY))


def test_an_address_that_crawls_is_come_back_to_if_no_other_gives_the_file(
    session: Session, web: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "_WINDOW", 0.2)
    monkeypatch.setattr(mirrors, "_CRAWL", 1e9)
    web.inject(Fault(URL, FaultKind.RATE, rate=1e6))
    arrived = transfer(mirrored(), session)
    assert (arrived.seen.url, arrived.path.read_bytes()) == (URL, CONTENT)
    assert 404 in statuses(web)
    assert web.body_bytes(URL) < len(CONTENT) + 4 * 300_000, "what it gave before is kept"


def test_the_last_address_may_crawl(session: Session, web: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "_WINDOW", 0.1)
    monkeypatch.setattr(mirrors, "_CRAWL", 1e9)
    web.inject(Fault(URL, FaultKind.RATE, rate=2e6))
    assert transfer(KNOWN, session).path.read_bytes() == CONTENT


def test_a_host_that_was_much_slower_is_asked_last(session: Session, site: Publisher, web: Internet) -> None:
    site.put(MIRROR, CONTENT)
    session.speeds.note(URL, 10_000_000, 10.0)
    session.speeds.note(MIRROR, 10_000_000, 1.0)
    assert transfer(mirrored(), session).seen.url == MIRROR
    assert web.body_bytes(URL) == 0


def test_what_a_host_gave_is_remembered(session: Session) -> None:
    transfer(KNOWN, session)
    session.speeds.note(MIRROR, 10**15, 1.0)
    assert session.speeds.order([URL, MIRROR]) == [MIRROR, URL]


# Signed links

SHARD = tarred({"./a.jpg": JPEG}, "w:gz")


@pytest.fixture
def shard(site: Publisher) -> Remote:
    site.put("links:sa_000000.tar", SHARD)
    return remote("links:sa_000000.tar", name="sam-000000.tar", md5=md5(SHARD), certainty="single-source")


def listed(web: Internet, *, days: int = 30) -> LinkList:
    link = web.signed_link("sa_000000.tar", datetime.now(UTC) + timedelta(days=days))
    return LinkList(Path("links.txt"), {"sa_000000.tar": link})


def test_a_signed_link_brings_the_file_and_its_signature_is_not_kept(
    session: Session, web: Internet, shard: Remote
) -> None:
    arrived = transfer(shard, replace(session, links=listed(web)))
    assert arrived.path.read_bytes() == SHARD
    assert "oe=" not in arrived.seen.url
    assert not any(b"oe=" in path.read_bytes() for path in session.root.path.rglob("*.json"))


def test_a_new_list_goes_on_with_what_an_older_one_began(session: Session, web: Internet, shard: Remote) -> None:
    web.inject(Fault("*sa_000000*", FaultKind.TRUNCATE, after=100))
    with pytest.raises(TransferError):
        transfer(shard, replace(session, links=listed(web), policy=Policy(attempts=1)))
    assert transfer(shard, replace(session, links=listed(web, days=60))).path.read_bytes() == SHARD
    assert web.exchanges[-1].range == f"bytes=100-{len(SHARD) - 1}"


def test_a_link_that_ran_out_says_where_to_get_a_new_list(session: Session, web: Internet, shard: Remote) -> None:
    with pytest.raises(RefusedError, match=r"the signed link of sa_000000\.tar is no longer good") as caught:
        transfer(shard, replace(session, links=listed(web, days=-1)))
    assert "fresh list" in (caught.value.hint or "")
    assert "goes on where it stood" in (caught.value.hint or "")


def test_without_a_list_nothing_is_asked(session: Session, web: Internet, shard: Remote) -> None:
    with pytest.raises(RefusedError, match="no list of signed links") as caught:
        transfer(shard, session)
    assert "--sam-links" in (caught.value.hint or "")
    assert web.exchanges == []


def test_a_list_without_the_file_says_so(session: Session, web: Internet, shard: Remote) -> None:
    with pytest.raises(RefusedError, match=r"has no link for sa_000000\.tar") as caught:
        transfer(shard, replace(session, links=LinkList(Path("links.txt"), {})))
    assert "--sam-links" in (caught.value.hint or "")

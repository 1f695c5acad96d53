"""Lists of many small files: each entry fetched once, named by key and content, and accounted for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fetching import GIF, HOST, JPEG, PAGE, MakeSession, Told, names_below, remote, until
from support import traces

import cvl
from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.lists.expand import Expanded, expand, ledger_path
from cvl.download.lists.ledger import Row, State, read_ledger
from cvl.download.session import Session
from cvl.download.transport.policy import Policy
from cvl.errors import AnnotationError, Cancelled, DiskError
from cvl.events import Event, EventKind
from cvl.manifest import Expand

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
WEBP = b"RIFF\0\0\0\0WEBP" + bytes(50)
COVERS = {
    "0140031996": JPEG,
    "014003199X": JPEG + b"another",
    "1437717772": GIF,
    "1451670761": PNG,
    "1569755205": WEBP,
}
NAMES = ["0140031996.jpg", "014003199X.jpg", "1437717772.gif", "1451670761.png", "1569755205.webp"]
INTO = "data/mine/images"
LISTED = remote(
    name="mine-list.json", path="data/mine/list.json", expand=Expand(into=INTO, url_field="imageURL", count=5)
)


@pytest.fixture
def entries(site: Publisher, session: Session) -> dict[str, dict[str, object]]:
    """The list, whose pictures can all be had; the suffix of an address says nothing."""
    found: dict[str, dict[str, object]] = {}
    for key, content in COVERS.items():
        url = f"{HOST}/I/{key}.jpg"
        site.put(url, content)
        found[key] = {"imageURL": url, "title": "a book", "questions": ["who?"]}
    write(session, found)
    return found


def write(session: Session, listed: object) -> None:
    path = session.root.at("data/mine/list.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(listed))


def rows(session: Session) -> dict[str, Row]:
    with read_ledger(ledger_path(session.root, LISTED.name)) as ledger:
        return {row.key: row for row in ledger.rows(*State)}


def states(session: Session) -> dict[str, State]:
    return {key: row.state for key, row in rows(session).items()}


def images(session: Session) -> dict[str, bytes]:
    folder = session.root.at(INTO)
    return {name: (folder / name).read_bytes() for name in names_below(folder)}


def counted(done: Expanded) -> tuple[int, int, int]:
    return done.done, done.gone, done.failed


Entries = dict[str, dict[str, object]]


def test_every_entry_is_fetched_and_named_by_key_and_content(session: Session, entries: Entries) -> None:
    done = expand(LISTED, session)
    assert images(session) == dict(zip(NAMES, COVERS.values(), strict=True))
    assert counted(done) == (5, 0, 0)
    assert done.bytes == sum(map(len, COVERS.values()))
    assert done.ledger == session.root.ledgers / "mine-list.json.sqlite"


def test_the_ledger_knows_name_and_size_of_each(session: Session, entries: Entries) -> None:
    expand(LISTED, session)
    assert rows(session)["1437717772"] == Row(
        "1437717772", f"{HOST}/I/1437717772.jpg", State.DONE, "1437717772.gif", len(GIF)
    )


def test_a_second_run_asks_and_writes_nothing(session: Session, entries: Entries, web: Internet) -> None:
    expand(LISTED, session)
    before, asked = traces(session.root.at(INTO)), len(web.exchanges)
    done = expand(LISTED, session)
    assert (counted(done), done.bytes) == ((5, 0, 0), 0)
    assert traces(session.root.at(INTO)) == before
    assert len(web.exchanges) == asked


def test_progress_counts_files(session: Session, entries: Entries, told: Told) -> None:
    expand(LISTED, session)
    events = told.of(EventKind.UNPACK)
    assert [event.total for event in events] == [5] * len(events)
    assert events[-1].done == 5


def test_a_picture_without_length_is_not_taken(session: Session, entries: Entries, web: Internet) -> None:
    """A server that ends by closing, in the middle of a picture, would leave half of it for good."""
    web.inject(Fault("*0140031996*", FaultKind.NO_CONTENT_LENGTH, times=99))
    assert counted(expand(LISTED, session)) == (4, 0, 1)


# What cannot be had


@pytest.mark.parametrize("status", [401, 403, 407, 451])
def test_a_refusal_is_no_reason_to_give_up_for_good(
    session: Session, entries: Entries, web: Internet, status: int
) -> None:
    """A proxy that wants a login, or a host that blocks robots for a day, refuses all of 207,572."""
    web.inject(Fault("*", FaultKind.STATUS, status=status, times=99))
    refused = expand(LISTED, session)
    assert counted(refused) == (0, 0, 5)
    assert refused.short
    web.heal()
    assert counted(expand(LISTED, session)) == (5, 0, 0)


def test_a_list_of_which_nothing_could_be_had_is_short(session: Session, entries: Entries, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=404, times=99))
    dead = expand(LISTED, session)
    assert (counted(dead), dead.short) == ((0, 5, 0), True)


@pytest.mark.parametrize("status", [404, 410])
def test_a_dead_address_is_gone_for_good(session: Session, entries: Entries, web: Internet, status: int) -> None:
    web.inject(Fault("*0140031996*", FaultKind.STATUS, status=status, times=99))
    assert counted(expand(LISTED, session)) == (4, 1, 0)
    row = rows(session)["0140031996"]
    assert row.state is State.GONE
    assert str(status) in (row.reason or "")
    asked = len(web.exchanges)
    assert counted(expand(LISTED, session)) == (4, 1, 0)
    assert len(web.exchanges) == asked, "gone is not asked again"


def test_a_server_in_trouble_is_asked_again_and_then_failed_for_now(
    session: Session, entries: Entries, web: Internet
) -> None:
    web.inject(Fault("*0140031996*", FaultKind.STATUS, status=503, times=99))
    assert counted(expand(LISTED, session)) == (4, 0, 1)
    assert len([each for each in web.exchanges if "0140031996" in each.url]) == session.policy.attempts
    assert "503" in (rows(session)["0140031996"].reason or "")


def test_what_failed_is_tried_by_the_next_run(session: Session, entries: Entries, web: Internet) -> None:
    web.inject(Fault("*0140031996*", FaultKind.STATUS, status=503, times=99))
    expand(LISTED, session)
    web.heal()
    done = expand(LISTED, session)
    assert (counted(done), done.bytes) == ((5, 0, 0), len(JPEG))
    assert rows(session)["0140031996"].reason is None


def test_what_is_gone_is_tried_again_when_the_user_asks(
    session: Session, make_session: MakeSession, entries: Entries, web: Internet
) -> None:
    web.inject(Fault("*0140031996*", FaultKind.STATUS, status=404, times=99))
    expand(LISTED, session)
    web.heal()
    assert counted(expand(LISTED, session)) == (4, 1, 0)
    assert counted(expand(LISTED, make_session(retry_failed=True))) == (5, 0, 0)


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATE, FaultKind.RESET, FaultKind.STALL])
def test_a_broken_transfer_is_tried_again(impatient: Session, entries: Entries, web: Internet, kind: FaultKind) -> None:
    web.inject(Fault("*014003199X*", kind, after=20))
    assert counted(expand(LISTED, impatient)) == (5, 0, 0)
    assert images(impatient)["014003199X.jpg"] == COVERS["014003199X"]


def test_a_truncated_picture_is_never_saved(session: Session, entries: Entries, web: Internet) -> None:
    web.inject(Fault("*014003199X*", FaultKind.TRUNCATE, after=20, times=99))
    assert counted(expand(LISTED, session)) == (4, 0, 1)
    assert "014003199X.jpg" not in images(session)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (PAGE, "a web page in place of a picture"),
        (b"", "an empty answer in place of a picture"),
        (b"GIF", "no picture: begins with b'GIF'"),
        (b'{"error": 1}', "no picture: begins with b'{\"error\": 1}'"),
    ],
    ids=["page", "empty", "stump", "json"],
)
def test_what_is_no_picture_is_a_failure_and_not_a_file(
    session: Session, site: Publisher, entries: Entries, content: bytes, reason: str
) -> None:
    site.put(f"{HOST}/I/0140031996.jpg", content)
    assert counted(expand(LISTED, session)) == (4, 0, 1)
    assert rows(session)["0140031996"].reason == reason
    assert set(images(session)) == set(NAMES) - {"0140031996.jpg"}


def test_a_web_page_with_status_200_is_not_tried_at_once_again(
    session: Session, entries: Entries, web: Internet
) -> None:
    web.inject(Fault("*0140031996*", FaultKind.HTML, times=99))
    assert counted(expand(LISTED, session)) == (4, 0, 1)
    assert len([each for each in web.exchanges if "0140031996" in each.url]) == 1


def test_redirects_are_followed_and_loops_are_not(session: Session, entries: Entries, web: Internet) -> None:
    web.inject(Fault("*0140031996*", FaultKind.REDIRECT, hops=3))
    web.inject(Fault("*014003199X*", FaultKind.REDIRECT_LOOP, times=99))
    assert counted(expand(LISTED, session)) == (4, 0, 1)
    assert "redirects" in (rows(session)["014003199X"].reason or "")


def test_a_picture_that_comes_packed_is_unpacked(session: Session, entries: Entries, web: Internet) -> None:
    web.inject(Fault("*0140031996*", FaultKind.CONTENT_ENCODING))
    expand(LISTED, session)
    assert images(session)["0140031996.jpg"] == JPEG


@pytest.mark.parametrize("url", ["", "no address", "ftp://host.example/a.jpg", "http://[::1/a.jpg", "http:///a.jpg"])
def test_an_address_that_is_none_is_gone_for_good_and_the_others_come(
    session: Session, entries: Entries, url: str
) -> None:
    entries["0140031996"]["imageURL"] = url
    write(session, entries)
    assert counted(expand(LISTED, session)) == (4, 1, 0)
    assert rows(session)["0140031996"].reason == "not an http(s) address"


def test_reasons_are_summed_up_most_frequent_first(session: Session, entries: Entries, web: Internet) -> None:
    web.inject(Fault("*014003*", FaultKind.STATUS, status=404, times=99))
    web.inject(Fault("*1437717772*", FaultKind.HTML, times=99))
    web.inject(Fault("*1451670761*", FaultKind.STATUS, status=500, times=99))
    assert list(expand(LISTED, session).reasons.items()) == [
        ("404 Not Found", 2),
        ("500 Internal Server Error", 1),
        ("a web page in place of a picture", 1),
    ]


def test_what_could_not_be_had_is_listed_beside_the_ledger_until_it_is_here(
    session: Session, entries: Entries, web: Internet
) -> None:
    web.inject(Fault("*0140031996*", FaultKind.STATUS, status=404, times=99))
    web.inject(Fault("*1437717772*", FaultKind.HTML, times=99))
    missing = expand(LISTED, session).missing
    assert missing == session.root.ledgers / "mine-list.json.missing.tsv"
    assert missing.read_text() == (
        "key\turl\tstate\treason\n"
        f"1437717772\t{HOST}/I/1437717772.jpg\tfailed\ta web page in place of a picture\n"
        f"0140031996\t{HOST}/I/0140031996.jpg\tgone\t404 Not Found\n"
    )
    web.heal()
    done = expand(LISTED, replace(session, retry_failed=True))
    assert (counted(done), done.reasons, done.missing) == ((5, 0, 0), {}, None)
    assert not missing.exists()


# Hosts in trouble


def elsewhere(session: Session, entries: Entries, base: str, count: int) -> None:
    """Let the list name so many addresses more, `base`/0.jpg and on."""
    write(session, entries | {f"other-{number}": {"imageURL": f"{base}/{number}.jpg"} for number in range(count)})


def asked_of(web: Internet, host: str) -> int:
    return sum(host in each.url for each in web.exchanges)


def test_a_host_that_cannot_be_reached_costs_one_back_off_and_not_one_for_each_address(
    session: Session, entries: Entries, web: Internet
) -> None:
    elsewhere(session, entries, "https://unknown.example", 500)
    done = expand(LISTED, session)
    assert counted(done) == (5, 0, 500)
    assert done.reasons == {"cannot be reached": 500}
    assert asked_of(web, "unknown.example") <= session.connections.total + session.policy.attempts
    reason = rows(session)["other-499"].reason or ""
    assert reason.endswith(": the host was given up for this run")


def test_a_host_with_a_certificate_that_is_not_trusted_is_given_up_as_one(
    session: Session, entries: Entries, web: Internet
) -> None:
    web.inject(Fault("https://host.example*", FaultKind.UNKNOWN_AUTHORITY, times=999))
    done = expand(LISTED, session)
    assert counted(done) == (0, 0, 5)
    assert list(done.reasons) == ["the server's certificate is not trusted"]
    assert (rows(session)["0140031996"].reason or "").endswith("the host was given up for this run")


def test_a_host_that_answers_nothing_but_errors_is_given_up_as_one(
    session: Session, entries: Entries, web: Internet
) -> None:
    elsewhere(session, entries, "https://mirror.example", 300)
    web.inject(Fault("https://mirror.example*", FaultKind.STATUS, status=500, times=9999))
    done = expand(LISTED, session)
    assert (counted(done), done.reasons) == ((5, 0, 300), {"500 Internal Server Error": 300})
    assert asked_of(web, "mirror.example") < 100


def test_retry_after_holds_all_addresses_of_the_host(
    make_session: MakeSession, site: Publisher, session: Session, web: Internet, told: Told
) -> None:
    many(session, site, 100)
    web.inject(Fault("*", FaultKind.STATUS, status=429, retry_after=500, times=999))
    cancel = threading.Event()
    patient = make_session(cancel=cancel, policy=Policy())

    def stop_in_the_pause() -> None:
        until(lambda: bool(told.of(EventKind.RETRY)))
        cancel.set()

    threading.Thread(target=stop_in_the_pause).start()
    with pytest.raises(Cancelled):
        expand(LISTED, patient)
    assert len(web.exchanges) <= session.connections.total
    assert set(states(session).values()) == {State.WAITING}
    assert told.texts(EventKind.RETRY)[0].startswith("host.example: 429 Too Many Requests: asks to wait 500 s; again")


def test_after_the_pause_that_a_host_wants_everything_comes(session: Session, site: Publisher, web: Internet) -> None:
    expected = many(session, site, 100)
    web.inject(Fault("*", FaultKind.STATUS, status=429, retry_after=0, times=3))
    assert counted(expand(LISTED, session)) == (100, 0, 0)
    assert images(session) == expected


def test_a_host_that_wants_a_longer_pause_than_we_have_patience_is_left_for_another_run(
    make_session: MakeSession, session: Session, site: Publisher, web: Internet
) -> None:
    expected = many(session, site, 100)
    web.inject(Fault("*", FaultKind.STATUS, status=503, retry_after=9999, times=999))
    done = expand(LISTED, make_session(policy=Policy(patience=60)))
    assert (counted(done), done.reasons) == ((0, 0, 100), {"503 Service Unavailable": 100})
    assert len(web.exchanges) <= session.connections.total
    web.heal()
    assert expand(LISTED, session).done == 100
    assert images(session) == expected


def test_a_host_that_bears_two_at_once_gives_everything_in_the_end(
    session: Session, site: Publisher, web: Internet
) -> None:
    many(session, site, 60)
    web.inject(Fault("*", FaultKind.CROWDED, status=429, limit=2, times=9999))
    assert counted(expand(LISTED, session)) == (60, 0, 0)


# What the disk and the list say


def test_a_file_that_was_lost_is_fetched_again(session: Session, entries: Entries) -> None:
    expand(LISTED, session)
    session.root.at(f"{INTO}/1437717772.gif").unlink()
    done = expand(LISTED, session)
    assert (counted(done), done.bytes) == ((5, 0, 0), len(GIF))


def test_a_file_that_came_otherwise_is_not_fetched(session: Session, entries: Entries, web: Internet) -> None:
    place = session.root.at(f"{INTO}/0140031996.jpg")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"brought by hand")
    assert counted(expand(LISTED, session)) == (5, 0, 0)
    assert place.read_bytes() == b"brought by hand"
    assert not any("0140031996" in each.url for each in web.exchanges)


def test_a_converted_file_stands_for_its_original(session: Session, entries: Entries, web: Internet) -> None:
    expand(LISTED, session)
    original = session.root.at(f"{INTO}/1437717772.gif")
    original.rename(original.with_suffix(".jpg"))
    asked = len(web.exchanges)
    assert counted(expand(LISTED, session)) == (5, 0, 0)
    assert len(web.exchanges) == asked
    assert rows(session)["1437717772"].name == "1437717772.jpg"


def test_a_new_entry_is_fetched_and_the_others_are_not(
    session: Session, site: Publisher, entries: Entries, web: Internet
) -> None:
    expand(LISTED, session)
    asked = len(web.exchanges)
    site.put(f"{HOST}/I/new", JPEG)
    write(session, entries | {"1": {"imageURL": f"{HOST}/I/new"}})
    assert counted(expand(LISTED, session)) == (6, 0, 0)
    assert len(web.exchanges) == asked + 1


def test_an_address_that_changed_is_tried_although_the_old_one_is_gone(
    session: Session, entries: Entries, web: Internet
) -> None:
    web.inject(Fault("*0140031996*", FaultKind.STATUS, status=404, times=99))
    expand(LISTED, session)
    entries["0140031996"]["imageURL"] = f"{HOST}/I/014003199X.jpg"
    write(session, entries)
    assert counted(expand(LISTED, session)) == (5, 0, 0)


def test_an_empty_list_is_refused(session: Session, entries: Entries) -> None:
    """Somebody else's error page may be an empty object; ended well, it would count as done for good."""
    write(session, {})
    with pytest.raises(AnnotationError, match="is an empty list, expected an entry for each file") as caught:
        expand(LISTED, session)
    assert "list.json and run the same command again" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([], "is not a JSON object of entries"),
        ({"a": []}, "is not a JSON object of entries"),
        ({"a": {"url": "x"}}, "the entry a has no `imageURL`"),
        ({"a": {"imageURL": None}}, "`imageURL` of the entry a is no address"),
        ({"a": {"imageURL": ["x"]}}, "`imageURL` of the entry a is no address"),
    ],
)
def test_a_list_of_another_form_is_refused(session: Session, entries: Entries, listed: object, words: str) -> None:
    write(session, listed)
    with pytest.raises(AnnotationError, match=words):
        expand(LISTED, session)
    assert not session.root.at(INTO).exists()


def test_a_list_that_is_no_json_is_refused(session: Session, entries: Entries) -> None:
    session.root.at("data/mine/list.json").write_bytes(PAGE)
    with pytest.raises(AnnotationError, match="is not a JSON object") as caught:
        expand(LISTED, session)
    assert caught.value.hint == "fetch it again"


@pytest.mark.parametrize("key", ["../up", "a/b", "/abs", "..", ".hidden", "", "a\\b", "a\nb", "nul\0", "a b"])
def test_a_key_that_cannot_be_a_file_s_name_is_refused_before_anything_is_fetched(
    session: Session, entries: Entries, web: Internet, key: str
) -> None:
    write(session, entries | {key: {"imageURL": f"{HOST}/I/0140031996.jpg"}})
    with pytest.raises(AnnotationError, match="cannot be a file's name"):
        expand(LISTED, session)
    assert web.exchanges == []
    assert not session.root.at(INTO).exists()


def test_what_is_no_picture_does_not_stand_for_one_of_the_same_name(session: Session, entries: Entries) -> None:
    note = session.root.at(f"{INTO}/0140031996.txt")
    note.parent.mkdir(parents=True)
    note.write_text("a note of the user's")
    assert counted(expand(LISTED, session)) == (5, 0, 0)
    assert images(session)["0140031996.jpg"] == JPEG


def test_an_entry_that_left_the_list_is_forgotten_and_its_file_stays(session: Session, entries: Entries) -> None:
    expand(LISTED, session)
    del entries["0140031996"]
    write(session, entries)
    assert counted(expand(LISTED, session)) == (4, 0, 0)
    assert "0140031996.jpg" in images(session)


def test_entries_of_one_address_become_a_file_each(session: Session, entries: Entries) -> None:
    write(session, entries | {"twin": entries["0140031996"]})
    assert counted(expand(LISTED, session)) == (6, 0, 0)
    assert images(session)["twin.jpg"] == images(session)["0140031996.jpg"] == JPEG


def test_keys_that_differ_only_in_case_are_two_files(session: Session, entries: Entries) -> None:
    other = {"imageURL": f"{HOST}/I/1437717772.jpg"}
    write(session, entries | {"014003199x": other})
    assert counted(expand(LISTED, session)) == (6, 0, 0)
    assert images(session)["014003199X.jpg"] == COVERS["014003199X"]
    assert images(session)["014003199x.gif"] == GIF


def test_the_longest_key_that_can_be_a_file_s_name_is_fetched(session: Session, entries: Entries) -> None:
    write(session, {"k" * 250: entries["1569755205"]})
    assert counted(expand(LISTED, session)) == (1, 0, 0)
    assert list(images(session)) == ["k" * 250 + ".webp"]


# Stopping and many at once


def many(session: Session, site: Publisher, count: int) -> dict[str, bytes]:
    """A list of so many entries, all of which can be had."""
    contents = {f"{number:04}": JPEG + b"%d" % number for number in range(count)}
    for key, content in contents.items():
        site.put(f"{HOST}/many/{key}", content)
    write(session, {key: {"imageURL": f"{HOST}/many/{key}"} for key in contents})
    return {f"{key}.jpg": content for key, content in contents.items()}


def test_more_entries_than_connections_and_more_than_one_commit(session: Session, site: Publisher) -> None:
    expected = many(session, site, 300)
    assert counted(expand(LISTED, session)) == (300, 0, 0)
    assert images(session) == expected


def test_a_wish_to_stop_keeps_what_is_done_and_the_next_run_fetches_the_rest(
    session: Session, make_session: MakeSession, site: Publisher, web: Internet
) -> None:
    expected = many(session, site, 120)
    cancel = threading.Event()

    def stop_after_some(event: Event) -> None:
        if event.kind is EventKind.UNPACK:
            cancel.set()

    with pytest.raises(Cancelled):
        expand(LISTED, make_session(cancel=cancel, report=stop_after_some))
    here = images(session)
    assert 1 <= len(here) < 120
    assert here.items() <= expected.items()
    assert expand(LISTED, session).done == 120
    assert images(session) == expected
    assert len(web.exchanges) == 120


def test_a_wish_to_stop_ends_a_wait(make_session: MakeSession, entries: Entries, web: Internet) -> None:
    cancel = threading.Event()
    patient = make_session(cancel=cancel, policy=Policy(attempts=9, base=1e6, cap=1e6))
    web.inject(Fault("*0140031996*", FaultKind.STATUS, status=503, times=99))

    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Cancelled):
        expand(LISTED, patient)
    assert states(patient)["0140031996"] is State.WAITING


def test_a_list_leaves_the_share_of_what_else_is_fetched_alone(session: Session, site: Publisher, told: Told) -> None:
    many(session, site, 100)
    with session.connections.join("elsewhere.example") as other:
        other.want = 4
        assert other.take()
        assert other.take()
        assert counted(expand(LISTED, session)) == (100, 0, 0)
    assert {event.connections for event in told.of(EventKind.UNPACK)} <= {0, 1, 2}
    assert session.connections.used == 0


def test_two_lists_have_a_ledger_each(session: Session, entries: Entries) -> None:
    expand(LISTED, session)
    other = replace(LISTED, name="other.json")
    expand(other, session)
    assert sorted(path.name for path in session.root.ledgers.glob("*.sqlite")) == [
        "mine-list.json.sqlite",
        "other.json.sqlite",
    ]


def test_a_ledger_that_is_no_ledger_is_told_with_what_to_do(session: Session, entries: Entries) -> None:
    path = ledger_path(session.root, LISTED.name)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(
        DiskError, match=r"cannot use the ledger .*mine-list.json.sqlite: file is not a database"
    ) as caught:
        expand(LISTED, session)
    assert "move the file away" in (caught.value.hint or "")


def test_a_ledger_that_a_kill_left_half_written_is_mended(session: Session, entries: Entries, tmp_path: Path) -> None:
    expand(LISTED, session)
    path = ledger_path(session.root, LISTED.name)
    script = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "rows = [(str(number), 'x' * 2000) for number in range(2000)]\n"
        "connection.executemany('INSERT INTO files (key, url, state) VALUES (?, ?, 0)', rows)\n"
        "os._exit(1)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=False)
    assert path.with_name(path.name + "-journal").exists()
    with pytest.raises(DiskError), read_ledger(path) as ledger:
        ledger.count(*State)
    assert counted(expand(LISTED, session)) == (5, 0, 0)
    assert not path.with_name(path.name + "-journal").exists()

"""Which of many requests a fault meets: after some, of each address, of those that come at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from cvl.demo.internet import Fault, FaultKind, Internet

PLAIN = "http://host.example/images.zip"
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for host in ("host.example", "mirror.example"):
        place = tmp_path / "http" / host
        place.mkdir(parents=True)
        (place / "images.zip").write_bytes(CONTENT)
    return tmp_path


@pytest.fixture
def internet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    with Internet(folder) as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        yield internet


def statuses(url: str, count: int) -> list[int]:
    with httpx.Client() as client:
        return [client.get(url).status_code for _ in range(count)]


def test_a_fault_may_leave_the_first_requests_alone(internet: Internet) -> None:
    internet.inject(Fault("*images.zip", FaultKind.STATUS, skip=2, times=2))
    assert statuses(PLAIN, 6) == [200, 200, 503, 503, 200, 200]


def test_what_a_fault_does_not_meet_is_not_counted_as_left_alone(internet: Internet) -> None:
    internet.inject(Fault("*images.zip", FaultKind.IGNORE_RANGE, skip=1))
    with httpx.Client() as client:
        replies = [client.get(PLAIN, headers=headers) for headers in ({}, *[{"Range": "bytes=0-9"}] * 3)]
    assert [reply.status_code for reply in replies] == [200, 206, 200, 206]


def test_a_server_may_know_ranges_for_the_first_request_only(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.IGNORE_RANGE, skip=1, times=99))
    with httpx.Client() as client:
        replies = [client.get(PLAIN, headers={"Range": "bytes=5-9"}) for _ in range(3)]
    assert [len(reply.content) for reply in replies] == [5, len(CONTENT), len(CONTENT)]


def test_a_change_may_come_in_the_middle(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.CHANGED_ETAG, skip=1))
    tags = [httpx.head(PLAIN).headers["etag"] for _ in range(3)]
    assert tags[0] != tags[1] == tags[2]


def test_each_address_expires_on_its_own(internet: Internet) -> None:
    internet.inject(Fault(f"{PLAIN}*", FaultKind.EXPIRE, skip=2, times=99, status=403))
    assert statuses(f"{PLAIN}?signature=1", 4) == [200, 200, 403, 403]
    assert statuses(f"{PLAIN}?signature=2", 3) == [200, 200, 403]
    internet.heal()
    assert statuses(f"{PLAIN}?signature=1", 1) == [200]


@pytest.mark.parametrize("status", [401, 403, 410])
def test_what_an_expired_address_says_differs_from_host_to_host(internet: Internet, status: int) -> None:
    internet.inject(Fault("*", FaultKind.EXPIRE, times=99, status=status))
    assert statuses(PLAIN, 1) == [status]


def test_a_crowd_is_refused_and_asked_to_come_back(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.CROWDED, limit=2, times=99, status=429, retry_after=1))
    internet.inject(Fault("*", FaultKind.STALL, after=100, times=2))
    with httpx.Client() as client, client.stream("GET", PLAIN) as one, client.stream("GET", PLAIN) as two:
        assert (one.status_code, two.status_code) == (200, 200)
        refused = httpx.get(PLAIN)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    for _ in range(100):
        if httpx.get(PLAIN).status_code == 200:
            return
    raise AssertionError("those who went away are still counted")


def test_a_crowd_that_comes_one_by_one_is_served(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.CROWDED, limit=1, times=99))
    assert statuses(PLAIN, 5) == [200] * 5


def test_of_many_that_come_at_once_some_are_refused(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.CROWDED, limit=3, times=99))
    internet.inject(Fault("*", FaultKind.RATE, rate=30_000))
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: httpx.get(PLAIN).status_code, range(8)))
    assert {200, 503} == set(replies)


def test_another_file_takes_the_place_of_the_first(internet: Internet, tmp_path: Path) -> None:
    newer = tmp_path / "newer.zip"
    newer.write_bytes(CONTENT[::-1])
    old = httpx.get(PLAIN).headers["etag"]
    internet.inject(Fault("*images.zip", FaultKind.REPLACED, replacement=newer))
    replies = [httpx.get(PLAIN, headers={"Range": "bytes=0-3", **more}) for more in ({}, {"If-Range": old})]
    assert [(reply.status_code, len(reply.content)) for reply in replies] == [(206, 4), (200, len(CONTENT))]
    assert replies[0].content == CONTENT[::-1][:4]
    assert replies[0].headers["etag"] != old
    internet.heal()
    assert httpx.get(PLAIN).content == CONTENT


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_chain_of_redirects_may_lead_across_hosts(internet: Internet, scheme: str) -> None:
    url = f"{scheme}://host.example/images.zip?a=1"
    internet.inject(Fault("*images.zip*", FaultKind.REDIRECT, across=("mirror.example", "cdn-lfs.huggingface.co")))
    reply = httpx.get(url, follow_redirects=True)
    assert [each.url.host for each in reply.history] == ["host.example", "mirror.example", "cdn-lfs.huggingface.co"]
    assert (reply.url.host, reply.url.scheme, reply.url.params["a"]) == ("host.example", scheme, "1")
    assert reply.content == CONTENT


def test_a_wrong_total_comes_with_the_right_bytes(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.WRONG_TOTAL))
    reply = httpx.get(PLAIN, headers={"Range": "bytes=5-9"})
    assert reply.headers["content-range"] == f"bytes 5-9/{len(CONTENT) + 1}"
    assert reply.content == CONTENT[5:10]


def test_a_server_without_ranges_leaves_room_for_another_fault(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.NO_RANGES))
    internet.inject(Fault("*", FaultKind.NO_CONTENT_LENGTH))
    replies = [httpx.get(PLAIN, headers={"Range": "bytes=5-9"}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert [reply.content for reply in replies] == [CONTENT] * 2
    assert ["content-length" in reply.headers for reply in replies] == [False, True]
    assert not any("accept-ranges" in reply.headers for reply in replies)


def test_excess_sends_more_than_it_says(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.EXCESS))
    reply = httpx.get(PLAIN, headers={"Range": "bytes=5-9"})
    assert reply.headers["content-range"] == f"bytes 5-9/{len(CONTENT)}"
    assert reply.content == CONTENT[5:]


def test_slow_begins_swiftly_and_then_drips(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.SLOW, after=1000, rate=10))
    received = b""
    with httpx.stream("GET", PLAIN, timeout=5) as reply:
        for chunk in reply.iter_raw():
            received += chunk
            if len(received) > 1002:
                break
    assert 1002 < len(received) < 2000
    assert CONTENT.startswith(received)
    assert httpx.get(PLAIN).content == CONTENT


def test_a_rate_leaves_room_for_another_fault(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.RATE, rate=1e6))
    internet.inject(Fault("*", FaultKind.IGNORE_RANGE))
    assert httpx.get(PLAIN, headers={"Range": "bytes=5-9"}).content == CONTENT
    assert httpx.get(PLAIN, headers={"Range": "bytes=5-9"}).content == CONTENT[5:10]

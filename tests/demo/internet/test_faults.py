from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import requests

from cvl.demo.internet import Fault, FaultKind, Internet

PLAIN = "http://host.example/images.zip"
SECURE = "https://host.example/images.zip"
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "http" / "host.example"
    place.mkdir(parents=True)
    (place / "images.zip").write_bytes(CONTENT)
    (place / "tiny.txt").write_bytes(b"x")
    return tmp_path


@pytest.fixture
def internet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    with Internet(folder) as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        yield internet


@pytest.fixture(params=[PLAIN, SECURE], ids=["http", "https"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read_until_it_breaks(url: str, timeout: float = 5) -> tuple[bytes, type[Exception] | None]:
    """The body as far as it came, and the error that ended it."""
    received = bytearray()
    try:
        with httpx.stream("GET", url, timeout=timeout) as reply:
            for chunk in reply.iter_raw():
                received += chunk
    except httpx.TransportError as error:
        return bytes(received), type(error)
    return bytes(received), None


def test_without_a_fault_all_is_well(internet: Internet, url: str) -> None:
    assert read_until_it_breaks(url) == (CONTENT, None)


@pytest.mark.parametrize("status", [204, 304, 403, 404, 429, 500, 503])
def test_status_takes_the_place_of_the_reply(internet: Internet, status: int) -> None:
    internet.inject(Fault("*images.zip", FaultKind.STATUS, status=status))
    with httpx.Client() as client:
        assert [client.get(SECURE).status_code for _ in range(2)] == [status, 200]


@pytest.mark.parametrize("wish", [7, "Wed, 21 Oct 2037 07:28:00 GMT"])
def test_status_may_say_when_to_come_back(internet: Internet, wish: int | str) -> None:
    internet.inject(Fault("*", FaultKind.STATUS, status=429, retry_after=wish))
    assert httpx.get(PLAIN).headers["retry-after"] == str(wish)
    internet.inject(Fault("*", FaultKind.STATUS, status=429))
    assert "retry-after" not in httpx.get(PLAIN).headers


def test_html_comes_in_place_of_the_archive(internet: Internet, url: str) -> None:
    internet.inject(Fault("*images.zip", FaultKind.HTML))
    assert httpx.head(url).headers["content-type"] == "application/zip"
    reply = httpx.get(url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert reply.text.startswith("<!DOCTYPE html>")
    assert httpx.get(url).content == CONTENT


def test_truncate_promises_all_and_sends_less(internet: Internet, url: str) -> None:
    internet.inject(Fault("*images.zip", FaultKind.TRUNCATE, after=300_000))
    with httpx.stream("GET", url) as reply:
        assert reply.headers["content-length"] == str(len(CONTENT))
        with pytest.raises(httpx.RemoteProtocolError):
            reply.read()
    assert internet.body_bytes() == 300_000
    assert read_until_it_breaks(url) == (CONTENT, None)


def test_truncate_cuts_a_range_too_but_leaves_a_shorter_body_alone(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.TRUNCATE, after=100))
    with requests.Session() as session:
        assert len(session.get(PLAIN, headers={"Range": "bytes=0-99"}).content) == 100
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            session.get(PLAIN, headers={"Range": "bytes=0-199"})


def test_reset_breaks_the_connection(internet: Internet, url: str) -> None:
    internet.inject(Fault("*images.zip", FaultKind.RESET, after=200_000))
    received, error = read_until_it_breaks(url)
    # Under TLS, Python's ssl module reports the end of the stream where the socket reports the reset.
    assert error in ((httpx.ReadError,) if url == PLAIN else (httpx.ReadError, httpx.RemoteProtocolError))
    assert CONTENT.startswith(received)
    assert len(received) <= 200_000
    assert read_until_it_breaks(url) == (CONTENT, None)


def test_stall_lasts_until_the_client_gives_up(internet: Internet, url: str) -> None:
    internet.inject(Fault("*images.zip", FaultKind.STALL, after=1000))
    assert read_until_it_breaks(url, timeout=0.2) == (CONTENT[:1000], httpx.ReadTimeout)
    assert read_until_it_breaks(url) == (CONTENT, None)


def test_a_stall_does_not_hold_up_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1) as pool:
        with Internet(folder) as internet:
            for name, value in internet.environment().items():
                monkeypatch.setenv(name, value)
            internet.inject(Fault("*", FaultKind.STALL, after=1000))
            outcome = pool.submit(read_until_it_breaks, url, timeout=60)
            while internet.body_bytes() < 1000:
                time.sleep(0.01)
        received, error = outcome.result(timeout=30)
    assert (received, error is None) == (CONTENT[:1000], False)
    assert set(threading.enumerate()) == before


def test_ignore_range_sends_the_whole_file(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.IGNORE_RANGE))
    assert httpx.get(PLAIN).status_code == 200
    first, second = (httpx.get(PLAIN, headers={"Range": "bytes=10-19"}) for _ in range(2))
    assert (first.status_code, first.content) == (200, CONTENT)
    assert (second.status_code, second.content) == (206, CONTENT[10:20])


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("10-19", "9-18"), ("0-9", "1-10"), (f"0-{len(CONTENT) - 1}", f"1-{len(CONTENT) - 1}")],
)
def test_wrong_content_range_sends_other_bytes_and_says_so(internet: Internet, asked: str, sent: str) -> None:
    internet.inject(Fault("*", FaultKind.WRONG_CONTENT_RANGE))
    reply = httpx.get(SECURE, headers={"Range": f"bytes={asked}"})
    first, last = map(int, sent.split("-"))
    assert reply.status_code == 206
    assert reply.headers["content-range"] == f"bytes {sent}/{len(CONTENT)}"
    assert reply.content == CONTENT[first : last + 1]


def test_changed_etag_makes_another_file_of_it_until_it_heals(internet: Internet) -> None:
    old = httpx.head(PLAIN).headers["etag"]
    internet.inject(Fault("*images.zip", FaultKind.CHANGED_ETAG))
    changed = [httpx.head(PLAIN).headers["etag"], httpx.get(PLAIN).headers["etag"]]
    assert changed[0] == changed[1] != old
    resume = [httpx.get(PLAIN, headers={"Range": "bytes=5-", "If-Range": tag}) for tag in (old, changed[0])]
    assert [reply.status_code for reply in resume] == [200, 206]
    internet.heal()
    assert httpx.head(PLAIN).headers["etag"] == old


def test_changed_etag_leaves_room_for_another_fault(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.CHANGED_ETAG))
    internet.inject(Fault("*", FaultKind.STATUS))
    assert [httpx.get(PLAIN).status_code for _ in range(2)] == [503, 200]


@pytest.mark.parametrize("place", [0, 700_000, len(CONTENT) - 1])
def test_flip_alters_one_byte(internet: Internet, place: int) -> None:
    internet.inject(Fault("*", FaultKind.FLIP, after=place))
    damaged = httpx.get(PLAIN).content
    assert [index for index, pair in enumerate(zip(damaged, CONTENT, strict=True)) if pair[0] != pair[1]] == [place]
    assert httpx.get(PLAIN).content == CONTENT


def test_no_content_length_ends_with_the_connection(internet: Internet, url: str) -> None:
    internet.inject(Fault("*", FaultKind.NO_CONTENT_LENGTH))
    with httpx.Client() as client:
        reply = client.get(url)
        assert reply.content == CONTENT
        assert not {"content-length", "transfer-encoding"} & set(reply.headers)
        assert "content-length" in client.get(url).headers


def test_chunked_names_no_length_either(internet: Internet, url: str) -> None:
    internet.inject(Fault("*", FaultKind.CHUNKED))
    with httpx.Client() as client:
        reply = client.get(url)
        assert reply.content == CONTENT
        assert reply.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in reply.headers
        assert client.get(url).content == CONTENT
    assert internet.body_bytes() == 2 * len(CONTENT)


def test_content_encoding_packs_what_nobody_asked_to_be_packed(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.CONTENT_ENCODING))
    with httpx.stream("GET", PLAIN, headers={"Accept-Encoding": "identity"}) as reply:
        packed = b"".join(reply.iter_raw())
    assert reply.headers["content-encoding"] == "gzip"
    assert int(reply.headers["content-length"]) == len(packed) < len(CONTENT)
    assert gzip.decompress(packed) == CONTENT


def test_redirect_is_a_chain_of_so_many(internet: Internet, url: str) -> None:
    internet.inject(Fault("*images.zip", FaultKind.REDIRECT, hops=3))
    reply = httpx.get(url, follow_redirects=True)
    assert [each.status_code for each in reply.history] == [302] * 3
    assert reply.content == CONTENT
    assert not httpx.get(url, follow_redirects=True).history


def test_redirect_keeps_the_query(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.REDIRECT, times=5))
    location = httpx.URL(httpx.get(f"{SECURE}?a=1&b=%26").headers["location"])
    assert dict(location.params) == {"a": "1", "b": "&", "_hop": "0"}


def test_a_query_field_that_only_looks_like_a_hop_is_left_alone(internet: Internet) -> None:
    assert httpx.get(f"{PLAIN}?_hop=x").content == CONTENT


def test_redirect_loop_has_no_end(internet: Internet) -> None:
    internet.inject(Fault("*images.zip", FaultKind.REDIRECT_LOOP))
    with pytest.raises(httpx.TooManyRedirects):
        httpx.get(PLAIN, follow_redirects=True)
    assert httpx.get(PLAIN).content == CONTENT


def test_no_head_refuses_head_only(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.NO_HEAD))
    assert httpx.get(PLAIN).status_code == 200
    refused = httpx.head(PLAIN)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert httpx.head(PLAIN).status_code == 200


def test_quota_meets_drive_only(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.QUOTA))
    assert httpx.get(PLAIN).content == CONTENT


def test_a_fault_meets_its_urls_only_and_so_many_times(internet: Internet) -> None:
    internet.inject(Fault("https://*images.zip", FaultKind.STATUS, times=2))
    assert httpx.get(PLAIN).status_code == 200
    assert httpx.get("https://host.example/tiny.txt").status_code == 200
    assert [httpx.get(SECURE).status_code for _ in range(3)] == [503, 503, 200]


def test_a_fault_may_meet_one_method_only(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.STATUS, method="GET"))
    assert httpx.head(PLAIN).status_code == 200
    assert httpx.get(PLAIN).status_code == 503


def test_faults_meet_one_request_each_in_their_order(internet: Internet) -> None:
    for status in (500, 429, 403):
        internet.inject(Fault("*", FaultKind.STATUS, status=status))
    assert [httpx.get(PLAIN).status_code for _ in range(4)] == [500, 429, 403, 200]


def test_faults_of_the_body_wait_for_a_reply_that_has_one(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.FLIP))
    assert httpx.head("http://host.example/tiny.txt").status_code == 200
    assert httpx.get("http://host.example/nothing").text == "Not found\n"
    assert httpx.get("http://host.example/tiny.txt").content == bytes([ord("x") ^ 0xFF])


def test_heal_takes_all_faults_back(internet: Internet) -> None:
    for kind in (FaultKind.STATUS, FaultKind.RESET, FaultKind.CHANGED_ETAG):
        internet.inject(Fault("*", kind, times=100))
    internet.heal()
    assert httpx.get(PLAIN).content == CONTENT


def test_parallel_requests_share_the_count(internet: Internet) -> None:
    internet.inject(Fault("*tiny.txt", FaultKind.STATUS, times=10))
    with httpx.Client() as client, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: client.get("http://host.example/tiny.txt").status_code, range(40)))
    assert sorted(replies) == [200] * 30 + [503] * 10

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import requests

from cvl.demo.internet import Internet
from cvl.demo.internet.exchange import Exchange

COCO = "http://images.cocodataset.org/zips/train2017.zip"
GQA = "https://downloads.cs.stanford.edu/nlp/data/gqa/images.zip"
COCO_BYTES = bytes(range(256)) * 64
GQA_BYTES = COCO_BYTES[::-1]


def put(folder: Path, place: str, content: bytes) -> None:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "http/images.cocodataset.org/zips/train2017.zip", COCO_BYTES)
    put(tmp_path, "http/downloads.cs.stanford.edu/nlp/data/gqa/images.zip", GQA_BYTES)
    put(tmp_path, "http/host.example/with space/ü%.txt", b"odd name")
    put(tmp_path, "secret.txt", b"not below any host")
    return tmp_path


@pytest.fixture
def internet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    with Internet(folder) as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        yield internet


def test_httpx_gets_the_real_urls_unchanged(internet: Internet) -> None:
    with httpx.Client() as client:
        assert client.get(COCO).content == COCO_BYTES
        assert client.get(GQA).content == GQA_BYTES


def test_requests_gets_the_real_urls_unchanged(internet: Internet) -> None:
    with requests.Session() as session:
        assert session.get(COCO).content == COCO_BYTES
        assert session.get(GQA).content == GQA_BYTES


def test_a_child_process_gets_there_by_the_environment_alone(internet: Internet) -> None:
    script = (
        "import hashlib, sys, urllib.request as u\n"
        "for url in sys.argv[1:]: print(hashlib.sha256(u.urlopen(url).read()).hexdigest())"
    )
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, COCO, GQA],
        env={**os.environ, **internet.environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.split() == [hashlib.sha256(content).hexdigest() for content in (COCO_BYTES, GQA_BYTES)]


def test_the_environment_overrules_proxies_in_both_cases(internet: Internet) -> None:
    environment = internet.environment()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        assert environment[name] == environment[name.lower()] == internet.url
    assert environment["NO_PROXY"] == environment["no_proxy"] == ""


def test_a_host_that_nobody_plays_is_refused_by_the_stand_in_itself(internet: Internet) -> None:
    reply = httpx.get("http://example.org/file.zip")
    assert (reply.status_code, "plays no host example.org" in reply.text) == (502, True)
    with pytest.raises(httpx.ProxyError, match="502"):
        httpx.get("https://example.org/file.zip")
    assert [(each.method, each.url) for each in internet.exchanges] == [
        ("GET", "http://example.org/file.zip"),
        ("CONNECT", "https://example.org"),
    ]


def test_a_path_that_is_not_there_gets_404(internet: Internet) -> None:
    for path in ("/", "/zips", "/zips/", "/zips/val2017.zip"):
        assert httpx.get(f"http://images.cocodataset.org{path}").status_code == 404


@pytest.mark.parametrize("path", ["/../../secret.txt", "/%2e%2e/%2e%2e/secret.txt", "/..%2f..%2fsecret.txt"])
@pytest.mark.parametrize("host", ["images.cocodataset.org", "..", "huggingface.co", "scontent.xx.fbcdn.net/m1/v"])
def test_no_path_leads_out_of_the_folder_of_a_host(internet: Internet, host: str, path: str) -> None:
    reply = raw(internet, f"GET http://{host}{path}?oe=FFFFFFFF HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert reply.split()[1] in (b"404", b"502")
    assert b"not below any host" not in reply


def test_a_malformed_url_gets_400(internet: Internet) -> None:
    assert b" 400 " in raw(internet, "GET http://[ HTTP/1.1\r\nConnection: close\r\n\r\n")


def test_other_methods_are_not_served(internet: Internet) -> None:
    assert httpx.post(COCO, content=b"x").status_code == 501


def test_encoded_names_are_decoded(internet: Internet) -> None:
    assert httpx.get("http://host.example/with%20space/%C3%BC%25.txt").content == b"odd name"


def test_a_port_in_the_url_does_not_make_another_host(internet: Internet) -> None:
    assert httpx.get("http://images.cocodataset.org:8080/zips/train2017.zip").content == COCO_BYTES


def test_head_tells_what_get_would_send(internet: Internet) -> None:
    head, get = httpx.head(COCO), httpx.get(COCO)
    same = ("content-length", "etag", "last-modified", "accept-ranges", "content-type")
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]
    assert head.content == b""
    assert head.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("url", [COCO, GQA])
def test_a_transfer_goes_on_where_it_stopped(internet: Internet, url: str) -> None:
    whole = httpx.get(url)
    rest = httpx.get(url, headers={"Range": "bytes=1000-", "If-Range": whole.headers["etag"]})
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes 1000-{len(COCO_BYTES) - 1}/{len(COCO_BYTES)}"
    assert whole.content[:1000] + rest.content == whole.content


def test_many_requests_share_one_connection(internet: Internet) -> None:
    address = httpx.URL(internet.url)
    with socket.create_connection((address.host, address.port)) as client, client.makefile("rb") as stream:
        for _ in range(3):
            client.sendall(b"GET " + COCO.encode() + b" HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n")
            assert stream.readline().startswith(b"HTTP/1.1 206")
            while stream.readline() != b"\r\n":
                pass
            assert stream.read(10) == COCO_BYTES[:10]


def test_many_connections_are_served_at_once(internet: Internet) -> None:
    clients = 32
    together = threading.Barrier(clients)

    def segment(index: int) -> bytes:
        together.wait()
        span = f"bytes={index * 512}-{index * 512 + 511}"
        return httpx.get(GQA if index % 2 else COCO, headers={"Range": span}).content

    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(segment, range(clients)))
    whole = {0: COCO_BYTES, 1: GQA_BYTES}
    assert parts == [whole[index % 2][index * 512 : index * 512 + 512] for index in range(clients)]


def test_what_was_asked_and_sent_is_on_record(internet: Internet) -> None:
    httpx.head(COCO)
    httpx.get(GQA, headers={"Range": "bytes=0-99"})
    httpx.get(COCO)
    assert internet.exchanges == [
        Exchange("HEAD", COCO, None, 200, 0),
        Exchange("GET", GQA, "bytes=0-99", 206, 100),
        Exchange("GET", COCO, None, 200, len(COCO_BYTES)),
    ]
    assert internet.body_bytes("https://*") == 100
    assert internet.body_bytes("*.zip") == internet.body_bytes() == 100 + len(COCO_BYTES)


def test_a_file_that_is_put_there_later_is_served(internet: Internet, folder: Path) -> None:
    put(folder, "http/new.example/late.txt", b"late")
    assert httpx.get("https://new.example/late.txt").content == b"late"


def test_the_authority_lies_where_it_was_asked_for(folder: Path, tmp_path: Path) -> None:
    with Internet(folder, certificates=tmp_path / "authority") as internet:
        pem = Path(internet.environment()["SSL_CERT_FILE"])
        assert pem.parent == tmp_path / "authority"
        assert pem.read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_the_temporary_authority_is_gone_afterwards(folder: Path) -> None:
    with Internet(folder) as internet:
        pem = Path(internet.environment()["SSL_CERT_FILE"])
        assert pem.exists()
    assert not pem.exists()


def test_a_client_without_the_authority_trusts_nothing(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(GQA)


def test_the_end_closes_idle_connections_and_leaves_no_thread(folder: Path) -> None:
    before = set(threading.enumerate())
    with Internet(folder) as internet:
        address = httpx.URL(internet.url)
        idle = [socket.create_connection((address.host, address.port)) for _ in range(3)]
        idle[0].sendall(b"CONNECT downloads.cs.stanford.edu:443 HTTP/1.1\r\n\r\n")
        assert b"200" in idle[0].recv(100)
    for client in idle:
        assert client.recv(100) == b""
        client.close()
    assert set(threading.enumerate()) == before


def test_a_client_that_leaves_in_the_middle_does_no_harm(internet: Internet, folder: Path) -> None:
    put(folder, "http/big.example/big.bin", bytes(16 << 20))
    for url in ("http://big.example/big.bin", "https://big.example/big.bin"):
        with httpx.stream("GET", url) as reply:
            assert next(reply.iter_raw(1000)) == bytes(1000)
    assert httpx.get(COCO).content == COCO_BYTES


def test_two_of_them_do_not_know_each_other(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    put(other, "http/images.cocodataset.org/zips/train2017.zip", b"other")
    with Internet(folder) as first, Internet(other) as second:
        assert httpx.get(COCO, proxy=first.url).content == COCO_BYTES
        assert httpx.get(COCO, proxy=second.url).content == b"other"
        assert [len(each.exchanges) for each in (first, second)] == [1, 1]


def test_curl_agrees(internet: Internet) -> None:
    command = ["curl", "-sS", "--cacert", os.environ["SSL_CERT_FILE"], "-r", "0-99", "-w", "%{http_code}", GQA]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    except FileNotFoundError:
        pytest.skip("curl is not installed")
    assert answer == GQA_BYTES[:100] + b"206"


def raw(internet: Internet, request: str) -> bytes:
    """The reply to a request that no client would send in this form."""
    address = httpx.URL(internet.url)
    with socket.create_connection((address.host, address.port)) as client, client.makefile("rb") as stream:
        client.sendall(request.encode())
        return stream.read()

"""Faults that meet a client before it has reached its host: a proxy with questions, a certificate that is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cvl.demo.internet import Fault, FaultKind, Internet

PLAIN = "http://host.example/file.bin"
SECURE = "https://host.example/file.bin"


@pytest.fixture
def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    place = tmp_path / "http" / "host.example"
    place.mkdir(parents=True)
    (place / "file.bin").write_bytes(b"content")
    with Internet(tmp_path) as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        yield internet


def test_a_proxy_may_ask_who_one_is(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    internet.inject(Fault("*", FaultKind.PROXY_AUTH, times=99))
    refused = httpx.get(PLAIN)
    assert (refused.status_code, refused.headers["proxy-authenticate"].split()[0]) == (407, "Basic")
    with pytest.raises(httpx.ProxyError, match="407"):
        httpx.get(SECURE)
    assert [(each.method, each.url, each.status) for each in internet.exchanges] == [
        ("GET", PLAIN, 407),
        ("CONNECT", "https://host.example", 407),
    ]
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, internet.url.replace("//", "//user:secret@"))
    assert [httpx.get(url).content for url in (PLAIN, SECURE)] == [b"content"] * 2


def test_what_is_no_proxy_does_not_ask(internet: Internet) -> None:
    """A request to the port itself is one to the hub."""
    internet.inject(Fault("*", FaultKind.PROXY_AUTH, times=99))
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{internet.url}/file.bin").status_code == 404


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [(FaultKind.UNKNOWN_AUTHORITY, "self-signed|issuer|unable to get"), (FaultKind.OTHER_NAME, "ostname|not valid")],
)
def test_a_certificate_may_be_none(internet: Internet, kind: FaultKind, complaint: str) -> None:
    internet.inject(Fault("https://host.example", kind))
    with pytest.raises(httpx.ConnectError, match=complaint):
        httpx.get(SECURE)
    assert internet.exchanges == []
    assert httpx.get(SECURE).content == b"content"


def test_faults_of_tunnels_leave_requests_alone_and_others_leave_tunnels_alone(internet: Internet) -> None:
    internet.inject(Fault("*", FaultKind.OTHER_NAME))
    assert httpx.get(PLAIN).content == b"content"
    internet.heal()
    internet.inject(Fault("*", FaultKind.STATUS, times=1))
    assert [httpx.get(SECURE).status_code for _ in range(2)] == [503, 200]


def test_a_tunnel_may_be_refused_by_name(internet: Internet) -> None:
    internet.inject(Fault("https://host.example", FaultKind.STATUS, method="CONNECT", status=502))
    with pytest.raises(httpx.ProxyError, match="502"):
        httpx.get(SECURE)
    assert httpx.get(SECURE).content == b"content"

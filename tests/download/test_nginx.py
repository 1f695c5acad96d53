"""`cvl fetch` as a process against a real nginx: what its directives do to ranges, connections and certificates."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import trustme
from fetching import JPEG, noise, sha256, until, zipped
from nginx import Exchange, Nginx, StartNginx
from support import Cvl, Done

from cvl.root import Root

CONTENT = noise(40_000_000)
SIZE = len(CONTENT)
CONNECTIONS = 16
"""What a fetch may have at once unless the user says otherwise."""
SLOW = 8_000_000
"""Bytes a second of each connection, for what is to be interrupted."""
TWO_AT_A_TIME = "limit_conn all 2;"
COUNTED = "limit_conn_zone $server_addr zone=all:64k;"


@dataclass(frozen=True)
class Place:
    """A folder that nginx serves, and a `cvl` that fetches the source `mine` from it into `tree`."""

    served: Path
    tree: Root
    manifests: Path
    cvl: Cvl

    def publish(self, name: str, content: bytes, server: str, **known: Any) -> None:
        """Serve a file under `name`, and let the source be this one file."""
        (self.served / name).write_bytes(content)
        where = {} if "unpack" in known else {"path": f"data/mine/{name}"}
        self._write({"name": f"mine-{name}", "url": f"{server}/{name}", **where, **known})

    def publish_pictures(self, count: int, server: str) -> None:
        """Serve pictures and their list, and let the source be this list."""
        for number in range(count):
            (self.served / f"{number}.jpg").write_bytes(JPEG + noise(5000, number))
        listed = {f"p{number}": {"imageURL": f"{server}/{number}.jpg"} for number in range(count)}
        into = {"into": "data/mine/images", "url_field": "imageURL"}
        self.publish("list.json", json.dumps(listed).encode(), server, expand=into)

    def _write(self, file: dict[str, Any]) -> None:
        (self.manifests / "mine.toml").write_text(tomli_w.dumps({"title": "Mine", "files": [file]}))

    def fetch(self, *options: str, **environment: str) -> Done:
        """Run `cvl fetch mine` to its end."""
        return self.cvl("fetch", "mine", *options, env=environment)

    def begin(self, *options: str) -> subprocess.Popen[str]:
        """Start `cvl fetch mine` and let it write some megabytes of a slow file."""
        process = self.cvl.start("fetch", "mine", *options)
        until(lambda: process.poll() is not None or written_by(process.pid) > 5_000_000)
        assert process.poll() is None, process.communicate()
        return process

    def got(self, name: str) -> bytes:
        """The file as it lies in the tree."""
        return self.tree.at(f"data/mine/{name}").read_bytes()

    def pictures(self) -> dict[str, bytes]:
        """Every picture in the tree."""
        return {path.name: path.read_bytes() for path in self.tree.at("data/mine/images").iterdir()}


@pytest.fixture
def place(tmp_path: Path, tree: Root) -> Place:
    folders = {name: tmp_path / name for name in ("served", "manifests")}
    for folder in folders.values():
        folder.mkdir()
    environment = {"CVL_ROOT": str(tree.path), "CVL_MANIFESTS": str(folders["manifests"])}
    return Place(folders["served"], tree, folders["manifests"], Cvl(tmp_path, environment))


def written_by(pid: int) -> int:
    """Bytes that a process has written so far, to files among others."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def ended(process: subprocess.Popen[str]) -> Done:
    stdout, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr, stderr
    return Done(process.returncode, stdout, stderr)


def killed(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def connections(server: Nginx) -> int:
    """How many connections there were, over the whole time."""
    return len({exchange.connection for exchange in server.exchanges})


def spans(exchanges: Iterable[Exchange]) -> list[tuple[int, int]]:
    """The first and the last byte of every range that was asked for, in the file's order."""
    asked = (exchange.range.removeprefix("bytes=").split("-") for exchange in exchanges if exchange.range)
    return sorted((int(first), int(last)) for first, last in asked)


def test_a_large_file_comes_in_ranges_over_connections_that_are_kept(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served)
    place.publish("big.bin", CONTENT, server.url, size=SIZE, sha256=sha256(CONTENT))
    done = place.fetch()
    assert done.code == 0, done.stderr
    assert place.got("big.bin") == CONTENT
    exchanges = server.exchanges
    assert {exchange.status for exchange in exchanges} == {206}
    # More answers than connections: they were used again.
    assert len({exchange.connection for exchange in exchanges}) <= CONNECTIONS < len(exchanges)
    assert sum(exchange.bytes for exchange in exchanges) == SIZE


def test_ranges_meet_and_do_not_overlap(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served)
    place.publish("big.bin", CONTENT, server.url, size=SIZE)
    assert place.fetch().code == 0
    asked = spans(server.exchanges)
    assert [first for first, _ in asked] == [0, *(last + 1 for _, last in asked[:-1])]
    assert asked[-1][1] == SIZE - 1


def test_a_file_that_nobody_knows_anything_of_comes_in_ranges_too(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, pace=10_000_000)
    place.publish("big.bin", CONTENT, server.url)
    assert place.fetch().code == 0
    assert place.got("big.bin") == CONTENT
    assert connections(server) > 1


def test_a_server_that_limits_each_request_is_asked_over_several(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, "limit_rate 8m;")
    place.publish("big.bin", CONTENT, server.url, size=SIZE, sha256=sha256(CONTENT))
    assert place.fetch().code == 0
    assert place.got("big.bin") == CONTENT
    assert connections(server) > 1


def test_no_more_connections_are_opened_than_the_user_allows(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, pace=10_000_000)
    place.publish("big.bin", CONTENT, server.url, size=SIZE, sha256=sha256(CONTENT))
    assert place.fetch("--connections", "2").code == 0
    assert connections(server) == 2


def test_503_for_too_many_connections_makes_them_fewer_and_the_file_whole(place: Place, nginx: StartNginx) -> None:
    # A rate of nginx's own: what the kernel paces has left nginx, and counts no more.
    server = nginx(place.served, f"{TWO_AT_A_TIME} limit_rate 1m;", http=COUNTED)
    place.publish("big.bin", CONTENT, server.url, size=SIZE, sha256=sha256(CONTENT))
    done = place.fetch()
    assert done.code == 0, done.stderr
    assert place.got("big.bin") == CONTENT
    refused = sum(exchange.status == 503 for exchange in server.exchanges)
    assert 0 < refused < 100


def test_a_list_is_whole_although_the_server_takes_two_at_a_time(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, TWO_AT_A_TIME, http=COUNTED)
    place.publish_pictures(60, server.url)
    done = place.fetch("--connections", "2")
    assert done.code == 0, done.stderr
    assert len(place.pictures()) == 60


def test_a_server_that_packs_what_it_sends_is_asked_not_to(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, "gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.0; gzip_proxied any;")
    archive = zipped({"words.txt": b"the same words over and over " * 10_000})
    place.publish("words.zip", archive, server.url, size=len(archive), unpack={"into": "data/mine"})
    done = place.fetch()
    assert done.code == 0, done.stderr
    assert place.got("words.txt") == b"the same words over and over " * 10_000
    assert sum(exchange.bytes for exchange in server.exchanges) == len(archive)


def test_a_server_that_packs_in_spite_of_it_is_refused_with_a_word(place: Place, nginx: StartNginx) -> None:
    archive = zipped({"words.txt": b"words " * 10_000})
    (place.served / "words.zip.gz").write_bytes(gzip.compress(archive))
    server = nginx(place.served, "gzip_static always;")
    place.publish("words.zip", archive, server.url, unpack={"into": "data/mine"})
    done = place.fetch()
    assert done.code == 1
    assert "gzip" in done.stderr
    assert not place.tree.at("data/mine").exists()


def test_a_server_that_ignores_ranges_is_asked_once(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, "max_ranges 0;")
    place.publish("big.bin", CONTENT, server.url, size=SIZE, sha256=sha256(CONTENT))
    assert place.fetch().code == 0
    assert place.got("big.bin") == CONTENT
    assert [exchange.status for exchange in server.exchanges] == [200]


def test_a_server_that_dies_in_mid_file_and_comes_back_is_gone_on_with(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, pace=SLOW)
    place.publish("big.bin", CONTENT, server.url, size=SIZE, sha256=sha256(CONTENT))
    process = place.begin("--connections", "2")
    server.kill()
    server.forget()
    server.start()
    done = ended(process)
    assert done.code == 0, done.stderr
    assert place.got("big.bin") == CONTENT
    assert sum(exchange.bytes for exchange in server.exchanges) < SIZE - 3_000_000


def test_a_server_that_stays_dead_costs_nothing_of_what_came(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, pace=SLOW)
    place.publish("big.bin", CONTENT, server.url, size=SIZE, sha256=sha256(CONTENT))
    process = place.begin("--connections", "2", "--retries", "1")
    server.kill()
    failed = ended(process)
    assert failed.code == 1
    assert f"127.0.0.1:{server.port}" in failed.stderr
    server.forget()
    server.start()
    assert place.fetch().code == 0
    assert place.got("big.bin") == CONTENT
    assert sum(exchange.bytes for exchange in server.exchanges) < SIZE - 3_000_000


def test_a_killed_fetch_goes_on_where_it_stood(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, pace=SLOW)
    place.publish("big.bin", CONTENT, server.url)
    killed(place.begin("--connections", "2"))
    # Started anew, so that answers which the kill has cut off are in the log before it is forgotten.
    server.stop()
    server.forget()
    server.start()
    assert place.fetch().code == 0
    assert place.got("big.bin") == CONTENT
    assert sum(exchange.bytes for exchange in server.exchanges) < SIZE - 3_000_000


def test_a_file_that_changed_meanwhile_is_begun_anew(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served, pace=SLOW)
    place.publish("big.bin", CONTENT, server.url)
    killed(place.begin("--connections", "2"))
    other = noise(SIZE, 1)
    replacement = place.served / "replacement"
    replacement.write_bytes(other)
    # nginx makes its entity tags of whole seconds.
    os.utime(replacement, (1_700_000_000, 1_700_000_000))
    replacement.rename(place.served / "big.bin")
    done = place.fetch()
    assert done.code == 0, done.stderr
    assert place.got("big.bin") == other


def test_small_files_share_connections_that_are_kept(place: Place, nginx: StartNginx) -> None:
    server = nginx(place.served)
    place.publish_pictures(300, server.url)
    assert place.fetch().code == 0
    assert place.pictures() == {f"p{number}.jpg": JPEG + noise(5000, number) for number in range(300)}
    pictures = [exchange for exchange in server.exchanges if exchange.uri.endswith(".jpg")]
    assert len(pictures) == 300
    assert len({exchange.connection for exchange in pictures}) <= 2 * CONNECTIONS


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(place: Place, nginx: StartNginx, authority: trustme.CA, tmp_path: Path) -> Nginx:
    """A server that offers HTTP/2, with a certificate that nobody knows but those who are told of `ca.pem`."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    files = f"ssl_certificate {tmp_path}/server.pem; ssl_certificate_key {tmp_path}/server.pem;"
    return nginx(place.served, files, listen=" ssl http2")


def test_a_file_comes_over_tls_with_an_authority_of_ones_own(place: Place, secure: Nginx, tmp_path: Path) -> None:
    place.publish("big.bin", CONTENT, secure.url, size=SIZE, sha256=sha256(CONTENT))
    done = place.fetch(SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    assert done.code == 0, done.stderr
    assert place.got("big.bin") == CONTENT
    # Ranges need a connection each, so HTTP/2 is not taken.
    assert {exchange.protocol for exchange in secure.exchanges} == {"HTTP/1.1"}


def test_small_files_share_one_connection_of_http_2(place: Place, secure: Nginx, tmp_path: Path) -> None:
    place.publish_pictures(300, secure.url)
    done = place.fetch(SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    assert done.code == 0, done.stderr
    assert len(place.pictures()) == 300
    pictures = [exchange for exchange in secure.exchanges if exchange.uri.endswith(".jpg")]
    assert {exchange.protocol for exchange in pictures} == {"HTTP/2.0"}
    assert len({exchange.connection for exchange in pictures}) <= 2 * CONNECTIONS


def test_a_certificate_of_an_unknown_authority_is_refused_and_said_so(place: Place, secure: Nginx) -> None:
    place.publish("big.bin", CONTENT, secure.url, size=SIZE)
    done = place.fetch("--retries", "1")
    assert done.code == 1
    assert "certificate" in done.stderr
    assert secure.exchanges == []

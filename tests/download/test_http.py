"""One file from one address, exactly: whatever a server does, the part is a prefix of the file or it is refused."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from fetching import HOST, PAGE, noise, sha256
from hypothesis import given, settings
from hypothesis import strategies as st

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.http import Address, Arrival, download, looks_like_html, make_client, retry_after, translated
from cvl.download.part import Journal, Part
from cvl.errors import Cancelled, GoneError, RefusedError, TransferError, WrongContentError

URL = f"{HOST}/file.bin"
CONTENT = noise(3_000_000)
SIZE = len(CONTENT)
CUT = 1_234_567


def nothing(_done: int, _total: int | None) -> None:
    pass


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "downloads" / "file.bin.part")


@pytest.fixture
def published(site: Publisher) -> Path:
    """The file on the server's disk; changing it changes what is served, entity tag and all."""
    site.put(URL, CONTENT)
    return site.folder / "http" / "host.example" / "file.bin"


@pytest.fixture
def get(client: httpx.Client, part: Part, published: Path) -> Callable[..., Arrival]:
    """Bring the file into `part`."""
    return lambda **known: download(client, Address(URL, **known), part, known.pop("progress", nothing))


Get = Callable[..., Arrival]


def ranges(web: Internet) -> list[str | None]:
    return [exchange.range for exchange in web.exchanges]


def half(part: Part, published: Path, *, validator: str | None = "its own", url: str = URL) -> None:
    """A part with its journal, as a killed process leaves it."""
    if validator == "its own":
        status = published.stat()
        validator = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
    part.begin(Journal(url, validator))
    part.path.write_bytes(CONTENT[:CUT])


def test_a_file_comes_whole_in_one_request(get: Get, part: Part, web: Internet) -> None:
    arrival = get()
    assert part.path.read_bytes() == CONTENT
    assert part.digests()["sha256"] == sha256(CONTENT)
    assert arrival.url == URL
    assert arrival.etag is not None
    assert ranges(web) == [None]


def test_an_empty_file_is_a_file(get: Get, part: Part, published: Path) -> None:
    published.write_bytes(b"")
    get()
    assert part.size == 0
    assert part.path.exists()


def test_progress_counts_up_to_the_whole(client: httpx.Client, part: Part, published: Path) -> None:
    told: list[tuple[int, int | None]] = []
    download(client, Address(URL), part, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (SIZE, SIZE)
    assert {total for _, total in told} == {SIZE}


def test_what_progress_raises_ends_the_transfer_and_keeps_what_came(
    client: httpx.Client, part: Part, published: Path
) -> None:
    def stop(done: int, _total: int | None) -> None:
        if done > 500_000:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        download(client, Address(URL), part, stop)
    assert 500_000 < part.size < SIZE
    assert part.path.read_bytes() == CONTENT[: part.size]
    assert part.journal is not None


def test_a_size_that_is_known_must_be_the_server_s(get: Get, part: Part, web: Internet) -> None:
    with pytest.raises(WrongContentError, match=r"expected 5 bytes, the server has 3,000,000") as caught:
        get(size=5)
    assert "newer cvl" in (caught.value.hint or "")
    assert part.size == 0
    get(size=SIZE)
    assert part.size == SIZE


def test_headers_are_sent_along(client: httpx.Client, part: Part, site: Publisher, tmp_path: Path) -> None:
    repository = site.folder / "hub" / "datasets" / "o" / "n"
    site.put("hf://datasets/o/n/small.json", b"{}")
    (repository / ".gated").touch()
    url = "https://huggingface.co/datasets/o/n/resolve/main/small.json"
    with pytest.raises(RefusedError, match="403"):
        download(client, Address(url), part, nothing)
    download(client, Address(url, {"Authorization": "Bearer hf_x"}), part, nothing)
    assert part.path.read_bytes() == b"{}"


# What breaks in the middle


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", [FaultKind.TRUNCATE, FaultKind.RESET, FaultKind.STALL])
def test_a_cut_is_an_error_and_what_came_is_a_prefix(get: Get, part: Part, web: Internet, kind: FaultKind) -> None:
    web.inject(Fault("*", kind, after=CUT))
    with pytest.raises(TransferError) as caught:
        get()
    assert type(caught.value) is TransferError
    assert URL in str(caught.value)
    assert part.path.read_bytes() == CONTENT[: part.size]
    assert part.size <= CUT
    assert part.journal is not None


def test_a_cut_costs_at_most_the_bytes_in_flight(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.TRUNCATE, after=CUT))
    with pytest.raises(TransferError):
        get()
    assert part.size == CUT


@pytest.mark.parametrize("after", [1, 1000, CUT, SIZE - 1])
def test_a_cut_file_is_completed_by_a_range_under_the_same_tag(get: Get, part: Part, web: Internet, after: int) -> None:
    web.inject(Fault("*", FaultKind.TRUNCATE, after=after))
    with pytest.raises(TransferError):
        get()
    get()
    assert part.path.read_bytes() == CONTENT
    assert ranges(web) == [None, f"bytes={after}-"]
    assert web.body_bytes() == SIZE


def test_a_file_that_is_cut_again_and_again_grows_all_the_same(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.TRUNCATE, after=300_000, times=9))
    for _ in range(9):
        with pytest.raises(TransferError):
            get()
    get()
    assert part.path.read_bytes() == CONTENT
    assert web.body_bytes() == SIZE


@settings(max_examples=60, deadline=None)
@given(
    versions=st.lists(st.binary(max_size=3000).map(b"PK".__add__), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 2999), max_size=5),
    kinds=st.lists(st.sampled_from([FaultKind.TRUNCATE, FaultKind.CHUNKED, FaultKind.IGNORE_RANGE]), max_size=5),
)
def test_wherever_a_transfer_is_cut_and_whenever_the_file_changes_the_final_bytes_are_the_file_s(
    versions: list[bytes], cuts: list[int], kinds: list[FaultKind]
) -> None:
    web, client, site = _shared()
    web.heal()
    for cut, kind in zip(cuts, kinds, strict=False):
        web.inject(Fault("*", kind, after=cut if kind is FaultKind.TRUNCATE else 0))
    with TemporaryDirectory() as folder:
        for attempt in itertools.count():
            number = min(attempt, len(versions) - 1)
            _publish_version(site, versions[number], number)
            # Each attempt as a process of its own would make it.
            part = Part(Path(folder) / "file.part")
            try:
                download(client, Address(URL), part, nothing)
            except TransferError:
                assert attempt < len(cuts)
                continue
            assert part.path.read_bytes() == versions[number]
            assert part.digests()["sha256"] == sha256(versions[number])
            return


def _publish_version(site: Publisher, content: bytes, number: int) -> None:
    site.put(URL, content)
    # The clock of files is too coarse to give two versions of one size two entity tags.
    os.utime(site.folder / "http" / "host.example" / "file.bin", ns=(0, number + 1))


_STACK = contextlib.ExitStack()
_MADE: list[tuple[Internet, httpx.Client, Publisher]] = []


def _shared() -> tuple[Internet, httpx.Client, Publisher]:
    """One server for all examples of a property; they come one after another."""
    if not _MADE:
        folder = Path(_STACK.enter_context(TemporaryDirectory()))
        web = _STACK.enter_context(Internet(folder))
        client = _STACK.enter_context(httpx.Client(proxy=web.url, verify=_context(web), timeout=5))
        _MADE.append((web, client, Publisher(folder)))
    return _MADE[0]


def _context(web: Internet) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=web.environment()["SSL_CERT_FILE"])


@pytest.fixture(autouse=True, scope="module")
def _close() -> Iterator[None]:
    yield
    _STACK.close()
    _MADE.clear()


# Going on after a kill


def test_a_part_of_a_killed_process_is_continued(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    get()
    assert part.path.read_bytes() == CONTENT
    assert ranges(web) == [f"bytes={CUT}-"]
    assert web.body_bytes() == SIZE - CUT


def test_a_date_is_a_validator_too(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published, validator=httpx.head(URL).headers["last-modified"])
    get()
    assert part.path.read_bytes() == CONTENT
    assert web.body_bytes() == SIZE - CUT


def test_a_file_that_changed_begins_anew(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    changed = noise(2_000_000, seed=1)
    published.write_bytes(changed)
    get()
    assert part.path.read_bytes() == changed
    assert web.exchanges[-1].status == 200


def test_a_changed_tag_begins_anew_even_if_the_bytes_are_the_same(
    get: Get, part: Part, published: Path, web: Internet
) -> None:
    half(part, published)
    web.inject(Fault("*", FaultKind.CHANGED_ETAG))
    get()
    assert part.path.read_bytes() == CONTENT
    assert web.body_bytes() == SIZE
    assert part.journal is not None
    assert "changed" in (part.journal.validator or "")


def test_a_server_that_ignores_ranges_begins_anew(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    web.inject(Fault("*", FaultKind.IGNORE_RANGE))
    get()
    assert part.path.read_bytes() == CONTENT
    assert part.digests()["sha256"] == sha256(CONTENT)
    assert [exchange.status for exchange in web.exchanges] == [200]


def test_other_bytes_than_were_asked_for_are_refused_and_nothing_of_them_is_kept(
    get: Get, part: Part, published: Path, web: Internet
) -> None:
    half(part, published)
    web.inject(Fault("*", FaultKind.WRONG_CONTENT_RANGE))
    with pytest.raises(TransferError, match=r"asked for bytes from 1,234,567 on, the server sent those from 1,234,566"):
        get()
    assert part.size == 0
    get()
    assert part.path.read_bytes() == CONTENT


def test_a_part_without_validator_and_without_digest_begins_anew(
    get: Get, part: Part, published: Path, web: Internet
) -> None:
    half(part, published, validator=None)
    get()
    assert ranges(web) == [None]
    assert part.path.read_bytes() == CONTENT


def test_a_part_without_journal_begins_anew(get: Get, part: Part, published: Path, web: Internet) -> None:
    part.path.parent.mkdir()
    part.path.write_bytes(CONTENT[:CUT])
    get()
    assert ranges(web) == [None]
    assert part.path.read_bytes() == CONTENT


@pytest.mark.parametrize("url", [URL, f"{HOST}/other.bin"])
def test_under_a_digest_a_part_is_continued_whatever_it_is_a_part_of(
    get: Get, part: Part, published: Path, web: Internet, url: str
) -> None:
    half(part, published, validator=None, url=url)
    get(size=SIZE, proven=True)
    assert ranges(web) == [f"bytes={CUT}-"]
    assert part.path.read_bytes() == CONTENT


def test_a_part_of_another_address_begins_anew(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published, url=f"{HOST}/other.bin")
    get()
    assert ranges(web) == [None]
    assert part.path.read_bytes() == CONTENT


def test_a_new_signature_on_the_same_address_goes_on(
    client: httpx.Client, part: Part, published: Path, web: Internet
) -> None:
    half(part, published)
    arrival = download(client, Address(f"{URL}?oe=65F&sig=new"), part, nothing)
    assert ranges(web) == [f"bytes={CUT}-"]
    assert arrival.url == URL


def test_a_part_that_is_longer_than_the_file_begins_anew(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    part.path.write_bytes(CONTENT + b"more")
    get(size=SIZE, proven=True)
    assert ranges(web) == [None]
    assert part.path.read_bytes() == CONTENT


def test_a_part_that_has_all_bytes_asks_nothing(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    part.path.write_bytes(CONTENT)
    get(size=SIZE)
    assert web.exchanges == []


def test_at_the_exact_end_416_is_completion(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    part.path.write_bytes(CONTENT)
    assert get().url == URL
    assert part.path.read_bytes() == CONTENT
    assert [exchange.status for exchange in web.exchanges] == [416]


def test_beyond_the_end_416_means_another_file(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    part.path.write_bytes(CONTENT + b"more")
    with pytest.raises(TransferError, match="has fewer than the 3,000,004 bytes"):
        get()
    assert part.size == 0
    get()
    assert part.path.read_bytes() == CONTENT


class _Deaf(BaseHTTPRequestHandler):
    """A server that has a new version of the file and does not listen to If-Range."""

    def do_GET(self) -> None:
        new = bytes(SIZE)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"new"')
        self.send_header("Content-Length", str(SIZE - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{SIZE - 1}/{SIZE}")
        self.end_headers()
        self.wfile.write(new[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_that_ignores_if_range_does_not_splice_two_versions(part: Part) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Deaf) as server, httpx.Client(trust_env=False) as client:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/file.bin"
        part.begin(Journal(url, '"old"'))
        part.path.write_bytes(CONTENT[:CUT])
        with pytest.raises(TransferError, match="the server's file has changed"):
            download(client, Address(url), part, nothing)
        assert part.size == 0
        download(client, Address(url), part, nothing)
        server.shutdown()
    assert part.path.read_bytes() == bytes(SIZE)


# Lengths and encodings


def test_a_chunked_body_ends_where_the_server_says(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.CHUNKED))
    get()
    assert part.path.read_bytes() == CONTENT


def test_a_body_that_ends_by_closing_is_refused_where_nothing_tells_that_it_is_whole(get: Get, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.NO_CONTENT_LENGTH))
    with pytest.raises(WrongContentError, match="does not say how long the file is"):
        get()


def test_a_body_that_ends_by_closing_is_taken_where_a_digest_will_tell(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.NO_CONTENT_LENGTH))
    get(proven=True)
    assert part.path.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", [FaultKind.NO_CONTENT_LENGTH, FaultKind.CHUNKED])
def test_a_body_without_length_is_held_to_a_size_that_is_known(
    get: Get, part: Part, web: Internet, kind: FaultKind
) -> None:
    web.inject(Fault("*", kind, times=2))
    with pytest.raises(TransferError, match=r"ended after 3,000,000 of 3,000,001 bytes"):
        get(size=SIZE + 1)
    part.discard()
    get(size=SIZE)
    assert part.path.read_bytes() == CONTENT


def test_a_file_that_comes_packed_is_refused(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.CONTENT_ENCODING))
    with pytest.raises(WrongContentError, match="sends the file as gzip, not as it is"):
        get()
    assert part.size == 0


def test_nothing_but_the_plain_file_is_asked_for() -> None:
    with make_client(2) as client:
        assert client.headers["accept-encoding"] == "identity"
        assert client.headers["user-agent"].startswith("cvl/")


# What is no file


@pytest.mark.parametrize("status", [404, 410])
def test_gone_is_gone(get: Get, part: Part, web: Internet, status: int) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=status))
    with pytest.raises(GoneError, match=f"{URL}: the server says {status}"):
        get()
    assert not part.path.exists()


@pytest.mark.parametrize("status", [401, 403, 451])
def test_refused_is_refused(get: Get, part: Part, web: Internet, status: int) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=status))
    with pytest.raises(RefusedError, match=str(status)):
        get()
    assert not part.path.exists()


@pytest.mark.parametrize("status", [204, 304, 400, 408, 429, 500, 502, 503])
def test_every_other_status_may_change(get: Get, part: Part, web: Internet, status: int) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=status))
    with pytest.raises(TransferError, match=str(status)) as caught:
        get()
    assert type(caught.value) is TransferError
    assert caught.value.retry_after is None
    assert not part.path.exists()


def test_an_error_says_the_address_without_its_signature(
    client: httpx.Client, part: Part, published: Path, web: Internet
) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=403))
    with pytest.raises(RefusedError) as caught:
        download(client, Address(f"{URL}?sig=secret"), part, nothing)
    assert "secret" not in str(caught.value)


def test_a_wish_to_come_back_later_is_passed_on(get: Get, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=429, retry_after=7))
    with pytest.raises(TransferError) as caught:
        get()
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_an_error_does_not_cost_what_is_here(get: Get, part: Part, published: Path, web: Internet, status: int) -> None:
    half(part, published)
    web.inject(Fault("*", FaultKind.STATUS, status=status))
    with pytest.raises(TransferError):
        get()
    assert part.path.read_bytes() == CONTENT[:CUT]
    get()
    assert part.path.read_bytes() == CONTENT


def test_a_web_page_in_place_of_the_file_is_refused(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.HTML))
    with pytest.raises(WrongContentError, match="expected a file, found a web page") as caught:
        get()
    assert "browser" in (caught.value.hint or "")
    assert not part.path.exists()


def test_a_web_page_does_not_cost_what_is_here(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    web.inject(Fault("*", FaultKind.HTML))
    with pytest.raises(WrongContentError):
        get()
    assert part.path.read_bytes() == CONTENT[:CUT]


def test_a_web_page_under_another_type_is_refused(get: Get, part: Part, published: Path, web: Internet) -> None:
    published.write_bytes(PAGE)
    with pytest.raises(WrongContentError, match="expected a file, found a web page"):
        get()
    assert web.exchanges[-1].status == 200
    assert part.size == 0


@pytest.mark.parametrize(
    "head", [b"<!DOCTYPE html>", b" \r\n<!doctype HTML>", b"<html lang=en>", b"<HEAD>", b"<?xml ?>"]
)
def test_pages_are_known_by_their_beginning(head: bytes) -> None:
    assert looks_like_html(head + b"...")


@pytest.mark.parametrize("head", [b"", b"PK\x03\x04", b"\xff\xd8\xff", b"{", b"text <html>", b"<", b"<svg>"])
def test_other_beginnings_are_no_pages(head: bytes) -> None:
    assert not looks_like_html(head)


# Redirects and addresses


def test_redirects_are_followed_and_the_address_stays_the_asked_one(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.REDIRECT, hops=4))
    assert get().url == URL
    assert part.path.read_bytes() == CONTENT


def test_redirects_keep_the_range(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    web.inject(Fault("*", FaultKind.REDIRECT, hops=2))
    get()
    assert part.path.read_bytes() == CONTENT
    assert set(ranges(web)) == {f"bytes={CUT}-"}


def test_redirects_without_end_are_refused(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.REDIRECT_LOOP))
    with pytest.raises(WrongContentError, match="redirects"):
        get()


@pytest.mark.parametrize("url", ["ftp://host.example/file", "https://", "https://host.example:port/x", "http://[::1/x"])
def test_an_address_that_is_none_is_refused(client: httpx.Client, part: Part, url: str) -> None:
    with pytest.raises(WrongContentError):
        download(client, Address(url), part, nothing)


def test_a_host_that_is_not_there_may_be_there_later(client: httpx.Client, part: Part) -> None:
    with pytest.raises(TransferError, match=r"unknown\.example") as caught:
        download(client, Address("https://unknown.example/file"), part, nothing)
    assert type(caught.value) is TransferError


def test_a_damaged_encoding_is_an_error_of_the_transfer() -> None:
    with pytest.raises(TransferError, match="x: broken"), translated("x"):
        raise httpx.DecodingError("broken")


# Servers that the stand-in does not play


@pytest.fixture
def scripted() -> Iterator[Callable[..., str]]:
    """A server that answers one connection after another with the bytes that it is given."""
    with contextlib.ExitStack() as stack:

        def serve(*answers: bytes) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=_answer, args=(listener, answers))
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return f"http://127.0.0.1:{listener.getsockname()[1]}/file.bin"

        yield serve


def _answer(listener: socket.socket, answers: tuple[bytes, ...]) -> None:
    for answer in answers:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(ConnectionError):
            while b"\r\n\r\n" not in connection.recv(65536):
                pass
            connection.sendall(answer)


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def plain(part: Part) -> Iterator[Callable[..., Arrival]]:
    """Bring a file from a server that is no part of the internet."""
    part.path.parent.mkdir()
    with httpx.Client(trust_env=False, timeout=5) as client:
        yield lambda url, **known: download(client, Address(url, **known), part, nothing)


Plain = Callable[..., Arrival]
Scripted = Callable[..., str]


def test_a_range_that_nobody_asked_for_does_not_go_behind_other_bytes(
    plain: Plain, part: Part, scripted: Scripted
) -> None:
    part.path.write_bytes(b"old bytes that nobody vouches for")
    plain(scripted(answer("206 Partial Content", b"0123456789", "Content-Range: bytes 0-9/10")))
    assert part.path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("headers", [(), ("Content-Range: bytes 4-9/*",), ("Content-Range: pages 4-9/10",)])
def test_a_range_that_does_not_say_which_is_refused_and_costs_nothing(
    plain: Plain, part: Part, scripted: Scripted, headers: tuple[str, ...]
) -> None:
    part.path.write_bytes(b"0123")
    with pytest.raises(TransferError, match="expected a range, found status 206"):
        plain(scripted(answer("206 Partial Content", b"456789", *headers)), proven=True)
    assert part.path.read_bytes() == b"0123"


def test_a_shorter_range_than_asked_for_is_kept_and_completed(plain: Plain, part: Part, scripted: Scripted) -> None:
    part.path.write_bytes(b"0123")
    pieces = [
        answer("206 Partial Content", b"456", "Content-Range: bytes 4-6/10"),
        answer("206 Partial Content", b"789", "Content-Range: bytes 7-9/10"),
    ]
    url = scripted(*pieces)
    with pytest.raises(TransferError, match="ended after 7 of 10 bytes"):
        plain(url, proven=True)
    plain(url, proven=True)
    assert part.path.read_bytes() == b"0123456789"


def test_a_range_of_a_file_of_another_size_is_refused(plain: Plain, part: Part, scripted: Scripted) -> None:
    part.path.write_bytes(b"0123")
    with pytest.raises(WrongContentError, match="expected 10 bytes, the server has 12"):
        plain(
            scripted(answer("206 Partial Content", b"456789ab", "Content-Range: bytes 4-11/12")), size=10, proven=True
        )
    assert part.path.read_bytes() == b"0123"


def test_416_that_does_not_say_how_long_the_file_is_begins_anew(plain: Plain, part: Part, scripted: Scripted) -> None:
    part.path.write_bytes(b"0123")
    with pytest.raises(TransferError, match="fewer than the 4 bytes"):
        plain(scripted(answer("416 Range Not Satisfiable", b"")), proven=True)
    assert part.size == 0


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        (('ETag: "strong"', "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT"), '"strong"'),
        (('ETag: W/"weak"', "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT"), "Wed, 21 Oct 2015 07:28:00 GMT"),
        (('ETag: W/"weak"',), None),
        ((), None),
    ],
)
def test_only_what_pins_the_bytes_is_a_validator(
    plain: Plain, part: Part, scripted: Scripted, headers: tuple[str, ...], validator: str | None
) -> None:
    plain(scripted(answer("200 OK", b"0123", *headers)))
    assert part.journal is not None
    assert part.journal.validator == validator


def test_an_answer_that_is_no_http_may_be_better_the_next_time(plain: Plain, part: Part, scripted: Scripted) -> None:
    with pytest.raises(TransferError) as caught:
        plain(scripted(b"SSH-2.0-OpenSSH_9.6\r\n"))
    assert type(caught.value) is TransferError


def test_a_closed_port_may_be_open_the_next_time(plain: Plain, scripted: Scripted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.bin"
    with pytest.raises(TransferError, match=r"file\.bin") as caught:
        plain(url)
    assert type(caught.value) is TransferError


# What a server wishes


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("7", 7.0), (" 120 ", 120.0)])
def test_a_wish_in_seconds(text: str, seconds: float) -> None:
    assert retry_after({"retry-after": text}) == seconds


def test_a_wish_as_a_date() -> None:
    date = datetime.now(UTC) + timedelta(seconds=90)
    wish = retry_after({"retry-after": format_datetime(date, usegmt=True)})
    assert wish is not None
    assert 80 < wish <= 90


def test_a_date_that_has_passed_is_now() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "Wed, 21 Oct 2015", "²", "Wed, 21 Oct 2037 07:28:00"])
def test_a_wish_that_cannot_be_read_is_none(text: str) -> None:
    assert retry_after({"retry-after": text}) is None


def test_no_wish_is_none() -> None:
    assert retry_after({}) is None

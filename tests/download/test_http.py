"""One file from one address, exactly: what a server says is held against what it was asked, or nothing is kept."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from fetching import HOST, PAGE, noise, sha256
from origin import watched

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.lock import Lock
from cvl.download.session import Session
from cvl.download.transport.http import Address, Arrival, StaleError
from cvl.download.transport.journal import Version
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Budget, Policy
from cvl.download.transport.swarm import download
from cvl.download.transport.wire import open_wire, translated
from cvl.errors import Cancelled, GoneError, RefusedError, TransferError, UnreachableError, WrongContentError
from cvl.events import TransferProgress
from cvl.root import Root

URL = f"{HOST}/file.bin"
CONTENT = noise(3_000_000)
SIZE = len(CONTENT)
CUT = 1_234_567
FIRST = "bytes=0-8388607"
"""What is asked for of a file of which nothing is known."""


def nothing(_done: int, _total: int | None, _connections: int = 1, /) -> None:
    pass


def bring(address: Address, part: Part, session: Session, progress: TransferProgress = nothing) -> Arrival:
    """One attempt: the first failure is the last."""
    budget = Budget(Policy(attempts=1, outage=0), lambda *_: None)
    done = watched(lambda: download(address, part, session, progress, budget))
    assert isinstance(done, Arrival)
    return done


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "downloads" / "file.bin.part")


@pytest.fixture
def published(site: Publisher) -> Path:
    """The file on the server's disk; changing it changes what is served, entity tag and all."""
    site.put(URL, CONTENT)
    return site.folder / "http" / "host.example" / "file.bin"


Get = Callable[..., Arrival]


@pytest.fixture
def get(session: Session, part: Part, published: Path) -> Get:
    """Bring the file into `part`."""
    return lambda **known: bring(Address(URL, **known), part, session)


def ranges(web: Internet) -> list[str | None]:
    return [exchange.range for exchange in web.exchanges]


def half(part: Part, published: Path, *, validator: str | None = "its own", url: str = URL, has: bytes = b"") -> None:
    """A part with its journal, as a killed process leaves it."""
    if validator == "its own":
        status = published.stat()
        validator = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
    begun(part, Version(url, validator, SIZE), has or CONTENT[:CUT])


def begun(part: Part, version: Version, content: bytes) -> None:
    """A part that has these first bytes of a version."""
    part.begin(version)
    part.write(content, 0)
    part.note(0, len(content))
    part.close()


def test_a_small_file_comes_in_one_request(get: Get, part: Part, web: Internet) -> None:
    arrival = get()
    assert part.path.read_bytes() == CONTENT
    assert part.digests()["sha256"] == sha256(CONTENT)
    assert arrival.url == URL
    assert arrival.etag is not None
    assert ranges(web) == [FIRST]


def test_an_empty_file_is_a_file(get: Get, part: Part, published: Path) -> None:
    published.write_bytes(b"")
    get()
    assert part.size == 0
    assert part.path.exists()


def test_progress_counts_up_to_the_whole(session: Session, part: Part, published: Path, web: Internet) -> None:
    told: list[tuple[int, int | None]] = []
    web.inject(Fault("*", FaultKind.RATE, rate=6e6))
    bring(Address(URL), part, session, lambda done, total, _connections=1: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({done for done, _ in told}) > 3
    assert told[-1] == (SIZE, SIZE)
    assert {total for _, total in told} <= {None, SIZE}


def test_what_progress_raises_ends_the_transfer_and_keeps_what_came(
    session: Session, part: Part, published: Path, web: Internet
) -> None:
    def stop(done: int, _total: int | None, _connections: int = 1, /) -> None:
        if done > 500_000:
            raise Cancelled("stopped")

    web.inject(Fault("*", FaultKind.RATE, rate=3e6))
    with pytest.raises(Cancelled):
        bring(Address(URL), part, session, stop)
    kept, content = Part(part.path), part.path.read_bytes()
    assert 500_000 < kept.size < SIZE
    assert all(content[start:stop] == CONTENT[start:stop] for start, stop in kept.missing().gaps(SIZE))


def test_a_size_that_is_known_must_be_the_server_s(get: Get, part: Part, web: Internet) -> None:
    with pytest.raises(WrongContentError, match=r"expected 5 bytes, the server has 3,000,000") as caught:
        get(size=5)
    assert "newer cvl" in (caught.value.hint or "")
    assert part.size == 0
    get(size=SIZE)
    assert part.size == SIZE


def test_headers_are_sent_along(session: Session, part: Part, site: Publisher) -> None:
    repository = site.folder / "hub" / "datasets" / "o" / "n"
    site.put("hf://datasets/o/n/small.json", b"{}")
    (repository / ".gated").touch()
    url = "https://huggingface.co/datasets/o/n/resolve/main/small.json"
    with pytest.raises(RefusedError, match="403"):
        bring(Address(url), part, session)
    bring(Address(url, {"Authorization": "Bearer hf_x"}), part, session)
    assert part.path.read_bytes() == b"{}"


# What breaks in the middle


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATE, FaultKind.RESET, FaultKind.STALL])
def test_a_cut_is_an_error_and_what_came_is_a_prefix(
    impatient: Session, part: Part, published: Path, web: Internet, kind: FaultKind
) -> None:
    web.inject(Fault("*", kind, after=CUT, times=9))
    with pytest.raises(TransferError) as caught:
        bring(Address(URL), part, impatient)
    assert type(caught.value) is TransferError
    assert URL in str(caught.value)
    assert part.path.read_bytes()[: part.prefix] == CONTENT[: part.prefix]
    assert part.size <= 2 * CUT
    assert part.version is not None


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
    assert ranges(web) == [FIRST, f"bytes={after}-{SIZE - 1}"]
    assert web.body_bytes() == SIZE


def test_a_file_that_is_cut_again_and_again_grows_all_the_same(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.TRUNCATE, after=300_000, times=9))
    for _ in range(9):
        with pytest.raises(TransferError):
            get()
    get()
    assert part.path.read_bytes() == CONTENT
    assert web.body_bytes() == SIZE


# Going on after a kill


def test_a_part_of_a_killed_process_is_continued(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    get()
    assert part.path.read_bytes() == CONTENT
    assert ranges(web) == [f"bytes={CUT}-{SIZE - 1}"]
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
    assert part.version is not None
    assert "changed" in (part.version.validator or "")


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
    assert ranges(web)[-1] is None, "a server that is wrong about ranges is asked for none"


def test_a_part_without_validator_and_without_digest_begins_anew(
    get: Get, part: Part, published: Path, web: Internet
) -> None:
    half(part, published, validator=None)
    get()
    assert ranges(web) == [FIRST]
    assert part.path.read_bytes() == CONTENT


def test_a_part_without_journal_begins_anew(session: Session, part: Part, published: Path, web: Internet) -> None:
    half(part, published)
    part.path.with_name("file.bin.part.journal").unlink()
    bring(Address(URL), Part(part.path), session)
    assert ranges(web) == [FIRST]
    assert part.path.read_bytes() == CONTENT


@pytest.mark.parametrize("url", [URL, f"{HOST}/other.bin"])
def test_under_a_digest_a_part_is_continued_whatever_it_is_a_part_of(
    get: Get, part: Part, published: Path, web: Internet, url: str
) -> None:
    half(part, published, validator=None, url=url)
    get(size=SIZE, proven=True)
    assert ranges(web) == [f"bytes={CUT}-{SIZE - 1}"]
    assert part.path.read_bytes() == CONTENT


def test_a_part_of_another_address_begins_anew(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published, url=f"{HOST}/other.bin")
    get()
    assert ranges(web) == [FIRST]
    assert part.path.read_bytes() == CONTENT


def test_a_new_signature_on_the_same_address_goes_on(
    session: Session, part: Part, published: Path, web: Internet
) -> None:
    half(part, published)
    arrival = bring(Address(f"{URL}?oe=65F&sig=new"), part, session)
    assert ranges(web) == [f"bytes={CUT}-{SIZE - 1}"]
    assert arrival.url == URL


def test_a_part_that_is_longer_than_the_file_begins_anew(get: Get, part: Part, published: Path, web: Internet) -> None:
    begun(part, Version(URL, None, SIZE + 4), CONTENT + b"more")
    get(size=SIZE, proven=True)
    assert ranges(web) == [f"bytes=0-{SIZE - 1}"]
    assert part.path.read_bytes() == CONTENT


def test_a_part_that_has_all_bytes_asks_nothing(get: Get, part: Part, published: Path, web: Internet) -> None:
    half(part, published, has=CONTENT)
    get(size=SIZE)
    assert web.exchanges == []


def test_at_the_exact_end_416_is_completion(get: Get, part: Part, published: Path, web: Internet) -> None:
    status = published.stat()
    begun(part, Version(URL, f'"{status.st_size:x}-{status.st_mtime_ns:x}"', None), CONTENT)
    assert get().url == URL
    assert part.path.read_bytes() == CONTENT
    assert [exchange.status for exchange in web.exchanges] == [416]


def test_beyond_the_end_416_means_another_file(get: Get, part: Part, published: Path, web: Internet) -> None:
    status = published.stat()
    begun(part, Version(URL, f'"{status.st_size:x}-{status.st_mtime_ns:x}"', None), CONTENT + b"more")
    with pytest.raises(TransferError, match="the server has fewer bytes than it should have"):
        get()
    assert part.size == 0
    get()
    assert part.path.read_bytes() == CONTENT


class _Deaf(BaseHTTPRequestHandler):
    """A server that has a new version of the file and does not listen to If-Range."""

    def do_GET(self) -> None:
        new = bytes(SIZE)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Connection", "close")
        self.send_header("ETag", '"new"')
        self.send_header("Content-Length", str(SIZE - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{SIZE - 1}/{SIZE}")
        self.end_headers()
        self.wfile.write(new[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_that_ignores_if_range_does_not_splice_two_versions(part: Part, plain: Get) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Deaf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/file.bin"
        begun(part, Version(url, '"old"', SIZE), CONTENT[:CUT])
        with pytest.raises(TransferError, match="the server's file has changed"):
            plain(url)
        assert part.size == 0
        plain(url)
        server.shutdown()
    assert part.path.read_bytes() == bytes(SIZE)


# Lengths and encodings


def test_a_chunked_body_ends_where_the_server_says(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.NO_RANGES))
    web.inject(Fault("*", FaultKind.CHUNKED))
    get()
    assert part.path.read_bytes() == CONTENT


def test_a_body_that_ends_by_closing_is_refused_where_nothing_tells_that_it_is_whole(get: Get, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.NO_RANGES))
    web.inject(Fault("*", FaultKind.NO_CONTENT_LENGTH))
    with pytest.raises(WrongContentError, match="does not say how long the file is"):
        get()


def test_a_body_that_ends_by_closing_is_taken_where_a_digest_will_tell(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.NO_RANGES))
    web.inject(Fault("*", FaultKind.NO_CONTENT_LENGTH))
    get(proven=True)
    assert part.path.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", [FaultKind.NO_CONTENT_LENGTH, FaultKind.CHUNKED])
def test_a_body_without_length_is_held_to_a_size_that_is_known(
    get: Get, part: Part, web: Internet, kind: FaultKind
) -> None:
    web.inject(Fault("*", FaultKind.NO_RANGES))
    web.inject(Fault("*", kind))
    # A server that says no farewell over TLS cuts its answer, as far as anybody can tell.
    ended = r"ended after 3,000,000 of 3,000,001 bytes|closed in the middle"
    with pytest.raises(TransferError, match=ended):
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
    with open_wire() as wire:
        assert wire.client.headers["accept-encoding"] == "identity"
        assert wire.client.headers["user-agent"].startswith("cvl/")


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
    session: Session, part: Part, published: Path, web: Internet
) -> None:
    web.inject(Fault("*", FaultKind.STATUS, status=403))
    with pytest.raises(RefusedError) as caught:
        bring(Address(f"{URL}?sig=secret"), part, session)
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
    assert (part.size, part.path.read_bytes()[:CUT]) == (CUT, CONTENT[:CUT])
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
    assert (part.size, part.path.read_bytes()[:CUT]) == (CUT, CONTENT[:CUT])


def test_a_web_page_under_another_type_is_refused(get: Get, part: Part, published: Path, web: Internet) -> None:
    published.write_bytes(PAGE)
    with pytest.raises(WrongContentError, match="expected a file, found a web page"):
        get()
    assert web.exchanges[-1].status == 206
    assert part.size == 0


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
    assert set(ranges(web)) == {f"bytes={CUT}-{SIZE - 1}"}


def test_redirects_without_end_are_refused(get: Get, part: Part, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.REDIRECT_LOOP))
    with pytest.raises(WrongContentError, match="redirects"):
        get()


@pytest.mark.parametrize("url", ["ftp://host.example/file", "https://", "https://host.example:port/x", "http://[::1/x"])
def test_an_address_that_is_none_is_refused(session: Session, part: Part, url: str) -> None:
    with pytest.raises(WrongContentError):
        bring(Address(url), part, session)


def test_a_host_that_is_not_there_may_be_there_later(session: Session, part: Part) -> None:
    with pytest.raises(TransferError, match=r"unknown\.example") as caught:
        bring(Address("https://unknown.example/file"), part, session)
    assert type(caught.value) in (TransferError, UnreachableError)


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


TEN = Version("elsewhere", None, 10)


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def plain(tree: Root, part: Part) -> Iterator[Get]:
    """Bring a file from a server that is no part of the internet."""
    with open_wire(timeout=5) as wire:
        session = Session(root=tree, wire=wire, lock=Lock(tree.lock), timeout=5.0)
        yield lambda url, **known: bring(Address(url, **known), part, session)


Scripted = Callable[..., str]


def test_a_range_that_nobody_asked_for_does_not_go_behind_other_bytes(
    plain: Get, part: Part, scripted: Scripted
) -> None:
    part.ranged = False
    begun(part, Version("nobody", None, None), b"old bytes that nobody vouches for")
    plain(scripted(answer("206 Partial Content", b"0123456789", "Content-Range: bytes 0-9/10")))
    assert part.path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("headers", [(), ("Content-Range: bytes 4-9/*",), ("Content-Range: pages 4-9/10",)])
def test_a_range_that_does_not_say_which_is_refused_and_the_file_asked_for_in_one_piece(
    plain: Get, part: Part, scripted: Scripted, headers: tuple[str, ...]
) -> None:
    begun(part, TEN, b"0123")
    url = scripted(answer("206 Partial Content", b"456789", *headers), answer("200 OK", b"0123456789"))
    with pytest.raises(StaleError, match="expected a range, found Content-Range"):
        plain(url, proven=True)
    assert part.size == 0
    plain(url, proven=True)
    assert part.path.read_bytes() == b"0123456789"


def test_a_shorter_range_than_asked_for_is_kept_and_completed(plain: Get, part: Part, scripted: Scripted) -> None:
    begun(part, TEN, b"0123")
    pieces = [
        answer("206 Partial Content", b"456", "Content-Range: bytes 4-6/10"),
        answer("206 Partial Content", b"789", "Content-Range: bytes 7-9/10"),
    ]
    plain(scripted(*pieces), proven=True)
    assert part.path.read_bytes() == b"0123456789"


def test_a_range_of_a_file_of_another_size_is_refused(plain: Get, part: Part, scripted: Scripted) -> None:
    begun(part, TEN, b"0123")
    with pytest.raises(WrongContentError, match="expected 10 bytes, the server has 12"):
        plain(
            scripted(answer("206 Partial Content", b"456789ab", "Content-Range: bytes 4-11/12")), size=10, proven=True
        )
    assert (part.size, part.path.read_bytes()[:4]) == (4, b"0123")


def test_416_that_does_not_say_how_long_the_file_is_begins_anew(plain: Get, part: Part, scripted: Scripted) -> None:
    begun(part, TEN, b"0123")
    with pytest.raises(StaleError, match="fewer bytes than it should have"):
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
    plain: Get, part: Part, scripted: Scripted, headers: tuple[str, ...], validator: str | None
) -> None:
    plain(scripted(answer("200 OK", b"0123", *headers)))
    version = Part(part.path).version
    assert version is not None
    assert version.validator == validator


def test_an_answer_that_is_no_http_may_be_better_the_next_time(plain: Get, part: Part, scripted: Scripted) -> None:
    with pytest.raises(TransferError) as caught:
        plain(scripted(b"SSH-2.0-OpenSSH_9.6\r\n"))
    assert type(caught.value) is TransferError


def test_a_closed_port_may_be_open_the_next_time(plain: Get, scripted: Scripted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.bin"
    with pytest.raises(TransferError, match=r"file\.bin") as caught:
        plain(url)
    assert type(caught.value) is UnreachableError

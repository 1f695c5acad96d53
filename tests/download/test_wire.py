"""The wire gives the same with pyreqwest underneath and without: bodies, redirects, proxies, certificates, errors."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from fetching import HOST, noise, until
from nginx import StartNginx, free_port

import cvl
from cvl.demo.internet import Internet
from cvl.demo.miniature.publish import Publisher
from cvl.download.transport import wire as wire_module
from cvl.download.transport.wire import Wire, chunks, is_framed, open_wire, translated
from cvl.errors import CvlError, RefusedError, TransferError, UnreachableError, UsageError, WrongContentError

CONTENT = noise(1_000_000)
SIGNED = "sig=SECRET"


class _Handler(BaseHTTPRequestHandler):
    """Answers by the name of the path."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.server.seen.append(self)
        name = self.path.partition("?")[0].strip("/").replace("/", "_") or "file"
        getattr(self, f"_{name}", self._missing)()

    def do_CONNECT(self) -> None:
        self.send_error(403)

    def _say(self, status: int, content: bytes = b"", **headers: str | None) -> None:
        self.send_response(status)
        for key, value in ({"Content_Length": str(len(content))} | headers).items():
            if value is not None:
                self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _file(self) -> None:
        self._say(200, CONTENT, ETag='"tag"')

    def _missing(self) -> None:
        self._say(404, b"not here")

    def _page(self) -> None:
        self._say(503, b"<html>busy</html>", Retry_After="7", Content_Type="text/html")

    def _relative(self) -> None:
        self._say(302, Location="/file")

    def _chain(self) -> None:
        self._say(301, Location=f"http://localhost:{self.server.server_port}/relative")

    def _loop(self) -> None:
        self._say(302, Location=f"/loop?{SIGNED}")

    def _astray(self) -> None:
        self._say(302, Location=f"ftp://host.example/?{SIGNED}")

    def _nowhere(self) -> None:
        self._say(302)

    def _other(self) -> None:
        self._say(307, Location=f"http://localhost:{self.server.server_port}/file")

    def _cut(self) -> None:
        self._say(200, CONTENT[:1000], Content_Length="5000")
        self.close_connection = True

    def _cut_late(self) -> None:
        self._say(200, CONTENT[:700_000], Content_Length="1000000")
        self.close_connection = True

    def _chunked(self) -> None:
        self._say(200, Transfer_Encoding="chunked", Content_Length=None)
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))

    def _chunked_cut(self) -> None:
        self._say(200, Transfer_Encoding="chunked", Content_Length=None)
        self.wfile.write(b"%x\r\n%s\r\n" % (1000, CONTENT[:1000]))
        self.close_connection = True

    def _endless(self) -> None:
        self._say(200, CONTENT[:1000], Content_Length=None)
        self.close_connection = True

    def _packed(self) -> None:
        self._say(200, gzip.compress(CONTENT), Content_Encoding="gzip")

    def _flood(self) -> None:
        self._say(200, Content_Length=str(10**12))
        self._pour(CONTENT)

    def _flood_chunked(self) -> None:
        self._say(200, Transfer_Encoding="chunked", Content_Length=None)
        self._pour(b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT))

    def _pour(self, content: bytes) -> None:
        """Send it until the client goes away."""
        self.close_connection = True
        with suppress(OSError):
            while not self.server.over.is_set():
                self.wfile.write(content)

    def _nothing(self) -> None:
        self.close_connection = True

    def _junk(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.close_connection = True

    def _silent(self) -> None:
        self.server.over.wait()
        self.close_connection = True

    def _stalling(self) -> None:
        self._say(200, CONTENT[:1000], Content_Length="5000")
        self._silent()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    """Remembers what it was asked."""

    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[_Handler] = []
        self.over = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Clients that go away, or do not like our certificate, are no concern of ours."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[_Server]:
    server = _Server()
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[_Server]:
    with serving() as server:
        yield server


@dataclass(frozen=True)
class Came:
    """What came of a question, whichever way it was asked."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    framed: bool


Ask = Callable[[str], Came]


def whole(wire: Wire, url: str) -> Came:
    """As small files are asked for."""
    answer = wire.get(url)
    return Came(answer.status, answer.headers, answer.content, answer.framed)


def streamed(wire: Wire, url: str, **headers: str) -> Came:
    """As big files are asked for."""
    with translated(url.partition("?")[0]), wire.client.stream("GET", url, headers=headers) as response:
        content = b"".join(chunks(response))
        return Came(response.status_code, response.headers, content, is_framed(response))


@pytest.fixture(params=[True, False], ids=["pyreqwest", "httpx"])
def native(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[whole, streamed])
def how(request: pytest.FixtureRequest) -> Callable[..., Came]:
    """Which way a file is asked for."""
    chosen: Callable[..., Came] = request.param
    return chosen


@contextmanager
def asking(how: Callable[..., Came], **settings: Any) -> Iterator[Ask]:
    """Asks for a url over a wire that is opened at the first question, when the environment is as the test wants it."""
    with ExitStack() as stack:
        opened: list[Wire] = []

        def ask(url: str) -> Came:
            if not opened:
                opened.append(stack.enter_context(open_wire(**settings)))
            return how(opened[0], url)

        yield ask


@pytest.fixture
def ask(how: Callable[..., Came], native: bool) -> Iterator[Ask]:
    """Asks for a url, either way over either wire."""
    with asking(how, native=native) as ask:
        yield ask


@pytest.fixture
def hasty(how: Callable[..., Came], native: bool) -> Iterator[Ask]:
    """As `ask`, but gives up soon."""
    with asking(how, native=native, timeout=0.5) as ask:
        yield ask


def test_a_file_comes_as_it_is(ask: Ask, server: _Server) -> None:
    came = ask(server.url)
    assert (came.status, came.content) == (200, CONTENT)
    assert came.headers["etag"] == '"tag"'
    assert came.headers["content-length"] == str(len(CONTENT))


def test_a_server_is_told_who_asks_and_that_nothing_is_to_be_packed(ask: Ask, server: _Server) -> None:
    ask(f"{server.url}/relative?{SIGNED}")
    for asked in server.seen:
        assert asked.headers.get_all("Accept-Encoding") == ["identity"]
        assert asked.headers.get_all("User-Agent") == [f"cvl/{cvl.__version__}"]
        assert "Referer" not in asked.headers


@pytest.mark.parametrize(("name", "status"), [("page", 503), ("missing", 404), ("nowhere", 302)])
def test_an_answer_without_a_file_is_an_answer(ask: Ask, server: _Server, name: str, status: int) -> None:
    came = ask(f"{server.url}/{name}")
    assert came.status == status
    assert came.headers.get("retry-after") == ("7" if status == 503 else None)


@pytest.mark.parametrize("name", ["relative", "chain", "other"])
def test_redirects_are_followed_to_other_hosts_too(ask: Ask, server: _Server, name: str) -> None:
    assert ask(f"{server.url}/{name}").content == CONTENT
    assert server.seen[-1].path == "/file"


def test_redirects_without_end_are_refused(ask: Ask, server: _Server) -> None:
    with pytest.raises(WrongContentError, match=rf"^{server.url}/loop: .*redirects"):
        ask(f"{server.url}/loop")
    assert len(server.seen) == 21


def test_a_token_is_for_the_host_that_it_was_given_for(server: _Server, native: bool) -> None:
    with open_wire(native=native) as wire:
        streamed(wire, f"{server.url}/relative", Authorization="Bearer token")
        assert [asked.headers["Authorization"] for asked in server.seen] == ["Bearer token"] * 2
        streamed(wire, f"{server.url}/other", Authorization="Bearer token")
        assert [asked.headers["Authorization"] for asked in server.seen[2:]] == ["Bearer token", None]


@pytest.mark.parametrize("name", ["cut", "chunked/cut"])
def test_a_body_that_ends_early_is_an_error(ask: Ask, server: _Server, name: str) -> None:
    with pytest.raises(TransferError) as caught:
        ask(f"{server.url}/{name}")
    assert type(caught.value) is TransferError


@pytest.mark.parametrize(("name", "size"), [("cut", 1000), ("cut/late", 700_000)])
def test_what_came_of_a_body_that_ends_early_is_not_lost(server: _Server, native: bool, name: str, size: int) -> None:
    came = bytearray()

    def read(wire: Wire) -> None:
        with translated(name), wire.client.stream("GET", f"{server.url}/{name}") as response:
            for chunk in chunks(response):
                came.extend(chunk)

    with open_wire(native=native) as wire, pytest.raises(TransferError):
        read(wire)
    assert came == CONTENT[:size]


@pytest.mark.parametrize(("name", "framed"), [("chunked", True), ("endless", False)])
def test_it_is_known_whether_a_body_without_length_could_have_been_cut(
    ask: Ask, server: _Server, name: str, framed: bool
) -> None:
    came = ask(f"{server.url}/{name}")
    assert came.framed is framed
    assert came.content == (CONTENT if framed else CONTENT[:1000])


def test_a_packed_body_is_given_as_it_came(ask: Ask, server: _Server) -> None:
    came = ask(f"{server.url}/packed")
    assert came.headers["content-encoding"] == "gzip"
    assert gzip.decompress(came.content) == CONTENT


def test_a_small_file_without_end_does_not_fill_the_memory(
    server: _Server, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_module, "_LARGEST_SMALL_FILE", 1 << 20)
    with open_wire(native=native) as wire:
        for name in ("flood", "flood/chunked"):
            with pytest.raises(WrongContentError, match=rf"^{server.url}/{name}: .* more than 1 MiB"):
                wire.get(f"{server.url}/{name}?{SIGNED}")
        assert wire.get(server.url).content == CONTENT


@pytest.mark.parametrize("name", ["nothing", "junk", "silent", "stalling"])
def test_a_host_that_was_reached_is_not_called_unreachable(hasty: Ask, server: _Server, name: str) -> None:
    """An outage is waited for very long; a host that answers with silence or nonsense is given up as any other."""
    with pytest.raises(TransferError, match=rf"^{server.url}/{name}: \w") as caught:
        hasty(f"{server.url}/{name}?{SIGNED}")
    assert type(caught.value) is TransferError
    assert "SECRET" not in str(caught.value)


def test_a_reader_that_takes_its_time_is_no_silent_server(server: _Server, native: bool) -> None:
    came = bytearray()
    pause = threading.Event()
    with open_wire(native=native, timeout=20) as wire, wire.client.stream("GET", server.url) as response:
        for chunk in chunks(response):
            came.extend(chunk)
            pause.wait(0.05)
    assert came == CONTENT


def test_a_host_that_refuses_every_connection_is_unreachable(ask: Ask) -> None:
    with pytest.raises(UnreachableError, match="Connection refused"):
        ask(f"http://127.0.0.1:{free_port()}/file")


def test_a_host_that_nobody_knows_is_unreachable(ask: Ask) -> None:
    with pytest.raises(UnreachableError, match=r"[Nn]ame"):
        ask("http://no-such-host.invalid/file")


def test_a_host_that_never_takes_the_connection_is_unreachable(hasty: Ask) -> None:
    with ExitStack() as stack:
        busy = stack.enter_context(socket.socket())
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(busy.getsockname())
        with pytest.raises(UnreachableError):
            hasty(f"http://127.0.0.1:{busy.getsockname()[1]}/file")


@pytest.mark.parametrize("url", ["ftp://host.example/file", "host.example/file", "nonsense", "http://?", ""])
def test_what_is_no_address_is_said_to_be_none(ask: Ask, url: str) -> None:
    with pytest.raises(WrongContentError) as caught:
        ask(f"{url}?{SIGNED}")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://[/file", "http://127.0.0.1:99999/file", "http://ex ample/file", "http:///file"]
)
def test_what_is_no_address_is_our_error_in_any_case(ask: Ask, url: str) -> None:
    with pytest.raises((WrongContentError, UnreachableError)) as caught:
        ask(f"{url}?{SIGNED}")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["loop", "astray", "cut", "chunked/cut"])
def test_no_message_ever_tells_a_signature(ask: Ask, server: _Server, name: str) -> None:
    with pytest.raises(TransferError) as caught:
        ask(f"{server.url}/{name}?{SIGNED}")
    assert str(caught.value).startswith(f"{server.url}/{name}: ")
    assert "SECRET" not in f"{caught.value} {caught.value.hint}"


def test_a_proxy_of_the_environment_is_asked(ask: Ask, web: Internet, site: Publisher) -> None:
    site.put(f"{HOST}/file.bin", CONTENT)
    for scheme in ("http", "https"):
        assert ask(f"{scheme}://host.example/file.bin").content == CONTENT
    assert [exchange.url for exchange in web.exchanges] == [f"{s}://host.example/file.bin" for s in ("http", "https")]


def test_hosts_that_the_environment_excepts_are_asked_without_a_proxy(
    ask: Ask, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert ask(server.url).content == CONTENT
    with pytest.raises(UnreachableError, match="Connection refused"):
        ask("http://host.example/file")


def test_a_proxy_that_refuses_makes_the_host_unreachable(
    ask: Ask, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    with pytest.raises(UnreachableError) as caught:
        ask(f"https://host.example/file?{SIGNED}")
    assert "SECRET" not in str(caught.value)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def serving_tls(authority: trustme.CA, name: str) -> Iterator[str]:
    """A server that shows a certificate for `name`; its address, as localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    with serving(context) as server:
        yield f"https://localhost:{server.server_port}"


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user names the authority in the environment."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("trusted")
def test_an_authority_of_the_environment_is_trusted(ask: Ask, authority: trustme.CA) -> None:
    with serving_tls(authority, "localhost") as url:
        assert ask(url).content == CONTENT


def test_an_authority_that_nobody_knows_is_refused_with_the_way_out(ask: Ask, authority: trustme.CA) -> None:
    with serving_tls(authority, "localhost") as url, pytest.raises(RefusedError, match="is not trusted") as caught:
        ask(f"{url}?{SIGNED}")
    assert "SSL_CERT_FILE" in (caught.value.hint or "")
    assert "SECRET" not in str(caught.value)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_host_is_refused(ask: Ask, authority: trustme.CA) -> None:
    with serving_tls(authority, "elsewhere.example") as url, pytest.raises(RefusedError, match="certificate"):
        ask(url)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SSL_CERT_FILE", "/nowhere/ca.pem"), ("SSL_CERT_FILE", __file__), ("HTTP_PROXY", "odd://127.0.0.1:9")],
)
def test_an_environment_that_cannot_be_used_is_our_error(
    ask: Ask, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with serving_tls(authority, "localhost") as url, pytest.raises((UsageError, RefusedError)) as caught:
        ask(url)
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


def test_a_host_that_does_not_speak_tls_is_no_matter_of_certificates(ask: Ask, server: _Server) -> None:
    with pytest.raises(TransferError) as caught:
        ask(server.url.replace("http:", "https:"))
    assert not isinstance(caught.value, RefusedError)


@pytest.mark.usefixtures("trusted")
def test_small_files_share_a_connection_of_http_2_and_ranges_have_their_own(
    nginx: StartNginx, authority: trustme.CA, tmp_path: Path
) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file").write_bytes(CONTENT)
    pem = tmp_path / "server.pem"
    server = nginx(tmp_path / "served", f"ssl_certificate {pem}; ssl_certificate_key {pem};", listen=" ssl http2")
    with open_wire() as wire:
        answers = [whole(wire, f"{server.url}/file"), streamed(wire, f"{server.url}/file")]
        with ThreadPoolExecutor(8) as pool:
            answers += pool.map(lambda _: whole(wire, f"{server.url}/file"), range(32))
    assert all(answer.content == CONTENT for answer in answers)
    assert [answer.framed for answer in answers] == [True, False, *[True] * 32]
    until(lambda: len(server.exchanges) == 34)
    protocols = [exchange.protocol for exchange in server.exchanges]
    assert sorted(set(protocols)) == ["HTTP/1.1", "HTTP/2.0"]
    assert protocols.count("HTTP/1.1") == 1
    assert len({exchange.connection for exchange in server.exchanges}) == 2


def test_a_connection_is_used_again_once_its_body_is_read(ask: Ask, server: _Server) -> None:
    for _ in range(5):
        ask(server.url)
    assert len({asked.client_address for asked in server.seen}) == 1


def test_threads_share_the_wire(ask: Ask, server: _Server) -> None:
    ask(server.url)
    with ThreadPoolExecutor(16) as pool:
        assert all(came.content == CONTENT for came in pool.map(lambda _: ask(server.url), range(64)))


def test_a_wire_that_is_closed_keeps_nothing_open(server: _Server, native: bool) -> None:
    def used() -> None:
        with open_wire(native=native) as wire:
            for _ in range(3):
                whole(wire, server.url)
                streamed(wire, server.url)

    def ours() -> int:
        """Sockets that are open, those of the server's threads included."""
        return sum("socket" in os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())

    # Other tests may have left threads that wait for silent servers.
    threads = threading.active_count()
    used()
    until(lambda: threading.active_count() <= threads)
    before = ours()
    for _ in range(5):
        used()
    until(lambda: ours() <= before)


EMFILE = """
import os, sys
from resource import RLIMIT_NOFILE, setrlimit
from cvl.download.transport.wire import open_wire, translated
from cvl.errors import CvlError

url, native, streams = sys.argv[1], sys.argv[2] == "True", sys.argv[3] == "streamed"
with open_wire(native=native) as wire:
    wire.get(url)
    setrlimit(RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1,) * 2)
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    try:
        for host in ("127.0.0.2", "127.0.0.3"):
            other = url.replace("127.0.0.1", host)
            if streams:
                with translated("name"), wire.client.stream("GET", other):
                    pass
            else:
                wire.get(other)
    except CvlError as error:
        print(type(error).__name__, error, "|", error.hint)
"""


@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_a_process_that_may_open_no_more_files_is_told_what_to_do(server: _Server, native: bool, how: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    command = [sys.executable, "-c", EMFILE, f"{server.url}/relative?{SIGNED}", str(native), how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(CvlError.__name__)
    assert "may open no more files" in done.stdout
    assert "--connections" in done.stdout
    assert "SECRET" not in done.stdout


WITHOUT = """
import sys

sys.modules["pyreqwest"] = None
from cvl.download.transport.wire import chunks, open_wire, translated
from cvl.errors import TransferError

url, nobody = sys.argv[1:]
with open_wire() as wire:
    print(wire.direct, len(wire.get(url + "/chain").content), end=" ")
    with translated("name"), wire.client.stream("GET", url + "/chain") as response:
        print(len(b"".join(chunks(response))))
    for address in (url + "/cut", url + "/loop", nobody, "nonsense"):
        try:
            wire.get(address)
        except TransferError as error:
            print(type(error).__name__)
"""


def test_where_there_is_no_pyreqwest_httpx_does_it_alone(server: _Server) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    command = [sys.executable, "-c", WITHOUT, server.url, f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        f"None {len(CONTENT)} {len(CONTENT)}",
        *("TransferError", "WrongContentError", "UnreachableError", "WrongContentError"),
    ], done.stderr

"""A web server whose every answer a test can bend, and a watch over downloads that must not hang."""

from __future__ import annotations

import faulthandler
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cvl.download.transport.ranges import Ranges, Span

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_WATCH = 60.0


@dataclass(frozen=True)
class Ask:
    """One request: the how manieth it is, and the bytes that it asks for; None for all of them."""

    number: int
    span: Span | None
    if_range: str | None


@dataclass(frozen=True)
class Reply:
    """One answer.

    Args:
        status: of HTTP.
        headers: all but the length.
        body: what the headers promise.
        cut: after so many bytes the connection ends; None for never.
        reset: whether it ends by a reset.
        silent: whether nothing more comes instead of an end, until the server closes.
        drip: seconds between pieces of 64 bytes.
        chunked: whether no length is told.
        unframed: whether the end of the connection is the end of the body.
        gate: waited for before the first byte of the body.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    reset: bool = False
    silent: bool = False
    drip: float = 0.0
    chunked: bool = False
    unframed: bool = False
    gate: threading.Event | None = None


class Origin:
    """Serves one file; `bend` may change what it would answer.

    Args:
        content: the file. It may be exchanged while the server runs, together with `etag`.
        etag: None to send none.
    """

    def __init__(self, content: bytes, etag: str | None = '"one"') -> None:
        self.content = content
        self.etag = etag
        self.bend: Callable[[Ask, Reply], Reply] = lambda _ask, reply: reply
        self.asked: list[Ask] = []
        self.sent = 0
        self.connections = 0
        self.busy = 0
        self.most_busy = 0
        self.mutex = threading.Lock()
        self.closing = threading.Event()
        self.url = ""

    def exchange(self, content: bytes, etag: str | None) -> None:
        """Have another version of the file from now on."""
        with self.mutex:
            self.content, self.etag = content, etag

    def answer(self, span: Span | None, if_range: str | None) -> Reply:
        """What a good server says."""
        with self.mutex:
            content, etag = self.content, self.etag
        headers = {"ETag": etag} if etag else {}
        if span is None or (if_range is not None and if_range != etag):
            return Reply(200, headers | {"Accept-Ranges": "bytes"}, content)
        if span.start >= len(content):
            return Reply(416, {"Content-Range": f"bytes */{len(content)}"}, b"no such bytes")
        return ranged(content, span.start, min(span.stop, len(content)), headers)

    @property
    def spans(self) -> list[Span | None]:
        """The bytes that were asked for, request by request."""
        return [ask.span for ask in self.asked]

    def asked_bytes(self) -> Ranges:
        """The bytes that were asked for, cut to the file's end; fails if some were asked for twice."""
        seen = Ranges()
        for span in self.spans:
            start, stop = span or Span(0, len(self.content))
            stop = min(stop, len(self.content))
            before = seen.size
            seen.add(start, stop)
            assert seen.size == before + max(stop - start, 0), f"{span} was asked for twice"
        return seen


def ranged(content: bytes, start: int, stop: int, headers: Mapping[str, str] | None = None) -> Reply:
    """Status 206 with these bytes."""
    told = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
    return Reply(206, {**(headers or {}), **told}, content[start:stop])


@contextmanager
def served(origin: Origin, port: int = 0) -> Iterator[Origin]:
    """The server, running on loopback, on a port that is free or on the one where it was before."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    origin.closing.clear()
    server = Server(("127.0.0.1", port), _handler(origin))
    origin.url = f"http://127.0.0.1:{server.server_port}/file.bin"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield origin
    finally:
        server.shutdown()
        server.server_close()
        origin.closing.set()
        thread.join()


def _handler(origin: Origin) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with origin.mutex:
                origin.connections += 1

        def handle(self) -> None:
            with suppress(ConnectionError):
                super().handle()

        def do_GET(self) -> None:
            match = _RANGE.fullmatch(self.headers.get("Range", ""))
            span = Span(int(match[1]), int(match[2]) + 1 if match[2] else 2**63 - 1) if match else None
            with origin.mutex:
                ask = Ask(len(origin.asked), span, self.headers.get("If-Range"))
                origin.asked.append(ask)
                origin.busy += 1
                origin.most_busy = max(origin.most_busy, origin.busy)
            try:
                self._send(origin.bend(ask, origin.answer(span, ask.if_range)))
            finally:
                with origin.mutex:
                    origin.busy -= 1

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            framing = {"Transfer-Encoding": "chunked"} if reply.chunked else {"Content-Length": str(len(reply.body))}
            if reply.unframed:
                framing = {"Connection": "close"}
            for name, value in {**framing, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.gate is not None:
                reply.gate.wait(_WATCH)
            body = reply.body if reply.cut is None else reply.body[: reply.cut]
            self._send_body(body, reply)
            if len(body) < len(reply.body) or reply.reset or reply.unframed:
                self._end(reply)
            elif reply.chunked:
                self.wfile.write(b"0\r\n\r\n")

        def _send_body(self, body: bytes, reply: Reply) -> None:
            size = 64 if reply.drip else 65536
            for at in range(0, len(body), size):
                piece = body[at : at + size]
                with origin.mutex:
                    origin.sent += len(piece)
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece)
                if reply.drip and origin.closing.wait(reply.drip):
                    return

        def _end(self, reply: Reply) -> None:
            self.close_connection = True
            if reply.silent:
                self.connection.settimeout(0.02)
                while not origin.closing.is_set():
                    try:
                        if not self.connection.recv(4096):
                            return
                    except TimeoutError:
                        continue
            if reply.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


# Ways to bend an answer


def status(code: int, **headers: str) -> Reply:
    """No file at all."""
    return Reply(code, {name.replace("_", "-"): value for name, value in headers.items()}, b"sorry")


def once(number: int, bent: Callable[[Ask, Reply], Reply]) -> Callable[[Ask, Reply], Reply]:
    """Only the request of this number is answered otherwise."""
    return lambda ask, reply: bent(ask, reply) if ask.number == number else reply


# The watch


def watched(work: Callable[[], Any], seconds: float = _WATCH) -> Any:
    """What `work` returns or raises. If it hangs, every thread's stack is written and the test fails."""
    outcome: list[Any] = []

    def do() -> None:
        try:
            outcome.extend((work(), None))
        except BaseException as error:  # raised again below
            outcome.extend((None, error))

    thread = threading.Thread(target=do, daemon=True, name="watched")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        faulthandler.dump_traceback(sys.stderr.fileno() if sys.__stderr__ is None else sys.__stderr__)
        raise AssertionError(f"it hangs: nothing came of it in {seconds:.0f} s")
    value, error = outcome
    if error is not None:
        raise error
    return value

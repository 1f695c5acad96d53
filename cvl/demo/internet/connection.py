"""One client's connection: HTTP as a proxy and as a server is spoken here, and replies are sent whole or broken."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from select import select
from typing import Protocol
from urllib.parse import urlsplit

from cvl.demo.internet.exchange import Certificate, Ending, Framing, Reply, Request
from cvl.demo.internet.ledger import Tally
from cvl.demo.internet.stage import Stage

_FAREWELL = 1.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Owner(Protocol):
    """What a connection asks of the listener that accepted it."""

    stage: Stage
    url: str
    closing: bool

    def opened(self, connection: Connection) -> None:
        """Keep in mind that this connection has to be ended."""

    def closed(self, connection: Connection) -> None:
        """This connection has ended."""


class Connection(BaseHTTPRequestHandler):
    """One client's connection, with as many requests as it brings; after CONNECT they come through TLS."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Owner  # type: ignore[assignment] # the listener, which cannot be imported from here
    request: socket.socket
    _tunnel = ""

    def setup(self) -> None:
        """Prepare to read and write."""
        super().setup()
        self.server.opened(self)
        if self.server.closing:
            self.interrupt()

    def handle(self) -> None:
        """Answer until one side closes. A client that goes away is no error: the ledger has what it got."""
        with suppress(ConnectionError, ssl.SSLError):
            super().handle()

    def finish(self) -> None:
        """Close, in TLS with the farewell that tells a whole body from a cut one."""
        super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            # Without blocking, unwrap() says farewell and does not wait for the other side's; but it takes some room.
            with suppress(OSError, ValueError):
                select([], [self.request], [], _FAREWELL)
                self.request.setblocking(False)
                self.request.unwrap()
        self.server.closed(self)
        self.request.close()

    def interrupt(self) -> None:
        """End the connection from another thread: what waits for the client gets the end of its stream."""
        with suppress(OSError):
            # SSLSocket.shutdown would take the TLS state away under the other thread's hands.
            socket.socket.shutdown(self.request, socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the ledger is the log."""

    def do_CONNECT(self) -> None:
        """Open a tunnel, and be the host at its other end."""
        host = self.path.rpartition(":")[0].lower()
        request = Request("CONNECT", f"https://{host}", self._named_headers())
        reply = self.server.stage.sites.connect(request)
        if reply.status != HTTPStatus.OK:
            self._send(request, reply)
            return
        self.send_response_only(HTTPStatus.OK, "Connection established")
        self.end_headers()
        self._secure(host, reply.certificate)
        self._tunnel = f"https://{host}"
        # Clients that speak HTTP/1.0 to a proxy go on in the tunnel all the same.
        self.close_connection = False

    def do_GET(self) -> None:
        """Answer one request, whichever way it names its host."""
        stage = self.server.stage
        asked = self.path if not self.path.startswith("/") else (self._tunnel or self.server.url) + self.path
        try:
            urlsplit(asked)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST, "Not a url")
            return
        request = Request(self.command, stage.real(asked), self._named_headers())
        reply = stage.sites.answer(request)
        if request.url != asked and "Location" in reply.headers:
            reply = replace(reply, headers={**reply.headers, "Location": stage.near(reply.headers["Location"])})
        try:
            self._send(request, reply)
        finally:
            stage.sites.finished(request)

    do_HEAD = do_GET

    def _named_headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _secure(self, host: str, certificate: Certificate) -> None:
        context = self.server.stage.authority.context(host, certificate)
        self.rfile.close()
        try:
            self.request = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
            self.setup()
            self.request.do_handshake()
        except OSError as error:
            raise ConnectionAbortedError(f"no TLS with the client that asked for {host}") from error

    def _send(self, request: Request, reply: Reply) -> None:
        tally = self.server.stage.ledger.open(request, reply.status)
        self._send_head(reply)
        if request.method == "HEAD" or reply.status in _WITHOUT_BODY:
            return
        self._send_body(reply, tally)
        if tally.sent < reply.body.size:
            self.close_connection = True
            self._break_off(reply.ending)

    def _send_head(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        match reply.framing:
            case Framing.LENGTH:
                self.send_header("Content-Length", str(reply.body.size))
            case Framing.CHUNKED:
                self.send_header("Transfer-Encoding", "chunked")
            case Framing.CLOSE:
                self.send_header("Connection", "close")
        self.end_headers()

    def _send_body(self, reply: Reply, tally: Tally) -> None:
        chunked = reply.framing is Framing.CHUNKED
        chunks = _chunks(reply)
        for chunk in chunks if reply.pace is None else reply.pace.pieces(chunks):
            # Counted first: a client that has all its bytes finds them in the ledger.
            tally.sent += len(chunk)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _break_off(self, ending: Ending) -> None:
        if ending is Ending.RESET:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.rfile.close()
            self.request.close()
        elif ending is Ending.STALLED:
            # Ends when the client closes, or when the listener interrupts.
            while self.request.recv(4096):
                continue


def _chunks(reply: Reply) -> Iterator[bytes]:
    left = reply.body.size if reply.ending is Ending.WHOLE else reply.cut
    for chunk in reply.body.chunks():
        if left <= 0:
            return
        yield chunk[:left]
        left -= len(chunk)

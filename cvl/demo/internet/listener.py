"""A port on loopback: accepts connections, and ends all of them when its time is over."""

from __future__ import annotations

import socket
import threading
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any, NoReturn

from cvl.demo.internet.connection import Connection
from cvl.demo.internet.stage import Stage

_POLL_SECONDS = 0.02
_SEND_BUFFER = 128 * 1024


class Listener(ThreadingMixIn, TCPServer):
    """One port on 127.0.0.1, a thread a connection. Serves inside of its `with` block, which ends every connection.

    Args:
        stage: what it shares with the other listeners.
        host: the host that answers requests to the port itself, as `https://host`.
    """

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False

    def __init__(self, stage: Stage, host: str) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        # Connections inherit it: what the kernel holds for a client stays as little as on a real way through the
        # internet, so that the ledger's count of sent bytes says how many a killed client had asked for in vain.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.stage = stage
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.closing = False
        self._open: set[Connection] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), name=f"listener {host}")
        stage.doubles[self.url] = host

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.closing = True
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            connection.interrupt()
        self.server_close()

    def opened(self, connection: Connection) -> None:
        """Keep in mind that this connection has to be ended."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        """This connection has ended."""
        with self._lock:
            self._open.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> NoReturn:  # noqa: ARG002 - socketserver's signature
        """Let an error of our own end its thread loudly."""
        raise

"""A real nginx on loopback over a folder: configured as a test wants it, killed and brought back at will.

    def test_something(nginx: StartNginx) -> None:
        server = nginx(folder, "limit_rate 1m;")
        ... server.url ... server.requests ...

`Nginx` itself does without pytest; the benchmark of fetching runs it too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import pytest

PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
"""Where nginx is; Debian puts it where only root looks. None where it is not installed."""
ABSENT = "nginx is not installed: apt-get install nginx"

_SO_MAX_PACING_RATE = 47
"""Linux's number, for which Python has no name."""
_LOGGED = (
    "method",
    "uri",
    "status",
    "http_range",
    "connection",
    "server_protocol",
    "body_bytes_sent",
    "msec",
    "request_time",
)
_CONFIG = """
{user}
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    log_format exchange escape=json '{{{logged}}}';
    access_log {folder}/access.log exchange;
    default_type application/octet-stream;
    types {{ image/jpeg jpg; application/json json; application/zip zip; text/html html; }}
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 30;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port}{listen};
        root {root};
        {server}
    }}
}}
"""


@dataclass(frozen=True)
class Exchange:
    """One answer, as nginx's log has it once it has ended.

    Args:
        uri: path and query.
        range: the request's header, "" without one.
        connection: a number of its own for each connection.
        protocol: such as `HTTP/2.0`.
        bytes: of the body that were sent.
        began, ended: in seconds since 1970.
    """

    method: str
    uri: str
    status: int
    range: str
    connection: int
    protocol: str
    bytes: int
    began: float
    ended: float


@dataclass(frozen=True)
class Directives:
    """Words for nginx's configuration, each where it belongs.

    Args:
        server: within `server`.
        http: within `http`, before it.
        listen: parameters of `listen`, such as ` ssl http2`.
    """

    server: str = ""
    http: str = ""
    listen: str = ""


class Nginx:
    """An nginx of its own, which serves `root` inside of its `with` block. Its port is its own as well.

    Args:
        root: what is served, links included.
        directives: on top of plain files by sendfile.
        pace: bytes a second that each connection is given, by the kernel: nginx's `limit_rate` is for each request, and
            gives every one of them a second's worth at once. None for as many as there may be. Linux only.

    Raises:
        RuntimeError: nginx is not installed, or does not take the directives.
    """

    def __init__(self, root: Path, directives: Directives | None = None, *, pace: int | None = None) -> None:
        self._root = root
        self._pace = pace
        self._directives = directives or Directives()
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nginx-")))
            self.port = free_port()
            (self.folder / "nginx.conf").write_text(self._configuration())
            self._check()
            stack.callback(self.stop)
            self.start()
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end; `https` where `listen` says so."""
        scheme = "https" if "ssl" in self._directives.listen else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def exchanges(self) -> list[Exchange]:
        """All answers that have ended, in the order in which they did."""
        log = self.folder / "access.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [_exchange(json.loads(line)) for line in lines]

    def forget(self) -> None:
        """Have no exchanges so far."""
        os.truncate(self.folder / "access.log", 0)

    def start(self) -> None:
        """Run it, at the same port every time. It takes connections from now on."""
        # A listening socket of ours: clients can connect before nginx has read its configuration.
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._pace:
                # What is accepted here inherits it.
                listener.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, self._pace)
            # nginx takes it as it is; the worker that loses the race for a connection would wait for the next one.
            listener.setblocking(False)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(511)
            self._process = subprocess.Popen(
                self._command(),
                pass_fds=[listener.fileno()],
                env=os.environ | {"NGINX": f"{listener.fileno()};"},
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End it, if it runs; what it sends is cut off."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, without a farewell on any connection. Nothing listens at its port any more."""
        self._end(signal.SIGKILL)
        # Its workers are nobody's children now, so their end cannot be waited for.
        while self._listens():
            time.sleep(0.01)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, how)
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _command(self, *more: str) -> list[str]:
        assert PROGRAM is not None
        return [PROGRAM, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), *more]

    def _check(self) -> None:
        if PROGRAM is None:
            raise RuntimeError(ABSENT)
        checked = subprocess.run(self._command("-t", "-q"), capture_output=True, text=True, check=False)
        if checked.returncode != 0:
            raise RuntimeError(f"nginx refuses its configuration: {checked.stderr.strip()}")

    def _configuration(self) -> str:
        # A worker of root's nginx is `nobody`, who may not look into temporary folders.
        user = "user root;" if os.geteuid() == 0 else ""
        asked = self._directives
        return _CONFIG.format(
            folder=self.folder,
            root=self._root,
            port=self.port,
            logged=", ".join(f'"{name}": "${_variable(name)}"' for name in _LOGGED),
            user=user,
            http=asked.http,
            listen=asked.listen,
            server=asked.server,
        )


class StartNginx(Protocol):
    """Starts an nginx over a folder, which ends with the test."""

    def __call__(
        self, root: Path, server: str = "", *, http: str = "", listen: str = "", pace: int | None = None
    ) -> Nginx: ...


@pytest.fixture
def nginx() -> Iterator[StartNginx]:
    """Starts as many nginx as a test wants; the test is skipped where there is none."""
    if PROGRAM is None:
        pytest.skip(ABSENT)
    with ExitStack() as running:

        def start(root: Path, server: str = "", *, http: str = "", listen: str = "", pace: int | None = None) -> Nginx:
            return running.enter_context(Nginx(root, Directives(server, http, listen), pace=pace))

        yield start


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _variable(name: str) -> str:
    return {"method": "request_method", "uri": "request_uri"}.get(name, name)


def _exchange(logged: dict[str, str]) -> Exchange:
    method, uri, status, asked, connection, protocol, sent, ended, seconds = (logged[name] for name in _LOGGED)
    began = float(ended) - float(seconds)
    return Exchange(method, uri, int(status), asked, int(connection), protocol, int(sent), began, float(ended))

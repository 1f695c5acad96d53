"""The wire: which library moves the bytes is chosen here, and nowhere else.

httpx is what the transports speak. Underneath it pyreqwest does the work where it can be imported, several times faster
than httpx's own transport, which stands in elsewhere. For lists of many small files httpx's layer costs more than the
wire, so `Wire.get` goes to pyreqwest directly.

Proxies and certificates come from the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import httpx

from cvl import __version__
from cvl.download.lock import unsigned
from cvl.download.transport.answers import proxy_refusal
from cvl.errors import CvlError, RefusedError, TransferError, UnreachableError, UsageError, WrongContentError

try:
    from pyreqwest.client import SyncClientBuilder
    from pyreqwest.compatibility.httpx import SyncHttpxTransport
    from pyreqwest.exceptions import BuilderError, ConnectError, ConnectTimeoutError, PyreqwestError, RedirectError
except ImportError:
    NATIVE = False
else:
    NATIVE = True

if TYPE_CHECKING:
    from pyreqwest.client import SyncClient
    from pyreqwest.request import SyncRequestBuilder
    from pyreqwest.response import SyncResponseBodyReader

TIMEOUT = 30.0
"""Seconds without a byte after which a connection is given up."""

_CONNECT_TIMEOUT = 20.0
_SMALL_FILE_TIMEOUT = 300.0
_LARGEST_SMALL_FILE = 32 << 20
_REDIRECTS = 20
# Archives must come as they are: a transport encoding would change their bytes.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"cvl/{__version__}"}
# pyreqwest's words, and httpx's.
_PROXY_REFUSALS = ("tunnel error: proxy authorization required", "407 Proxy Authentication Required")
_CUT_TLS = "without sending TLS close_notify"
_NATIVE_RESPONSE = "pyreqwest_response"
# As hyper puts it.
_NEVER_CONNECTED = "client error (Connect)"


@dataclass(frozen=True)
class Answer:
    """A whole answer, for files that fit into memory.

    Args:
        status: of HTTP.
        headers: by name in lower case.
        content: the body.
        framed: whether the end of a body without length is marked, so that a cut one would have been an error.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    framed: bool


@dataclass(frozen=True)
class Wire:
    """The clients that all transfers of one run share. Safe to use from threads.

    Args:
        client: for everything that is streamed. Speaks HTTP/1.1, for ranges side by side need a connection each.
        direct: for small files, with HTTP/2 where the server has it; None where httpx must do.
    """

    client: httpx.Client
    direct: SyncClient | None = None

    def get(self, url: str) -> Answer:
        """The whole answer to a GET, its body as it came over the wire; redirects are followed.

        Raises:
            WrongContentError: the body is far larger than a small file's.
            TransferError: as `translated` says.
        """
        name = unsigned(url)
        with translated(name):
            if self.direct is None:
                with self.client.stream("GET", url) as answer:
                    content = _small(chunks(answer), name)
                    return Answer(answer.status_code, answer.headers, content, is_framed(answer))
            with _addresses():
                request = self.direct.get(url)
            with request.build_streamed() as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                content = _small(_pieces(response.body_reader), name)
                return Answer(response.status, headers, content, _is_framed(response.version, headers))


@contextmanager
def open_wire(*, timeout: float = TIMEOUT, native: bool = NATIVE) -> Iterator[Wire]:
    """The wire of one run. `timeout` is in seconds without a byte; `native` says whether pyreqwest carries it.

    Raises:
        UsageError: the environment names a proxy or certificates that cannot be used.
    """
    with ExitStack() as stack:
        if not native:
            yield Wire(stack.enter_context(_own(timeout)))
            return
        bulk = stack.enter_context(_builder(timeout).follow_redirects(False).http1_only().build())
        small = _builder(timeout).http2(True).max_redirects(_REDIRECTS)
        small = small.timeout(timedelta(seconds=_SMALL_FILE_TIMEOUT))
        # httpx's own timeouts are off: the transport would add them up to one for the whole body.
        client = httpx.Client(
            transport=_Native(bulk),
            headers=_HEADERS,
            follow_redirects=True,
            timeout=None,
        )
        yield Wire(stack.enter_context(client), stack.enter_context(small.build()))


def _own(timeout: float) -> httpx.Client:
    limits = httpx.Limits(max_connections=None)
    patience = httpx.Timeout(timeout, connect=_connect_timeout(timeout), pool=None)
    try:
        return httpx.Client(headers=_HEADERS, follow_redirects=True, limits=limits, timeout=patience)
    except (OSError, ValueError, ImportError) as error:
        # ssl's errors are of the system as well.
        hint = "look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE, for instance with `env`"
        said = "a proxy or a file of certificates that the environment names cannot be used"
        raise UsageError(f"{said}: {error}", hint=hint) from error


def _builder(timeout: float) -> SyncClientBuilder:
    builder = SyncClientBuilder().default_headers(_HEADERS).referer(False)
    builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
    builder = builder.connect_timeout(timedelta(seconds=_connect_timeout(timeout)))
    return builder.read_timeout(timedelta(seconds=timeout))


def _connect_timeout(timeout: float) -> float:
    # Below the other, so that it is known whether a host was never reached or fell silent.
    return min(_CONNECT_TIMEOUT, timeout * 2 / 3)


class _Unbuffered:
    """A pyreqwest client whose answers come as soon as their heads do.

    By itself it gathers the first 64 KiB of a body before it hands out the head: of a server that falls silent before
    that, all of them would be lost.
    """

    def __init__(self, client: SyncClient) -> None:
        self._client = client

    def request(self, method: str, url: str) -> SyncRequestBuilder:
        """A request in the making."""
        return self._client.request(method, url).streamed_read_buffer_limit(0)


class _Native(httpx.BaseTransport):
    """pyreqwest's transport for httpx, as httpx expects one to behave."""

    def __init__(self, client: SyncClient) -> None:
        self._transport = SyncHttpxTransport(cast("SyncClient", _Unbuffered(client)), close_client=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # A redirected request has a body that was not read, which pyreqwest takes for one that it cannot send.
        request.read()
        with _addresses():
            return self._transport.handle_request(request)


@contextmanager
def _addresses() -> Iterator[None]:
    """Give what is no address the name that httpx has for it: pyreqwest raises a bare ValueError."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, PyreqwestError):
            raise
        raise httpx.InvalidURL(str(error)) from error


def chunks(response: httpx.Response) -> Iterator[bytes | memoryview]:
    """The body as it comes from the network: of pieces of our own size, the one that a cut falls into would be lost.

    pyreqwest takes a pause between two pieces for silence of the server: it must be shorter than the wire's timeout.
    """
    native = response.extensions.get(_NATIVE_RESPONSE)
    if native is None:
        yield from response.iter_raw()
        return
    yield from _pieces(native.body_reader)


def _pieces(reader: SyncResponseBodyReader) -> Iterator[memoryview]:
    while (piece := reader.read_chunk()) is not None:
        yield memoryview(piece)


def _small(pieces: Iterator[bytes | memoryview], name: str) -> bytes:
    """A whole body. Whoever sends without end must not fill our memory."""
    kept, size = [], 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size > _LARGEST_SMALL_FILE:
            said = f"expected a small file, found more than {_LARGEST_SMALL_FILE >> 20} MiB"
            raise WrongContentError(f"{name}: {said}")
    return b"".join(kept)


def is_framed(response: httpx.Response) -> bool:
    """Whether the end of a body without length is marked, so that one that ends early is an error of the transport."""
    native = response.extensions.get(_NATIVE_RESPONSE)
    return _is_framed(native.version if native is not None else response.http_version, response.headers)


def _is_framed(version: str, headers: Mapping[str, str]) -> bool:
    return version.startswith("HTTP/2") or "chunked" in headers.get("transfer-encoding", "")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what the libraries raise into our errors, in one place. `url` is for messages: without its signature.

    Raises:
        WrongContentError: redirects without end, or an address that is none.
        RefusedError: the server's certificate is not trusted, or a proxy wants credentials.
        UnreachableError: no connection to the host. TransferError: everything else on the wire.
        CvlError: this process may open no more files.
    """
    try:
        yield
    except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise WrongContentError(f"{url}: {error}") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise _translation(url, error) from error
    except Exception as error:
        if not NATIVE or not isinstance(error, PyreqwestError):
            raise
        if isinstance(error, RedirectError):
            raise WrongContentError(f"{url}: redirects without end, more than {_REDIRECTS}") from error
        if isinstance(error, BuilderError):
            raise WrongContentError(f"{url}: {_causes(error)[-1]}") from error
        raise _translation(url, error) from error


def _translation(url: str, error: Exception) -> CvlError:
    causes = _causes(error)
    reason = causes[-1]
    if "os error 24" in reason or "Errno 24" in reason:
        hint = "allow more with `ulimit -n 4096`, or ask for fewer with --connections"
        return CvlError(f"{url}: this process may open no more files and connections", hint=hint)
    if reason in _PROXY_REFUSALS:
        return proxy_refusal(url)
    if _CUT_TLS in reason:
        return TransferError(f"{url}: the connection was closed in the middle of the answer")
    if "certificate" in reason.lower():
        hint = "if a proxy or your organisation signs for it, name its authority's certificate in SSL_CERT_FILE"
        return RefusedError(f"{url}: the server's certificate is not trusted: {reason}", hint=hint)
    return (UnreachableError if _is_unreachable(error, causes) else TransferError)(f"{url}: {reason}")


def _is_unreachable(error: Exception, causes: list[str]) -> bool:
    """Whether there never was a connection. pyreqwest says so of every answer of which nothing came at all."""
    kinds: tuple[type[Exception], ...] = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
    if NATIVE:
        kinds += (ConnectError, ConnectTimeoutError)
    return isinstance(error, kinds) and (len(causes) == 1 or _NEVER_CONNECTED in causes)


def _causes(error: BaseException) -> list[str]:
    """What led to an error. The last is the reason; the ones before it repeat the address, with its signature."""
    while error.__cause__ is not None:
        error = error.__cause__
    details = getattr(error, "details", None)
    if details is None:
        return [str(error) or type(error).__name__]
    return [cause["message"] for cause in details["causes"] or ()] or [type(error).__name__]

"""Certificates for every host that the stand-in plays, issued by an authority that lives as long as it does."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import trustme

from cvl.demo.internet.exchange import Certificate

_ELSEWHERE = "elsewhere.example"


class _Accepted(ssl.SSLSocket):
    """The server's side of a connection. If its client left before the handshake, ssl drops it without closing it."""

    def __del__(self) -> None:
        self.close()


class Authority:
    """A certificate authority whose key exists in memory only, and a second one that no client has heard of.

    Args:
        folder: where `ca.pem` is written, the file for a client's SSL_CERT_FILE.
    """

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._stranger = trustme.CA()
        self._contexts: dict[tuple[str, Certificate], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.pem = folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True)
        self._ca.cert_pem.write_to_path(self.pem)

    def context(self, host: str, certificate: Certificate = Certificate.GOOD) -> ssl.SSLContext:
        """The server side's context for `host`; what it shows is issued at the first call and kept."""
        with self._lock:
            key = (host, certificate)
            if key not in self._contexts:
                self._contexts[key] = self._issue(host, certificate)
            return self._contexts[key]

    def _issue(self, host: str, certificate: Certificate) -> ssl.SSLContext:
        authority = self._stranger if certificate is Certificate.UNKNOWN_AUTHORITY else self._ca
        name = _ELSEWHERE if certificate is Certificate.OTHER_NAME else host
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslsocket_class = _Accepted
        context.set_alpn_protocols(["http/1.1"])
        authority.issue_cert(name).configure_cert(context)
        return context

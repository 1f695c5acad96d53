"""Certificates for every host that the stand-in plays, issued by an authority that lives as long as it does."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import trustme


class Authority:
    """A certificate authority whose key exists in memory only.

    Args:
        folder: where `ca.pem` is written, the file for a client's SSL_CERT_FILE.
    """

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.pem = folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True)
        self._ca.cert_pem.write_to_path(self.pem)

    def context(self, host: str) -> ssl.SSLContext:
        """The server side's context for `host`; its certificate is issued at the first call and kept."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._issue(host)
            return self._contexts[host]

    def _issue(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._ca.issue_cert(host).configure_cert(context)
        return context

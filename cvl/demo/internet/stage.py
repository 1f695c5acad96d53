"""What the stand-in's ports share, and the two names that every url has there."""

from __future__ import annotations

from dataclasses import dataclass, field

from cvl.demo.internet.ledger import Ledger
from cvl.demo.internet.sites import Sites
from cvl.demo.internet.tls import Authority


@dataclass(frozen=True)
class Stage:
    """What all listeners share.

    Args:
        sites: who answers.
        authority: who issues the certificates.
        ledger: who keeps the record.
        doubles: own address of a listener -> the host that answers there, both as `scheme://host`. A request to such
            an address counts as one to that host, and links to that host are led to the address.
    """

    sites: Sites
    authority: Authority
    ledger: Ledger
    doubles: dict[str, str] = field(default_factory=dict)

    def real(self, url: str) -> str:
        """The url that a client means who asks for `url`."""
        return _rebase(url, self.doubles)

    def near(self, url: str) -> str:
        """The inverse of `real`: where a client who does not use the proxy finds `url`."""
        return _rebase(url, {host: address for address, host in self.doubles.items()})


def _rebase(url: str, bases: dict[str, str]) -> str:
    for old, new in bases.items():
        if url == old or url.startswith(f"{old}/"):
            return new + url[len(old) :]
    return url

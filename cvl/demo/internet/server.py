"""The internet on loopback: one folder stands in for every host that the sources live on."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from cvl.demo.internet.exchange import Exchange
from cvl.demo.internet.faults import Fault
from cvl.demo.internet.hub import CDN_HOST, HUB_HOST
from cvl.demo.internet.ledger import Ledger
from cvl.demo.internet.listener import Listener
from cvl.demo.internet.pending import Faults
from cvl.demo.internet.signed import links_file, signed_link
from cvl.demo.internet.sites import Sites
from cvl.demo.internet.stage import Stage
from cvl.demo.internet.tls import Authority


class Internet:
    """Every host, played by a proxy on 127.0.0.1 out of the files of a folder; no real host is ever reached.

    It runs inside of its `with` block. Clients get there by the variables of `environment()` and ask for the real
    urls, https among them; or they take `url` for the hub's own address (HF_ENDPOINT).

    Args:
        folder: what is served, read when it is asked for::

            http/<host>/<path>                     http(s)://<host>/<path>
            hub/datasets/<owner>/<name>/<path>     a dataset repository of huggingface.co
            hub/models/<owner>/<name>/<path>       a model repository
            drive/<file id>/<file name>            a file of Google Drive
            signed/<file name>                     a file behind a signed link of Meta's

        certificates: where the authority's `ca.pem` is written; a temporary folder by default.
    """

    def __init__(self, folder: Path, *, certificates: Path | None = None) -> None:
        self._folder = folder
        self._certificates = certificates
        self._faults = Faults()
        self._ledger = Ledger()
        self._running = ExitStack()

    def __enter__(self) -> Internet:
        with ExitStack() as stack:
            certificates = self._certificates or Path(stack.enter_context(TemporaryDirectory()))
            self._authority = Authority(certificates)
            stage = Stage(Sites(self._folder, self._faults), self._authority, self._ledger)
            self._proxy = stack.enter_context(Listener(stage, f"https://{HUB_HOST}"))
            # A port of its own: to the hub's clients another port is another host, which gets no token of theirs.
            stack.enter_context(Listener(stage, f"https://{CDN_HOST}"))
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def url(self) -> str:
        """The proxy's address, `http://127.0.0.1:PORT`, which is also the hub's."""
        return self._proxy.url

    @property
    def exchanges(self) -> list[Exchange]:
        """All answers so far, in the order in which they began."""
        return self._ledger.exchanges()

    def body_bytes(self, pattern: str = "*") -> int:
        """Body bytes sent for all urls that the glob matches; `*` matches slashes and queries too."""
        return sum(each.bytes_sent for each in self.exchanges if fnmatchcase(each.url, pattern))

    def environment(self) -> dict[str, str]:
        """The variables that lead a child process here: proxy, authority, and the hub online at its usual address."""
        certificate = str(self._authority.pem)
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), self.url) | {"NO_PROXY": ""}
        return {
            **proxies,
            **{name.lower(): value for name, value in proxies.items()},
            "SSL_CERT_FILE": certificate,
            "REQUESTS_CA_BUNDLE": certificate,
            "HF_ENDPOINT": f"https://{HUB_HOST}",
            "HF_HUB_OFFLINE": "0",
        }

    def inject(self, fault: Fault) -> None:
        """Let something go wrong from the next request on."""
        self._faults.inject(fault)

    def heal(self) -> None:
        """Let all be well from the next request on. Answers that are under way stay as they are."""
        self._faults.heal()

    def signed_link(self, name: str, expires: datetime) -> str:
        """A link to the file `name` of `signed/`, good until `expires` (a naive one is local time)."""
        return signed_link(name, expires)

    def links_file(self, expires: datetime) -> str:
        """The text of Meta's list of links for all files of `signed/`, unsorted, with two rows that are no shards."""
        return links_file(self._folder / "signed", expires)

"""The links transport: a list of signed links that the user got behind a licence, such as SA-1B's.

The list is tab-separated text, `file_name` and `cdn_link`, unsorted, with rows of other files between. A link says
itself when it ends: `oe` is the Unix time in hexadecimal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cvl.errors import GateError
from cvl.manifest import Gate


@dataclass(frozen=True)
class LinkList:
    """Signed links by file name.

    Args:
        path: where the list was read from, for messages.
        links: address by file name.
    """

    path: Path
    links: Mapping[str, str]

    def expiry(self, name: str) -> datetime | None:
        """When the link of `name` ends, None if it does not say."""
        try:
            field = parse_qs(urlsplit(self.links[name]).query).get("oe")
            return datetime.fromtimestamp(int(field[0], 16), UTC) if field else None
        except (ValueError, OverflowError, OSError):
            return None

    def good(self, name: str) -> str | None:
        """The link of `name`, None if there is none or if it says that it has ended."""
        end = self.expiry(name) if name in self.links else None
        return None if end is not None and end <= datetime.now(UTC) else self.links.get(name)

    def again(self) -> LinkList:
        """The list as its file is now, for the user may have saved a fresh one; this one if it cannot be read."""
        try:
            return replace(self, links=_parse(self.path.read_text(encoding="utf-8", errors="replace")) or self.links)
        except OSError:
            return self


def read_links(path: Path, gate: Gate) -> LinkList:
    """The list at `path`.

    Raises:
        GateError: it cannot be read, or has no row of a name and an address.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise GateError(f"cannot read the list of links {path}: {error.strerror}", hint=_hint(gate)) from error
    links = _parse(text)
    if not links:
        problem = f"{path} has no row of a file name, a tab and a link"
        raise GateError(problem, hint=_hint(gate))
    return LinkList(path, links)


def _parse(text: str) -> dict[str, str]:
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0].strip(): row[1].strip() for row in rows if len(row) >= 2 and row[1].strip().startswith("http")}


def check_links(links: LinkList | None, names: Iterable[str], gate: Gate, source: str) -> None:
    """Look at the gate before a byte moves: is there a list, does it have every name, are the links still good.

    Raises:
        GateError: says which page to visit.
    """
    names = tuple(names)
    if links is None:
        raise GateError(f"`{source}` needs a list of signed links, and there is none", hint=_hint(gate))
    missing = [name for name in names if name not in links.links]
    if missing:
        raise GateError(f"{links.path} has no link for {missing[0]} ({len(missing)} missing in all)", hint=_hint(gate))
    now = datetime.now(UTC)
    expired = [end for name in names if (end := links.expiry(name)) is not None and end <= now]
    if expired:
        problem = (
            f"the links in {links.path} expired on {min(expired):%Y-%m-%d %H:%M} UTC ({len(expired)} of {len(names)})"
        )
        raise GateError(problem, hint=_hint(gate))


def _hint(gate: Gate) -> str:
    return f"visit {gate.page}: {gate.ask}; or leave it out with --skip-gated"

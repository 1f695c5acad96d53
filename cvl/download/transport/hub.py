"""The hub transport: huggingface_hub resolves and authenticates, our own ranges move the bytes.

`HF_TOKEN` and `HF_ENDPOINT` act as everywhere. huggingface_hub's own download starts a file from zero after a kill,
ours does not. Files that the hub keeps in its Xet storage come from the plain address that it has for them too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from cvl.download.lock import Lock
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.transport.answers import check_status
from cvl.download.transport.http import Address, Arrival
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Budget
from cvl.download.transport.swarm import download
from cvl.errors import CvlError, GoneError, RefusedError, TransferError, UnreachableError, WrongContentError
from cvl.events import Event, EventKind, TransferProgress
from cvl.manifest import hub_place

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

# The etag of an LFS file is its sha256, that of any other a git hash of 40 digits.
_SHA256_DIGITS = 64

# `"api";r=0;t=55`: no requests left, new ones in 55 seconds.
_SPENT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")

_SIGN_IN = "accept its terms on the hub, then `hf auth login` or set HF_TOKEN"
_CUT_OFF = "check the network; where there is none, bring the files with --from, and a cvl.lock for --locked"
_OFFLINE = "unset HF_HUB_OFFLINE; or bring the files with --from, and a cvl.lock for --locked"
_DISTRUST = "if a proxy or your organisation signs for it, name its authority's certificate in SSL_CERT_FILE"


def fetch(
    url: str, remote: Remote, part: Part, session: Session, progress: TransferProgress, budget: Budget
) -> tuple[Arrival, Remote]:
    """Bring one file of a hub repository; returns also the remote with the size and digest that the hub names.

    The revision is the manifest's, else the one that the lock saw, else the head of the main branch. The hub hands out
    addresses that expire: when one does in mid-file, a fresh one is asked for, and the transfer goes on.
    """
    while True:
        address, revision, remote = _resolve(url, remote, session)
        before = part.size
        try:
            arrival = download(address, part, session, progress, budget)
            return replace(arrival, url=url, revision=revision), remote
        except (GoneError, RefusedError) as error:
            # The hub named this address a moment ago. If it gave nothing at all, the policy decides about another one.
            if part.size <= before:
                raise TransferError(str(error), hint=error.hint) from error
            text = f"{error}; asking the hub for a fresh address"
            session.report(Event(EventKind.RETRY, remote.name, remote.source, text=text))


def pinned_revision(url: str, remote: Remote, lock: Lock) -> str | None:
    """The revision that the manifest names, else the one that the lock saw at this address, else None."""
    seen = lock.seen(remote.name)
    return hub_place(url).revision or (seen.revision if seen is not None and seen.url == url else None)


def _resolve(url: str, remote: Remote, session: Session) -> tuple[Address, str | None, Remote]:
    # Imported late: not every fetch needs the hub.
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415

    place, revision = hub_place(url), pinned_revision(url, remote, session.lock)
    page = hf_hub_url(place.repo, place.path, repo_type=place.kind, revision=revision)
    with translated(url, revision):
        found = get_hf_file_metadata(page)
    digest = found.etag if found.etag is not None and len(found.etag) == _SHA256_DIGITS else None
    _check_digest(url, remote, digest, session)
    remote = _learned(remote, found.size, digest)
    # The token is the hub's: the storage that it sends us to must not see it.
    headers = authorization() if _origin(found.location) == _origin(page) else {}
    address = Address(found.location, headers, remote.size, remote.proven, remote.certain, renewable=True)
    return address, found.commit_hash, remote


def authorization() -> dict[str, str]:
    """The header that shows the user's token to the hub; none if there is no token."""
    from huggingface_hub import get_token  # noqa: PLC0415  (not every fetch needs the hub)

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _check_digest(url: str, remote: Remote, digest: str | None, session: Session) -> None:
    """Refuse a file that the hub itself says is another one, before its bytes are moved."""
    may_differ = session.accept_digest and remote.certainty == "single-source"
    if digest is not None and remote.sha256 not in (None, digest) and not may_differ:
        raise WrongContentError(
            f"{url}: expected sha256 {remote.sha256}, the hub has {digest}: the publisher changed the file",
            hint="look for a newer cvl, or name the revision or the digest that you want in a manifest of your own",
        )


def _learned(remote: Remote, size: int | None, digest: str | None) -> Remote:
    """The remote with what the hub says of it, where the manifest is silent."""
    return replace(
        remote,
        size=remote.size if remote.size is not None else size,
        sha256=remote.sha256 if remote.proven else digest,
    )


@contextmanager
def translated(url: str, revision: str | None = None) -> Iterator[None]:
    """Turn huggingface_hub's errors into ours, in one place. `revision` is the one that was asked for.

    Raises:
        GoneError: no such repository, revision or file. RefusedError: not for this user, or not while offline.
        WrongContentError: something else answers in the hub's place.
        UnreachableError: no connection to the hub. TransferError: it is in trouble, or wants fewer requests.
    """
    import httpx2  # noqa: PLC0415  (huggingface_hub's own client)
    from huggingface_hub import errors as hub  # noqa: PLC0415

    try:
        yield
    except hub.GatedRepoError as error:
        raise RefusedError(f"{url}: the repository asks you to accept its terms", hint=_SIGN_IN) from error
    except hub.RepositoryNotFoundError as error:
        hint = "for a private one `hf auth login`, or set HF_TOKEN"
        raise GoneError(f"{url}: the hub has no such repository, or none that this token may see", hint=hint) from error
    except hub.RevisionNotFoundError as error:
        hint = "the manifest or cvl.lock names it: take its entry out there to have what the publisher has now"
        raise GoneError(f"{url}: the hub has no revision {revision or 'main'}", hint=hint) from error
    except hub.EntryNotFoundError as error:
        raise GoneError(f"{url}: the hub has no such file") from error
    except hub.HfHubHTTPError as error:
        raise _by_status(url, error) from error
    except hub.OfflineModeIsEnabled as error:
        raise RefusedError(f"{url}: HF_HUB_OFFLINE is set", hint=_OFFLINE) from error
    except httpx2.TooManyRedirects as error:
        raise WrongContentError(f"{url}: the hub's redirects have no end") from error
    except (ValueError, msgspec.DecodeError) as error:
        raise WrongContentError(f"{url}: what came in place of the hub's answer cannot be read: {error}") from error
    except (httpx2.HTTPError, OSError) as error:
        raise _on_the_wire(url, error, isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)) from error


def _by_status(url: str, error: HfHubHTTPError) -> TransferError:
    status, headers = error.response.status_code, error.response.headers
    try:
        check_status(status, headers, url)
    except TransferError as ours:
        # The hub's own way to say when to come back; some mirrors know the common one only.
        spent = _SPENT.search(headers.get("ratelimit", ""))
        if ours.retry_after is None and spent is not None:
            ours.retry_after = float(spent[1])
        return ours
    return TransferError(f"{url}: the hub's answer, with status {status}, is of no use")


def _on_the_wire(url: str, error: Exception, unreachable: bool) -> CvlError:
    reason = str(error) or type(error).__name__
    if "certificate" in reason.lower():
        return RefusedError(f"{url}: the hub's certificate is not trusted: {reason}", hint=_DISTRUST)
    said = f"{url}: the hub does not answer: {reason}"
    return UnreachableError(said, hint=_CUT_OFF) if unreachable else TransferError(said)

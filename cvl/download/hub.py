"""The hub transport: huggingface_hub resolves and authenticates, our own ranges move the bytes.

`HF_TOKEN` and `HF_ENDPOINT` act as everywhere. huggingface_hub's own download starts a file from zero after a kill,
ours does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from cvl.download.answers import retry_after
from cvl.download.http import Address, Arrival
from cvl.download.part import Part
from cvl.download.policy import Budget
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.swarm import download
from cvl.errors import GoneError, RefusedError, TransferError, WrongContentError
from cvl.events import TransferProgress
from cvl.manifest import hub_place

# The etag of an LFS file is its sha256, that of any other a git hash of 40 digits.
_SHA256_DIGITS = 64


def fetch(
    url: str, remote: Remote, part: Part, session: Session, progress: TransferProgress, budget: Budget
) -> tuple[Arrival, Remote]:
    """Bring one file of a hub repository; returns also the remote with the size and digest that the hub names.

    The revision is the manifest's, else the one that the lock saw, else the head of the main branch.
    """
    address, revision, remote = _resolve(url, remote, session)
    try:
        arrival = download(address, part, session, progress, budget)
    except (GoneError, RefusedError) as error:
        # The hub named this address a moment ago: its signature ran out, and the next attempt resolves anew.
        raise TransferError(str(error)) from error
    return replace(arrival, url=url, revision=revision), remote


def _resolve(url: str, remote: Remote, session: Session) -> tuple[Address, str | None, Remote]:
    # Imported late: not every fetch needs the hub.
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url  # noqa: PLC0415

    place = hub_place(url)
    page = hf_hub_url(place.repo, place.path, repo_type=place.kind, revision=_revision(url, remote, session))
    with _translated(url):
        found = get_hf_file_metadata(page)
    digest = found.etag if found.etag is not None and len(found.etag) == _SHA256_DIGITS else None
    _check_digest(url, remote, digest, session)
    remote = _learned(remote, found.size, digest)
    same_host = urlsplit(found.location).netloc == urlsplit(page).netloc
    # The token is the hub's: the storage that it sends us to must not see it.
    token = get_token() if same_host else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = Address(found.location, headers, remote.size, remote.proven, renewable=True)
    return address, found.commit_hash, remote


def list_snapshot(remote: Remote, session: Session) -> tuple[Remote, ...]:
    """The files of a whole repository, each as a remote of its own, pinned to the commit that was listed."""
    from huggingface_hub import HfApi, RepoFile  # noqa: PLC0415

    assert remote.snapshot is not None
    place, snapshot = hub_place(remote.urls[0]), remote.snapshot
    api = HfApi()
    with _translated(remote.urls[0]):
        wish = _revision(remote.urls[0], remote, session) or "main"
        revision = api.repo_info(place.repo, repo_type=place.kind, revision=wish).sha or wish
        entries = list(api.list_repo_tree(place.repo, repo_type=place.kind, revision=revision, recursive=True))
    for entry in entries:
        if ".." in entry.path.split("/"):
            raise WrongContentError(f"{remote.urls[0]}: `{entry.path}` would land outside of {snapshot.into}")
    prefix = "datasets/" if place.kind == "dataset" else ""
    return tuple(
        Remote(
            source=remote.source,
            name=f"{remote.name}--{entry.path.replace('/', '--')}",
            urls=(f"hf://{prefix}{place.repo}@{revision}/{entry.path}",),
            size=entry.size,
            sha256=entry.lfs.sha256 if entry.lfs is not None else None,
            path=f"{snapshot.into}/{entry.path}",
        )
        for entry in entries
        if isinstance(entry, RepoFile)
        and any(fnmatchcase(entry.path, pattern) for pattern in snapshot.include)
        and not any(fnmatchcase(entry.path, pattern) for pattern in snapshot.exclude)
    )


def _revision(url: str, remote: Remote, session: Session) -> str | None:
    seen = session.lock.seen(remote.name)
    return hub_place(url).revision or (seen.revision if seen is not None and seen.url == url else None)


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
def _translated(url: str) -> Iterator[None]:
    """Turn huggingface_hub's errors into ours, in one place."""
    from httpx2 import HTTPError  # noqa: PLC0415  (huggingface_hub's own client)
    from huggingface_hub import errors as hub  # noqa: PLC0415

    try:
        yield
    except hub.GatedRepoError as error:
        hint = "accept its terms on the hub, then `hf auth login` or set HF_TOKEN"
        raise RefusedError(f"{url}: the repository asks you to accept its terms", hint=hint) from error
    except hub.RepositoryNotFoundError as error:
        raise GoneError(f"{url}: the hub has no such repository, or none that this token may see") from error
    except hub.RevisionNotFoundError as error:
        raise GoneError(f"{url}: the hub has no such revision") from error
    except hub.EntryNotFoundError as error:
        raise GoneError(f"{url}: the hub has no such file") from error
    except hub.HfHubHTTPError as error:
        raise TransferError(
            f"{url}: the hub says {error.response.status_code}", retry_after=retry_after(error.response.headers)
        ) from error
    except hub.OfflineModeIsEnabled as error:
        raise RefusedError(f"{url}: HF_HUB_OFFLINE is set", hint="unset HF_HUB_OFFLINE") from error
    except (HTTPError, OSError) as error:
        raise TransferError(f"{url}: {str(error) or type(error).__name__}") from error

"""A whole hub repository: which files it has at one commit, told by the hub or by the lock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatchcase

import msgspec

from cvl.download.lock import Lock, Seen
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.survey import digest_of
from cvl.download.transport.hub import authorization, pinned_revision, translated
from cvl.download.transport.policy import Budget
from cvl.errors import GoneError, RefusedError, TransferError, UsageError, WrongContentError
from cvl.events import Event, EventKind
from cvl.manifest import hub_place


class _LargeFile(msgspec.Struct):
    oid: str


class _Entry(msgspec.Struct):
    """A line of the hub's list. Only large files have a sha256, which is their `oid` there."""

    type: str
    path: str
    size: int = 0
    lfs: _LargeFile | None = None


def list_snapshot(remote: Remote, session: Session) -> tuple[Remote, ...]:
    """The files of a whole repository that its manifest wants, each as a remote of its own, pinned to one commit.

    The commit is the manifest's, else the one that the lock saw, else the head of the main branch. What the lock knows
    of a file at that commit is held against it. A frozen lock lists the files itself: the hub is not asked.

    Raises:
        TransferError: the hub cannot be asked, or has no such repository.
        UsageError: the lock is frozen and does not name the repository, all of its files, or the same as the manifest.
    """
    listed = list_locked(remote, session.lock) if session.lock.frozen else _ask_patiently(remote, session)
    return tuple(file for file in listed if _is_wanted(remote, file))


def list_locked(remote: Remote, lock: Lock) -> tuple[Remote, ...]:
    """The files that the lock saw of a repository, every one of them.

    Raises:
        UsageError: it does not name all of them, or it saw another repository than the manifest names.
    """
    whole, url = lock.seen(remote.name), remote.urls[0]
    seen = _seen_at(whole.revision, remote, lock) if whole is not None else {}
    if whole is None or tree_digest({path: file.sha256 for path, file in seen.items()}) != whole.sha256:
        hint = "run once without --locked and keep the lock that it writes"
        raise UsageError(f"{lock.path} does not name every file of {remote.name}", hint=hint)
    if whole.url != url:
        hint = "run without --locked to go by the manifest"
        raise UsageError(f"{remote.name}: the manifest has {url}, {lock.path} has {whole.url}", hint=hint)
    revision = whole.revision or ""
    return tuple(_file(remote, revision, path, file.size, file.sha256) for path, file in seen.items())


def record_snapshot(remote: Remote, files: tuple[Remote, ...], session: Session) -> None:
    """Note in the lock what the repository is, now that all of its files stand in the tree.

    Files that were there before are noted as well, so that the lock names every one of them.
    """
    if session.lock.frozen or not files:
        return
    entries = {file.name: _seen(file, session) for file in files}
    revision = hub_place(files[0].urls[0]).revision
    into = f"{remote.snapshot.into}/" if remote.snapshot is not None else ""
    digests = {(file.path or "").removeprefix(into): entries[file.name].sha256 for file in files}
    size = sum(seen.size for seen in entries.values())
    whole = Seen(remote.urls[0], size, tree_digest(digests), revision=revision)
    session.lock.record_all({**entries, remote.name: whole})


def tree_digest(digests: Mapping[str, str]) -> str:
    """The sha256 of what `sha256sum` prints for files, given their digests by path, in the order of their paths."""
    lines = (f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _ask_patiently(remote: Remote, session: Session) -> tuple[Remote, ...]:
    """What the hub lists, asked again as long as the policy allows."""

    def tell(text: str, wait: float) -> None:
        session.report(Event(EventKind.RETRY, remote.name, remote.source, text=text, wait=wait))

    budget = Budget(session.policy, tell)
    while True:
        try:
            return _ask(remote, session)
        except (GoneError, RefusedError, WrongContentError):
            raise
        except TransferError as error:
            wait = budget.spend(error, reached=False)
            if wait is None:
                raise
            session.sleep(wait)


def _ask(remote: Remote, session: Session) -> tuple[Remote, ...]:
    """What the hub lists. Not by HfApi.list_repo_tree, which waits by itself and cannot be stopped meanwhile."""
    # Imported late: not every fetch needs the hub.
    from huggingface_hub import HfApi, constants, get_session, hf_raise_for_status  # noqa: PLC0415

    url = remote.urls[0]
    place, lock = hub_place(url), session.lock
    wish = pinned_revision(url, remote, lock) or _begun_revision(remote, lock) or "main"
    files: list[Remote] = []
    with translated(url, wish):
        info = HfApi().repo_info(place.repo, repo_type=place.kind, revision=wish, timeout=session.timeout)
        revision = info.sha or wish
        page: str | None = f"{constants.ENDPOINT}/api/{place.kind}s/{place.repo}/tree/{revision}?recursive=true"
        while page is not None:
            session.check_cancelled()
            answer = get_session().get(page, headers=authorization(), timeout=session.timeout)
            hf_raise_for_status(answer)
            listed = msgspec.json.decode(answer.content, type=list[_Entry])
            files.extend(_found(entry, revision, remote, lock) for entry in listed if entry.type == "file")
            page = answer.links.get("next", {}).get("url")
    return tuple(files)


def _found(entry: _Entry, revision: str, remote: Remote, lock: Lock) -> Remote:
    """A file under its digest: the hub's, or where it has none the one that the lock saw at the same commit."""
    file = _file(remote, revision, entry.path, entry.size, entry.lfs.oid if entry.lfs is not None else None)
    seen = lock.seen(file.name)
    return lock.pin(file) if seen is not None and seen.url in file.urls else file


def _file(remote: Remote, revision: str, path: str, size: int, sha256: str | None) -> Remote:
    assert remote.snapshot is not None
    url = remote.urls[0]
    if ".." in path.split("/") or path.startswith("/"):
        raise WrongContentError(f"{url}: `{path}` would land outside of {remote.snapshot.into}")
    return Remote(
        source=remote.source,
        name=f"{remote.name}--{path.replace('/', '--')}",
        urls=(f"{_address(url, revision)}{path}",),
        size=size,
        sha256=sha256,
        path=f"{remote.snapshot.into}/{path}",
    )


def _address(url: str, revision: str) -> str:
    """What the addresses of a repository's files begin with at one commit."""
    place = hub_place(url)
    prefix = "datasets/" if place.kind == "dataset" else ""
    return f"hf://{prefix}{place.repo}@{revision}/"


def _is_wanted(remote: Remote, file: Remote) -> bool:
    assert remote.snapshot is not None
    path = (file.path or "").removeprefix(f"{remote.snapshot.into}/")
    included = any(fnmatchcase(path, pattern) for pattern in remote.snapshot.include)
    return included and not any(fnmatchcase(path, pattern) for pattern in remote.snapshot.exclude)


def _seen_at(revision: str | None, remote: Remote, lock: Lock) -> dict[str, Seen]:
    """What the lock saw of a repository's files at one commit, by their path in it."""
    start = _address(remote.urls[0], revision or "")
    seen = lock.beginning(f"{remote.name}--").values()
    return {file.url.removeprefix(start): file for file in seen if file.url.startswith(start)}


def _begun_revision(remote: Remote, lock: Lock) -> str | None:
    """The commit that a fetch began with which was stopped before it had all files, if there was only one."""
    revisions = {seen.revision for seen in lock.beginning(f"{remote.name}--").values() if seen.revision is not None}
    (revision,) = revisions if len(revisions) == 1 else (None,)
    same = revision is not None and bool(_seen_at(revision, remote, lock))
    return revision if same else None


def _seen(file: Remote, session: Session) -> Seen:
    """What the lock saw of a file when it came, or what is seen of one that was here before."""
    seen = session.lock.seen(file.name)
    if seen is not None and seen.url in file.urls:
        return seen
    path = session.root.at(file.path or "")
    revision = hub_place(file.urls[0]).revision
    return Seen(file.urls[0], path.stat().st_size, digest_of(path, "sha256"), revision=revision)

"""The OpenDataLab transport: the publisher's own client, which asks for an account and keeps its keys.

`openxlab` pins old versions of common packages, so it is run as the command that the user installed, in an
environment of its own, and never imported. It works in a folder beside the part, where it leaves the pieces of an
unfinished file and goes on with them. It moves the bytes by itself: the session's rate does not hold for it.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cvl.download.session import Session
from cvl.download.transport.http import Arrival
from cvl.download.transport.part import Part
from cvl.errors import GoneError, RefusedError, TransferError
from cvl.events import Event, EventKind, Progress

_URL = re.compile(r"openxlab://(?P<repo>[^/]+/[^/]+)(?P<path>/.+)")
_BESIDE = ".openxlab"
_LOCK = "lock"
_TICK = 0.5
_GRACE = 1.0
_SILENCES = 10
"""So many times the patience for a silent server: the client joins its pieces and takes digests without a word."""

_SIGN_IN = re.compile(r"log ?in|\b401\b|access key", re.IGNORECASE)
_NO_ACCESS = re.compile(r"\b403\b|unable to access", re.IGNORECASE)
_GONE = re.compile(r"\b404\b|not exist", re.IGNORECASE)


@dataclass(frozen=True)
class _File:
    """A file of a repository, and the folder that the client works in."""

    url: str
    repo: str
    path: str
    folder: Path

    @property
    def arguments(self) -> list[str]:
        """What to ask of the client."""
        source = ["--dataset-repo", self.repo, "--source-path", self.path]
        return ["dataset", "download", *source, "--target-path", str(self.folder)]

    @property
    def arrived(self) -> Path:
        """Where the client puts it."""
        return self.folder / self.repo.replace("/", "___") / self.path.lstrip("/")

    def here(self) -> int:
        """Bytes that the client has: in pieces at first, which it then joins."""
        sizes = {path: _size(path) for path in self.folder.rglob("*")}
        return max(sizes.get(self.arrived, 0), sum(size for path, size in sizes.items() if path.suffix == ".odl"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        # The client has removed it meanwhile.
        return 0


def fetch(url: str, part: Part, session: Session, progress: Progress | None = None) -> Arrival:
    """Bring one file of an OpenDataLab repository; `part` has all of its bytes then.

    Raises:
        RefusedError: the client is not installed, or not signed in, or its account may not have the file.
        GoneError: the repository has no such file.
        TransferError: the client failed, or does nothing any more; what it has is kept.
        Cancelled: the user wants to stop; what the client has is kept.
    """
    match = _URL.fullmatch(url)
    assert match is not None, url
    command = shutil.which("openxlab")
    if command is None:
        hint = "pipx install openxlab, then `openxlab login`"
        raise RefusedError(f"{url}: the openxlab client is not installed", hint=hint)
    file = _File(url, match["repo"], match["path"], _folder(part.path))
    try:
        _run(command, file, session, progress)
        if not file.arrived.is_file():
            raise TransferError(f"{url}: the openxlab client ended well but left no {file.arrived.name}")
    except TransferError as error:
        if isinstance(error, GoneError) or not file.here():
            forget(part.path)
        raise
    part.adopt(file.arrived, url)
    forget(part.path)
    return Arrival(url)


def forget(part: Path) -> None:
    """Remove what the client keeps for the part at this path: for when the file has come, from wherever it came."""
    if _folder(part).exists():
        shutil.rmtree(_folder(part))


def _folder(part: Path) -> Path:
    return part.with_name(part.name + _BESIDE)


def _run(command: str, file: _File, session: Session, progress: Progress | None) -> None:
    """Run the client to its good end."""
    with (
        _alone(file, session) as lock,
        subprocess.Popen(
            [command, *file.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
        ) as client,
    ):
        try:
            said = _attend(client, file, session, progress)
        except BaseException:
            _end(client)
            raise
    if client.returncode != 0:
        # What Ctrl-C in a terminal did to the client is no failure of its own.
        session.check_cancelled()
        raise _failure(file, said or f"exit status {client.returncode}")


@contextmanager
def _alone(file: _File, session: Session) -> Iterator[int]:
    """Hold the client's folder; the client inherits the descriptor that is returned.

    A client outlives a fetch that was killed. Two of them at once would write into the same pieces, so the second one
    waits until the first has ended.
    """
    file.folder.mkdir(parents=True, exist_ok=True)
    with (file.folder / _LOCK).open("ab") as lock:
        waiting = False
        while not _locked(lock.fileno()):
            if not waiting:
                text = f"{file.url}: waiting for the openxlab client that an earlier run has left behind"
                session.report(Event(EventKind.NOTE, text=text))
            waiting = True
            session.sleep(_TICK)
        yield lock.fileno()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _attend(client: subprocess.Popen[bytes], file: _File, session: Session, progress: Progress | None) -> str:
    """Watch the client until it ends, and return the last line that it said.

    Raises:
        TransferError: it does nothing any more.
        Cancelled: the user wants to stop.
    """
    patience = _SILENCES * session.timeout
    here, moved = -1, time.monotonic()
    while True:
        try:
            output, _ = client.communicate(timeout=_TICK)
        except subprocess.TimeoutExpired:
            session.check_cancelled()
        else:
            return output.decode(errors="replace").strip().rpartition("\n")[2].rpartition("\r")[2]
        before, here = here, file.here()
        if here != before:
            moved = time.monotonic()
            if progress is not None:
                progress(here, None)
        elif time.monotonic() - moved > patience:
            raise TransferError(f"{file.url}: the openxlab client has written nothing for {patience:.0f} s")


def _end(client: subprocess.Popen[bytes]) -> None:
    client.terminate()
    try:
        client.wait(_GRACE)
    except subprocess.TimeoutExpired:
        client.kill()


def _failure(file: _File, said: str) -> TransferError:
    """What the client's last words mean."""
    if _SIGN_IN.search(said):
        return RefusedError(f"{file.url}: the openxlab client is not signed in: {said}", hint="openxlab login")
    if _NO_ACCESS.search(said):
        hint = f"accept its terms at https://openxlab.org.cn/datasets/{file.repo}"
        return RefusedError(f"{file.url}: the account may not have the file: {said}", hint=hint)
    if _GONE.search(said):
        return GoneError(f"{file.url}: the repository has no such file: {said}")
    return TransferError(f"{file.url}: the openxlab client says: {said}")

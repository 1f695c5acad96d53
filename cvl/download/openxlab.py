"""The OpenDataLab transport: the publisher's own client, which asks for an account and keeps its keys.

`openxlab` pins old versions of common packages, so it is run as the command that the user installed, in an
environment of its own, and never imported.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from cvl.download.http import Arrival
from cvl.download.part import Journal, Part
from cvl.download.session import Session
from cvl.errors import RefusedError, TransferError

_URL = re.compile(r"openxlab://(?P<repo>[^/]+/[^/]+)(?P<path>/.+)")


def fetch(url: str, part: Part, session: Session) -> Arrival:
    """Bring one file of an OpenDataLab repository.

    Raises:
        RefusedError: the client is not installed, or not signed in.
        TransferError: the client failed.
    """
    match = _URL.fullmatch(url)
    assert match is not None, url
    command = shutil.which("openxlab")
    if command is None:
        hint = "pipx install openxlab, then `openxlab login`"
        raise RefusedError(f"{url}: the openxlab client is not installed", hint=hint)
    target = part.path.with_name(part.path.name + ".openxlab")
    arguments = ["dataset", "download", "--dataset-repo", match["repo"], "--source-path", match["path"]]
    _run([command, *arguments, "--target-path", str(target)], url, session)
    arrived = target / match["repo"].replace("/", "___") / match["path"].lstrip("/")
    if not arrived.is_file():
        raise TransferError(f"{url}: the openxlab client ended well but left no {arrived.name}")
    part.begin(Journal(url, None))
    arrived.replace(part.path)
    shutil.rmtree(target)
    return Arrival(url)


def _run(command: list[str], url: str, session: Session) -> None:
    """Run the client until it ends or the user wants to stop."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as client:
        while True:
            try:
                output, _ = client.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if session.cancel.is_set():
                    client.terminate()
    session.check_cancelled()
    said = output.decode(errors="replace").strip().splitlines()
    if client.returncode != 0:
        last = said[-1] if said else f"exit status {client.returncode}"
        if re.search(r"log ?in|401|access key", last, re.IGNORECASE):
            raise RefusedError(f"{url}: the openxlab client is not signed in: {last}", hint="openxlab login")
        raise TransferError(f"{url}: the openxlab client says: {last}")

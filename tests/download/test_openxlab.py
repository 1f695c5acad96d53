"""OpenDataLab's own client is run as a command: here one that behaves as the real one does, without a network."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fetching import JPEG, MakeSession, names_below, remote, sha256, tarred, until

from cvl.demo.miniature.publish import Publisher
from cvl.download.part import Journal, Part
from cvl.download.session import Session
from cvl.download.transfer import transfer
from cvl.errors import Cancelled, RefusedError, TransferError, WrongContentError

URL = "openxlab://OpenDataLab/SA-1B/raw/sa_000000.tar"
SHARD = tarred({"./sa_1.jpg": JPEG * 50}, "w:gz")
WANTED = remote(URL, name="sam-000000.tar", size=len(SHARD), sha256=sha256(SHARD))

# `openxlab dataset download --dataset-repo OWNER/NAME --source-path /PATH --target-path DIR` writes
# DIR/OWNER___NAME/PATH. Without keys it says so and fails.
CLIENT = """#!{python}
import json, os, pathlib, sys, time
options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
assert sys.argv[1:3] == ["dataset", "download"], sys.argv
pathlib.Path(os.environ["SAID"]).write_text(json.dumps({{"options": options, "pid": os.getpid()}}))
print("downloading", flush=True)
{behaviour}
place = pathlib.Path(options["--target-path"], options["--dataset-repo"].replace("/", "___"),
                     options["--source-path"].lstrip("/"))
place.parent.mkdir(parents=True)
place.write_bytes(pathlib.Path(os.environ["SERVED"]).read_bytes())
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: Session) -> type[Client]:
    monkeypatch.setenv("SAID", str(tmp_path / "said.json"))
    monkeypatch.setenv("SERVED", str(tmp_path / "served.tar"))
    (tmp_path / "served.tar").write_bytes(SHARD)
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    Client.program, Client.said = programs / "openxlab", tmp_path / "said.json"
    return Client


class Client:
    """The command `openxlab` on the path."""

    program: Path
    said: Path

    @classmethod
    def installed(cls, behaviour: str = "") -> None:
        """Install one that does `behaviour` before it brings the file."""
        cls.program.write_text(CLIENT.format(python=sys.executable, behaviour=behaviour))
        cls.program.chmod(0o755)


def leftovers(session: Session) -> list[str]:
    return names_below(session.root.path) if session.root.path.exists() else []


def test_the_client_brings_the_file(client: type[Client], session: Session) -> None:
    client.installed()
    arrived = transfer(WANTED, session)
    assert arrived.path.read_bytes() == SHARD
    assert (arrived.seen.url, arrived.seen.sha256) == (URL, sha256(SHARD))
    assert list(session.root.downloads.iterdir()) == [arrived.path]


def test_the_client_is_asked_as_its_documentation_says(client: type[Client], session: Session) -> None:
    client.installed()
    transfer(WANTED, session)
    options = json.loads(client.said.read_text())["options"]
    assert options["--dataset-repo"] == "OpenDataLab/SA-1B"
    assert options["--source-path"] == "/raw/sa_000000.tar"
    assert Path(options["--target-path"]).parent == session.root.downloads


def test_without_the_client_the_hint_installs_it(client: type[Client], session: Session) -> None:
    with pytest.raises(RefusedError, match="the openxlab client is not installed") as caught:
        transfer(WANTED, session)
    assert caught.value.hint == "pipx install openxlab, then `openxlab login`"
    assert leftovers(session) == []


@pytest.mark.parametrize(
    "words", ["Please login first", "please log in", "HTTP error 401", "the Access Key is missing, see the page"]
)
def test_a_client_without_an_account_is_told_to_sign_in(client: type[Client], session: Session, words: str) -> None:
    client.installed(f"print({words!r}); sys.exit(1)")
    with pytest.raises(RefusedError, match=f"is not signed in: {words}") as caught:
        transfer(WANTED, session)
    assert caught.value.hint == "openxlab login"


def test_a_client_that_fails_is_quoted_and_asked_again(client: type[Client], session: Session) -> None:
    client.installed("print('a', file=sys.stderr); print('503 Service Unavailable', file=sys.stderr); sys.exit(1)")
    with pytest.raises(TransferError, match="the openxlab client says: 503 Service Unavailable") as caught:
        transfer(WANTED, replace(session, policy=replace(session.policy, attempts=2)))
    assert type(caught.value) is TransferError


def test_a_client_that_fails_once_is_survived(client: type[Client], session: Session, tmp_path: Path) -> None:
    client.installed(f"m = pathlib.Path({str(tmp_path / 'once')!r})\nif not m.exists(): m.touch(); sys.exit(3)")
    assert transfer(WANTED, session).path.read_bytes() == SHARD


def test_a_client_that_says_nothing_is_quoted_with_its_status(client: type[Client], session: Session) -> None:
    client.program.write_text(f"#!{sys.executable}\nraise SystemExit(7)\n")
    client.program.chmod(0o755)
    with pytest.raises(TransferError, match="the openxlab client says: exit status 7"):
        transfer(WANTED, session)


def test_a_client_that_leaves_no_file_has_failed(client: type[Client], session: Session) -> None:
    client.installed("sys.exit(0)")
    with pytest.raises(TransferError, match=r"ended well but left no sa_000000\.tar"):
        transfer(WANTED, session)


def test_what_the_client_brings_is_checked_as_everything(
    client: type[Client], session: Session, tmp_path: Path
) -> None:
    client.installed()
    (tmp_path / "served.tar").write_bytes(SHARD[:-5])
    with pytest.raises(WrongContentError, match=r"expected .* bytes, found"):
        transfer(WANTED, session)
    assert leftovers(session) == []


def test_a_part_of_another_address_is_dropped(client: type[Client], session: Session) -> None:
    client.installed()
    part = Part(session.root.downloads / "sam-000000.tar.part")
    part.begin(Journal("https://host.example/sa_000000.tar", None))
    part.path.write_bytes(b"something")
    assert transfer(WANTED, session).path.read_bytes() == SHARD


def test_a_wish_to_stop_ends_the_client(client: type[Client], make_session: MakeSession) -> None:
    client.installed("time.sleep(60)")
    cancel = threading.Event()
    session = make_session(cancel=cancel)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            transfer(WANTED, session)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: client.said.exists() and bool(client.said.read_text()))
    cancel.set()
    thread.join()
    assert [type(error) for error in errors] == [Cancelled]
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads(client.said.read_text())["pid"], signal.SIGKILL)


def test_a_mirror_stands_in_for_a_client_that_is_not_there(
    client: type[Client], session: Session, site: Publisher
) -> None:
    site.put("https://mirror.example/sa.tar", SHARD)
    both = replace(WANTED, urls=(URL, "https://mirror.example/sa.tar"))
    assert transfer(both, session).seen.url == "https://mirror.example/sa.tar"


def test_a_client_may_take_its_time(client: type[Client], session: Session) -> None:
    client.installed("time.sleep(0.7)")
    assert transfer(WANTED, session).path.read_bytes() == SHARD

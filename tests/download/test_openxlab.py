"""OpenDataLab's own client is run as a command: here one that behaves as the real one does, without a network."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fetching import JPEG, MakeSession, Told, names_below, remote, sha256, tarred, until

from cvl.demo.miniature.publish import Publisher
from cvl.download.session import Session
from cvl.download.transport import openxlab
from cvl.download.transport.part import Part
from cvl.download.transport.transfer import transfer
from cvl.errors import Cancelled, GoneError, RefusedError, TransferError, WrongContentError
from cvl.events import EventKind

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
place.parent.mkdir(parents=True, exist_ok=True)
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
    assert not any("openxlab" in name for name in leftovers(session))


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
    assert leftovers(session) == []


def test_what_the_client_brings_is_checked_as_everything(
    client: type[Client], session: Session, tmp_path: Path
) -> None:
    client.installed()
    (tmp_path / "served.tar").write_bytes(SHARD[:-5])
    with pytest.raises(WrongContentError, match=r"expected .* bytes, found"):
        transfer(WANTED, session)
    assert leftovers(session) == []


def test_a_part_of_another_address_is_dropped(client: type[Client], session: Session, tmp_path: Path) -> None:
    client.installed()
    (tmp_path / "other").write_bytes(b"something")
    session.root.downloads.mkdir(parents=True)
    Part(session.root.downloads / "sam-000000.tar.part").adopt(tmp_path / "other", "https://host.example/sa_000000.tar")
    assert transfer(WANTED, session).path.read_bytes() == SHARD


STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
PIECES = (
    "d = pathlib.Path(options['--target-path'], 'OpenDataLab___SA-1B', 'raw', '.cache'); "
    "d.mkdir(parents=True, exist_ok=True); (d / 'sa_000000.tar.0.odl').write_bytes(bytes(100)); "
)


@pytest.mark.parametrize("manners", ["", STUBBORN])
def test_a_wish_to_stop_ends_the_client(client: type[Client], make_session: MakeSession, manners: str) -> None:
    client.installed(f"{PIECES}{manners}open(os.environ['SAID'] + '.ready', 'w').close(); time.sleep(600)")
    cancel = threading.Event()
    session = make_session(cancel=cancel)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(transfer, WANTED, session)
        until(client.said.with_name("said.json.ready").exists)
        cancel.set()
        with pytest.raises(Cancelled):
            running.result(timeout=60)
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads(client.said.read_text())["pid"], signal.SIGKILL)
    assert any(name.endswith(".odl") for name in leftovers(session))


def test_a_client_that_writes_nothing_any_more_is_ended(client: type[Client], make_session: MakeSession) -> None:
    client.installed(f"{PIECES}time.sleep(600)")
    session = make_session(timeout=0.02)
    with pytest.raises(TransferError, match="the openxlab client has written nothing for 0 s"):
        openxlab.fetch(URL, Part(session.root.downloads / "sam-000000.tar.part"), session)
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads(client.said.read_text())["pid"], signal.SIGKILL)


def test_what_the_client_has_is_told(client: type[Client], session: Session) -> None:
    client.installed(f"{PIECES}time.sleep(0.8)")
    told: list[tuple[int, int | None]] = []
    part = Part(session.root.downloads / "sam-000000.tar.part")
    openxlab.fetch(URL, part, session, lambda done, total: told.append((done, total)))
    assert told[-1] == (100, None)
    assert part.path.read_bytes() == SHARD


def test_a_client_that_outlived_its_fetch_is_waited_for(client: type[Client], session: Session, told: Told) -> None:
    client.installed()
    folder = session.root.downloads / "sam-000000.tar.part.openxlab"
    folder.mkdir(parents=True)
    with (folder / "lock").open("ab") as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        left_behind = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.fileno(),)
        )
        lock.close()
        running = pool.submit(transfer, WANTED, session)
        until(lambda: bool(told.of(EventKind.NOTE)))
        assert not client.said.exists()
        left_behind.communicate(b"\n")
        assert running.result(timeout=60).path.read_bytes() == SHARD
    assert "waiting for the openxlab client that an earlier run has left behind" in told.texts(EventKind.NOTE)[0]


def test_the_client_itself_holds_its_folder(client: type[Client], make_session: MakeSession, told: Told) -> None:
    client.installed("time.sleep(600)")
    first, second = make_session(), make_session()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(transfer, WANTED, first)
        until(client.said.exists)
        waiting = pool.submit(transfer, WANTED, second)
        until(lambda: bool(told.of(EventKind.NOTE)))
        second.cancel.set()
        first.cancel.set()
        for each in (running, waiting):
            with pytest.raises(Cancelled):
                each.result(timeout=60)


def test_a_file_that_is_not_there_is_gone(client: type[Client], session: Session) -> None:
    client.installed(f"{PIECES}print('Exception: 404: Data not exists!'); sys.exit(1)")
    with pytest.raises(GoneError, match="the repository has no such file: Exception: 404"):
        transfer(WANTED, session)
    assert leftovers(session) == []


def test_an_account_without_access_is_told_where_to_ask_for_it(client: type[Client], session: Session) -> None:
    client.installed("print('Unable to access. Please visit the dataset homepage!'); sys.exit(1)")
    with pytest.raises(RefusedError, match="the account may not have the file: Unable to access") as caught:
        transfer(WANTED, session)
    assert caught.value.hint == "accept its terms at https://openxlab.org.cn/datasets/OpenDataLab/SA-1B"
    assert leftovers(session) == []


def test_of_a_client_that_fails_the_pieces_are_kept(client: type[Client], session: Session) -> None:
    client.installed(f"{PIECES}sys.exit(9)")
    with pytest.raises(TransferError, match="the openxlab client says: downloading"):
        transfer(WANTED, session)
    assert [name for name in leftovers(session) if name.endswith(".odl")]


def test_the_last_of_its_words_is_quoted_though_it_paints_over_itself(client: type[Client], session: Session) -> None:
    client.installed(r"print('\r1 %\r2 %\rno route to the server\r\n'); sys.exit(1)")
    with pytest.raises(TransferError, match=r"the openxlab client says: no route to the server$"):
        transfer(WANTED, session)


def test_a_mirror_stands_in_for_a_client_that_is_not_there(
    client: type[Client], session: Session, site: Publisher
) -> None:
    site.put("https://mirror.example/sa.tar", SHARD)
    both = replace(WANTED, urls=(URL, "https://mirror.example/sa.tar"))
    assert transfer(both, session).seen.url == "https://mirror.example/sa.tar"


def test_a_mirror_stands_in_and_nothing_of_the_client_s_stays(
    client: type[Client], session: Session, site: Publisher
) -> None:
    client.installed(f"{PIECES}print('please log in'); sys.exit(1)")
    site.put("https://mirror.example/sa.tar", SHARD)
    both = replace(WANTED, urls=(URL, "https://mirror.example/sa.tar"))
    assert transfer(both, session).path.read_bytes() == SHARD
    assert not any("openxlab" in name for name in leftovers(session))


def test_a_client_may_take_its_time(client: type[Client], session: Session) -> None:
    client.installed("time.sleep(0.7)")
    assert transfer(WANTED, session).path.read_bytes() == SHARD

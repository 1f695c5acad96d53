"""Against olah, a hub that others wrote: the real huggingface_hub asks it, and our own ranges move the bytes.

olah serves git repositories of this machine. It is installed from PyPI into an environment of its own, once, in the
user's cache; where that cannot be done, these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fetching import noise, sha256, until
from filelock import FileLock
from support import Cvl, contents

from cvl.root import Root

VERSION = "0.5.4"
PATIENCE = 300
"""Seconds that the installation may take."""

DATASET = "datasets/owner/records"
MODEL = "models/owner/model"
FILES = {
    DATASET: {"records.json": b'[{"id": 1}]', "deep/images.bin": noise(3_000_000)},
    MODEL: {"config.json": b"{}", "model.safetensors": noise(2_000_000, 1), "a/b/merges.txt": b"a b"},
}
LARGE = {"deep/images.bin", "model.safetensors"}

MANIFEST = """
title = "Mine"
[[files]]
name = "records.json"
url = "hf://datasets/owner/records/records.json"
path = "data/mine/records.json"

[[files]]
name = "images.bin"
url = "hf://datasets/owner/records/deep/images.bin"
path = "data/mine/images.bin"

[[files]]
name = "model"
url = "hf://owner/model"
snapshot = { into = "models/mine" }
"""


@dataclass(frozen=True)
class Hub:
    """olah at work: where it answers, and the folder of the repositories that it serves."""

    url: str
    folder: Path

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        """Commit files to a repository, large ones as LFS does; returns the commit."""
        repository = self.folder / name
        if not repository.exists():
            repository.mkdir(parents=True)
            git(repository, "init", "--quiet", "--initial-branch=main")
        for path, content in files.items():
            (repository / path).parent.mkdir(parents=True, exist_ok=True)
            (repository / path).write_bytes(pointer(repository, content) if path in LARGE else content)
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "--message=one more")
        return git(repository, "rev-parse", "HEAD")


def git(repository: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "x@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    environment = os.environ | who | plain
    done = subprocess.run(
        ["git", *arguments], cwd=repository, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def pointer(repository: Path, content: bytes) -> bytes:
    """Put content where git-lfs keeps it; returns the pointer that is committed in its place."""
    digest = sha256(content)
    place = repository / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python that has olah."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cvl-tests"
    caches.mkdir(parents=True, exist_ok=True)
    folder = caches / f"olah-{VERSION}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            install(folder)
    return folder / "bin" / "python"


def install(folder: Path) -> None:
    make = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)]
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--timeout=15", "--retries=1"]
    try:
        for command in (make, [*pip, "install", "--quiet", "--no-compile", f"olah=={VERSION}"]):
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"olah {VERSION} cannot be had from PyPI: {(error.stderr or b'').decode()[-200:].strip()}")
    (folder / "complete").touch()


@pytest.fixture(scope="module")
def hub(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("olah")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    options = {
        "host": "127.0.0.1",
        "port": int(place.partition(":")[2]),
        "repos-path": str(folder / "cache"),
        "mirrors-path": [str(folder / "git")],
        "mirror-netloc": place,
        "mirror-lfs-netloc": place,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    (folder / "olah.toml").write_text("\n".join(["[basic]", *lines, "[accessibility]", "offline = true"]))
    command = [python, "-m", "olah.server", "--config", "olah.toml"]
    with (
        (folder / "said").open("wb") as said,
        subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT) as process,
    ):
        try:
            until(lambda: process.poll() is not None or answers(f"http://{place}/repos"))
            assert process.poll() is None, (folder / "said").read_text()
            yield Hub(f"http://{place}", folder / "git")
        finally:
            process.terminate()


def answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@pytest.fixture
def commits(hub: Hub) -> dict[str, str]:
    """What is committed to each repository, by name, and is the head of its main branch now."""
    for name in FILES:
        shutil.rmtree(hub.folder / name, ignore_errors=True)
    return {name: hub.commit(name, files) for name, files in FILES.items()}


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine.toml").write_text(MANIFEST)
    return folder


@pytest.fixture
def cvl(tmp_path: Path, tree: Root, manifests: Path, hub: Hub, commits: dict[str, str]) -> Cvl:
    """The command line as a process which takes olah for the hub."""
    own = {"CVL_ROOT": str(tree.path), "CVL_MANIFESTS": str(manifests), "HF_ENDPOINT": hub.url}
    return Cvl(tmp_path, own)


def complete(root: Root) -> None:
    dataset = {Path(path).name: sha256(content) for path, content in FILES[DATASET].items()}
    assert contents(root.at("data/mine")) == dataset
    assert contents(root.at("models/mine")) == {path: sha256(content) for path, content in FILES[MODEL].items()}


def test_files_and_repositories_come_from_another_hub_and_the_lock_knows_their_commits(
    cvl: Cvl, tree: Root, commits: dict[str, str]
) -> None:
    done = cvl("fetch", "mine")
    assert done.code == 0, done.stderr
    complete(tree)
    files = json.loads(tree.lock.read_text())["files"]
    assert {seen["revision"] for name, seen in files.items() if name.startswith("model")} == {commits[MODEL]}
    assert files["images.bin"]["revision"] == commits[DATASET]
    assert files["images.bin"]["sha256"] == sha256(FILES[DATASET]["deep/images.bin"])
    assert cvl("fetch", "mine").stdout.startswith("0 files fetched")


@pytest.mark.parametrize("locked", [True, False])
def test_another_machine_gets_the_commits_of_the_lock_although_their_branches_moved_on(
    cvl: Cvl, tree: Root, hub: Hub, tmp_path: Path, locked: bool
) -> None:
    assert cvl("fetch", "mine").code == 0
    hub.commit(DATASET, {"records.json": b'[{"id": 2}]', "deep/images.bin": noise(3_000_000, 7)})
    hub.commit(MODEL, {"config.json": b"[]", "model.safetensors": noise(5000, 8), "more.txt": b"later"})
    second = Root(tmp_path / "second")
    second.path.mkdir()
    shutil.copyfile(tree.lock, second.lock)
    done = cvl("fetch", "mine", *["--locked"] * locked, env={"CVL_ROOT": str(second.path)})
    assert done.code == 0, done.stderr
    complete(second)
    assert json.loads(second.lock.read_text()) == json.loads(tree.lock.read_text())


def test_what_another_hub_does_not_have_is_told(cvl: Cvl, tree: Root, manifests: Path) -> None:
    (manifests / "mine.toml").write_text(MANIFEST.replace("records/records.json", "records/nothing.json"))
    done = cvl("fetch", "mine", "--retries", "2")
    assert done.code == 1
    assert "hf://datasets/owner/records/nothing.json" in done.stderr
    assert tree.at("data/mine/images.bin").exists()

"""A machine without network: what was brought there lands, what was not is told, one clear error each and soon."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import Cvl, Done, contents, traces

from cvl.demo.miniature import World
from cvl.root import Root

NO_NETWORK = ["unshare", "--map-root-user", "--net"]
"""A process of its own network, which has no device that is up: no names, no routes, no loopback even."""
READ_ONLY = ["sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"']
"""A folder as a disk that cannot be written, seen so by this process alone; even root cannot write it then."""

SOURCES = ("coco", "gqa", "llava", "vicuna")


def works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and not subprocess.run(command, capture_output=True).returncode


pytestmark = pytest.mark.skipif(
    not works(*NO_NETWORK, "true"), reason="this system lets nobody have a network of their own"
)


class Node:
    """The command line on a machine without network: processes that see no network at all."""

    def __init__(self, cvl: Cvl) -> None:
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "HF_ENDPOINT")
        dropped = {name for proxy in proxies for name in (proxy, proxy.lower())}
        self._environment = {name: value for name, value in cvl.environment.items() if name not in dropped}
        self._folder = cvl.folder

    def __call__(self, *arguments: str | Path, within: Sequence[str] = NO_NETWORK, **variables: str) -> Done:
        done = subprocess.run(
            [*within, sys.executable, "-m", "cvl", *map(str, arguments)],
            env=self._environment | variables,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, " ".join(done.stderr.split()))


@pytest.fixture
def node(cvl: Cvl) -> Node:
    return Node(cvl)


@pytest.fixture
def locked(tree: Root, fetched: Root) -> Root:
    """A tree that has nothing but the lock of a machine with network."""
    tree.path.mkdir()
    shutil.copyfile(fetched.lock, tree.lock)
    return tree


@pytest.fixture
def brought(world: World, fetched: Root, tmp_path: Path) -> Path:
    """A disk that was carried there: archives as a browser saves them, and a repository as `git clone` leaves it."""
    folder = tmp_path / "disk"
    for name, url in {
        "train2017.zip": "http://images.cocodataset.org/zips/train2017.zip",
        "images (1).zip": "https://downloads.cs.stanford.edu/nlp/data/gqa/images.zip",
        "LLaVA/llava_v1_5_mix665k.json": "hf://datasets/liuhaotian/LLaVA-Instruct-150K/llava_v1_5_mix665k.json",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(world.path(url), folder / name)
    shutil.copytree(fetched.at("models/vicuna-7b-v1.5"), folder / "vicuna-7b-v1.5")
    (folder / "vicuna-7b-v1.5" / "holiday.jpg").write_bytes(b"something else")
    return folder


def test_what_was_brought_lands_without_the_network(node: Node, locked: Root, fetched: Root, brought: Path) -> None:
    before = traces(brought)
    done = node("fetch", *SOURCES, "--locked", "--from", brought)
    assert done.code == 0, done.stderr
    for folder in ("data/coco", "data/gqa", "models/vicuna-7b-v1.5"):
        assert contents(locked.at(folder)) == contents(fetched.at(folder))
    mix = "data/llava/llava_v1_5_mix665k.json"
    assert locked.at(mix).read_bytes() == fetched.at(mix).read_bytes()
    assert locked.lock.read_bytes() == fetched.lock.read_bytes()
    assert traces(brought) == before
    again = node("fetch", *SOURCES, "--locked")
    assert again.code == 0
    assert again.stdout.startswith("0 files fetched")


def test_what_the_manifest_knows_lands_without_any_lock(node: Node, tree: Root, fetched: Root, brought: Path) -> None:
    assert node("fetch", "coco", "gqa", "--from", brought).code == 0
    assert contents(tree.at("data/coco")) == contents(fetched.at("data/coco"))


def test_a_brought_repository_is_told_by_its_bytes_and_not_by_its_names(
    node: Node, locked: Root, fetched: Root, brought: Path
) -> None:
    folder = brought / "vicuna-7b-v1.5"
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        path.rename(folder / f"{number:03}")
    assert node("fetch", "vicuna", "--locked", "--from", brought).code == 0
    assert contents(locked.at("models/vicuna-7b-v1.5")) == contents(fetched.at("models/vicuna-7b-v1.5"))


def test_what_was_not_brought_is_one_error_each(node: Node, locked: Root, fetched: Root, brought: Path) -> None:
    (brought / "images (1).zip").unlink()
    (brought / "LLaVA" / "llava_v1_5_mix665k.json").unlink()
    done = node("fetch", *SOURCES, "--locked", "--from", brought, "--retries", "1")
    assert done.code == 1
    for name in ("gqa-images.zip", "llava_v1_5_mix665k.json"):
        assert name in done.stderr
    assert contents(locked.at("data/coco")) == contents(fetched.at("data/coco"))
    assert locked.at("models/vicuna-7b-v1.5").is_dir()
    assert not locked.at("data/gqa").exists()


def test_a_repository_that_lacks_a_file_names_it(node: Node, locked: Root, fetched: Root, brought: Path) -> None:
    (brought / "vicuna-7b-v1.5" / "config.json").unlink()
    done = node("fetch", "vicuna", "--locked", "--from", brought, "--retries", "1")
    assert done.code == 1
    assert "hf://lmsys/vicuna-7b-v1.5@" in done.stderr
    assert "/config.json" in done.stderr
    shutil.copyfile(fetched.at("models/vicuna-7b-v1.5/config.json"), brought / "config.json")
    assert node("fetch", "vicuna", "--locked", "--from", brought).code == 0


def test_a_brought_archive_with_other_bytes_does_not_land(node: Node, locked: Root, brought: Path) -> None:
    archive = brought / "train2017.zip"
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    archive.write_bytes(damaged)
    done = node("fetch", "coco", "--locked", "--from", brought, "--retries", "1")
    assert done.code == 1
    assert f"{archive} has another digest than the one that is wanted" in done.stderr
    assert not locked.at("data/coco").exists()


def test_without_a_lock_a_repository_asks_the_hub_and_says_that_it_cannot_be_reached(
    node: Node, tree: Root, brought: Path
) -> None:
    done = node("fetch", "vicuna", "--from", brought, "--retries", "1")
    assert done.code == 1
    assert "hf://lmsys/vicuna-7b-v1.5" in done.stderr
    assert "--locked" in done.stderr


def test_offline_mode_is_explained_with_the_ways_out(node: Node, tree: Root) -> None:
    done = node("fetch", "vicuna", HF_HUB_OFFLINE="1")
    assert done.code == 1
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert "--locked" in done.stderr


@pytest.mark.parametrize("name", ["coco", "llava"])
def test_a_transfer_that_another_machine_began_is_not_waited_for(node: Node, locked: Root, cvl: Cvl, name: str) -> None:
    """A host that answered in this run and is silent now is waited for; one that never did is not."""
    (step,) = cvl("fetch", name, "--locked", "--dry-run", "--json").json["steps"]
    begun, url, size = step["remote"]["name"], step["remote"]["urls"][0], step["transfer_bytes"]
    begin = (
        "import sys; from pathlib import Path; from cvl.download.transport.journal import Version; "
        "from cvl.download.transport.part import Part; part = Part(Path(sys.argv[1])); "
        f"part.begin(Version({url!r}, None, {size})); part.write(bytes(1000), 0); part.note(0, 1000)"
    )
    assert cvl.python(begin, str(locked.downloads / f"{begun}.part")).code == 0
    done = node("fetch", name, "--locked", "--retries", "2")
    assert done.code == 1
    assert begun in done.stderr


@pytest.mark.parametrize("options", [["--locked"], []])
def test_a_complete_tree_on_a_disk_that_cannot_be_written_is_enough(
    node: Node, complete: Root, options: list[str]
) -> None:
    within = [*NO_NETWORK, "--mount", *READ_ONLY, str(complete.path)]
    if not works(*within, "true"):
        pytest.skip("this system lets nobody have mounts of their own")
    assert not works(*within, "touch", str(complete.path / "a file"))
    before = traces(complete.path)
    done = node("fetch", *SOURCES, *options, within=within)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("0 files fetched")
    assert traces(complete.path) == before


def test_the_archives_that_are_carried_are_the_ones_that_the_lock_names(brought: Path, fetched: Root) -> None:
    """What the tests bring is what a first machine saw: otherwise they would prove nothing."""
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in brought.rglob("*") if path.is_file()}
    lock = fetched.lock.read_text()
    assert len([digest for digest in digests if digest in lock]) >= 3
    assert zipfile.is_zipfile(brought / "train2017.zip")

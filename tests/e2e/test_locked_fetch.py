"""`cvl fetch --locked`: with the lock another machine gets the same bytes, or a word on what differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Cvl, contents, traces

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.root import Root

MODEL = "data/model"
FILES = {"config.json": b'{"layers": 2}', "deep/tokenizer.json": b'{"<s>": 1}', "model.safetensors": bytes(range(256))}
FIRST = b'[{"id": 1}]'
SECOND = b'[{"id": 2}]'
URL = "https://host.example/records.json"
HUB = "datasets/owner/records"
HUB_FILE = b'[{"hub": true}]'

MANIFEST = f"""
title = "Mine"
[[files]]
name = "records.json"
url = "{URL}"
path = "data/mine/records.json"

[[files]]
name = "hub-records.json"
url = "hf://{HUB}/records.json"
path = "data/mine/hub-records.json"

[[files]]
name = "model"
url = "hf://owner/model"
snapshot = {{ into = "{MODEL}", exclude = ["*.md"] }}
"""


@pytest.fixture
def site(tmp_path: Path) -> Publisher:
    """A publisher who names no digest of anything."""
    site = Publisher(tmp_path / "internet")
    site.put(URL, FIRST)
    site.put(f"hf://{HUB}/records.json", HUB_FILE)
    for path, content in {**FILES, "README.md": b"# Model"}.items():
        site.put(f"hf://owner/model/{path}", content)
    return site


@pytest.fixture
def internet(site: Publisher) -> Iterator[Internet]:
    with Internet(site.folder) as internet:
        yield internet


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine.toml").write_text(MANIFEST)
    return folder


@pytest.fixture
def first(cvl: Cvl, tree: Root) -> Root:
    """The first machine's tree, complete and with its lock."""
    done = cvl("fetch", "mine")
    assert done.code == 0, done.stderr
    return tree


@pytest.fixture
def second(first: Root, cvl: Cvl, tmp_path: Path) -> Root:
    """Another machine's tree, which has nothing but the first one's lock; `cvl` works on it from now on."""
    second = Root(tmp_path / "second")
    second.path.mkdir()
    shutil.copyfile(first.lock, second.lock)
    cvl.environment["CVL_ROOT"] = str(second.path)
    return second


def files_of(root: Root) -> dict[str, str]:
    return contents(root.at("data/mine")) | contents(root.at(MODEL))


def move_on(site: Publisher, *repositories: str) -> None:
    """Commit something; under the commits before, what was there before can still be had."""
    for name in repositories:
        repository = site.folder / "hub" / name
        commits = {seen["revision"] for seen in known(site).values() if name.removeprefix("models/") in seen["url"]}
        (repository / ".revisions").write_text("\n".join(sorted(commits)) + "\n")
        (repository / "later.md").write_text("a later commit")


def known(site: Publisher) -> dict[str, Any]:
    lock = next(site.folder.parent.glob("*/cvl.lock"))
    files: dict[str, Any] = json.loads(lock.read_text())["files"]
    return {name: seen for name, seen in files.items() if seen["revision"]}


def test_the_lock_names_every_file_of_a_repository_and_the_repository(first: Root) -> None:
    files = json.loads(first.lock.read_text())["files"]
    assert list(files) == [
        "hub-records.json",
        "model",
        "model--config.json",
        "model--deep--tokenizer.json",
        "model--model.safetensors",
        "records.json",
    ]
    assert len({seen["revision"] for name, seen in files.items() if name.startswith("model")}) == 1
    assert files["model"]["size"] == sum(map(len, FILES.values()))


def test_a_second_machine_gets_the_same_bytes_and_the_lock_stays_as_it_is(cvl: Cvl, first: Root, second: Root) -> None:
    before = traces(second.path)
    done = cvl("fetch", "mine", "--locked")
    assert done.code == 0, done.stderr
    assert files_of(second) == files_of(first)
    assert traces(second.path)["cvl.lock"] == before["cvl.lock"]
    again = cvl("fetch", "mine", "--locked")
    assert again.stdout.startswith("0 files fetched")


def test_a_locked_fetch_of_a_repository_does_not_ask_the_hub_what_it_holds(
    cvl: Cvl, second: Root, internet: Internet
) -> None:
    asked = len(internet.exchanges)
    assert cvl("fetch", "mine", "--locked").code == 0
    assert not any("/api/models/" in exchange.url for exchange in internet.exchanges[asked:])


@pytest.mark.parametrize("locked", [True, False])
def test_where_the_hub_has_moved_on_the_lock_s_commit_is_fetched(
    cvl: Cvl, first: Root, second: Root, site: Publisher, internet: Internet, locked: bool
) -> None:
    move_on(site, "models/owner/model", HUB)
    asked = len(internet.exchanges)
    done = cvl("fetch", "mine", *["--locked"] * locked)
    assert done.code == 0, done.stderr
    assert files_of(second) == files_of(first)
    commits = {seen["revision"] for seen in known(site).values()}
    resolved = [exchange.url for exchange in internet.exchanges[asked:] if "/resolve/" in exchange.url]
    assert resolved
    assert all(any(f"/resolve/{commit}/" in url for commit in commits) for url in resolved)
    assert json.loads(second.lock.read_text()) == json.loads(first.lock.read_text())


@pytest.mark.parametrize("locked", [True, False])
def test_bytes_that_the_publisher_changed_do_not_land(cvl: Cvl, second: Root, site: Publisher, locked: bool) -> None:
    site.put(URL, SECOND)
    done = cvl("fetch", "mine", *["--locked"] * locked)
    assert done.code == 1
    assert "records.json: expected sha256" in done.stderr.replace("\n", " ")
    assert not second.at("data/mine/records.json").exists()
    assert second.at("data/mine/hub-records.json").exists()


def test_a_publisher_s_file_of_another_size_is_refused_before_it_is_moved(
    cvl: Cvl, second: Root, site: Publisher, internet: Internet
) -> None:
    site.put(URL, FIRST + b"\n" * 100_000)
    before = internet.body_bytes(URL)
    done = cvl("fetch", "mine", "--locked")
    assert done.code == 1
    assert "the publisher changed the file" in " ".join(done.stderr.split())
    assert internet.body_bytes(URL) - before < 100_000
    assert not second.at("data/mine/records.json").exists()


def test_what_the_lock_does_not_name_is_refused_before_anything_is_asked(
    cvl: Cvl, second: Root, internet: Internet
) -> None:
    document = json.loads(second.lock.read_text())
    del document["files"]["records.json"], document["files"]["hub-records.json"]
    second.lock.write_text(json.dumps(document))
    asked = len(internet.exchanges)
    done = cvl("fetch", "mine", "--locked")
    assert done.code == 2
    assert "does not name records.json and 1 more" in " ".join(done.stderr.split())
    assert "without --locked" in " ".join(done.stderr.split())
    assert len(internet.exchanges) == asked
    assert not second.data.exists()


def test_a_lock_of_a_fetch_that_was_stopped_names_no_whole_repository(
    cvl: Cvl, second: Root, internet: Internet
) -> None:
    document = json.loads(second.lock.read_text())
    del document["files"]["model--config.json"]
    second.lock.write_text(json.dumps(document))
    done = cvl("fetch", "mine", "--locked")
    assert done.code == 2
    assert "does not name every file of model" in " ".join(done.stderr.split())
    assert cvl("fetch", "mine").code == 0
    assert cvl("fetch", "mine", "--locked").code == 0


def test_a_manifest_that_contradicts_the_lock_is_refused_with_both(
    cvl: Cvl, second: Root, manifests: Path, internet: Internet
) -> None:
    wrong = MANIFEST.replace(f'url = "{URL}"', f'url = "{URL}"\nsha256 = "{"0" * 64}"')
    (manifests / "mine.toml").write_text(wrong)
    asked = len(internet.exchanges)
    done = cvl("fetch", "mine", "--locked")
    assert done.code == 2
    said = " ".join(done.stderr.split())
    assert "0" * 64 in said
    assert json.loads(second.lock.read_text())["files"]["records.json"]["sha256"] in said
    assert len(internet.exchanges) == asked


def test_accepting_other_digests_contradicts_a_lock_that_is_held_to(cvl: Cvl, second: Root) -> None:
    done = cvl("fetch", "mine", "--locked", "--accept-digest")
    assert done.code == 2
    assert "--accept-digest" in done.stderr


def test_a_dry_run_looks_at_the_lock_as_well(cvl: Cvl, second: Root) -> None:
    plan = cvl("fetch", "mine", "--locked", "--dry-run", "--json").json
    sizes = {step["remote"]["name"]: step["transfer_bytes"] for step in plan["steps"]}
    assert sizes == {"records.json": 11, "hub-records.json": len(HUB_FILE), "model": sum(map(len, FILES.values()))}
    second.lock.unlink()
    assert cvl("fetch", "mine", "--locked", "--dry-run").code == 2


def test_what_was_brought_with_other_bytes_is_not_fetched_without_the_lock_s_word(
    cvl: Cvl, tree: Root, site: Publisher, manifests: Path, tmp_path: Path, internet: Internet
) -> None:
    """The manifest knows the file and the lock does not: what was brought may be taken, nothing else may come."""
    (manifests / "mine.toml").write_text(
        f'title = "Mine"\n[[files]]\nname = "records.json"\nurl = "{URL}"\nsize = 11\n'
    )
    with (manifests / "mine.toml").open("a") as file:
        file.write(f'sha256 = "{"0" * 64}"\npath = "data/mine/records.json"\n')
    brought = tmp_path / "brought"
    brought.mkdir()
    (brought / "records.json").write_bytes(FIRST)
    done = cvl("fetch", "mine", "--locked", "--from", brought)
    assert done.code == 1
    assert "does not name records.json" in " ".join(done.stderr.split())
    assert internet.exchanges == []


def test_a_hub_in_trouble_is_asked_again_for_its_list(cvl: Cvl, tree: Root, internet: Internet) -> None:
    internet.inject(Fault("*/api/*", FaultKind.STATUS, status=500, times=2))
    internet.inject(Fault("*/resolve/*", FaultKind.STATUS, status=429, retry_after=0, times=2))
    assert cvl("fetch", "mine").code == 0

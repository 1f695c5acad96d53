"""`cvl.lock`: what the first machine saw is what the next one gets."""

from __future__ import annotations

import json
import shutil

import pytest
from support import Cvl, contents

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.root import Root

MIX = "data/llava/llava_v1_5_mix665k.json"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def second(tree: Root, fetched: Root) -> Root:
    """Another machine's tree, which has nothing but the first one's lock."""
    tree.path.mkdir()
    shutil.copyfile(fetched.lock, tree.lock)
    return tree


def test_the_lock_holds_size_digest_and_revision_and_no_signature(fetched: Root) -> None:
    files = json.loads(fetched.lock.read_text())["files"]
    assert list(files) == sorted(files)
    mix = files["llava_v1_5_mix665k.json"]
    assert mix["size"] == fetched.at(MIX).stat().st_size
    assert len(mix["sha256"]) == 64
    assert len(mix["revision"]) == 40
    assert len([name for name in files if name.startswith("sam-")]) == 51
    assert not any("?" in seen["url"] for seen in files.values())


def test_a_second_machine_fetches_the_same_bytes_and_the_lock_stays(cvl: Cvl, second: Root, fetched: Root) -> None:
    before = second.lock.read_bytes()
    done = cvl("fetch", "llava", "sharegpt4v", "lcs", "vicuna")
    assert done.code == 0
    for folder in ("data/llava/llava_v1_5_mix665k.json", "data/sharegpt4v", "data/llava/llava_pretrain/images"):
        mine, theirs = (root.at(folder) for root in (second, fetched))
        assert (contents(mine) or mine.read_bytes()) == (contents(theirs) or theirs.read_bytes())
    assert contents(second.at("models/vicuna-7b-v1.5")) == contents(fetched.at("models/vicuna-7b-v1.5"))
    files = json.loads(second.lock.read_text())["files"]
    assert {name: files[name] for name in json.loads(before)["files"]} == json.loads(before)["files"]


def test_bytes_that_differ_from_the_lock_are_not_taken(cvl: Cvl, second: Root, internet: Internet) -> None:
    """The manifest names no digest of this file; the lock does."""
    internet.inject(Fault("*mix665k.json*", FaultKind.FLIP, after=5000, times=1))
    done = cvl("fetch", "llava")
    assert done.code == 0
    assert "fetching it once more" in done.stderr
    internet.inject(Fault("*mix665k.json*", FaultKind.FLIP, after=5000, times=9))
    second.at(MIX).unlink()
    assert cvl("fetch", "llava").code == 1
    assert not second.at(MIX).exists()


def test_sizes_of_the_lock_make_the_plan_exact(cvl: Cvl, second: Root) -> None:
    plan = cvl("fetch", "llava", "--dry-run", "--json").json
    (step,) = plan["steps"]
    assert step["transfer_bytes"] == json.loads(second.lock.read_text())["files"]["llava_v1_5_mix665k.json"]["size"]


def test_another_hub_is_used_where_the_user_names_one(cvl: Cvl, tree: Root, fetched: Root, internet: Internet) -> None:
    """HF_ENDPOINT as a company's mirror of the hub: no proxy, no https, an address of its own."""
    for name in PROXIES:
        del cvl.environment[name], cvl.environment[name.lower()]
    cvl.environment["HF_ENDPOINT"] = internet.url
    done = cvl("fetch", "llava", "lcs", "convnext")
    assert done.code == 0
    assert contents(tree.at("data/llava/llava_pretrain/images")) == contents(
        fetched.at("data/llava/llava_pretrain/images")
    )
    assert contents(tree.at("models")) == {
        name: digest for name, digest in contents(fetched.at("models")).items() if name.startswith("LAION")
    }

"""From what the user typed to a complete tree: the miniature of every source, against its loopback internet."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fetching import HOST, Told, names_below, noise, sha256, until
from huggingface_hub import close_session
from support import Cvl, contents, traces

from cvl.demo.internet import Fault, FaultKind, Internet
from cvl.demo.miniature import World
from cvl.demo.miniature.publish import Publisher
from cvl.download.fetch import Options, Prepared, execute, prepare
from cvl.download.lock import Lock
from cvl.download.plan import Action
from cvl.download.run import Result
from cvl.download.select import Request
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Policy
from cvl.errors import EXIT_USAGE, DigestError, GateError, UsageError
from cvl.events import EventKind
from cvl.manifest import Catalog, load_catalog
from cvl.root import Root

SWIFT = Options(jobs=2, policy=Policy(attempts=2, base=0.01))


@pytest.fixture
def online(internet: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Internet]:
    """The internet of the miniature, where this process finds it."""
    for name, value in internet.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    close_session()
    yield internet
    close_session()


Fetch = Callable[..., Result]


@pytest.fixture
def fetch(catalog: Catalog, tree: Root, online: Internet) -> Fetch:
    """Fetch sources of the miniature into `tree`."""

    def fetch(*names: str, options: Options = SWIFT, report: Told | None = None, **asked: Any) -> Result:
        prepared = prepare(catalog, tree, Request(names=names, **asked), options)
        return execute(prepared, catalog, tree, options, report=report or Told())

    return fetch


def plan_of(catalog: Catalog, tree: Root, *names: str, options: Options = SWIFT, **asked: Any) -> Prepared:
    return prepare(catalog, tree, Request(names=names, **asked), options)


def pictures(world: World, url: str, prefix: str = "") -> dict[str, str]:
    """The pictures of a published zip, below `prefix`, with their digests."""
    with zipfile.ZipFile(world.path(url)) as archive:
        names = [name for name in archive.namelist() if name.startswith(prefix) and name.endswith(".jpg")]
        return {name.removeprefix(prefix): sha256(archive.read(name)) for name in names}


GQA = "https://downloads.cs.stanford.edu/nlp/data/gqa/images.zip"
VG = "https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip"
LCS = "hf://datasets/liuhaotian/LLaVA-Pretrain/images.zip"
PLACES = {
    "data/gqa/images": (GQA, "images/"),
    "data/vg/VG_100K": (VG, "VG_100K/"),
    "data/llava/llava_pretrain/images": (LCS, ""),
}


def each_in_its_own_folder(tree: Root, world: World) -> None:
    found = {place: contents(tree.at(place)) for place in PLACES}
    expected = {place: pictures(world, url, prefix) for place, (url, prefix) in PLACES.items()}
    assert found == expected
    sets = [set(digests.values()) for digests in found.values()]
    assert all(sets)
    assert not sets[0] & sets[1] | sets[0] & sets[2] | sets[1] & sets[2], "no two of them are the same pictures"
    assert {path.name for path in tree.at("data/vg").iterdir()} == {"VG_100K", "VG_100K_2"}
    assert {path.name for path in tree.at("data/gqa").iterdir()} == {"images"}


# Three archives with one name


def test_gqa_s_images_zip_never_lands_in_visual_genome_s_folder(fetch: Fetch, tree: Root, world: World) -> None:
    assert fetch("gqa", "vg", "lcs").failed == ()
    each_in_its_own_folder(tree, world)


@pytest.mark.parametrize("first", ["gqa", "vg", "lcs"])
def test_nor_one_after_the_other(fetch: Fetch, tree: Root, world: World, first: str) -> None:
    for name in (first, *sorted({"gqa", "vg", "lcs"} - {first})):
        assert fetch(name).failed == ()
    each_in_its_own_folder(tree, world)


def test_nor_from_one_folder_of_downloads(
    fetch: Fetch, tree: Root, world: World, tmp_path: Path, online: Internet
) -> None:
    downloads = tmp_path / "Downloads"
    for number, url in enumerate((VG, LCS, GQA)):
        (downloads / f"{number}").mkdir(parents=True)
        (downloads / f"{number}" / "images.zip").write_bytes(world.path(url).read_bytes())
    before = traces(downloads)
    result = fetch("gqa", "vg", "lcs", options=replace(SWIFT, downloads=downloads))
    assert result.failed == ()
    each_in_its_own_folder(tree, world)
    assert online.body_bytes("*/images.zip*") == 0
    assert traces(downloads) == before


def test_nor_if_the_server_hands_out_the_wrong_one(
    fetch: Fetch, tree: Root, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: Catalog
) -> None:
    site = Publisher(tmp_path / "wrong")
    site.put(VG, world.path(GQA).read_bytes())
    site.put(VG.replace("images.zip", "images2.zip"), world.path(GQA).read_bytes())
    with Internet(site.folder) as wrong:
        for name, value in wrong.environment().items():
            monkeypatch.setenv(name, value)
        result = fetch("vg")
    assert len(result.failed) == 2
    assert not tree.at("data/vg").exists()


# Plans


def test_a_dry_run_writes_nothing_and_asks_nothing(catalog: Catalog, tree: Root, online: Internet) -> None:
    prepared = plan_of(catalog, tree, "coco", "vg", "webdata", "ocrvqa", "lcs", "llava", "vicuna")
    assert {step.action for step in prepared.plan.steps} == {Action.FETCH}
    assert prepared.plan.transfer_bytes > 0
    assert not tree.path.exists()
    assert online.exchanges == []


def test_a_dry_run_over_a_tree_at_work_writes_nothing_either(
    fetch: Fetch, catalog: Catalog, tree: Root, online: Internet
) -> None:
    fetch("gqa", options=replace(SWIFT, keep_archives=True))
    fetch("ocrvqa", alternatives={"ocrvqa": "urls"})
    online.inject(Fault("*train2017*", FaultKind.TRUNCATE, after=80_000))
    online.inject(Fault("*train2017*", FaultKind.STATUS, status=404, times=9))
    fetch("coco")
    next(tree.at("data/gqa/images").iterdir()).unlink()
    before, asked = traces(tree.path), len(online.exchanges)
    prepared = plan_of(catalog, tree, "coco", "gqa", "vg", "ocrvqa")
    assert {step.remote.name: step.action for step in prepared.plan.steps} == {
        "coco-train2017.zip": Action.RESUME,
        "gqa-images.zip": Action.UNPACK,
        # Some of its addresses are dead, which the archive makes good.
        "ocrvqa-images.zip": Action.FETCH,
        "vg-images.zip": Action.FETCH,
        "vg-images2.zip": Action.FETCH,
    }
    assert traces(tree.path) == before
    assert len(online.exchanges) == asked


def test_a_mistake_is_told_before_anything_is_done(catalog: Catalog, tree: Root, online: Internet) -> None:
    with pytest.raises(UsageError, match="no source called `cocoa`"):
        plan_of(catalog, tree, "vg", "cocoa")
    assert not tree.path.exists()
    assert online.exchanges == []


# Again


def test_a_second_fetch_transfers_and_writes_nothing(fetch: Fetch, tree: Root, online: Internet) -> None:
    names = ("coco", "gqa", "webdata", "llava", "ocrvqa", "vicuna", "vflan")
    assert fetch(*names).failed == ()
    before, moved = traces(tree.path), online.body_bytes()
    result = fetch(*names)
    assert (result.outcomes, result.failed) == ((), ())
    assert online.body_bytes() == moved
    assert traces(tree.path) == before


def test_the_lock_makes_the_next_machine_fetch_the_same_bytes(
    fetch: Fetch, catalog: Catalog, tree: Root, online: Internet, tmp_path: Path
) -> None:
    fetch("llava")
    text = tree.lock.read_text()
    seen = json.loads(text)["files"]["llava_v1_5_mix665k.json"]
    assert seen["sha256"] == sha256(tree.at("data/llava/llava_v1_5_mix665k.json").read_bytes())
    assert seen["revision"] == "011f884bcf152693aca1d531d067f31e748bea02"
    other = Root(tmp_path / "other machine")
    other.path.mkdir()
    other.lock.write_text(text)
    (step,) = plan_of(catalog, other, "llava").plan.steps
    assert (step.remote.size, step.remote.sha256) == (seen["size"], seen["sha256"])
    execute(plan_of(catalog, other, "llava"), catalog, other, SWIFT)
    assert other.lock.read_text() == text
    assert sha256(other.at("data/llava/llava_v1_5_mix665k.json").read_bytes()) == seen["sha256"]


def test_a_lock_of_other_bytes_refuses_these(fetch: Fetch, tree: Root, online: Internet) -> None:
    fetch("llava")
    entry = json.loads(tree.lock.read_text())
    entry["files"]["llava_v1_5_mix665k.json"]["sha256"] = "0" * 64
    tree.at("data/llava/llava_v1_5_mix665k.json").unlink()
    (tree.receipts / "llava_v1_5_mix665k.json.json").unlink()
    tree.lock.write_text(json.dumps(entry))
    (failure,) = fetch("llava").failed
    assert failure.error is not None
    assert "0" * 64 in str(failure.error)
    assert not tree.at("data/llava/llava_v1_5_mix665k.json").exists()


def test_no_address_in_the_lock_carries_a_signature(fetch: Fetch, tree: Root, online: Internet) -> None:
    signed(tree, online)
    fetch("sam", "gqa", "lcs", shards={"sam": (0,)})
    files = Lock(tree.lock)
    text = tree.lock.read_text()
    assert files.seen("sam-000000.tar") is not None
    assert not any(part in text for part in ("oe=", "Expires", "?", "_nc_sid"))


# Held to the lock


LOCKED = replace(SWIFT, locked=True)


def locked_tree(tree: Root, path: Path) -> Root:
    """Another machine's tree, which has nothing but this one's lock."""
    other = Root(path)
    other.path.mkdir()
    other.lock.write_text(tree.lock.read_text())
    return other


def edit_lock(tree: Root, name: str, **changes: Any) -> None:
    document = json.loads(tree.lock.read_text())
    document["files"][name] |= changes
    tree.lock.write_text(json.dumps(document))


def test_without_a_lock_nothing_is_fetched_and_nothing_is_asked(catalog: Catalog, tree: Root, online: Internet) -> None:
    with pytest.raises(UsageError, match=r"cvl\.lock does not name vg-images\.zip and 1 more") as caught:
        plan_of(catalog, tree, "vg", options=LOCKED)
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.hint == "run once without --locked and keep the lock that it writes"
    assert online.exchanges == []
    assert not tree.path.exists()


def test_what_is_here_needs_no_lock(fetch: Fetch, tree: Root) -> None:
    assert fetch("vg").failed == ()
    tree.lock.unlink()
    assert fetch("vg", options=LOCKED).outcomes == ()
    assert not tree.lock.exists()


def test_a_manifest_that_knows_nothing_takes_size_and_digest_of_the_lock(
    fetch: Fetch, catalog: Catalog, tree: Root, tmp_path: Path
) -> None:
    fetch("llava")
    seen = Lock(tree.lock).seen("llava_v1_5_mix665k.json")
    assert seen is not None
    (step,) = plan_of(catalog, locked_tree(tree, tmp_path / "other"), "llava", options=LOCKED).plan.steps
    assert (step.remote.size, step.remote.sha256, step.remote.certainty) == (seen.size, seen.sha256, "confirmed")


@pytest.mark.parametrize(("what", "wrong"), [("size", 5), ("sha256", "0" * 64)])
def test_a_manifest_that_contradicts_the_lock_is_refused_with_both(
    fetch: Fetch, catalog: Catalog, tree: Root, tmp_path: Path, online: Internet, what: str, wrong: Any
) -> None:
    fetch("vg")
    edit_lock(tree, "vg-images.zip", **{what: wrong})
    asked = len(online.exchanges)
    other = locked_tree(tree, tmp_path / "other")
    with pytest.raises(UsageError, match=rf"vg-images\.zip: the manifest has {what} \w+, .*cvl\.lock has {wrong}$"):
        plan_of(catalog, other, "vg", options=LOCKED)
    assert len(online.exchanges) == asked


def test_what_a_lock_says_holds_even_where_a_digest_is_of_a_single_source(
    doubtful: Catalog, tree: Root, online: Internet
) -> None:
    with pytest.raises(UsageError, match="--accept-digest"):
        plan_of(doubtful, tree, "vg", options=replace(LOCKED, accept_digest=True))
    accepting = replace(SWIFT, accept_digest=True)
    assert execute(plan_of(doubtful, tree, "vg", options=accepting), doubtful, tree, accepting).failed == ()
    with pytest.raises(UsageError, match=rf"vg-images2\.zip: the manifest has sha256 {'0' * 64}"):
        plan_of(doubtful, tree, "vg", options=LOCKED)


def test_other_bytes_than_the_lock_s_do_not_land(
    fetch: Fetch, catalog: Catalog, tree: Root, tmp_path: Path, online: Internet
) -> None:
    fetch("ocrvqa", alternatives={"ocrvqa": "urls"})
    (listed,) = [name for name in json.loads(tree.lock.read_text())["files"] if name.endswith(".json")]
    edit_lock(tree, listed, sha256="0" * 64)
    other = locked_tree(tree, tmp_path / "other")
    before = other.lock.read_text()
    prepared = plan_of(catalog, other, "ocrvqa", alternatives={"ocrvqa": "urls"}, options=LOCKED)
    (failure,) = execute(prepared, catalog, other, LOCKED).failed
    assert isinstance(failure.error, DigestError)
    assert "0" * 64 in str(failure.error)
    assert names_below(other.at("data/ocr_vqa")) == []
    assert other.lock.read_text() == before


def test_a_list_of_small_files_needs_its_lock_too(fetch: Fetch, catalog: Catalog, tree: Root) -> None:
    fetch("ocrvqa", alternatives={"ocrvqa": "urls"})
    tree.lock.unlink()
    next(tree.at("data/ocr_vqa/images").iterdir()).unlink()
    with pytest.raises(UsageError, match=r"cvl\.lock does not name"):
        plan_of(catalog, tree, "ocrvqa", alternatives={"ocrvqa": "urls"}, options=LOCKED)


def test_a_locked_fetch_leaves_the_lock_as_it_is(
    fetch: Fetch, catalog: Catalog, tree: Root, tmp_path: Path, online: Internet
) -> None:
    fetch("llava", "vg")
    other = locked_tree(tree, tmp_path / "other")
    before = traces(other.path)
    assert execute(plan_of(catalog, other, "llava", "vg", options=LOCKED), catalog, other, LOCKED).failed == ()
    assert traces(other.path)["cvl.lock"] == before["cvl.lock"]
    assert contents(other.data / "vg") == contents(tree.data / "vg")


# Gates


def signed(tree: Root, internet: Internet, days: int = 30, path: Path | None = None) -> Path:
    place = path or tree.sam_links
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(internet.links_file(datetime.now(UTC) + timedelta(days=days)))
    return place


TWO = {"sam": (0, 14)}


def test_a_source_behind_a_licence_is_refused_before_a_byte_moves(
    catalog: Catalog, tree: Root, online: Internet
) -> None:
    with pytest.raises(GateError, match="`sam` needs a list of signed links") as caught:
        plan_of(catalog, tree, "coco", "sam")
    assert caught.value.exit_code == EXIT_USAGE
    assert "segment-anything-downloads" in (caught.value.hint or "")
    assert online.exchanges == []


@pytest.mark.parametrize("days", [-1, 30])
def test_a_list_is_looked_at_before_a_byte_moves(catalog: Catalog, tree: Root, online: Internet, days: int) -> None:
    signed(tree, online, days)
    if days < 0:
        with pytest.raises(GateError, match=r"expired on .* \(2 of 2\)"):
            plan_of(catalog, tree, "coco", "sam", shards=TWO)
    else:
        assert plan_of(catalog, tree, "coco", "sam", shards=TWO).links is not None
    assert online.exchanges == []


def test_a_list_from_elsewhere_goes_before_the_usual_place(
    fetch: Fetch, tree: Root, online: Internet, tmp_path: Path
) -> None:
    signed(tree, online, days=-1)
    elsewhere = signed(tree, online, path=tmp_path / "links.txt")
    assert fetch("sam", shards=TWO, options=replace(SWIFT, sam_links=elsewhere)).failed == ()


def test_a_list_that_is_named_and_not_there_is_refused(catalog: Catalog, tree: Root, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="cannot read the list of links"):
        plan_of(catalog, tree, "sam", options=replace(SWIFT, sam_links=tmp_path / "nothing.txt"))


def test_gated_sources_may_be_skipped_and_the_rest_goes_on(fetch: Fetch, tree: Root, told: Told) -> None:
    result = fetch("gqa", "sam", options=replace(SWIFT, skip_gated=True), report=told)
    assert [outcome.remote.source for outcome in result.outcomes] == ["gqa"]
    (note,) = told.of(EventKind.NOTE)
    assert note.source == "sam"
    assert note.text.startswith("skipped: ")
    assert "segment-anything-downloads" in note.hint


def test_shards_that_are_here_need_no_list(fetch: Fetch, catalog: Catalog, tree: Root, online: Internet) -> None:
    signed(tree, online)
    assert fetch("sam", shards=TWO).failed == ()
    tree.sam_links.unlink()
    assert plan_of(catalog, tree, "sam", shards=TWO).plan.idle
    with pytest.raises(GateError):
        plan_of(catalog, tree, "sam", shards={"sam": (0, 14, 15)})
    skipping = plan_of(catalog, tree, "sam", shards={"sam": (0, 14, 15)}, options=replace(SWIFT, skip_gated=True))
    assert [step.remote.name for step in skipping.plan.steps] == ["sam-000000.tar", "sam-000014.tar"]


def test_an_opt_in_mirror_needs_no_list(fetch: Fetch, tree: Root, world: World, online: Internet) -> None:
    result = fetch("sam", shards=TWO, mirrors=frozenset({"hub-backup"}))
    assert result.failed == ()
    assert not any("fbcdn" in exchange.url for exchange in online.exchanges)


def test_an_opt_in_mirror_is_never_used_unless_it_is_named(fetch: Fetch, tree: Root, online: Internet) -> None:
    signed(tree, online)
    online.inject(Fault("*fbcdn*", FaultKind.STATUS, status=404, times=99))
    assert len(fetch("sam", shards=TWO).failed) == 2
    assert not any("huggingface" in exchange.url for exchange in online.exchanges)


@pytest.mark.parametrize("shard", [14, 16, 17, 19])
def test_shards_that_are_published_broken_give_every_picture(
    fetch: Fetch, tree: Root, world: World, online: Internet, shard: int
) -> None:
    signed(tree, online)
    assert fetch("sam", shards={"sam": (shard,)}).failed == ()
    assert len(names_below(tree.at("data/sam/images"))) == world.file(f"links:sa_{shard:06d}.tar").images


# Digests of a single source


@pytest.fixture
def doubtful(catalog: Catalog) -> Catalog:
    """The miniature with a wrong digest for one of its files, which only one person has seen."""
    source = catalog.sources["vg"]
    first, second = source.files
    wrong = second.model_copy(update={"sha256": "0" * 64})
    changed = source.model_copy(update={"files": (first, wrong)})
    return replace(catalog, sources={**catalog.sources, "vg": changed})


def test_a_doubtful_digest_fails_with_the_way_out_and_is_then_accepted_without_a_second_transfer(
    doubtful: Catalog, tree: Root, online: Internet
) -> None:
    def fetch(options: Options) -> Result:
        return execute(prepare(doubtful, tree, Request(names=("vg",)), options), doubtful, tree, options)

    (failure,) = fetch(SWIFT).failed
    assert isinstance(failure.error, DigestError)
    assert "single source" in str(failure.error)
    assert "cvl fetch vg --accept-digest" in (failure.error.hint or "")
    moved = online.body_bytes()
    accepted = fetch(replace(SWIFT, accept_digest=True))
    assert accepted.failed == ()
    assert online.body_bytes() == moved
    assert fetch(SWIFT).outcomes == (), "what was accepted once is not asked for again"


# Two at once


OWN = f"""
title = "mine"
[[files]]
name = "big.bin"
url = "{HOST}/big.bin"
path = "data/mine/big.bin"
"""
BIG = noise(2_000_000)
IN_FLIGHT = 512 << 10
"""Bytes that a connection may have brought without a note in the journal."""


@pytest.fixture
def command(site: Publisher, web: Internet, tmp_path: Path, tree: Root) -> Cvl:
    """The command line over one big file of a source of the user's own."""
    site.put(f"{HOST}/big.bin", BIG)
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.toml").write_text(OWN)
    return Cvl(tmp_path, web.environment() | {"CVL_ROOT": str(tree.path), "CVL_MANIFESTS": str(own)})


@contextmanager
def started(command: Cvl, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command at work, which is killed at the end."""
    with command.start(*arguments) as process:
        try:
            yield process
        finally:
            process.kill()


def until_it_waits(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if "another cvl is at work" in line:
            return
    raise AssertionError("it ended without a word")


def test_two_commands_on_one_tree_move_every_byte_once(command: Cvl, tree: Root, web: Internet) -> None:
    web.inject(Fault("*", FaultKind.STALL, after=1_000_000))
    with started(command, "fetch", "mine") as first:
        until(lambda: web.body_bytes() >= 1_000_000)
        with started(command, "fetch", "mine") as second:
            until_it_waits(second)
            first.kill()
            _, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert tree.at("data/mine/big.bin").read_bytes() == BIG
    assert {exchange.status for exchange in web.exchanges} == {206}
    assert web.body_bytes() <= len(BIG) + IN_FLIGHT


@pytest.mark.parametrize("after", [1, 700_000, 1_999_999])
def test_a_killed_command_goes_on_where_it_was_killed(command: Cvl, tree: Root, web: Internet, after: int) -> None:
    web.inject(Fault("*", FaultKind.STALL, after=after))
    part = tree.downloads / "big.bin.part"
    with started(command, "fetch", "mine"):
        until(lambda: web.body_bytes() >= after and Part(part).size >= after - IN_FLIGHT)
    kept = Part(part).size
    assert command("fetch", "mine").code == 0
    assert tree.at("data/mine/big.bin").read_bytes() == BIG
    assert any((exchange.range or "").startswith(f"bytes={kept}-") for exchange in web.exchanges)
    assert web.body_bytes() <= len(BIG) + IN_FLIGHT


def test_the_shipped_manifests_can_be_planned(tree: Root) -> None:
    prepared = plan_of(load_catalog(), tree, "all", options=replace(SWIFT, skip_gated=True))
    assert set(prepared.skipped) == {"sam"}
    assert {step.action for step in prepared.plan.steps} == {Action.FETCH}
    assert prepared.plan.transfer_bytes > 200e9

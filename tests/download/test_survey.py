"""What counts as here: files are believed by receipt, digest or count, never by name alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fetching import GIF, JPEG, catalog_of, md5, names_below, noise, remote, sha256, zipped
from support import traces

from cvl.download.lists.ledger import Row, State, open_ledger
from cvl.download.receipts import Receipt, read_receipt, write_receipt
from cvl.download.select import Remote, Wanted
from cvl.download.survey import (
    Found,
    Presence,
    Survey,
    digest_of,
    lands_in,
    matches,
    recipe,
    single_file_receipt,
    survey,
)
from cvl.download.transport.journal import Version
from cvl.download.transport.part import Part
from cvl.manifest import Catalog, Expand, Link, Snapshot, Unpack
from cvl.root import Root

UNPACK = Unpack(into="data/mine", include=("images/*.jpg",))
ARCHIVE = remote("https://host.example/images.zip", name="mine-images.zip", size=100, sha256="a" * 64, unpack=UNPACK)
KEPT = replace(ARCHIVE, sha256=sha256(bytes(100)))
PLAIN: dict[str, Any] = {"mine": {}}


def look(root: Root, wanted: Remote, catalog: Mapping[str, Any] = PLAIN, **options: Any) -> Found:
    return look_at(root, (wanted,), catalog, **options)[wanted.name]


def look_at(
    root: Root, wanted: tuple[Remote, ...], catalog: Mapping[str, Any] = PLAIN, **options: Any
) -> Mapping[str, Found]:
    return seen(root, Wanted((), wanted, ()), catalog_of(**catalog), **options).found


def seen(root: Root, wanted: Wanted, catalog: Catalog, **options: Any) -> Survey:
    before = traces(root.path) if root.path.exists() else None
    found = survey(root, catalog, wanted, **options)
    assert (traces(root.path) if root.path.exists() else None) == before, "a survey writes nothing"
    return found


def put(root: Root, path: str, content: bytes = b"content") -> Path:
    place = root.at(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def unpacked(root: Root, wanted: Remote = ARCHIVE, count: int = 3, **changes: Any) -> list[Path]:
    """The files of an archive in the tree, with the receipt that a fetch writes."""
    names = [f"images/{number}.jpg" for number in range(count)]
    assert wanted.unpack is not None
    fields: dict[str, Any] = {"url": wanted.urls[0], "size": 100, "sha256": wanted.sha256, "recipe": recipe(wanted)}
    fields |= {"folder": wanted.unpack.into, "members": names, "bytes": 7 * count} | changes
    write_receipt(root, wanted.name, Receipt(**fields))
    return [put(root, f"data/mine/{name}") for name in names]


def test_in_an_empty_place_everything_is_absent_and_nothing_is_made(tree: Root) -> None:
    assert look(tree, ARCHIVE) == Found(Presence.ABSENT)
    assert not tree.path.exists()


def test_room_is_told_even_before_the_tree_is_there(tree: Root) -> None:
    free = seen(tree, Wanted((), (), ()), catalog_of()).free_bytes
    status = os.statvfs(tree.path.parent)
    assert 0 < free <= status.f_blocks * status.f_frsize


# An archive that was unpacked


def test_a_receipt_that_the_disk_bears_out_counts(tree: Root) -> None:
    unpacked(tree)
    assert look(tree, ARCHIVE) == Found(Presence.LANDED, 100)


def test_lost_members_are_noticed_and_counted(tree: Root) -> None:
    first, _, last = unpacked(tree)
    first.unlink()
    last.unlink()
    assert look(tree, ARCHIVE) == Found(Presence.ABSENT, lost=2)


def test_members_whose_folder_is_gone_are_lost(tree: Root) -> None:
    unpacked(tree)
    shutil.rmtree(tree.at("data/mine/images"))
    assert look(tree, ARCHIVE).lost == 3


def test_a_receipt_of_another_recipe_is_void(tree: Root) -> None:
    unpacked(tree)
    wider = UNPACK.model_copy(update={"include": ("images/*",)})
    assert look(tree, replace(ARCHIVE, unpack=wider)) == Found(Presence.ABSENT)


def test_a_receipt_of_other_bytes_is_void(tree: Root) -> None:
    unpacked(tree)
    assert look(tree, replace(ARCHIVE, sha256="b" * 64)) == Found(Presence.ABSENT)


def test_a_receipt_of_bytes_that_the_user_accepted_counts(tree: Root) -> None:
    unpacked(tree)
    doubtful = replace(ARCHIVE, sha256="b" * 64, certainty="single-source")
    assert look(tree, doubtful).presence is Presence.LANDED


def test_a_receipt_without_a_digest_counts(tree: Root) -> None:
    unpacked(tree, sha256=None)
    assert look(tree, ARCHIVE).presence is Presence.LANDED


def test_more_files_than_the_receipt_lists_do_no_harm(tree: Root) -> None:
    unpacked(tree)
    put(tree, "data/mine/images/of_another.jpg")
    assert look(tree, ARCHIVE).presence is Presence.LANDED


CONVERTED: dict[str, Any] = {"mine": {"convert": {"folder": "data/mine/images"}}}


def test_a_member_whose_jpeg_stands_for_it_is_not_lost(tree: Root) -> None:
    unpacked(tree, members=["images/0.gif", "images/1.jpg", "images/2.png"])
    assert look(tree, ARCHIVE, CONVERTED).presence is Presence.LANDED
    assert look(tree, ARCHIVE, PLAIN).lost == 2, "nothing is converted there"


def test_a_member_without_its_jpeg_is_lost(tree: Root) -> None:
    unpacked(tree, members=["images/7.gif", "images/1.jpg"])
    assert look(tree, ARCHIVE, CONVERTED).lost == 1


# A folder without receipt: brought by hand, or on a shared disk


EXPECTING: dict[str, Any] = {"mine": {"expect": [{"folder": "data/mine/images", "suffix": ".jpg", "files": 3}]}}


@pytest.mark.parametrize(("count", "presence"), [(2, "absent"), (3, "landed"), (4, "landed")])
def test_a_folder_counts_with_as_many_files_as_the_source_has(tree: Root, count: int, presence: str) -> None:
    for number in range(count):
        put(tree, f"data/mine/images/{number}.jpg")
    put(tree, "data/mine/images/0.png")
    found = look(tree, ARCHIVE, EXPECTING)
    assert (found.presence.value, found.adopted) == (presence, presence == "landed")


def test_a_folder_of_another_source_does_not_count(tree: Root) -> None:
    for number in range(5):
        put(tree, f"data/yours/images/{number}.jpg")
    assert look(tree, ARCHIVE, EXPECTING).presence is Presence.ABSENT


def test_a_folder_whose_number_nobody_knows_never_counts(tree: Root) -> None:
    put(tree, "data/mine/images/0.jpg")
    unknown = {"mine": {"expect": [{"folder": "data/mine/images", "suffix": ".jpg"}]}}
    assert look(tree, ARCHIVE, unknown).presence is Presence.ABSENT


def test_a_full_folder_does_not_hide_that_members_of_a_receipt_are_lost(tree: Root) -> None:
    unpacked(tree, count=4)[0].unlink()
    assert look(tree, ARCHIVE, EXPECTING) == Found(Presence.ABSENT, lost=1)


@pytest.mark.parametrize(
    ("unpack", "folder"),
    [
        (Unpack(into="data/coco", include=("train2017/*.jpg",)), "data/coco/train2017"),
        (Unpack(into="data", include=("data/wikiart/images/*",), strip=1), "data/wikiart/images"),
        (Unpack(into="data/sam/images", include=("*.jpg",), flatten=True), "data/sam/images"),
        (Unpack(into="data/a/images", include=("deep/down/*.jpg",), flatten=True), "data/a/images"),
        (Unpack(into="data/lcs", include=("*/*.jpg",)), "data/lcs"),
        (Unpack(into="data/mine"), "data/mine"),
    ],
)
def test_the_folder_that_an_archive_fills_is_told_by_its_recipe(unpack: Unpack, folder: str) -> None:
    assert lands_in(remote(unpack=unpack)) == folder


# A single file


CONTENT = b'[{"id": 1}]'
SINGLE = remote(name="list.json", path="data/mine/list.json", size=len(CONTENT), sha256=sha256(CONTENT))


def landed(root: Root, wanted: Remote = SINGLE, content: bytes = CONTENT) -> Path:
    place = put(root, wanted.path or "", content)
    write_receipt(root, wanted.name, single_file_receipt(wanted, place, sha256=sha256(content), url=wanted.urls[0]))
    return place


def test_a_file_in_its_place_of_which_nothing_is_known_is_fetched(tree: Root) -> None:
    """A cut instruction file would be kept for good, and the cure that verification names would cure nothing."""
    put(tree, "data/mine/list.json", CONTENT[: len(CONTENT) // 2])
    assert look(tree, replace(SINGLE, size=None, sha256=None)).presence is Presence.ABSENT


@pytest.mark.parametrize(
    "known",
    [
        SINGLE,
        replace(SINGLE, sha256=None, md5=md5(CONTENT)),
        replace(SINGLE, size=None),
        replace(SINGLE, sha256=None),
    ],
    ids=["size and sha256", "size and md5", "sha256", "size"],
)
def test_a_file_in_its_place_counts_if_it_is_what_is_known_of_it(tree: Root, known: Remote) -> None:
    put(tree, "data/mine/list.json", CONTENT)
    found = look(tree, known)
    assert (found.presence, found.adopted) == (Presence.LANDED, True)


@pytest.mark.parametrize("other", [b'[{"id": 2}]', b"[]", b""])
def test_another_file_in_its_place_does_not_count(tree: Root, other: bytes) -> None:
    put(tree, "data/mine/list.json", other)
    assert look(tree, SINGLE).presence is Presence.ABSENT


def test_a_receipt_spares_the_digest(tree: Root) -> None:
    place = landed(tree)
    status = place.stat()
    # Same size and time: only the digest would tell.
    place.write_bytes(CONTENT[::-1])
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert look(tree, SINGLE) == Found(Presence.LANDED, len(CONTENT))


def test_a_copied_tree_has_other_times_and_still_counts(tree: Root) -> None:
    os.utime(landed(tree), (0, 0))
    assert look(tree, SINGLE).presence is Presence.LANDED


def test_a_changed_file_is_lost(tree: Root) -> None:
    landed(tree).write_bytes(CONTENT[::-1])
    assert look(tree, SINGLE) == Found(Presence.ABSENT, lost=1)


def test_a_receipt_pins_the_content_where_the_manifest_does_not(tree: Root) -> None:
    unknown = replace(SINGLE, size=None, sha256=None)
    place = landed(tree, unknown)
    place.write_bytes(CONTENT[::-1])
    assert look(tree, unknown) == Found(Presence.ABSENT, lost=1)


def test_a_file_that_was_deleted_is_lost(tree: Root) -> None:
    landed(tree).unlink()
    assert look(tree, SINGLE) == Found(Presence.ABSENT, lost=1)


def test_a_folder_at_the_file_s_place_does_not_count(tree: Root) -> None:
    tree.at("data/mine/list.json").mkdir(parents=True)
    assert look(tree, SINGLE).presence is Presence.ABSENT


def test_a_whole_repository_counts_by_its_receipt_only(tree: Root) -> None:
    whole = remote("hf://owner/model", name="model", path=None, snapshot=Snapshot(into="models/m"))
    put(tree, "models/m/config.json", b"{}")
    assert look(tree, whole).presence is Presence.ABSENT
    receipt = Receipt("hf://owner/model", 2, None, recipe(whole), "models/m", ["config.json"], 2)
    write_receipt(tree, "model", receipt)
    assert look(tree, whole).presence is Presence.LANDED
    tree.at("models/m/config.json").unlink()
    assert look(tree, whole).lost == 1


# What has begun


def test_a_proven_archive_of_ours_is_to_be_unpacked(tree: Root) -> None:
    archive = put(tree, "data/.cvl/archives/mine-images.zip", bytes(100))
    assert look(tree, KEPT) == Found(Presence.ARCHIVE, 100, archive)


def test_a_kept_archive_of_an_older_digest_is_not_taken_for_the_new_one(tree: Root) -> None:
    put(tree, "data/.cvl/archives/mine-images.zip", bytes(100))
    assert look(tree, ARCHIVE).presence is Presence.ABSENT


def begun(root: Root, *spans: tuple[int, int], size: int | None = 1_000_000) -> Path:
    """A transfer that was killed after these bytes had come."""
    part = Part(root.downloads / "mine-images.zip.part")
    part.begin(Version("https://host.example/images.zip", None, size))
    for start, stop in spans:
        part.write(noise(stop - start), start)
        part.note(start, stop)
    part.close()
    return part.path


@pytest.mark.parametrize("size", [1_000_000, None])
def test_an_unfinished_transfer_is_told_with_its_bytes(tree: Root, size: int | None) -> None:
    path = begun(tree, (0, 40_000), (90_000, 100_000), size=size)
    found = look(tree, ARCHIVE)
    assert (found.presence, found.bytes) == (Presence.PART, 50_000)
    assert found.reserved == path.stat().st_blocks * 512 >= 50_000


def test_an_unfinished_transfer_without_journal_has_no_bytes_but_holds_room(tree: Root) -> None:
    path = begun(tree, (0, 40_000))
    path.with_name(f"{path.name}.journal").unlink()
    found = look(tree, ARCHIVE)
    assert (found.presence, found.bytes) == (Presence.PART, 0)
    assert found.reserved >= 40_000


def test_a_journal_without_its_file_is_nothing(tree: Root) -> None:
    begun(tree, (0, 40_000)).unlink()
    assert look(tree, ARCHIVE) == Found(Presence.ABSENT)


def test_what_is_lost_is_also_told_where_an_archive_is_kept(tree: Root) -> None:
    unpacked(tree, KEPT)[0].unlink()
    archive = put(tree, "data/.cvl/archives/mine-images.zip", bytes(100))
    assert look(tree, KEPT) == Found(Presence.ARCHIVE, 100, archive, lost=1)


# What the user brought


BYTES = {name: zipped({f"{name}.jpg": JPEG + noise(20, seed)}) for seed, name in enumerate(("gqa", "vg", "lcs"))}
THREE = tuple(
    remote(
        f"https://{name}.example/data/images.zip",
        source=name,
        name=f"{name}-images.zip",
        size=len(content),
        sha256=sha256(content),
        unpack=Unpack(into=f"data/{name}"),
    )
    for name, content in BYTES.items()
)
SOURCES: dict[str, Any] = {name: {} for name in BYTES}


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    folder = tmp_path / "Downloads"
    folder.mkdir()
    return folder


def brought(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_three_different_images_zip_are_told_apart(tree: Root, downloads: Path) -> None:
    places = {name: brought(downloads, f"{number}/images.zip", c) for number, (name, c) in enumerate(BYTES.items())}
    found = look_at(tree, THREE, SOURCES, downloads=downloads)
    assert {name: found[f"{name}-images.zip"].at for name in BYTES} == places


def test_one_images_zip_is_taken_for_a_source_of_its_size_only(tree: Root, downloads: Path) -> None:
    brought(downloads, "images.zip", BYTES["vg"])
    found = look_at(tree, THREE, SOURCES, downloads=downloads)
    sizes = {name: len(content) for name, content in BYTES.items()}
    assert {name for name in BYTES if found[f"{name}-images.zip"].presence is Presence.ARCHIVE} == {
        name for name in BYTES if sizes[name] == sizes["vg"]
    }


def test_files_of_equal_size_are_told_apart_by_digest(tree: Root, downloads: Path) -> None:
    brought(downloads, "a/images.zip", BYTES["vg"][:-1] + b"x")
    right = brought(downloads, "b/images.zip", BYTES["vg"])
    assert look_at(tree, THREE, SOURCES, downloads=downloads)["vg-images.zip"].at == right


@pytest.mark.parametrize("name", ["images.zip", "vg-images.zip", "deep/below/images.zip"])
def test_a_file_may_be_called_as_the_address_or_as_we_call_it(tree: Root, downloads: Path, name: str) -> None:
    path = brought(downloads, name, BYTES["vg"])
    assert look_at(tree, THREE, SOURCES, downloads=downloads)["vg-images.zip"].at == path


def test_a_file_of_the_right_size_may_have_any_name(tree: Root, downloads: Path) -> None:
    """Four sources publish an `images.zip`, so renamed copies are the usual case."""
    path = brought(downloads, "pictures of vg.zip", BYTES["vg"])
    assert look_at(tree, THREE, SOURCES, downloads=downloads)["vg-images.zip"].at == path


def test_the_name_of_any_mirror_will_do(tree: Root, downloads: Path) -> None:
    mirrored = replace(THREE[0], urls=(*THREE[0].urls, "hf://datasets/o/n@main/gqa/copy.zip"))
    path = brought(downloads, "copy.zip", BYTES["gqa"])
    assert look(tree, mirrored, SOURCES, downloads=downloads).at == path


def test_a_shard_is_known_by_the_name_in_the_list_of_links(tree: Root, downloads: Path) -> None:
    shard = replace(THREE[0], urls=("links:sa_000000.tar",))
    path = brought(downloads, "sa_000000.tar", BYTES["gqa"])
    assert look(tree, shard, SOURCES, downloads=downloads).at == path


def test_a_drive_file_is_known_by_the_publisher_s_name(tree: Root, downloads: Path) -> None:
    drive = replace(THREE[0], name="gqa-wikiart.zip", urls=("gdrive://1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2",))
    path = brought(downloads, "wikiart.zip", BYTES["gqa"])
    assert look(tree, drive, SOURCES, downloads=downloads).at == path


def test_a_size_is_enough_where_no_digest_is_known(tree: Root, downloads: Path) -> None:
    path = brought(downloads, "images.zip", BYTES["vg"])
    assert look(tree, replace(THREE[1], sha256=None), SOURCES, downloads=downloads).at == path
    assert look(tree, replace(THREE[1], sha256=None, size=5), SOURCES, downloads=downloads).at is None


def test_a_name_alone_is_never_enough(tree: Root, downloads: Path) -> None:
    brought(downloads, "images.zip", BYTES["vg"])
    unknown = replace(THREE[1], sha256=None, size=None)
    assert look(tree, unknown, SOURCES, downloads=downloads) == Found(Presence.ABSENT)


def test_a_file_in_the_tree_is_not_taken_from_the_user_s_folder(tree: Root, downloads: Path) -> None:
    landed(tree)
    brought(downloads, "list.json", CONTENT)
    assert look(tree, SINGLE, downloads=downloads).at is None


def test_a_brought_file_goes_before_an_unfinished_transfer(tree: Root, downloads: Path) -> None:
    put(tree, "data/.cvl/downloads/gqa-images.zip.part", b"PK")
    path = brought(downloads, "images.zip", BYTES["gqa"])
    assert look_at(tree, THREE, SOURCES, downloads=downloads)["gqa-images.zip"].at == path


# Lists of many small files


EXPAND = Expand(into="data/mine/images", url_field="url", count=3)
LIST = json.dumps({"0": {"url": "http://h/0"}}).encode()
LISTED = remote(name="mine-list.json", path="data/mine/list.json", expand=EXPAND, sha256=sha256(LIST))


def settled(root: Root, *rows: Row) -> None:
    with open_ledger(root.ledgers / "mine-list.json.sqlite") as ledger:
        ledger.enter([(row.key, row.url) for row in rows])
        ledger.settle(rows)


def rows(*states: State) -> tuple[Row, ...]:
    named = {State.DONE: ".jpg"}
    pairs = enumerate(states)
    return tuple(Row(f"{n}", f"http://h/{n}", s, f"{n}{named[s]}" if s in named else None) for n, s in pairs)


@pytest.fixture
def listed(tree: Root) -> Root:
    put(tree, "data/mine/list.json", LIST)
    return tree


def test_a_list_that_was_never_gone_through_is_pending_as_estimated(listed: Root) -> None:
    assert look(listed, LISTED).pending == 3
    assert look(listed, replace(LISTED, expand=Expand(into="data/mine/images", url_field="url"))).pending == 1


def test_a_list_that_is_not_here_has_nothing_pending(tree: Root) -> None:
    assert look(tree, LISTED) == Found(Presence.ABSENT)


def test_waiting_and_failed_entries_are_pending_and_gone_ones_are_not(listed: Root) -> None:
    settled(listed, *rows(State.WAITING, State.FAILED, State.GONE))
    assert look(listed, LISTED).pending == 2


def test_gone_entries_are_pending_when_the_user_asks_for_them(listed: Root) -> None:
    settled(listed, *rows(State.GONE, State.GONE))
    assert look(listed, LISTED).pending == 0
    assert look(listed, LISTED, retry_failed=True).pending == 2


def test_a_lost_file_is_pending_again(listed: Root) -> None:
    put(listed, "data/mine/images/0.jpg", JPEG)
    settled(listed, *rows(State.DONE, State.DONE))
    assert look(listed, LISTED).pending == 1


def test_a_converted_file_whose_original_is_removed_is_not_pending(listed: Root) -> None:
    put(listed, "data/mine/images/0.jpg", JPEG)
    settled(listed, Row("0", "http://h/0", State.DONE, "0.gif"))
    assert look(listed, LISTED).pending == 0


def test_a_file_that_came_by_another_way_is_not_pending(listed: Root) -> None:
    put(listed, "data/mine/images/0.gif", GIF)
    settled(listed, *rows(State.FAILED))
    assert look(listed, LISTED).pending == 0


def test_a_ledger_that_cannot_be_read_tells_nothing(listed: Root) -> None:
    settled(listed, *rows(State.GONE))
    (listed.ledgers / "mine-list.json.sqlite").write_bytes(b"no database at all" * 100)
    assert look(listed, LISTED).pending == 3


ALTERNATIVE: dict[str, Any] = {
    "mine": {
        "alternatives": [
            {
                "name": "urls",
                "title": "one by one",
                "files": [
                    {
                        "name": "mine-list.json",
                        "url": "https://host.example/list.json",
                        "path": "data/mine/list.json",
                        "expand": {"into": "data/mine/images", "url_field": "url"},
                    }
                ],
            }
        ]
    }
}


def test_an_archive_counts_if_its_folder_was_filled_from_a_list(listed: Root) -> None:
    assert look(listed, ARCHIVE, ALTERNATIVE).presence is Presence.ABSENT
    put(listed, "data/mine/images/0.jpg", JPEG)
    settled(listed, *rows(State.DONE))
    found = look(listed, ARCHIVE, ALTERNATIVE)
    assert (found.presence, found.adopted) == (Presence.LANDED, True)


def test_an_archive_is_wanted_where_a_list_had_dead_addresses(listed: Root) -> None:
    """Most of OCR-VQA's addresses are dead: were they counted as done, the archive could never be fetched."""
    put(listed, "data/mine/images/0.jpg", JPEG)
    settled(listed, *rows(State.DONE, State.GONE))
    assert look(listed, ARCHIVE, ALTERNATIVE).presence is Presence.ABSENT


def test_an_archive_does_not_count_while_the_list_is_not_done(listed: Root) -> None:
    put(listed, "data/mine/images/0.jpg", JPEG)
    settled(listed, *rows(State.DONE, State.FAILED))
    assert look(listed, ARCHIVE, ALTERNATIVE).presence is Presence.ABSENT


# Links and digests


def test_links_that_are_missing_or_lead_nowhere_are_told(tree: Root) -> None:
    links = tuple(Link(path=f"data/{name}", target="data/real") for name in ("here", "absent", "dangling", "file"))
    tree.at("data/real").mkdir(parents=True)
    tree.at("data/here").symlink_to("real")
    tree.at("data/dangling").symlink_to("nowhere")
    put(tree, "data/file")
    missing = seen(tree, Wanted((), (), links), catalog_of()).missing_links
    assert [link.path for link in missing] == ["data/absent", "data/dangling"]


def test_every_folder_is_listed_once_for_all_shards(tree: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        unpacked(tree, replace(ARCHIVE, name=f"mine-{number}.zip"))
    shards = tuple(replace(ARCHIVE, name=f"mine-{number}.zip") for number in range(4))
    calls: list[str] = []
    scandir = os.scandir

    def counted(path: Any) -> Any:
        calls.append(str(path))
        return scandir(path)

    monkeypatch.setattr("cvl.download.survey.os.scandir", counted)
    found = survey(tree, catalog_of(mine={}), Wanted((), shards, ())).found
    assert {each.presence for each in found.values()} == {Presence.LANDED}
    assert calls.count(str(tree.at("data/mine/images"))) == 1


def test_a_file_matches_by_all_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert matches(SINGLE, path)
    assert matches(replace(SINGLE, md5="0" * 32), path), "the stronger digest decides"
    assert not matches(replace(SINGLE, size=1), path)
    assert not matches(replace(SINGLE, sha256=None, md5="0" * 32), path)


def test_digests_are_hexadecimal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    assert digest_of(tmp_path / "file", "sha256") == sha256(CONTENT)
    assert digest_of(tmp_path / "file", "md5") == md5(CONTENT)


def test_a_single_file_s_receipt_says_all_that_a_survey_asks(tree: Root) -> None:
    place = landed(tree)
    receipt = read_receipt(tree, SINGLE.name)
    assert receipt is not None
    assert (receipt.folder, receipt.members) == ("data/mine", ["list.json"])
    assert (receipt.size, receipt.mtime_ns) == (len(CONTENT), place.stat().st_mtime_ns)
    assert names_below(tree.path) == ["data/.cvl/receipts/list.json.json", "data/mine/list.json"]


def test_a_link_is_due_once_what_it_stands_for_is_here(tree: Root) -> None:
    """ALLaVA without Vision-Flan: a link that nobody can make yet must not keep a fetch from having nothing to do."""
    wanted = Wanted((), (), (Link(path="data/a/second", target="data/b/first*"),))
    assert seen(tree, wanted, catalog_of()).links_due is False
    put(tree, "data/b/first.jpg")
    assert seen(tree, wanted, catalog_of()).links_due is True

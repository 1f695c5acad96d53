"""A finished file goes to its place in one step, and a receipt says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fetching import JPEG, MakeSession, names_below, remote, sha256, zipped

from cvl.download.lock import Seen
from cvl.download.place import adopt, land, place_links, receipt_snapshot
from cvl.download.plan import Action, Step
from cvl.download.receipts import read_receipt
from cvl.download.select import Remote
from cvl.download.session import Session
from cvl.download.survey import Found, Presence, recipe
from cvl.download.transport.transfer import Arrived
from cvl.errors import ArchiveError, DiskError
from cvl.manifest import Link, Snapshot, Unpack
from cvl.root import Root

ZIP = zipped({"images/1.jpg": JPEG, "images/2.jpg": JPEG + b"2", "readme.txt": b"words"})
UNPACK = Unpack(into="data/mine", include=("images/*.jpg",))
ARCHIVE = remote("https://host.example/images.zip", name="mine-images.zip", unpack=UNPACK)
CONTENT = b'[{"id": 1}]'
SINGLE = remote(name="list.json", path="data/mine/list.json")


def arrive(session: Session, wanted: Remote, content: bytes) -> Arrived:
    """A transfer that has ended well."""
    path = session.root.downloads / f"{wanted.name}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Arrived(path, Seen(wanted.urls[0], len(content), sha256(content)))


def fetched(wanted: Remote, lost: int = 0) -> Step:
    return Step(wanted, Action.FETCH, Found(Presence.ABSENT, lost=lost), None)


def found_at(wanted: Remote, path: Path, lost: int = 0) -> tuple[Step, Arrived]:
    """A file that is here already, and the step that uses it."""
    size = path.stat().st_size
    step = Step(wanted, Action.UNPACK, Found(Presence.ARCHIVE, size, path, lost), 0)
    return step, Arrived(path, Seen("", size, ""))


def test_a_single_file_is_moved_to_its_place(session: Session) -> None:
    land(fetched(SINGLE), arrive(session, SINGLE, CONTENT), session)
    place = session.root.at("data/mine/list.json")
    assert place.read_bytes() == CONTENT
    assert names_below(session.root.path) == ["data/.cvl/receipts/list.json.json", "data/mine/list.json"]
    receipt = read_receipt(session.root, "list.json")
    assert receipt is not None
    assert (receipt.url, receipt.size, receipt.sha256) == (SINGLE.urls[0], len(CONTENT), sha256(CONTENT))
    assert receipt.mtime_ns == place.stat().st_mtime_ns


def test_an_archive_is_unpacked_and_then_deleted(session: Session) -> None:
    land(fetched(ARCHIVE), arrive(session, ARCHIVE, ZIP), session)
    assert names_below(session.root.path) == [
        "data/.cvl/receipts/mine-images.zip.json",
        "data/mine/images/1.jpg",
        "data/mine/images/2.jpg",
    ]
    receipt = read_receipt(session.root, "mine-images.zip")
    assert receipt is not None
    assert (receipt.folder, receipt.members) == ("data/mine", ["images/1.jpg", "images/2.jpg"])
    assert (receipt.recipe, receipt.bytes, receipt.sha256) == (recipe(ARCHIVE), 2 * len(JPEG) + 1, sha256(ZIP))


def test_an_archive_is_kept_when_the_user_asks(make_session: MakeSession) -> None:
    session = make_session(keep_archives=True)
    land(fetched(ARCHIVE), arrive(session, ARCHIVE, ZIP), session)
    assert (session.root.archives / "mine-images.zip").read_bytes() == ZIP
    assert not list(session.root.downloads.iterdir())


HOSTILE = zipped({"images/../../1.jpg": JPEG})


def test_a_damaged_archive_that_no_digest_proves_goes_so_that_the_next_run_fetches_it(session: Session) -> None:
    with pytest.raises(ArchiveError) as caught:
        land(fetched(ARCHIVE), arrive(session, ARCHIVE, HOSTILE), session)
    assert names_below(session.root.path) == []
    assert caught.value.hint == "run the same command again to fetch it anew"


def test_a_damaged_archive_that_is_the_publisher_s_own_stays(session: Session) -> None:
    """Another download would bring the same bytes."""
    proven = replace(ARCHIVE, sha256="a" * 64)
    with pytest.raises(ArchiveError) as caught:
        land(fetched(proven), arrive(session, proven, HOSTILE), session)
    assert names_below(session.root.path) == ["data/.cvl/archives/mine-images.zip"]
    assert "the publisher's own bytes" in (caught.value.hint or "")


def test_where_pictures_are_converted_those_that_are_there_stay(session: Session) -> None:
    place = session.root.at("data/mine/images/1.jpg")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"converted by now")
    land(fetched(replace(ARCHIVE, converts=True)), arrive(session, ARCHIVE, ZIP), session)
    assert place.read_bytes() == b"converted by now"


def test_our_archive_of_a_killed_run_is_unpacked_and_deleted(session: Session) -> None:
    own = session.root.archives / "mine-images.zip"
    own.parent.mkdir(parents=True)
    own.write_bytes(ZIP)
    land(*found_at(ARCHIVE, own), session)
    assert not own.exists()
    assert session.root.at("data/mine/images/1.jpg").exists()


def test_the_user_s_archive_stays_where_it_is(session: Session, tmp_path: Path) -> None:
    theirs = tmp_path / "Downloads" / "images.zip"
    theirs.parent.mkdir()
    theirs.write_bytes(ZIP)
    land(*found_at(ARCHIVE, theirs), session)
    assert theirs.read_bytes() == ZIP
    assert session.root.at("data/mine/images/2.jpg").exists()
    assert not session.root.archives.exists()


def test_the_user_s_file_gets_a_second_place(session: Session, tmp_path: Path) -> None:
    theirs = tmp_path / "list.json"
    theirs.write_bytes(CONTENT)
    land(*found_at(SINGLE, theirs), session)
    assert theirs.read_bytes() == session.root.at("data/mine/list.json").read_bytes() == CONTENT


def test_only_what_was_lost_is_written_where_everything_stood_once(session: Session) -> None:
    # The others may have been converted since, and have another size.
    kept = session.root.at("data/mine/images/1.jpg")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"converted")
    land(fetched(ARCHIVE, lost=1), arrive(session, ARCHIVE, ZIP), session)
    assert kept.read_bytes() == b"converted"
    assert session.root.at("data/mine/images/2.jpg").read_bytes() == JPEG + b"2"


def test_half_a_file_of_another_program_is_written_anew(session: Session) -> None:
    half = session.root.at("data/mine/images/1.jpg")
    half.parent.mkdir(parents=True)
    half.write_bytes(JPEG[:10])
    land(fetched(ARCHIVE), arrive(session, ARCHIVE, ZIP), session)
    assert half.read_bytes() == JPEG


def test_a_repository_s_receipt_lists_every_file(session: Session) -> None:
    whole = remote("hf://owner/model", name="model", snapshot=Snapshot(into="models/m"))
    files = tuple(remote(name=f"model--{name}", path=f"models/m/{name}") for name in ("config.json", "deep/w.bin"))
    for file in files:
        place = session.root.at(file.path or "")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"12345")
    receipt_snapshot(whole, files, session)
    receipt = read_receipt(session.root, "model")
    assert receipt is not None
    assert (receipt.folder, receipt.members, receipt.bytes) == ("models/m", ["config.json", "deep/w.bin"], 10)


# What was found in the tree


def test_a_file_that_was_found_gets_a_receipt(tree: Root) -> None:
    place = tree.at("data/mine/list.json")
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    known = replace(SINGLE, sha256=sha256(CONTENT))
    adopt(tree, [Step(known, Action.KEEP, Found(Presence.LANDED, len(CONTENT), adopted=True), 0)])
    receipt = read_receipt(tree, "list.json")
    assert receipt is not None
    assert (receipt.sha256, receipt.mtime_ns) == (sha256(CONTENT), place.stat().st_mtime_ns)


@pytest.mark.parametrize("wanted", [SINGLE, ARCHIVE])
def test_nothing_else_is_adopted(tree: Root, wanted: Remote) -> None:
    adopt(tree, [Step(wanted, Action.KEEP, Found(Presence.LANDED, 1), 0)])
    adopt(tree, [Step(ARCHIVE, Action.KEEP, Found(Presence.LANDED, 1, adopted=True), 0)])
    assert not tree.path.exists()


# Links


def linked(root: Root, path: str, target: str) -> tuple[int, tuple[str, ...]]:
    made, errors = place_links(root, (Link(path=path, target=target),))
    return made, tuple(map(str, errors))


@pytest.fixture
def pictures(tree: Root) -> Root:
    """A tree with one folder and one file to link to."""
    folder = tree.at("data/vflan/images")
    folder.mkdir(parents=True)
    (folder / "Choi_Min_sik_7.jpg").write_bytes(JPEG)
    return tree


def test_a_link_is_relative_and_survives_a_move_of_the_tree(pictures: Root, tmp_path: Path) -> None:
    assert linked(pictures, "data/allava/vflan/images", "data/vflan/images") == (1, ())
    assert pictures.at("data/allava/vflan/images").readlink() == Path("../../vflan/images")
    moved = Root(tmp_path / "elsewhere")
    pictures.path.rename(moved.path)
    assert (moved.at("data/allava/vflan/images") / "Choi_Min_sik_7.jpg").read_bytes() == JPEG


@pytest.mark.parametrize("source", ["allava", "vflan"])
def test_a_link_holds_where_a_source_lies_on_another_disk(pictures: Root, tmp_path: Path, source: str) -> None:
    disk = tmp_path / "disk" / "deep" / "below"
    folder = pictures.at(f"data/{source}")
    folder.mkdir(exist_ok=True)
    shutil.copytree(folder, disk)
    shutil.rmtree(folder)
    folder.symlink_to(disk)
    assert linked(pictures, "data/allava/vflan/images", "data/vflan/images") == (1, ())
    assert (pictures.at("data/allava/vflan/images") / "Choi_Min_sik_7.jpg").read_bytes() == JPEG


def test_a_pattern_stands_for_the_one_file_that_it_matches(pictures: Root) -> None:
    assert linked(pictures, "data/vflan/images/Choi_Min-sik.jpg", "data/vflan/images/Choi_Min_sik*") == (1, ())
    link = pictures.at("data/vflan/images/Choi_Min-sik.jpg")
    assert link.readlink() == Path("Choi_Min_sik_7.jpg")


def test_a_pattern_that_matches_twice_is_an_error_and_others_are_made_all_the_same(pictures: Root) -> None:
    pictures.at("data/vflan/images/Choi_Min_sik_8.jpg").write_bytes(JPEG)
    twice = Link(path="data/vflan/images/x.jpg", target="data/vflan/images/Choi_Min_sik*")
    good = Link(path="data/allava/images", target="data/vflan/images")
    made, errors = place_links(pictures, (twice, good))
    assert made == 1
    assert [type(error) for error in errors] == [DiskError]
    assert "should stand for one file, but 2 match" in str(errors[0])


@pytest.mark.parametrize("target", ["data/coco/train2017", "data/vflan/images/Lee*", "data/nothing/at*/all*"])
def test_a_link_whose_target_is_not_here_yet_is_left_for_later(pictures: Root, target: str) -> None:
    assert linked(pictures, "data/allava/images", target) == (0, ())
    assert not pictures.at("data/allava").exists()


def test_a_link_that_leads_nowhere_is_made_anew(pictures: Root) -> None:
    place = pictures.at("data/allava/images")
    place.parent.mkdir()
    place.symlink_to("gone")
    assert linked(pictures, "data/allava/images", "data/vflan/images") == (1, ())
    assert place.is_dir()


def test_an_absolute_target_stays_absolute(pictures: Root, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    assert linked(pictures, "data/shared", str(shared)) == (1, ())
    assert pictures.at("data/shared").readlink() == shared

"""Known mistakes in a tree: put right, shown first, taken back."""

from __future__ import annotations

import os
import random
import shutil
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repairable import (
    ALIAS,
    BOOKS,
    CATALOG,
    FLAN,
    FLAN_LINK,
    NUMBERS,
    ODD,
    PICTURES,
    SAM,
    TEXT,
    VG,
    VG2,
    WEB,
    copy,
    fixed,
    kinds,
    picture,
    planned,
    plant,
    shift,
    told,
    write,
)

from cvl.images import ImageKind, kind_of
from cvl.root import Root
from cvl.verify.repair import Plan, RepairKind, apply_repairs, finish_repairs, undo_repairs
from cvl.verify.repairs import journal as journals
from cvl.verify.repairs.names import infozip
from cvl.verify.verify import verify


def test_a_proven_tree_needs_no_repair(root: Root) -> None:
    assert planned(root) == Plan()
    assert apply_repairs(root, Plan()).acts == 0
    assert undo_repairs(root) is None
    assert finish_repairs(root) is None
    assert not journals.folder_of(root).exists()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_doubled_folder_is_flattened_however_often_it_is_doubled(root: Root, depth: int) -> None:
    for _ in range(depth):
        shift(root, VG, f"{VG}/VG_100K")
    plan = fixed(root)
    (flatten,) = plan.repairs
    assert (flatten.kind, flatten.source, flatten.to, flatten.count) == (RepairKind.DOUBLED_FOLDER, "vg", VG, 6)
    assert flatten.path == VG + "/VG_100K" * depth


def test_a_folder_that_is_doubled_in_part_is_flattened(root: Root) -> None:
    """As when a first attempt with the right folder was broken off."""
    root.at(f"{VG}/VG_100K").mkdir()
    for name in NUMBERS[3:]:
        root.at(f"{VG}/{name}").rename(root.at(f"{VG}/VG_100K/{name}"))
    assert kinds(fixed(root)) == [RepairKind.DOUBLED_FOLDER]


@pytest.mark.parametrize("content", [b"another picture", None])
def test_a_doubled_folder_is_left_where_a_name_would_be_taken(root: Root, content: bytes | None) -> None:
    """Equal or not: that a picture may go is for the user to say."""
    shift(root, VG, f"{VG}/VG_100K")
    inner = root.at(f"{VG}/VG_100K/{NUMBERS[0]}")
    root.at(f"{VG}/{NUMBERS[0]}").write_bytes(inner.read_bytes() if content is None else content)
    plan = planned(root)
    assert plan.repairs == ()
    (left,) = plan.left
    assert left.path == f"{VG}/VG_100K"
    assert left.reason == f"{VG}/{NUMBERS[0]} would not be the only one of its name: compare them and keep one"


def test_a_folder_within_another_of_its_name_is_left_where_records_name_what_lies_in_it(root: Root) -> None:
    root.at(f"{WEB}/images").mkdir()
    root.at(f"{WEB}/images/mine.jpg").write_bytes(picture("JPEG", "mine"))
    named = [f"{WEB}/images/mine.jpg", f"{WEB}/not-there.jpg"]
    write(root, "data/llava/mix.json", [path.removeprefix("data/") for path in named])
    assert planned(root).repairs == ()


@pytest.mark.parametrize(
    ("home", "place"),
    [
        (VG, "data/vg/images/VG_100K"),
        (VG, "data/vg/images"),
        (VG, "data/vg/vg-images/VG_100K"),
        (VG, "data/VG_100K"),
        (VG, "VG_100K"),
        (VG, f"{VG2}/VG_100K"),
        (VG, "data/vg/images/VG_100K/VG_100K"),
        (VG2, "data/images2/VG_100K_2"),
        (TEXT, "data/textvqa/train_val_images/train_images"),
        (TEXT, "data/textvqa/train_val_images"),
        (WEB, f"data/{WEB}"),
        (FLAN, "data/vflan/image_191-task_1k/images_191task_1k"),
        (BOOKS, "data/ocr_vqa/b/images"),
    ],
)
def test_a_folder_in_another_place_where_people_unpack_it_is_brought_home(root: Root, home: str, place: str) -> None:
    shift(root, home, place)
    plan = fixed(root)
    assert plan.repairs[0].kind is RepairKind.MISPLACED_FOLDER
    assert plan.repairs[0].to == home


def test_vision_flan_below_allava_is_brought_home_and_linked(root: Root) -> None:
    """The official script of ALLaVA unpacks it there."""
    root.at(FLAN_LINK).unlink()
    shift(root, FLAN, FLAN_LINK)
    assert kinds(fixed(root)) == [RepairKind.MISPLACED_FOLDER, RepairKind.MISSING_LINK]
    assert str(root.at(FLAN_LINK).readlink()) == "../../../vflan/images_191task_1k"


def test_an_empty_folder_in_the_right_place_is_no_hindrance(root: Root) -> None:
    shift(root, VG, "data/vg/images/VG_100K")
    root.at(VG).mkdir(mode=0o750)
    assert kinds(fixed(root)) == [RepairKind.MISPLACED_FOLDER]
    undo_repairs(root)
    assert stat.S_IMODE(root.at(VG).stat().st_mode) == 0o750


def test_what_is_in_another_place_joins_what_is_in_the_right_one(root: Root) -> None:
    root.at("data/vg/images/VG_100K").mkdir(parents=True)
    for name in NUMBERS[2:]:
        root.at(f"{VG}/{name}").rename(root.at(f"data/vg/images/VG_100K/{name}"))
    assert kinds(fixed(root)) == [RepairKind.MISPLACED_FOLDER]


def test_of_two_folders_that_it_could_be_neither_is_moved(root: Root) -> None:
    shift(root, VG, "data/VG_100K")
    shutil.copytree(root.at("data/VG_100K"), root.at("data/vg/images/VG_100K"))
    plan = planned(root)
    assert plan.repairs == ()
    (left,) = plan.left
    assert left.reason == "its pictures may be those in data/vg/images/VG_100K or data/VG_100K: remove all but one"


def test_a_folder_of_the_right_name_with_other_pictures_stays_where_it_is(root: Root) -> None:
    shutil.rmtree(root.at(VG))
    root.at("data/VG_100K").mkdir()
    root.at("data/VG_100K/mine.jpg").write_bytes(b"\xff\xd8\xff")
    assert planned(root) == Plan()


def test_pictures_in_a_folder_a_shard_are_gathered_and_masks_stay(root: Root) -> None:
    for number, name in enumerate(PICTURES[SAM]):
        shift(root, f"{SAM}/{name}", f"{SAM}/sa_00000{number % 3}/{name}")
    mask = root.at(f"{SAM}/sa_000001/sa_1.json")
    mask.write_text("{}")
    (gather,) = fixed(root).repairs
    assert (gather.kind, gather.to, gather.count) == (RepairKind.SCATTERED_FILES, SAM, 6)
    assert list(root.at(SAM).glob("sa_00000*/*")) == [mask]
    assert not root.at(f"{SAM}/sa_000000").exists()


def test_gathering_stops_where_two_shards_have_one_name(root: Root) -> None:
    for number, name in enumerate(PICTURES[SAM]):
        shift(root, f"{SAM}/{name}", f"{SAM}/sa_00000{number % 2}/{name}")
    shutil.copyfile(root.at(f"{SAM}/sa_000000/sa_0.jpg"), root.at(f"{SAM}/sa_000001/sa_0.jpg"))
    plan = planned(root)
    assert plan.repairs == ()
    assert f"{SAM}/sa_0.jpg would not be the only one of its name" in plan.left[0].reason


@pytest.mark.parametrize(
    "spell",
    [
        infozip,
        lambda name: infozip(name).replace("#U00e9", "#U00E9"),
        lambda name: unicodedata.normalize("NFD", name),
        lambda name: infozip(unicodedata.normalize("NFD", name)),
        lambda name: name.encode().decode("cp437"),
    ],
    ids=["info-zip", "info-zip in capitals", "decomposed", "info-zip decomposed", "code page 437"],
)
def test_names_that_unzip_could_not_write_are_put_right(root: Root, spell: Callable[[str], str]) -> None:
    wrong = [name for name in ODD if spell(name) != name]
    for name in wrong:
        shift(root, f"{FLAN}/{name}", f"{FLAN}/{spell(name)}")
    plan = fixed(root)
    assert set(kinds(plan)) == {RepairKind.MISNAMED_FILES}
    assert sum(each.count for each in plan.repairs) == len(wrong)


def test_info_zip_escapes_with_four_digits_and_with_six() -> None:
    assert infozip("café 中 𝄞.jpg") == "caf#U00e9 #U4e2d #L01d11e.jpg"


@pytest.mark.parametrize("suffix", [".JPG", ".Jpg", ".jpeg", ".JPEG", ".png", ".gif"])
def test_a_jpeg_under_another_suffix_gets_the_one_that_records_name(root: Root, suffix: str) -> None:
    shift(root, f"{VG}/1.jpg", f"{VG}/1{suffix}")
    shift(root, f"{VG}/3.jpg", f"{VG}/3{suffix}")
    (rename,) = fixed(root).repairs
    assert (rename.path, rename.to, rename.count) == (f"{VG}/1{suffix}", f"{VG}/1.jpg", 2)


def test_a_picture_of_another_kind_is_not_renamed(root: Root) -> None:
    root.at(f"{VG}/1.jpg").unlink()
    root.at(f"{VG}/1.png").write_bytes(picture("PNG", "1"))
    assert planned(root) == Plan()


def test_a_file_that_is_named_itself_keeps_its_name(root: Root) -> None:
    write(root, "data/llava/mix.json", ["vg/VG_100K/1.jpg", "vg/VG_100K/1.JPG"])
    root.at(f"{VG}/1.jpg").rename(root.at(f"{VG}/1.JPG"))
    assert planned(root).repairs == ()


def test_of_two_files_that_it_could_be_neither_is_renamed(root: Root) -> None:
    root.at(f"{VG}/1.jpg").rename(root.at(f"{VG}/1.JPG"))
    root.at(f"{VG}/1.jpeg").write_bytes(picture("JPEG", "another"))
    plan = planned(root)
    assert plan.repairs == ()
    assert plan.left[0].path == f"{VG}/1.jpg"
    assert plan.left[0].reason.startswith("may be 1.")


@pytest.mark.parametrize("link", [FLAN_LINK, ALIAS])
@pytest.mark.parametrize("dangling", [None, "/nowhere/at/all", "no-such-file"])
def test_a_documented_link_is_made_or_made_anew(root: Root, link: str, dangling: str | None) -> None:
    said = str(root.at(link).readlink())
    root.at(link).unlink()
    if dangling is not None:
        root.at(link).symlink_to(dangling)
    assert kinds(fixed(root)) == [RepairKind.MISSING_LINK]
    assert str(root.at(link).readlink()) == said


def test_folders_that_a_link_needs_are_made_and_go_with_it(root: Root) -> None:
    shutil.rmtree(root.at("data/allava/allava_vflan"))
    assert kinds(fixed(root)) == [RepairKind.MISSING_LINK]


def test_a_link_whose_target_is_not_unique_is_left(root: Root) -> None:
    root.at(ALIAS).unlink()
    root.at(f"{WEB}/Choi_Min_sik2.jpg").write_bytes(picture("JPEG", "2"))
    plan = planned(root)
    assert plan.repairs == ()
    assert plan.left[0].reason == f"it should stand for one file, but 2 match {WEB}/Choi_Min_sik*"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "BMP", "TIFF"])
def test_another_picture_under_a_jpegs_name_is_converted_and_kept(root: Root, kind: str) -> None:
    root.at(f"{BOOKS}/b1.jpg").write_bytes(picture(kind, "b1"))
    (convert,) = fixed(root).repairs
    assert (convert.kind, convert.path, convert.count) == (RepairKind.NOT_JPEG, f"{BOOKS}/b1.jpg", 1)
    assert (root.originals / "ocr_vqa/images/b1.jpg").read_bytes() == picture(kind, "b1")
    assert kind_of(root.at(f"{BOOKS}/b1.jpg")) is ImageKind.JPEG


def test_a_picture_that_waits_for_its_conversion_is_converted_beside(root: Root) -> None:
    root.at(f"{BOOKS}/b1.jpg").unlink()
    root.at(f"{BOOKS}/b1.gif").write_bytes(picture("GIF", "b1"))
    assert kinds(fixed(root)) == [RepairKind.NOT_JPEG]
    assert root.at(f"{BOOKS}/b1.gif").read_bytes() == picture("GIF", "b1")


def test_an_original_of_an_earlier_conversion_stays_what_it_is(root: Root) -> None:
    kept = root.originals / "ocr_vqa/images/b1.jpg"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"earlier")
    root.at(f"{BOOKS}/b1.jpg").write_bytes(picture("GIF", "b1"))
    fixed(root)
    assert kept.read_bytes() == b"earlier"
    assert kept.with_name("b1.jpg.1").read_bytes() == picture("GIF", "b1")


def test_a_picture_that_cannot_be_read_is_left_with_its_reason(root: Root) -> None:
    gif = picture("GIF", "b1")
    root.at(f"{BOOKS}/b1.jpg").write_bytes(gif[:20])
    root.at(f"{BOOKS}/b2.jpg").write_bytes(gif)
    before = told(root.at(f"{BOOKS}/b1.jpg"))
    done = apply_repairs(root, planned(root))
    (left,) = done.left
    assert left.path == f"{BOOKS}/b1.jpg"
    assert "damaged GIF" in left.reason
    assert told(root.at(f"{BOOKS}/b1.jpg")) == before
    assert kind_of(root.at(f"{BOOKS}/b2.jpg")) is ImageKind.JPEG


def test_where_nothing_can_be_read_nothing_is_left_behind(root: Root) -> None:
    root.at(f"{BOOKS}/b1.jpg").write_bytes(picture("GIF", "b1")[:20])
    done = apply_repairs(root, planned(root))
    assert (done.repairs, done.acts, len(done.left)) == (0, 0, 1)
    assert list(journals.folder_of(root).iterdir()) == []
    assert undo_repairs(root) is None


def test_the_caller_says_how_a_jpeg_is_made(root: Root) -> None:
    root.at(f"{BOOKS}/b1.jpg").write_bytes(picture("GIF", "b1"))
    apply_repairs(root, planned(root), encode=lambda path: b"\xff\xd8\xffmade of " + path.name.encode())
    assert root.at(f"{BOOKS}/b1.jpg").read_bytes() == b"\xff\xd8\xffmade of b1.jpg"


def test_a_source_on_another_disk_is_repaired_through_its_link(root: Root, tmp_path: Path) -> None:
    shutil.move(root.at("data/vg"), tmp_path / "disk")
    root.at("data/vg").symlink_to(tmp_path / "disk")
    shift(root, VG, f"{VG}/VG_100K")
    (tmp_path / "disk/VG_100K/VG_100K/1.jpg").rename(tmp_path / "disk/VG_100K/VG_100K/1.JPG")
    assert kinds(fixed(root)) == [RepairKind.DOUBLED_FOLDER, RepairKind.MISNAMED_FILES]


def test_names_that_are_not_text_survive_the_journal(root: Root) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    odd = os.fsencode(root.at(f"{VG}/VG_100K")) + b"/caf\xe9.txt"
    Path(os.fsdecode(odd)).write_bytes(b"latin")
    fixed(root)
    assert Path(os.fsdecode(os.fsencode(root.at(VG)) + b"/caf\xe9.txt")).read_bytes() == b"latin"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_defects_at_once_are_repaired_and_taken_back(whole: Root, tmp_path: Path, seed: int) -> None:
    shutil.rmtree(tmp_path / "tree", ignore_errors=True)
    root = copy(whole, tmp_path / "tree")
    plant(root, random.Random(seed))
    if verify(CATALOG, root).problems:
        assert fixed(root).left == ()

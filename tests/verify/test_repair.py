"""Known mistakes in a tree: put right, shown first, taken back; cut short at any act and finished."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cvl.errors import CvlError
from cvl.images import ImageKind, encode_jpeg, kind_of
from cvl.manifest import Annotation, Catalog, Convert, Expect, File, Link, Source, Unpack, load_catalog
from cvl.root import Root
from cvl.verify import repair
from cvl.verify.repair import Plan, RepairKind, apply_repairs, finish_repairs, plan_repairs, undo_repairs
from cvl.verify.repairs import journal as journals
from cvl.verify.repairs.acts import Act
from cvl.verify.repairs.journal import Phase
from cvl.verify.repairs.names import infozip
from cvl.verify.report import Kind, Report
from cvl.verify.verify import verify

VG, VG2 = "data/vg/VG_100K", "data/vg/VG_100K_2"
TEXT = "data/textvqa/train_images"
FLAN = "data/vflan/images_191task_1k"
FLAN_LINK = "data/allava/allava_vflan/images/images_191task_1k"
SAM = "data/sam/images"
WEB = "data/web-celebrity/images"
ALIAS = f"{WEB}/Choi_Min-sik.jpg"
BOOKS = "data/ocr_vqa/images"

NUMBERS = [f"{number}.jpg" for number in range(6)]
ODD = ["café.jpg", "naïve 1.jpg", "中文.jpg", "plain.jpg", "𝄞.jpg"]
PICTURES = {
    VG: NUMBERS,
    VG2: [f"2{name}" for name in NUMBERS],
    TEXT: [f"a{name}" for name in NUMBERS],
    FLAN: ODD,
    SAM: [f"sa_{name}" for name in NUMBERS],
    WEB: ["Luke_Evans.jpg", "Choi_Min_sik.jpg"],
    BOOKS: [f"b{name}" for name in NUMBERS],
}


def archive(name: str, url: str, into: str, *, flatten: bool = False) -> File:
    return File(
        name=name, url=f"http://host.example/{url}", unpack=Unpack(into=into, include=("*.jpg",), flatten=flatten)
    )


def source(*folders: str, files: tuple[File, ...] = (), **more: object) -> Source:
    counts = {WEB: None, BOOKS: None}
    expect = tuple(Expect(folder=folder, files=counts.get(folder, len(PICTURES[folder]))) for folder in folders)
    return Source.model_validate({"title": "pictures", "files": files, "expect": expect, **more})


def make_catalog() -> Catalog:
    everything = Annotation(name="mix", path="data/llava/mix.json", needs=("vg", "textvqa", "sam", "webdata", "ocrvqa"))
    tasks = Annotation(name="tasks", path="data/vflan/tasks.json", images=FLAN, needs=("vflan",))
    allava = Annotation(name="allava", path="data/allava/allava.json", images="data/allava", needs=("vflan",))
    sources = {
        "allava": source(annotations=(allava,)),
        "llava": source(annotations=(everything,)),
        "ocrvqa": source(
            BOOKS, files=(archive("ocrvqa-images.zip", "b.zip", "data/ocr_vqa"),), convert=Convert(folder=BOOKS)
        ),
        "sam": source(SAM, files=(archive("sam-0.tar", "sa_000000.tar", SAM, flatten=True),)),
        "textvqa": source(TEXT, files=(archive("textvqa.zip", "train_val_images.zip", "data/textvqa"),)),
        "vflan": source(
            FLAN,
            files=(archive("vflan.zip", "image_191-task_1k.zip", "data/vflan"),),
            links=(Link(path=FLAN_LINK, target=FLAN),),
            annotations=(tasks,),
        ),
        "vg": source(
            VG,
            VG2,
            files=(archive("vg-images.zip", "images.zip", "data/vg"), archive("vg-2.zip", "images2.zip", "data/vg")),
        ),
        "webdata": source(WEB, links=(Link(path=ALIAS, target=f"{WEB}/Choi_Min_sik*"),)),
    }
    shipped = load_catalog()
    data = ("allava", "mix", "tasks")
    stages = {number: stage.model_copy(update={"data": data}) for number, stage in shipped.stages.items()}
    return Catalog(sources, stages, {}, {})


CATALOG = make_catalog()


def picture(kind: str, seed: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), tuple(hashlib.sha256(seed.encode()).digest()[:3])).save(stream, kind)
    return stream.getvalue()


def record(image: str) -> dict[str, object]:
    turns = [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A colour."}]
    return {"id": image, "image": image, "conversations": turns}


def build(root: Root) -> None:
    for folder, names in PICTURES.items():
        root.at(folder).mkdir(parents=True)
        for name in names:
            root.at(f"{folder}/{name}").write_bytes(picture("JPEG", f"{folder}/{name}"))
    root.at(FLAN_LINK).parent.mkdir(parents=True)
    root.at(FLAN_LINK).symlink_to("../../../vflan/images_191task_1k")
    root.at(ALIAS).symlink_to("Choi_Min_sik.jpg")
    root.at("data/llava").mkdir()
    named = [f"{folder}/{name}" for folder, names in PICTURES.items() if folder != FLAN for name in names]
    write(root, "data/llava/mix.json", [path.removeprefix("data/") for path in (*named, ALIAS)])
    write(root, "data/vflan/tasks.json", ODD[::2])
    write(root, "data/allava/allava.json", [f"{FLAN_LINK}/{name}".removeprefix("data/allava/") for name in ODD])


def write(root: Root, path: str, images: list[str]) -> None:
    root.at(path).write_text(json.dumps([record(image) for image in images]))


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Hundreds of trees are repaired here, and none of them has to outlive a power failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repair, "settle", lambda _folder: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A proven tree. Not to be changed."""
    root = Root(tmp_path_factory.mktemp("whole") / "tree")
    build(root)
    report = verify(CATALOG, root)
    assert report.problems == ()
    return root


@pytest.fixture
def root(whole: Root, tmp_path: Path) -> Root:
    return copy(whole, tmp_path / "tree")


def copy(root: Root, place: Path) -> Root:
    shutil.copytree(root.path, place, symlinks=True)
    return Root(place)


def snapshot(root: Root) -> dict[str, str]:
    """Every name in the tree but our notes: folders with their mode, files with their digest, links as they are."""
    found = {}
    for path in sorted(root.data.rglob("*")):
        name = path.relative_to(root.path).as_posix()
        if not name.startswith("data/.cvl"):
            found[name] = told(path)
    return found


def told(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    if path.is_dir():
        return f"folder {stat.S_IMODE(path.stat().st_mode):o}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def planned(root: Root) -> Plan:
    return plan_repairs(CATALOG, root, verify(CATALOG, root))


def shift(root: Root, path: str, to: str) -> None:
    """Move something, out of its own way if need be, and nothing else."""
    root.at("data/moved").parent.mkdir(exist_ok=True)
    root.at(path).rename(root.at("data/moved"))
    root.at(to).parent.mkdir(parents=True, exist_ok=True)
    root.at("data/moved").rename(root.at(to))


def fixed(root: Root) -> Plan:
    """Fix a tree, prove it, undo it, compare, and fix it once more; returns what was planned."""
    before = snapshot(root)
    plan = planned(root)
    assert plan.repairs
    assert snapshot(root) == before, "planning changes nothing"
    done = apply_repairs(root, plan)
    assert (done.repairs, done.left) == (len(plan.repairs), ())
    assert verify(CATALOG, root).problems == ()
    after = snapshot(root)
    undone = undo_repairs(root)
    assert undone is not None
    assert undone.acts == done.acts
    assert snapshot(root) == before
    assert planned(root) == plan, "the same tree has the same plan"
    apply_repairs(root, plan)
    assert snapshot(root) == after
    return plan


def kinds(plan: Plan) -> list[RepairKind]:
    return [each.kind for each in plan.repairs]


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


# --- Several at once.


def spell_wrong(root: Root, draw: random.Random) -> None:
    for folder in (VG, VG2, TEXT, SAM):
        for name in draw.sample(PICTURES[folder], draw.randint(0, 2)):
            root.at(f"{folder}/{name}").rename(root.at(f"{folder}/{name[:-4]}{draw.choice(['.JPG', '.jpeg'])}"))
    for name in draw.sample(ODD, draw.randint(0, 3)):
        if (wrong := draw.choice([infozip(name), unicodedata.normalize("NFD", name)])) != name:
            root.at(f"{FLAN}/{name}").rename(root.at(f"{FLAN}/{wrong}"))


def put_other_kinds(root: Root, draw: random.Random) -> None:
    for name in draw.sample(PICTURES[BOOKS], draw.randint(0, 4)):
        path = root.at(f"{BOOKS}/{name}")
        if draw.random() < 0.5:
            path.write_bytes(picture("GIF", name))
        else:
            path.unlink()
            path.with_suffix(".gif").write_bytes(picture("GIF", name))


def spoil_links(root: Root, draw: random.Random) -> None:
    for link in (FLAN_LINK, ALIAS):
        if draw.random() < 0.5:
            root.at(link).unlink()
            if draw.random() < 0.5:
                root.at(link).symlink_to("/nowhere")


def move_folders(root: Root, draw: random.Random) -> None:
    places = {
        VG: ["data/vg/images/VG_100K", "data/VG_100K", "VG_100K", "data/vg/images"],
        TEXT: ["data/textvqa/train_val_images/train_images", "data/textvqa/train_val_images"],
        WEB: [f"data/{WEB}"],
        FLAN: ["data/vflan/image_191-task_1k/images_191task_1k"],
    }
    for home in PICTURES:
        for _ in range(draw.choice([0, 0, 1, 2])):
            shift(root, home, f"{home}/{home.rpartition('/')[2]}")
        if home in places and draw.random() < 0.5:
            shift(root, home, draw.choice(places[home]))


def scatter(root: Root, draw: random.Random) -> None:
    for path in list(root.at(SAM).iterdir()):
        if draw.random() < 0.7:
            shift(root, f"{SAM}/{path.name}", f"{SAM}/sa_00000{draw.randint(0, 2)}/{path.name}")


DEFECTS = (spell_wrong, put_other_kinds, spoil_links, scatter, move_folders)


def plant(root: Root, draw: random.Random) -> None:
    """Several defects at once; folders last, so that the others find what they spoil."""
    for defect in DEFECTS:
        if draw.random() < 0.8:
            defect(root, draw)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_defects_at_once_are_repaired_and_taken_back(whole: Root, tmp_path: Path, seed: int) -> None:
    shutil.rmtree(tmp_path / "tree", ignore_errors=True)
    root = copy(whole, tmp_path / "tree")
    plant(root, random.Random(seed))
    if verify(CATALOG, root).problems:
        assert fixed(root).left == ()


# --- Cut short.


class Killed(BaseException):
    """Stands for a SIGKILL: nothing that would clean up runs."""


@pytest.fixture
def spoilt(root: Root) -> Root:
    """A tree with a defect of each kind."""
    spoil_links(root, random.Random(3))
    scatter(root, random.Random(1))
    shift(root, f"{VG}/1.jpg", f"{VG}/1.JPG")
    shift(root, VG, f"{VG}/VG_100K")
    shift(root, TEXT, "data/textvqa/train_val_images/train_images")
    shift(root, f"{FLAN}/café.jpg", f"{FLAN}/{infozip('café.jpg')}")
    root.at(f"{BOOKS}/b1.jpg").write_bytes(picture("GIF", "b1"))
    root.at(f"{BOOKS}/b2.jpg").unlink()
    root.at(f"{BOOKS}/b2.gif").write_bytes(picture("GIF", "b2"))
    return root


def kill_at(patch: pytest.MonkeyPatch, number: int, *, after: bool) -> None:
    """Let the process "die" right before or right after act `number` of what is carried out next."""
    left = iter(range(number, -1, -1))
    perform = repair.perform

    def dying(root: Path, act: Act) -> None:
        last = next(left) == 0
        if last and not after:
            raise Killed
        perform(root, act)
        if last:
            raise Killed

    patch.setattr(repair, "perform", dying)


def cut_short(work: Callable[[], object], number: int, *, after: bool) -> bool:
    """Do some work until it is killed; False if it came to its end."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, number, after=after)
        try:
            work()
        except Killed:
            return True
    return False


def every_kill(spoilt: Root, place: Path) -> Iterator[tuple[Root, int, bool]]:
    """A copy of the spoilt tree for each instant at which a repair of it can be killed."""
    report = verify(CATALOG, spoilt)
    number = 0
    while True:
        for after in (False, True):
            shutil.rmtree(place, ignore_errors=True)
            root = copy(spoilt, place)
            plan = plan_repairs(CATALOG, root, report)
            if not cut_short(lambda: apply_repairs(root, plan), number, after=after):  # noqa: B023
                return
            yield root, number, after
        number += 1


def test_a_repair_killed_at_any_act_is_finished_and_can_be_undone(spoilt: Root, tmp_path: Path) -> None:
    before = snapshot(spoilt)
    reference = copy(spoilt, tmp_path / "reference")
    apply_repairs(reference, planned(reference))
    kills = 0
    for root, _, _ in every_kill(spoilt, tmp_path / "killed"):
        assert finish_repairs(root) is Phase.APPLIED
        assert snapshot(root) == snapshot(reference)
        undo_repairs(root)
        assert snapshot(root) == before
        kills += 1
    assert kills > 40


def test_a_repair_killed_at_any_act_can_be_undone_at_once(spoilt: Root, tmp_path: Path) -> None:
    before = snapshot(spoilt)
    for root, number, after in every_kill(spoilt, tmp_path / "killed"):
        undone = undo_repairs(root)
        assert undone is not None
        assert undone.acts == number + after
        assert snapshot(root) == before


def test_an_undo_killed_at_any_act_is_finished_by_either(spoilt: Root, tmp_path: Path) -> None:
    before = snapshot(spoilt)
    done = copy(spoilt, tmp_path / "done")
    acts = apply_repairs(done, planned(done)).acts
    for number in range(acts):
        for after, finish in ((False, finish_repairs), (True, undo_repairs)):
            shutil.rmtree(tmp_path / "killed", ignore_errors=True)
            root = copy(done, tmp_path / "killed")
            assert cut_short(lambda: undo_repairs(root), number, after=after)  # noqa: B023
            finish(root)
            assert snapshot(root) == before
            assert undo_repairs(root) is None


def test_a_journal_whose_last_marks_were_lost_is_read_from_the_names(spoilt: Root) -> None:
    """As after a power failure: the renames are on the disk, what was appended is not, or half of it."""
    before = snapshot(spoilt)
    plan = planned(spoilt)
    assert cut_short(lambda: apply_repairs(spoilt, plan), 4, after=True)
    (path,) = journals.folder_of(spoilt).glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-4]) + b'{"at')
    assert finish_repairs(spoilt) is Phase.APPLIED
    assert verify(CATALOG, spoilt).problems == ()
    undo_repairs(spoilt)
    assert snapshot(spoilt) == before


def test_jpegs_of_a_run_that_never_had_a_journal_are_swept_away(spoilt: Root) -> None:
    before = snapshot(spoilt)
    plan = planned(spoilt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "begin", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            apply_repairs(spoilt, plan)
    assert snapshot(spoilt) == before
    assert list(journals.folder_of(spoilt).glob("*.jpegs"))
    assert finish_repairs(spoilt) is None
    assert list(journals.folder_of(spoilt).iterdir()) == []


def test_a_plan_of_a_tree_that_had_an_unfinished_repair_is_refused(spoilt: Root) -> None:
    plan = planned(spoilt)
    assert cut_short(lambda: apply_repairs(spoilt, plan), 3, after=True)
    with pytest.raises(CvlError, match="an earlier repair was unfinished, and is finished now"):
        apply_repairs(spoilt, plan)
    assert verify(CATALOG, spoilt).problems == ()


# --- Changed meanwhile.


def test_a_plan_of_a_tree_that_has_changed_is_refused_and_nothing_is_done(root: Root) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    plan = planned(root)
    root.at(f"{VG}/5.jpg").write_bytes(b"came meanwhile")
    before = snapshot(root)
    with pytest.raises(CvlError, match=r"the tree is no longer what it was: data/vg/VG_100K/5\.jpg is there already"):
        apply_repairs(root, plan)
    assert snapshot(root) == before


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def in_the_way(path: Path) -> None:
    inner = path.parent / "VG_100K"
    inner.mkdir()
    (inner / path.name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (change, r"data/vg/VG_100K/1\.jpg was changed: it had [\d,]+ bytes, now [\d,]+"),
        (Path.unlink, r"data/vg/VG_100K/1\.jpg is not there"),
        (in_the_way, "data/vg/VG_100K/VG_100K is there already"),
    ],
)
def test_what_was_changed_since_is_named_and_nothing_is_undone(
    root: Root, spoil: Callable[[Path], None], reason: str
) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    apply_repairs(root, planned(root))
    spoil(root.at(f"{VG}/1.jpg"))
    before = snapshot(root)
    for _ in range(2):
        with pytest.raises(CvlError, match=reason) as caught:
            undo_repairs(root)
        assert caught.value.hint
        assert "cannot be taken back" in str(caught.value)
    assert snapshot(root) == before


def test_a_link_that_says_something_else_by_now_is_not_undone(root: Root) -> None:
    root.at(ALIAS).unlink()
    apply_repairs(root, planned(root))
    root.at(ALIAS).unlink()
    root.at(ALIAS).symlink_to("Luke_Evans.jpg")
    with pytest.raises(CvlError, match=r"Choi_Min-sik\.jpg is no link to Choi_Min_sik\.jpg"):
        undo_repairs(root)


def test_what_came_since_stays_where_it_is(root: Root) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    before = snapshot(root)
    apply_repairs(root, planned(root))
    root.at(f"{VG}/new.jpg").write_bytes(b"new")
    undo_repairs(root)
    root.at(f"{VG}/new.jpg").unlink()
    assert snapshot(root) == before


def test_repairs_are_undone_one_by_one_the_last_one_first(root: Root) -> None:
    states = [snapshot(root)]
    for path in (VG, TEXT):
        shift(root, path, f"{path}/{path.rpartition('/')[2]}")
        states.append(snapshot(root))
        apply_repairs(root, planned(root))
    undo_repairs(root)
    assert snapshot(root) == states[2]
    root.at(f"{TEXT}/train_images").rename(root.at("data/kept"))
    root.at(TEXT).rmdir()
    root.at("data/kept").rename(root.at(TEXT))
    undo_repairs(root)
    assert snapshot(root) == states[1]
    assert undo_repairs(root) is None


def test_nothing_is_ever_replaced_by_a_move(root: Root) -> None:
    from cvl.verify.repairs.acts import move, perform

    with pytest.raises(FileExistsError):
        perform(root.path, move(f"{VG}/1.jpg", f"{VG}/2.jpg"))
    with pytest.MonkeyPatch.context() as patch:
        # As on a network file system that knows no such flag.
        patch.setattr("cvl.verify.repairs.acts._RENAMEAT2", None)
        with pytest.raises(FileExistsError):
            perform(root.path, move(f"{VG}/1.jpg", f"{VG}/2.jpg"))
        perform(root.path, move(f"{VG}/1.jpg", f"{VG}/new.jpg"))
    assert root.at(f"{VG}/new.jpg").read_bytes() == picture("JPEG", f"{VG}/1.jpg")


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b'{"version": 1, "acts": 2}\n{"act": "move", "path": "a", "to": "b"}\n']
)
def test_a_damaged_journal_is_named(root: Root, content: bytes) -> None:
    journals.folder_of(root).mkdir(parents=True)
    (journals.folder_of(root) / "20260101.jsonl").write_bytes(content)
    with pytest.raises(CvlError, match=r"20260101\.jsonl cannot be read") as caught:
        undo_repairs(root)
    assert caught.value.hint


def test_a_journal_of_another_version_is_not_guessed_at(root: Root) -> None:
    journals.folder_of(root).mkdir(parents=True)
    (journals.folder_of(root) / "20260101.jsonl").write_text('{"version": 2}\n')
    with pytest.raises(CvlError, match="is of version 2, expected 1"):
        finish_repairs(root)


def test_a_report_without_problems_is_not_even_looked_into(root: Root) -> None:
    assert plan_repairs(CATALOG, root, Report(None, (), (), (), {})) == Plan()


def test_only_what_was_asked_about_is_repaired(root: Root) -> None:
    shift(root, VG, f"{VG}/VG_100K")
    report = verify(CATALOG, root)
    others = Report(None, (), (), tuple(p for p in report.problems if p.kind is Kind.MISSING_LINK), {})
    assert plan_repairs(CATALOG, root, others) == Plan()


def test_jpegs_are_those_of_the_conversion(root: Root) -> None:
    gif = picture("GIF", "b1")
    root.at(f"{BOOKS}/b1.jpg").write_bytes(gif)
    apply_repairs(root, planned(root))
    assert root.at(f"{BOOKS}/b1.jpg").read_bytes() == encode_jpeg(gif)

"""A small tree that is whole, what can go wrong with it, and what a repair of it has to hold."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import stat
import unicodedata
from pathlib import Path

from PIL import Image

from cvl.manifest import Annotation, Catalog, Convert, Expect, File, Link, Source, Unpack, load_catalog
from cvl.root import Root
from cvl.verify.repair import Plan, RepairKind, apply_repairs, plan_repairs, undo_repairs
from cvl.verify.repairs.names import infozip
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

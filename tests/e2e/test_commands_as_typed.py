"""The commands that users know by heart, each as it is typed and each twice: the second time nothing happens."""

from __future__ import annotations

import pytest
from support import Cvl, Trace, contents, traces

from cvl.demo.internet import Internet
from cvl.images import ImageKind, kind_of
from cvl.root import Root

FETCH = "cvl fetch coco sam --shards 0-50"
CONVERT = "cvl convert ocrvqa"
VERIFY = "cvl verify-layout"
RESULTS = ("data/.cvl/verify.json", "data/.cvl/skiplist.json")
"""What verification writes each time."""


def everything(root: Root) -> dict[str, Trace]:
    """Every file of a tree as it is now, but for results and for locks, which are opened anew each time."""
    found = traces(root.path, without=RESULTS)
    return {name: trace for name, trace in found.items() if not (name.endswith(".lock") and "/" in name)}


@pytest.mark.usefixtures("links")
def test_fetch_as_typed(cvl: Cvl, tree: Root, internet: Internet) -> None:
    first = cvl.typed(FETCH)
    assert first.code == 0
    assert first.stdout.splitlines()[-1].startswith("52 files fetched")
    assert internet.body_bytes("*train2017.zip") > 0
    assert len(list(tree.at("data/coco/train2017").iterdir())) == 40
    assert len(list(tree.at("data/sam/images").iterdir())) == 102

    before, exchanges = everything(tree), len(internet.exchanges)
    again = cvl.typed(FETCH)
    assert (again.code, again.stdout) == (0, "0 files fetched (0 B), 52 were here already\n")
    assert len(internet.exchanges) == exchanges
    assert everything(tree) == before


def test_convert_as_typed(cvl: Cvl, tree: Root) -> None:
    assert cvl.typed("cvl fetch ocrvqa").code == 0
    folder = tree.at("data/ocr_vqa/images")
    odd = {path.name for path in folder.iterdir() if kind_of(path) is not ImageKind.JPEG}
    assert odd
    first = cvl.typed(CONVERT)
    assert first.code == 0
    assert f"{len(odd)} converted (" in first.stdout
    assert all(kind_of(path) is ImageKind.JPEG for path in folder.iterdir())
    assert {path.name for path in (tree.originals / "ocr_vqa" / "images").iterdir()} == odd

    before = everything(tree)
    again = cvl.typed(CONVERT)
    assert again.code == 0
    assert " 0 converted" in again.stdout
    assert everything(tree) == before


def test_verify_layout_as_typed(cvl: Cvl, complete: Root, internet: Internet) -> None:
    for name in RESULTS:
        complete.at(name).unlink()
    first = cvl.typed(VERIFY)
    assert first.code == 0
    assert first.stdout.endswith("stage 3: ready\n0 images missing, 0 problems\n")

    before = everything(complete), contents(complete.notes)
    again = cvl.typed(VERIFY)
    assert (again.code, again.stdout) == (0, first.stdout)
    assert (everything(complete), contents(complete.notes)) == before
    assert internet.exchanges == []


def test_all_of_them_on_a_complete_tree_change_nothing(cvl: Cvl, complete: Root, internet: Internet) -> None:
    before = everything(complete)
    for line in (FETCH, "cvl fetch all", CONVERT, "cvl fetch ocrvqa gqa --keep-archives", VERIFY, "cvl status"):
        assert cvl.typed(line).code == 0
    assert everything(complete) == before
    assert internet.exchanges == []


def test_fetch_finds_the_pictures_that_a_conversion_has_changed(cvl: Cvl, complete: Root, internet: Internet) -> None:
    """The archive's sizes are not those of converted pictures: a lost one must not bring the GIFs back."""
    folder = complete.at("data/ocr_vqa/images")
    converted = next((complete.originals / "ocr_vqa" / "images").iterdir()).name
    lost = next(path for path in folder.iterdir() if path.name != converted)
    lost.unlink()
    before = traces(folder)
    assert cvl.typed("cvl fetch ocrvqa").code == 0
    assert kind_of(folder / converted) is ImageKind.JPEG
    after = traces(folder)
    assert {name for name in after if after[name] != before.get(name)} == {lost.name}


def test_visual_genome_and_gqa_keep_their_folders_although_both_publish_an_images_zip(cvl: Cvl, tree: Root) -> None:
    assert cvl.typed("cvl fetch gqa vg").code == 0
    assert sorted(path.name for path in tree.data.iterdir() if path.name[0] != ".") == ["gqa", "vg"]
    assert sorted(path.name for path in tree.at("data/vg").iterdir()) == ["VG_100K", "VG_100K_2"]
    assert [path.name for path in tree.at("data/gqa").iterdir()] == ["images"]
    gqa, vg = (set(contents(tree.at(folder))) for folder in ("data/gqa/images", "data/vg/VG_100K"))
    assert gqa
    assert vg
    assert not gqa & vg

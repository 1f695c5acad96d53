"""The places of one tree."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from cvl.root import Root

ROOT = Root(Path("/trees/ShareGPT4V"))


def test_asking_for_places_creates_nothing(tmp_path: Path) -> None:
    root = Root(tmp_path / "ShareGPT4V")
    names = [name for name in dir(Root) if isinstance(getattr(Root, name), property)]
    assert len(names) == 13
    for name in names:
        assert isinstance(getattr(root, name), Path)
    assert list(tmp_path.iterdir()) == []


def test_notes_lie_below_data_and_the_lock_beside_it() -> None:
    notes = Path("/trees/ShareGPT4V/data/.cvl")
    places = (ROOT.downloads, ROOT.archives, ROOT.receipts, ROOT.ledgers, ROOT.indexes, ROOT.originals)
    assert {place.parent for place in (*places, ROOT.skiplist, ROOT.report)} == {notes}
    assert len(set(places)) == len(places)
    assert ROOT.lock == Path("/trees/ShareGPT4V/cvl.lock")
    assert ROOT.sam_links == Path("/trees/ShareGPT4V/sam-links.txt")
    assert ROOT.checkpoints == Path("/trees/ShareGPT4V/checkpoints")


@pytest.mark.parametrize("path", ["data/coco/train2017", PurePosixPath("data/coco/train2017")])
def test_paths_of_manifests_are_found_below_the_root(path: str | PurePosixPath) -> None:
    assert ROOT.at(path) == Path("/trees/ShareGPT4V/data/coco/train2017")

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from repairable import BOOKS, CATALOG, FLAN, TEXT, VG, build, copy, picture, scatter, shift, spoil_links

from cvl.root import Root
from cvl.verify import repair
from cvl.verify.repairs.names import infozip
from cvl.verify.verify import verify


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

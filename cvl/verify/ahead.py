"""Workers that will be needed are made ready while this process still loads what it needs itself."""

from __future__ import annotations

from cvl.manifest import Catalog
from cvl.parallel import prepare
from cvl.root import Root

_LARGE = 64 << 20
"""Bytes of an instruction file with which a tree has pictures by the hundred thousand."""


def look_ahead(catalog: Catalog, root: Root, jobs: int | None) -> None:
    """Begins to load what workers need, if this tree is so large that there will be workers."""
    files = (root.at(annotation.path) for _, annotation in catalog.annotations.values())
    if jobs != 1 and any(file.is_file() and file.stat().st_size >= _LARGE for file in files):
        prepare(["cvl.annotations.pieces", "cvl.verify.tree"])

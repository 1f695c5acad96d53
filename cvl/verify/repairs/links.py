"""The links that the manifests document, made where what they stand for is there."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path

from cvl.manifest import Link as Documented
from cvl.verify.repairs.acts import Act, ActKind
from cvl.verify.repairs.draft import Draft, Link
from cvl.verify.repairs.sketch import Sketch
from cvl.verify.repairs.values import RepairKind


def make_link(sketch: Sketch, link: Documented) -> None:
    """Make a documented link, or make it anew where it leads nowhere. Left to `cvl fetch` without its target."""
    there = sketch.draft.entry(link.path)
    if there is not None and not isinstance(there, Link):
        return
    targets = _targets(sketch.draft, link)
    if len(targets) > 1:
        sketch.leave(link.path, f"it should stand for one file, but {len(targets)} match {link.target}")
    if len(targets) != 1:
        return
    why = "the documented link is not there"
    if isinstance(there, Link):
        why = f"the documented link leads nowhere: to {there.target}"
        sketch.act(Act(ActKind.DROP_LINK, link.path, there.target))
    parent = link.path.rpartition("/")[0]
    sketch.make_folders(parent)
    sketch.act(Act(ActKind.LINK, link.path, _text(sketch.draft, targets[0], parent)))
    sketch.close(RepairKind.MISSING_LINK, link.path, targets[0], 1, why)


def _targets(draft: Draft, link: Documented) -> list[str]:
    """What a link may stand for; the last part of its target may be a glob."""
    parent, _, pattern = link.target.rpartition("/")
    if Path(link.target).is_absolute():
        return sorted(str(path) for path in Path(parent or "/").glob(pattern))
    folder = draft.folder(parent)
    names = folder.names if folder is not None else ()
    return sorted(path for name in names if fnmatchcase(name, pattern) and (path := f"{parent}/{name}") != link.path)


def _text(draft: Draft, target: str, folder: str) -> str:
    """What the link says: the target as seen from its folder, so that the tree can be moved or mounted elsewhere."""
    if Path(target).is_absolute():
        return target
    parent, _, name = target.rpartition("/")
    return os.path.relpath(f"{draft.place(parent)}/{name}", draft.place(folder))

"""From what was found to a plan: the rules one after the other, each on the draft that those before it left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

from cvl.annotations import AnnotationFile, index_of
from cvl.files import disk_errors
from cvl.manifest import Catalog
from cvl.root import Root
from cvl.verify.repairs.draft import Draft, File
from cvl.verify.repairs.folders import bring_home, flatten_doubled, gather
from cvl.verify.repairs.links import make_link
from cvl.verify.repairs.names import rename_misnamed
from cvl.verify.repairs.pictures import convert_pictures
from cvl.verify.repairs.sketch import Missing, Sketch
from cvl.verify.repairs.values import Plan
from cvl.verify.report import Kind, Report


def plan_repairs(catalog: Catalog, root: Root, report: Report) -> Plan:
    """What can safely be put right of what `report` found. Looks at the tree and changes nothing.

    Raises:
        DiskError: the tree cannot be read.
    """
    if not report.problems:
        return Plan()
    with disk_errors(root.path):
        sketch = Sketch(catalog, Draft(root.path))
        named = partial(_named, catalog, root, report)
        missing = _missing(sketch.draft, named())
        _plan_folders(sketch, missing, report)
        before = Draft(root.path)
        broken = {problem.path for problem in report.problems if problem.kind is Kind.MISSING_LINK}
        for link in sketch.links:
            # What had the link's place may have been brought home.
            if link.path in broken or (before.entry(link.path) is not None and sketch.draft.entry(link.path) is None):
                make_link(sketch, link)
        rename_misnamed(sketch, missing, named)
        for name in _troubled(catalog, report):
            convert = catalog.sources[name].convert
            if convert is not None:
                convert_pictures(sketch, missing, convert.folder, named)
        return sketch.plan


def _troubled(catalog: Catalog, report: Report) -> list[str]:
    """The sources of which something is wrong."""
    troubled = {problem.source for problem in report.problems}
    return [name for name in catalog.sources if name in troubled]


def _plan_folders(sketch: Sketch, missing: Missing, report: Report) -> None:
    looked_at = {state.path for state in report.folders}
    sources = _troubled(sketch.catalog, report)
    expected = [
        (name, expect)
        for name in sources
        for expect in sketch.catalog.sources[name].expect
        if expect.folder in looked_at
    ]
    for name, expect in expected:
        bring_home(sketch, missing, name, expect)
    # Pictures may be missing in folders that no manifest counts, too.
    for folder in dict.fromkeys([expect.folder for _, expect in expected] + sorted(missing.names)):
        flatten_doubled(sketch, missing, folder)
    for name in sources:
        for file in sketch.catalog.sources[name].files:
            if file.unpack is not None and file.unpack.flatten:
                gather(sketch, missing, file.unpack.into, file.unpack)


def _named(catalog: Catalog, root: Root, report: Report) -> Iterator[str]:
    """The paths of all pictures that the instruction files name, as often as they do."""
    for state in report.annotations:
        if not state.records:
            continue
        annotation = catalog.annotations[state.name][1]
        file = AnnotationFile(annotation.name, root.at(annotation.path), annotation.image_root)
        with index_of(file, root.indexes) as index:
            for chunk in index.images():
                yield from (f"{annotation.image_root}/{image}" for image in chunk if image)


def _missing(draft: Draft, named: Iterable[str]) -> Missing:
    names: defaultdict[str, set[str]] = defaultdict(set)
    used: set[str] = set()
    for path in named:
        parent, _, name = path.rpartition("/")
        folder = draft.folder(parent)
        entry = folder.names.get(name) if folder is not None else None
        if isinstance(entry, File) or (entry is not None and draft.has_file(path)):
            used.add(parent)
        else:
            names[parent].add(name)
    return Missing(names, frozenset(map(draft.place, used)))

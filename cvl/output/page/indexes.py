"""The indexes of the instruction files that a report speaks of, as verification left them. Nothing is built here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from cvl.annotations import AnnotationFile, Index
from cvl.annotations.place import Notes
from cvl.manifest import Catalog
from cvl.root import Root
from cvl.verify.report import Report


@contextmanager
def opened(report: Report, catalog: Catalog, root: Root, notes: Notes) -> Iterator[Mapping[str, Index]]:
    """By name, the index of each instruction file that verification has read, in the report's order.

    One that could not be kept, or whose instruction file has changed since, is left out.
    """
    with ExitStack() as stack:
        indexes: dict[str, Index] = {}
        for state in report.annotations:
            if not state.records or state.name not in catalog.annotations:
                continue
            annotation = catalog.annotations[state.name][1]
            index = notes.known_index(AnnotationFile(state.name, root.at(annotation.path), annotation.image_root))
            if index is not None:
                indexes[state.name] = stack.enter_context(index)
        yield indexes

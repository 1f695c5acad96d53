"""How large the pictures are, from a sample: by their headers alone, which costs one small read each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cvl.annotations import Index
from cvl.manifest import Catalog
from cvl.output.page.missing import UNCLAIMED
from cvl.output.page.pictures import Size, size_of
from cvl.output.page.samples import draw
from cvl.root import Root

RECORDS = 2000
"""Records that are drawn in all, from each instruction file as many as its share of all records is."""

_LEAST = 50


@dataclass(frozen=True)
class Measured:
    """A sample of pictures.

    Args:
        records: how many records were drawn.
        unread: how many different pictures of them are not there, or have no header that can be read.
        sizes: of the others, by source.
    """

    records: int
    unread: int
    sizes: Mapping[str, tuple[Size, ...]]

    @property
    def all(self) -> tuple[Size, ...]:
        """The sizes of all sources."""
        return tuple(size for sizes in self.sizes.values() for size in sizes)


def measure(catalog: Catalog, root: Root, indexes: Mapping[str, Index]) -> Measured:
    """The sizes of the pictures that records drawn by chance name."""
    total = sum(map(len, indexes.values()))
    paths: dict[str, None] = {}
    records = 0
    for name, index in indexes.items():
        numbers = draw(f"{name}: sizes", index, max(_LEAST, RECORDS * len(index) // total))
        records += len(numbers)
        images = (index.image(number) for number in numbers)
        paths |= dict.fromkeys(f"{index.source.images}/{image}" for image in images if image is not None)
    sizes: dict[str, list[Size]] = {}
    read = 0
    for path in paths:
        size = size_of(root, path)
        if size is not None:
            sizes.setdefault(catalog.owner(path) or UNCLAIMED, []).append(size)
            read += 1
    return Measured(records, len(paths) - read, {source: tuple(sizes[source]) for source in sorted(sizes)})

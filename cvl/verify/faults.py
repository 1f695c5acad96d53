"""Pictures that are there and are not what they should be: empty, damaged, of another format than their name says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cvl.files import write_atomically
from cvl.images import ImageKind
from cvl.manifest import Catalog
from cvl.units import counted
from cvl.verify.cures import fetchable, replace_cure
from cvl.verify.decode import Verdict
from cvl.verify.report import Kind, Problem
from cvl.verify.tree import Tree

_EXAMPLES = 5


@dataclass(frozen=True)
class Lists:
    """Files with the paths of pictures that are to be replaced, so that a cure can be typed for any number of them.

    Args:
        folder: where they are written; None to name every picture in the cure.
    """

    folder: Path | None

    def write(self, name: str, paths: Iterable[str]) -> Path | None:
        """A file with `paths`, a zero byte after each; None if it cannot be written."""
        if self.folder is None:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(
                self.folder / name, b"".join(path.encode(errors="surrogateescape") + b"\0" for path in paths)
            )
        except OSError:
            return None
        return self.folder / name


def empty_problems(tree: Tree, catalog: Catalog, paths: Iterable[str], lists: Lists) -> Iterator[Problem]:
    """Pictures that are named and have no byte."""
    for source, found in _by_source(catalog, paths).items():
        detail = f"{counted(len(found), 'picture is', 'pictures are')} named and without a byte"
        cure = _cure(tree, catalog, Kind.EMPTY_IMAGES, found, lists)
        folder, examples = found[0].rpartition("/")[0], tuple(found[:_EXAMPLES])
        yield Problem(Kind.EMPTY_IMAGES, source, folder, len(found), detail, cure, examples)


def damage_problems(tree: Tree, catalog: Catalog, flaws: Mapping[str, Verdict], lists: Lists) -> Iterator[Problem]:
    """Pictures that are named and cannot be read, with the reasons."""
    for source, found in _by_source(catalog, flaws).items():
        counts = Counter(flaws[path].reason.replace("-", " ") for path in found)
        detail = ", ".join(f"{count:,} × {reason}" for reason, count in counts.most_common())
        examples = tuple(f"{path}: {flaws[path].text}" for path in found[:_EXAMPLES])
        cure, folder = _cure(tree, catalog, Kind.DAMAGED_IMAGES, found, lists), found[0].rpartition("/")[0]
        yield Problem(Kind.DAMAGED_IMAGES, source, folder, len(found), detail, cure, examples)


def format_problems(catalog: Catalog, kinds: Mapping[str, ImageKind | None], *, converted: bool) -> Iterator[Problem]:
    """Pictures that are named as JPEGs and are something else by content.

    Where a source converts its pictures they are a problem, with the conversion as its cure. Elsewhere they are a
    remark (`Kind.OTHER_FORMAT`): training reads a picture by its content.

    Args:
        converted: which of the two to tell of.
    """
    for source, paths in _by_source(catalog, kinds).items():
        counts = Counter(kind.name if kind is not None else "no picture" for kind in map(kinds.__getitem__, paths))
        detail = ", ".join(f"{count:,} × {name}" for name, count in counts.most_common()) + " under .jpg"
        manifest = catalog.sources.get(source)
        if (manifest is not None and manifest.convert is not None) is not converted:
            continue
        kind = Kind.NOT_JPEG if converted else Kind.OTHER_FORMAT
        cure = f"cvl convert {source}" if converted else "nothing to do: training reads a picture by its content"
        folder, examples = paths[0].rpartition("/")[0], tuple(paths[:_EXAMPLES])
        yield Problem(kind, source, folder, len(paths), detail, cure, examples)


def _by_source(catalog: Catalog, paths: Iterable[str]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        found[catalog.owner(path) or ""].append(path)
    return found


def _cure(tree: Tree, catalog: Catalog, kind: Kind, paths: list[str], lists: Lists) -> str:
    """What replaces these pictures, which are of one source."""
    source = catalog.owner(paths[0]) or ""
    manifest = catalog.sources.get(source)
    listed = lists.write(f"{kind}-{source or 'others'}", paths)
    brings = manifest is not None and fetchable(tree, manifest)
    return replace_cure(tree, source, listed, tuple(paths), fetchable=brings)

"""What lies in the tree and is of no use: archives that are unpacked, empty files that nobody names."""

from __future__ import annotations

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from cvl.manifest import Catalog, Source, cache_names
from cvl.units import counted, gigabytes
from cvl.verify.report import Kind, Problem
from cvl.verify.tree import Tree

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_EXAMPLES = 5


def stray_archives(tree: Tree, catalog: Catalog, unfinished: frozenset[str]) -> Iterator[Problem]:
    """Archives in the tree that no manifest puts there. Of a source that lacks something they may be what it lacks.

    Args:
        unfinished: sources of which something is missing.
    """
    kept = {file.path for source in catalog.sources.values() for file in source.all_files}
    for path in sorted(set(_archives(tree)) - kept):
        source = _source_of(catalog, path)
        place = tree.root / path
        if source in unfinished:
            detail = f"an archive that is not unpacked, {_size(place)}"
            cure = f"cvl fetch {source} --from {shlex.quote(str(place.parent))}"
        else:
            detail = f"an archive that nothing needs, {_size(place)}"
            cure = f"rm {shlex.quote(str(place))}"
        yield Problem(Kind.STRAY_ARCHIVE, source, path, 1, detail, cure)


def unused_empty_files(tree: Tree, catalog: Catalog, named: frozenset[bytes]) -> Iterator[Problem]:
    """Files without a byte that no instruction file names, by folder. Visual Genome is published with 170 of them.

    Args:
        named: empty files that some instruction file names.
    """
    # A folder may have a second name, through a link: what is named by either is named.
    real = cache(lambda folder: os.path.realpath(os.fsencode(tree.root) + b"/" + folder))
    places = {(real(parent), name) for parent, _, name in (path.rpartition(b"/") for path in named)}
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(tree.empty()):
        parent, _, name = path.rpartition(b"/")
        if (real(parent), name) not in places:
            places.add((real(parent), name))
            folders[os.fsdecode(parent)].append(os.fsdecode(path))
    for folder, paths in folders.items():
        source = catalog.owner(folder) or ""
        detail = f"{counted(len(paths), 'file has', 'files have')} no byte; no instruction file names them"
        examples = tuple(paths[:_EXAMPLES])
        yield Problem(Kind.UNUSED_EMPTY_FILES, source, folder, len(paths), detail, "nothing to do", examples)


def _archives(tree: Tree) -> Iterator[str]:
    for folder, listing in tree.listings.items():
        yield from (f"{folder}/{name}" for name in listing.ending(*ARCHIVES))


def _source_of(catalog: Catalog, path: str) -> str:
    """The source that an archive belongs to, by its name, which may be the publisher's or ours; else by its folder."""
    name = PurePosixPath(path).name
    for source, manifest in catalog.sources.items():
        if name in _names(manifest):
            return source
    return catalog.owner(path) or ""


def _names(source: Source) -> Iterator[str]:
    for file in source.all_files:
        yield from cache_names(file)
        shards = file.shard_numbers
        theirs = [file.url.format(shard=shard) for shard in shards] if shards else [file.url]
        # Several publish an `images.zip`: such a name does not tell whose it is.
        yield from (name for name in (re.split("[/:]", url)[-1] for url in theirs) if not name.startswith("images"))


def _size(path: Path) -> str:
    try:
        size = path.stat().st_size
    except OSError:
        return "size unknown"
    return gigabytes(size)

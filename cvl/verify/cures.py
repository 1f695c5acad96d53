"""What mends what: the commands that a problem names as its cure."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath

from cvl.manifest import Source
from cvl.verify.tree import Tree


def doubled(tree: Tree, folder: str) -> str | None:
    """The folder that an archive unpacked one level too deep, such as `VG_100K/VG_100K`; None if there is none."""
    name = PurePosixPath(folder).name
    return f"{folder}/{name}" if name in tree.listing(folder).folders else None


def fetchable(tree: Tree, source: Source) -> bool:
    """Whether `cvl fetch` can bring something of a source: it has files, or a link that is still to be made."""
    return bool(source.files) or any(not (tree.root / link.path).exists() for link in source.links)


def flatten_cure(tree: Tree, inner: str) -> str:
    """A command that moves what lies in `inner` up one level. It moves any number of files and replaces none."""
    outer = str(PurePosixPath(inner).parent)
    inside, above = (shlex.quote(str(tree.root / path)) for path in (inner, outer))
    return f"find {inside} -mindepth 1 -maxdepth 1 -exec mv -n -t {above} {{}} + && rmdir {inside}"


def replace_cure(tree: Tree, source: str, listed: Path | None, paths: tuple[str, ...], *, fetchable: bool) -> str:
    """A command that removes files that are worth nothing, and brings them anew: a fetch leaves what is there.

    Args:
        listed: a file with all of `paths`, relative to the root, a zero byte after each; None if they are to be named.
    """
    if listed is not None:
        # The list is opened outside of the tree: it may be named relative to where the cure is typed.
        away = f"(cd {shlex.quote(str(tree.root))} && xargs -0 rm -f --) < {shlex.quote(str(listed))}"
    else:
        away = f"rm -f -- {shlex.join(str(tree.root / path) for path in paths)}"
    return f"{away} && cvl fetch {source}" if fetchable else f"{away}, and put whole ones there"

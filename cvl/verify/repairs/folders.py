"""Folders that an archive left in another place than the document's: one level too deep, elsewhere, or spread out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import chain, islice
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from cvl.manifest import Catalog, Expect, Source, Unpack
from cvl.verify.repairs.acts import move
from cvl.verify.repairs.draft import Draft, Entry, File, Folder, Link
from cvl.verify.repairs.names import spellings
from cvl.verify.repairs.sketch import Missing, Sketch, drop
from cvl.verify.repairs.values import RepairKind

_SAMPLE = 1000


def flatten_doubled(sketch: Sketch, missing: Missing, folder: str) -> None:
    """`X/X/…` becomes `X/…`, however often it is doubled. Left as it is where a single name would be in the way."""
    name = PurePosixPath(folder).name
    levels = list(_doubled(sketch.draft, folder, name))
    if not levels or any(missing.uses(sketch.draft.place(inner)) for inner in levels):
        return
    moves = [
        (f"{inner}/{child}", f"{folder}/{child}")
        for inner in levels
        for child in _children(sketch.draft, inner)
        if f"{inner}/{child}" not in levels
    ]
    if _blocked(sketch, levels[0], moves):
        return
    count = sum(_files_in(sketch.draft, path) for path, _ in moves)
    for path, to in moves:
        sketch.act(move(path, to))
    for inner in reversed(levels):
        sketch.act(drop(inner, _folder_at(sketch.draft, inner)))
    sketch.close(RepairKind.DOUBLED_FOLDER, levels[-1], folder, count, "the archive was unpacked one folder too deep")


def bring_home(sketch: Sketch, missing: Missing, source: str, expect: Expect) -> None:
    """A folder that lies where its archive is known to end up when unpacked by hand is moved to its place.

    Only where more than half of the pictures that are named and missing lie in it, and in no other such folder.
    """
    wanted = list(islice(missing.below(expect.folder), _SAMPLE))
    if isinstance(sketch.draft.entry(expect.folder), Link):
        return
    found = [
        folder
        for folder in dict.fromkeys(_known_places(sketch.catalog, source, expect.folder))
        if _may_move(sketch, missing, folder, expect.folder) and _holds(sketch.draft, folder, wanted, expect)
    ]
    found = [folder for folder in found if not any(other.startswith(f"{folder}/") for other in found)]
    if len(found) > 1:
        sketch.leave(expect.folder, f"its pictures may be those in {' or '.join(found)}: remove all but one")
    elif found:
        _move_home(sketch, found[0], expect.folder)


def gather(sketch: Sketch, missing: Missing, folder: str, unpack: Unpack) -> None:
    """Pictures that lie side by side in the document's tree, and were unpacked with their archive's folders."""
    wanted = set(missing.names.get(folder, ()))
    if not wanted or not isinstance(sketch.draft.entry(folder), Folder):
        return
    forms = wanted | {spelt for name in wanted for spelt, _ in spellings(name)}
    moves = [
        (path, f"{folder}/{name}")
        for path in _deep_files(sketch.draft, folder)
        if (name := path.rpartition("/")[2]) in forms or any(fnmatchcase(name, glob) for glob in unpack.include)
    ]
    parents = {path.rpartition("/")[0] for path, _ in moves}
    if not any(to.rpartition("/")[2] in forms for _, to in moves):
        return
    if any(missing.uses(sketch.draft.place(parent)) for parent in parents):
        return
    if _blocked(sketch, moves[0][0].rpartition("/")[0], moves):
        return
    for path, to in moves:
        sketch.act(move(path, to))
    for parent in sorted(parents, key=len, reverse=True):
        sketch.drop_empty(parent)
    why = "the archive's own folders were kept; its pictures lie side by side"
    sketch.close(RepairKind.SCATTERED_FILES, moves[0][0].rpartition("/")[0], folder, len(moves), why)


def _doubled(draft: Draft, folder: str, name: str) -> Iterator[str]:
    """`X/X`, `X/X/X` and so on, as long as they are real folders."""
    inner = f"{folder}/{name}"
    while isinstance(draft.entry(folder), Folder) and isinstance(draft.entry(inner), Folder):
        yield inner
        inner = f"{inner}/{name}"


def _children(draft: Draft, folder: str) -> list[str]:
    return sorted(_folder_at(draft, folder).names)


def _folder_at(draft: Draft, folder: str) -> Folder:
    found = draft.folder(folder)
    assert found is not None
    return found


def _files_in(draft: Draft, path: str) -> int:
    """How many files are at a path and below it; links to folders are not followed."""
    return _count(draft.entry(path))


def _count(entry: Entry | None) -> int:
    if isinstance(entry, Folder):
        return sum(map(_count, entry.names.values()))
    return int(entry is not None)


def _deep_files(draft: Draft, folder: str) -> Iterator[str]:
    """Files in the folders below a folder, hidden ones left out."""
    for name, entry in sorted(_folder_at(draft, folder).names.items()):
        if isinstance(entry, Folder) and not name.startswith("."):
            inner = f"{folder}/{name}"
            yield from _deep_files(draft, inner)
            yield from (
                f"{inner}/{leaf}"
                for leaf, found in sorted(entry.names.items())
                if isinstance(found, File) and not leaf.startswith(".")
            )


def _blocked(sketch: Sketch, path: str, moves: list[tuple[str, str]]) -> bool:
    """Whether a name is in the way of one of the moves, which is then said: nothing is ever merged or replaced."""
    times = Counter(to for _, to in moves)
    taken = [to for to in times if times[to] > 1 or sketch.draft.entry(to) is not None]
    climbing = [old for old, _ in moves if _climbs(sketch.draft, old)]
    if taken:
        rest = f", nor of {len(taken) - 1:,} more" if len(taken) > 1 else ""
        sketch.leave(path, f"{taken[0]} would not be the only one of its name{rest}: compare them and keep one")
    elif climbing:
        sketch.leave(path, f"{climbing[0]} is a link that would no longer lead to the same place")
    return bool(taken or climbing)


def _climbs(draft: Draft, path: str) -> bool:
    entry = draft.entry(path)
    return isinstance(entry, Link) and entry.target.startswith("..")


def _known_places(catalog: Catalog, source: str, folder: str) -> Iterator[str]:
    """Where people's own unpacking is known to leave a folder."""
    place, manifest = PurePosixPath(folder), catalog.sources[source]
    name, parent = place.name, str(place.parent)
    for stem in _archive_names(source, manifest):
        # Into a folder of the archive's own name, beside the right one or at the top.
        yield from (f"{parent}/{stem}/{name}", f"{parent}/{stem}", f"data/{stem}/{name}", f"data/{stem}")
    # Visual Genome's part 1 comes from an address that names part 2.
    yield from (f"{expect.folder}/{name}" for expect in manifest.expect if expect.folder != folder)
    # WebData's archives begin with `data/` themselves.
    yield from (f"data/{folder}", f"data/{name}", name)
    # Vision-Flan, where ALLaVA's own script puts it.
    for other in catalog.sources.values():
        yield from (link.path for link in other.links if link.target == folder)


def _archive_names(source: str, manifest: Source) -> dict[str, None]:
    """What the archives of a source are called without their suffix: at their address, and in our cache."""
    names: dict[str, None] = {}
    for file in manifest.files:
        if file.unpack is not None and not file.shard_numbers:
            cached = PurePosixPath(file.name).stem
            at_home = PurePosixPath(urlsplit(file.url).path).stem
            names |= dict.fromkeys((at_home, cached, cached.removeprefix(f"{source}-")))
    return names


def _may_move(sketch: Sketch, missing: Missing, folder: str, home: str) -> bool:
    """Whether nobody would miss a folder where it is: no manifest speaks of it, and no record names what is in it."""
    if not isinstance(sketch.draft.entry(folder), Folder) or f"{folder}/".startswith(f"{home}/"):
        return False
    if any(link.path == folder and link.target == home for link in sketch.links):
        return True  # A link will have its place.
    return not sketch.is_kept(folder) and not missing.uses(sketch.draft.place(folder))


def _holds(draft: Draft, folder: str, wanted: list[str], expect: Expect) -> bool:
    """Whether a folder holds most of what is wanted, misnamed or deeper (`X/X`); where nothing is, all its files."""
    if not wanted:
        whole = expect.files is not None and _files_in(draft, folder) == expect.files
        return whole and draft.entry(expect.folder) is None
    levels = (folder, *_doubled(draft, folder, PurePosixPath(expect.folder).name))
    return any(2 * sum(_has(draft, f"{at}/{name}") for name in wanted) > len(wanted) for at in levels)


def _has(draft: Draft, path: str) -> bool:
    parent, _, name = path.rpartition("/")
    return any(draft.has_file(f"{parent}/{spelt}") for spelt in chain([name], (other for other, _ in spellings(name))))


def _move_home(sketch: Sketch, folder: str, home: str) -> None:
    draft, there = sketch.draft, sketch.draft.entry(home)
    count = _files_in(draft, folder)
    if not sketch.same_disk(folder, home):
        sketch.leave(folder, f"it belongs to {home}, which is on another disk: move it yourself")
        return
    if isinstance(there, Folder) and there.names:
        moves = [(f"{folder}/{child}", f"{home}/{child}") for child in _children(draft, folder)]
        if _blocked(sketch, folder, moves):
            return
        for path, to in moves:
            sketch.act(move(path, to))
        sketch.act(drop(folder, _folder_at(draft, folder)))
    else:
        if isinstance(there, Folder):
            sketch.act(drop(home, there))
        sketch.make_folders(home.rpartition("/")[0])
        sketch.act(move(folder, home))
    sketch.drop_empty(folder.rpartition("/")[0])
    sketch.close(RepairKind.MISPLACED_FOLDER, folder, home, count, "the folder is not where the document has it")

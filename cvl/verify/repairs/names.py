"""Pictures that are there under another spelling of their name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from cvl.images import PICTURE_SUFFIXES, ImageKind, kind_of
from cvl.verify.repairs.acts import move
from cvl.verify.repairs.draft import File
from cvl.verify.repairs.sketch import Missing, Sketch
from cvl.verify.repairs.values import RepairKind

_KINDS = {kind.suffix: kind for kind in ImageKind} | {".jpeg": ImageKind.JPEG, ".tif": ImageKind.TIFF}
_WHY = {
    "case": "the suffix is written in capital letters",
    "suffix": "the suffix is that of another kind of picture",
    "name": "unzip could not write the name as it is",
}


@dataclass(frozen=True)
class _Found:
    """A missing picture and the file that it must be: folder as references name it, both names, and the reason."""

    folder: str
    name: str
    found: str
    why: str


def rename_misnamed(sketch: Sketch, missing: Missing, named: Callable[[], Iterable[str]]) -> None:
    """Give files the names that instruction files have for them.

    A file that is itself named by a record keeps its name; so does one of several that could be meant.
    """
    found = _unnamed(sketch, list(_candidates(sketch, missing)), named)
    found.sort(key=lambda item: (item.why, item.folder, item.name))
    for (why, folder), items in groupby(found, key=lambda item: (item.why, item.folder)):
        pairs = [(f"{folder}/{item.found}", f"{folder}/{item.name}") for item in items]
        _rename(sketch, pairs, _WHY[why])


def infozip(name: str) -> str:
    """`name` as Info-ZIP writes it where the locale has no such characters: `café` as `caf#U00e9`."""
    return "".join(_escape(character) for character in name)


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x80:
        return character
    return f"#U{number:04x}" if number <= 0xFFFF else f"#L{number:06x}"


def spellings(name: str) -> Iterator[tuple[str, str]]:
    """Other names that `name` is known to end up under, each with the reason, the likeliest first."""
    stem, suffix = _parted(name)
    for form in _forms(stem):
        for end in dict.fromkeys((suffix, suffix.upper(), suffix[:1] + suffix[1:].capitalize(), suffix.lower())):
            if form + end != name:
                yield form + end, "name" if form != stem else "case"
    if suffix.lower() in _KINDS:
        for form in _forms(stem):
            for end in sorted(PICTURE_SUFFIXES - {suffix.lower()}):
                yield from ((form + spelt, "suffix") for spelt in (end, end.upper()))


def _parted(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if dot else (name, "")


def _forms(stem: str) -> tuple[str, ...]:
    if stem.isascii():
        return (stem,)
    composed, parts = unicodedata.normalize("NFC", stem), unicodedata.normalize("NFD", stem)
    forms = [stem, composed, parts, infozip(stem), infozip(composed), infozip(parts)]
    forms += [re.sub("#[UL][0-9a-f]+", lambda match: match[0][:2] + match[0][2:].upper(), form) for form in forms[3:]]
    # What a zip says in UTF-8 without saying that it does is read in the code page of DOS.
    forms += [form.encode().decode("cp437") for form in (composed, parts)]
    return tuple(dict.fromkeys(forms))


def _candidates(sketch: Sketch, missing: Missing) -> Iterator[_Found]:
    seen: set[tuple[str, str]] = set()
    for folder, names in missing.names.items():
        there, place = sketch.draft.folder(folder), sketch.draft.place(folder)
        for name in names if there is not None else ():
            # Through a link the same folder has two names.
            if there is None or name in there.names or (place, name) in seen:
                continue
            seen.add((place, name))
            hits = [
                (spelt, why)
                for spelt, why in dict.fromkeys(spellings(name))
                if isinstance(there.names.get(spelt), File)
                and (why != "suffix" or _is_what_it_should(sketch, f"{folder}/{spelt}", name))
            ]
            if len({spelt for spelt, _ in hits}) > 1:
                sketch.leave(f"{folder}/{name}", f"may be {' or '.join(spelt for spelt, _ in hits)}")
            elif hits:
                yield _Found(folder, name, *hits[0])


def _is_what_it_should(sketch: Sketch, path: str, name: str) -> bool:
    """Whether a file is the kind of picture that `name` promises."""
    real = sketch.draft.real(path)
    return real is not None and kind_of(real) is _KINDS[_parted(name)[1].lower()]


def _unnamed(sketch: Sketch, found: list[_Found], named: Callable[[], Iterable[str]]) -> list[_Found]:
    """Those whose file is not itself named by a record, under whatever name of its folder."""
    if not found:
        return []
    place_of = cache(sketch.draft.place)
    wanted = {(place_of(item.folder), item.found) for item in found}
    taken = set()
    for path in named():
        folder, _, name = path.rpartition("/")
        if (key := (place_of(folder), name)) in wanted:
            taken.add(key)
    return [item for item in found if (place_of(item.folder), item.found) not in taken]


def _rename(sketch: Sketch, pairs: list[tuple[str, str]], why: str) -> None:
    done = []
    for old, new in pairs:
        # One file may be what two missing names mean: the first one has it.
        if isinstance(sketch.draft.entry(old), File) and sketch.draft.entry(new) is None:
            sketch.act(move(old, new))
            done.append((old, new))
    if done:
        sketch.close(RepairKind.MISNAMED_FILES, *done[0], len(done), why)

"""The pictures that records name, put together by folder: so they are compared with what lies in each folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

Grouped: TypeAlias = dict[str, bytes]
"""For each folder the names in it, UTF-8, a zero byte after each; a name may stand there often."""


def grouped(images: Iterable[str]) -> Grouped:
    """These image paths by their folders; "" is a folder too, and no image."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for image in images:
        if image:
            folder, _, name = image.rpartition("/")
            names[folder].append(name)
    return {folder: "\0".join([*found, ""]).encode() for folder, found in names.items()}


def merged(groups: Iterable[Grouped]) -> Grouped:
    """The names of many groups, by folder, in the order of the folders."""
    texts: defaultdict[str, list[bytes]] = defaultdict(list)
    for group in groups:
        for folder, text in group.items():
            texts[folder].append(text)
    return {folder: b"".join(texts[folder]) for folder in sorted(texts)}

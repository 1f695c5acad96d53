"""Reading a list of many small files: an object of entries, each with an address, under keys that become file names."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from cvl.errors import AnnotationError
from cvl.files import folds_case

MAX_KEY_BYTES = 250
"""File systems take names of 255 bytes, and the longest suffix of a picture has five."""

_KEY = re.compile(r"[\w-][\w.-]*")
_SHOWN_OF_KEY = 60


def read_list(path: Path, url_field: str) -> dict[str, str]:
    """The address of each entry by its key. Of a key that comes twice, the last entry counts.

    Raises:
        AnnotationError: the list is not an object of entries with an address each, has none, or has a key that cannot
            be a file's name.
    """
    # Nothing but the addresses is kept of a list of a hundred megabytes.
    entry: Any = msgspec.defstruct("Entry", [("url", Any, msgspec.field(default=msgspec.UNSET, name=url_field))])
    try:
        with _mapped(path) as content:
            listed: dict[str, Any] = msgspec.json.decode(content, type=dict[str, entry])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path} is not a JSON object of entries: {error}", hint="fetch it again") from error
    if not listed:
        hint = f"remove {path} and run the same command again: it is fetched anew"
        raise AnnotationError(f"{path} is an empty list, expected an entry for each file", hint=hint)
    return {key: _address(path, key, found.url, url_field) for key, found in listed.items()}


@contextmanager
def _mapped(path: Path) -> Iterator[bytes | memoryview]:
    """A file's content, without a copy of it in memory."""
    if not path.stat().st_size:
        yield b""
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        yield view


def _address(path: Path, key: str, url: object, url_field: str) -> str:
    if not _KEY.fullmatch(key):
        shown = key[:_SHOWN_OF_KEY]
        raise AnnotationError(
            f"{path}: the key `{shown}` cannot be a file's name", hint="check where the list comes from"
        )
    if (size := len(os.fsencode(key))) > MAX_KEY_BYTES:
        raise AnnotationError(
            f"{path}: the key `{key[:_SHOWN_OF_KEY]}…` cannot be a file's name: expected at most {MAX_KEY_BYTES} "
            f"bytes, found {size}",
            hint="check where the list comes from",
        )
    if url is msgspec.UNSET:
        raise AnnotationError(f"{path}: the entry {key} has no `{url_field}`", hint="check `url_field` in the manifest")
    if not isinstance(url, str):
        raise AnnotationError(
            f"{path}: `{url_field}` of the entry {key} is no address: expected a string, found {url!r}",
            hint="check `url_field` in the manifest",
        )
    return url


def host_of(url: str) -> str | None:
    """The host that an address leads to, None if it is no address of http or https."""
    scheme, _, rest = url.partition("://")
    return _host(scheme, rest.partition("/")[0])


@cache
def _host(scheme: str, authority: str) -> str | None:
    """Remembered, for a list of hundreds of thousands of addresses has few hosts."""
    try:
        return urlsplit(f"{scheme}://{authority}").hostname if scheme.lower() in ("http", "https") else None
    except ValueError:
        return None


def check_case(keys: Iterable[str], folder: Path) -> None:
    """Make sure that each key is a file of its own in `folder`, which exists.

    Raises:
        AnnotationError: keys differ only in case, and the folder's file system does not tell them apart.
    """
    clash = differing_in_case(keys)
    if clash is not None and folds_case(folder):
        one, other = clash
        raise AnnotationError(
            f"the keys `{one}` and `{other}` differ only in case, and the disk of {folder} takes them for one name",
            hint="choose a --root on a disk that tells upper case from lower case",
        )


def differing_in_case(keys: Iterable[str]) -> tuple[str, str] | None:
    """The first two keys that differ only in case, None if there are none."""
    seen: Mapping[str, str] = (folded := {})
    for key in keys:
        other = seen.get(key.casefold())
        if other is not None:
            return other, key
        folded[key.casefold()] = key
    return None

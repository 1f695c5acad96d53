"""HTML from values: whatever is not markup of ours is escaped as it is put in, so nothing can be forgotten.

Texts come from records and file names, which may hold anything: tags, half surrogate pairs, marks that turn the
direction of writing, ten thousand characters. What a browser could not show, or what would make a name look like
another, is shown as Python would write it: `\\x1b`, `\\udc80`, `\\u202e`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_UNSHOWABLE = "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
_DECEPTIVE = "\t\n\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_IN_TEXT = re.compile(f"[{_UNSHOWABLE}]")
_IN_NAMES = re.compile(f"[{_UNSHOWABLE}{_DECEPTIVE}]")

_VOID = frozenset({"img"})
_NAME_LIMIT = 200
_PROSE_LIMIT = 280


class Markup(str):
    """HTML of ours, which goes into a page as it is."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | int | bool | None) -> Markup:
    """`<name …>children</name>`, children and attributes escaped unless they are `Markup`.

    An attribute's underscores become hyphens, one at its end is dropped (`class_`). True is an attribute without a
    value; None and False leave it out.
    """
    opening = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Markup(opening if name in _VOID else f"{opening}{joined(children)}</{name}>")


def joined(parts: Iterable[str]) -> Markup:
    """The parts one after the other, each escaped unless it is `Markup`."""
    return Markup("".join(map(escaped, parts)))


def escaped(text: str) -> Markup:
    """A text as HTML that shows it, in an element as well as in an attribute's quotes."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_IN_TEXT.sub(_spelt_out, text)))


def name(text: str, limit: int | None = _NAME_LIMIT) -> Markup:
    """A file's name or a command, isolated from the direction of what stands around it, every character seen.

    Longer than `limit` characters, its middle is left out, and it says how long it was; None leaves it whole.
    """
    if limit is not None and len(text) > limit:
        kept = limit // 2
        text = f"{text[:kept]} … {text[-kept:]} ({len(text):,} characters)"
    return element("bdi", _IN_NAMES.sub(_spelt_out, text), dir="ltr")


def prose(text: str, limit: int = _PROSE_LIMIT) -> Markup:
    """What somebody wrote, in its own direction, cut after `limit` characters."""
    cut = text.strip()
    return element("bdi", cut if len(cut) <= limit else cut[:limit].rstrip() + " …", dir="auto")


def _attribute(key: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    key = key.removesuffix("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{escaped(str(value))}"'


def _spelt_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()

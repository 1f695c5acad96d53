"""Tables that can be read aloud, sorted and searched, and that fold into cards on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from cvl.output.page.markup import Markup, element, joined

T = TypeVar("T")


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        title: its head.
        number: whether it holds numbers, which are sorted by value.
        wide: whether a phone gives its cells a line of their own.
    """

    title: str
    number: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Look:
    """How a table presents itself.

    Args:
        label: what a screen reader calls it; headings of the page are for everybody else.
        search: whether there is a field to search it with.
        tall: whether it may be so long that it scrolls in a frame of its own.
        narrow: whether it fits on a phone as it is; others fold into cards there.
    """

    label: str
    search: bool = False
    tall: bool = False
    narrow: bool = False


def table(look: Look, columns: tuple[Column, ...], rows: Iterable[Markup]) -> Markup:
    """A table of rows that `row` made for the same columns."""
    # Roles are spelt out: some browsers forget them where a style sheet lays a table out in another way.
    heads = (element("th", column.title, scope="col", role="columnheader", class_=_class(column)) for column in columns)
    head = element("thead", element("tr", *heads, role="row"), role="rowgroup")
    body = element("tbody", joined(rows), role="rowgroup")
    whole = element("table", head, body, role="table", aria_label=look.label, class_=None if look.narrow else "folds")
    frame = element(
        "div",
        whole,
        class_="frame tall" if look.tall else "frame",
        role="region" if look.tall else None,
        aria_label=look.label if look.tall else None,
        tabindex=0 if look.tall else None,
    )
    return element("div", _tools(look.label) if look.search else "", frame, class_="listing")


def row(columns: tuple[Column, ...], cells: tuple[str, ...]) -> Markup:
    """One row; its first cell is its head."""
    first, *rest = (
        _cell(column, cell, head=not number) for number, (column, cell) in enumerate(zip(columns, cells, strict=True))
    )
    return element("tr", first, *rest, role="row")


def within(things: Iterable[T], show: Callable[[T], Markup], allowance: int) -> tuple[list[Markup], int]:
    """The first things as `show` shows them, as many as take no more than `allowance` bytes, and how many are left.

    What is left is not shown to anybody, nor is `show` asked for it once something did not fit.
    """
    kept: list[Markup] = []
    left_out = 0
    for thing in things:
        piece = show(thing) if not left_out else Markup()
        allowance -= len(piece.encode())
        if allowance >= 0 and not left_out:
            kept.append(piece)
        else:
            left_out += 1
    return kept, left_out


def _cell(column: Column, content: str, *, head: bool) -> Markup:
    if head:
        return element("th", content, scope="row", role="rowheader", class_=_class(column))
    return element("td", content, role="cell", data_label=column.title, class_=_class(column))


def _class(column: Column) -> str | None:
    return " ".join(word for word, holds in (("number", column.number), ("wide", column.wide)) if holds) or None


def _tools(label: str) -> Markup:
    """A search field, which the page's script brings to light: without it there is nothing to search with."""
    field = element(
        "label",
        element("span", f"Search {label.lower()}"),
        Markup('<input type="search" autocomplete="off" spellcheck="false">'),
    )
    return element("div", field, element("output", "", aria_live="polite"), class_="tools", hidden=True)

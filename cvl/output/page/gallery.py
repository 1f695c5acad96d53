"""The page's sections that show pictures: damaged ones, how large they are, and records drawn by chance."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from functools import partial
from statistics import median

from cvl.errors import ImageError
from cvl.output.page.damaged import Damaged
from cvl.output.page.histogram import ASPECT, FILE_SIZE, LONGER_SIDE, histogram
from cvl.output.page.markup import Markup, element, joined, name, prose
from cvl.output.page.pictures import Size, Thumbnail, thumbnail
from cvl.output.page.samples import Sample
from cvl.output.page.sections import section
from cvl.output.page.sizes import Measured
from cvl.output.page.table import Column, Look, row, table, within
from cvl.output.page.tally import damaged
from cvl.root import Root
from cvl.units import counted
from cvl.verify.report import Report

_DAMAGED = 700_000
_SAMPLES = 1_400_000

_SIZES = (
    Column("Source", wide=True),
    Column("Pictures", number=True),
    Column("Median width", number=True),
    Column("Median height", number=True),
    Column("Smallest side", number=True),
    Column("Largest side", number=True),
)


def damaged_section(found: Iterable[Damaged], report: Report, root: Root) -> Markup:
    """Damaged pictures, each with what can be decoded of it."""
    total = damaged(report)
    how = element("p", _depth(report), class_="note")
    if not total:
        return section("damaged", "Damaged pictures", element("p", "None was found.", class_="good"), how)
    tiles, _ = within(found, partial(_damaged_tile, root), _DAMAGED)
    what = f"{len(tiles):,} of {counted(total, 'picture')} that are there and are not what they should be."
    return section("damaged", "Damaged pictures", element("p", what, class_="note"), how, _gallery(tiles))


def sizes_section(measured: Measured) -> Markup:
    """Sizes and aspect ratios of a sample, drawn and by source."""
    sizes = measured.all
    drawn = f"From the headers of n = {counted(len(sizes), 'picture')} that {counted(measured.records, 'record')} name"
    unread = f"; {measured.unread:,} more could not be read" if measured.unread else ""
    note = element("p", f"{drawn}, drawn by chance, the same ones each time{unread}.", class_="note")
    if not sizes:
        return section("sizes", "Sizes", note)
    figures = (
        histogram(LONGER_SIDE, (max(size.width, size.height) for size in sizes)),
        histogram(ASPECT, (size.width / size.height for size in sizes)),
        histogram(FILE_SIZE, (size.bytes for size in sizes)),
    )
    rows = (row(_SIZES, _size_cells(source, own)) for source, own in measured.sizes.items())
    by_source = table(Look("Sizes by source"), _SIZES, rows)
    return section("sizes", "Sizes", note, element("div", *figures, class_="histograms"), by_source)


def samples_section(found: Iterable[Sample], root: Root) -> Markup:
    """Records drawn by chance: the picture and the first question of each, by instruction file."""
    tiles, rest = within(found, partial(_sample_tile, root), _SAMPLES)
    left = f" {rest:,} more did not fit on this page." if rest else ""
    note = element("p", f"Drawn by chance, the same ones each time; records are counted from 0.{left}", class_="note")
    return section("samples", "Records", note, _gallery(tiles))


def _depth(report: Report) -> str:
    """How closely pictures were looked at."""
    if report.decoded is None:
        return "Pictures were not decoded: cvl verify-layout --decode quick, or full, looks into them."
    done = report.decoded
    return f"{done.pictures:,} pictures were decoded ({done.depth}), {done.remembered:,} of them by an earlier run."


def _gallery(tiles: Iterable[Markup]) -> Markup:
    return element("ul", joined(tiles), class_="gallery", role="list")


def _damaged_tile(root: Root, file: Damaged) -> Markup:
    try:
        copy = thumbnail(root, file.path)
        shown, flaw = _picture(copy, file.path), copy.flaw or f"decodes, {_pixels(copy.original)}"
    except ImageError as error:
        shown, flaw = _blank("nothing to see"), str(error)
    words = (
        _line("strong", f"{file.source}: " if file.source else "", file.kind.replace("-", " ")),
        _line("span", prose(flaw)),
    )
    return _tile(shown, *words, _line("span", name(file.path), class_="path"))


def _sample_tile(root: Root, sample: Sample) -> Markup:
    return _tile(_sample_picture(sample, root), *_sample_lines(sample))


def _sample_picture(sample: Sample, root: Root) -> Markup:
    if sample.image is None:
        return _blank("text only")
    try:
        return _picture(thumbnail(root, sample.image), sample.image)
    except ImageError as error:
        return _blank(str(error))


def _sample_lines(sample: Sample) -> Iterator[Markup]:
    yield _line("q", prose(sample.question)) if sample.question else _line("span", "asks nothing", class_="muted")
    yield _line("span", f"{sample.annotation}, record {sample.record:,}", class_="muted")
    if sample.image is not None:
        yield _line("span", name(sample.image), class_="path")


def _tile(picture: Markup, *lines: Markup) -> Markup:
    return element("li", element("figure", picture, element("figcaption", *lines)))


def _line(kind: str, *content: str, class_: str | None = None) -> Markup:
    return element("div", element(kind, *content, class_=class_))


def _picture(copy: Thumbnail, path: str) -> Markup:
    source = f"data:image/jpeg;base64,{base64.b64encode(copy.jpeg).decode()}"
    described = f"{_pixels(copy.original)}, {path.rpartition('/')[2][:80]}"
    image = element("img", src=source, alt=described, width=copy.width, height=copy.height, decoding="async")
    return element("div", image, class_="picture")


def _blank(reason: str) -> Markup:
    return element("div", prose(reason, 80), class_="picture blank")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]:,} × {size[1]:,} pixels"


def _size_cells(source: str, sizes: tuple[Size, ...]) -> tuple[str, ...]:
    widths, heights = ([getattr(size, side) for size in sizes] for side in ("width", "height"))
    numbers = (len(sizes), median(widths), median(heights), min(*widths, *heights), max(*widths, *heights))
    return source, *(f"{number:,.0f}" for number in numbers)

"""Histograms as inline SVG: bars that lie, so that their labels can be read on a phone."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from cvl.output.page.markup import Markup, element

_WIDTH, _LABEL, _COUNT, _LINE = 340, 92, 52, 22


@dataclass(frozen=True)
class Scale:
    """The bins of a histogram.

    Args:
        title: of the histogram.
        edges: between the bins, ascending; a value on an edge belongs to the bin above it.
        labels: of the bins, one more than edges.
    """

    title: str
    edges: tuple[float, ...]
    labels: tuple[str, ...]

    def count(self, values: Iterable[float]) -> list[int]:
        """How many values fall into each bin."""
        counts = [0] * len(self.labels)
        for value in values:
            counts[bisect_right(self.edges, value)] += 1
        return counts


LONGER_SIDE = Scale(
    "Longer side, pixels",
    (128, 256, 384, 512, 640, 768, 1024, 1536, 2048),
    (
        "below 128",
        "128 to 255",
        "256 to 383",
        "384 to 511",
        "512 to 639",
        "640 to 767",
        "768 to 1023",
        "1024 to 1535",
        "1536 to 2047",
        "2048 and up",
    ),
)
ASPECT = Scale(
    "Width : height",
    (1 / 3, 1 / 2, 2 / 3, 9 / 10, math.nextafter(10 / 9, 2), math.nextafter(3 / 2, 2), 2, 3),
    (
        "below 1:3",
        "1:3 to 1:2",
        "1:2 to 2:3",
        "2:3 to 9:10",
        "about square",
        "10:9 to 3:2",
        "3:2 to 2:1",
        "2:1 to 3:1",
        "3:1 and up",
    ),
)
FILE_SIZE = Scale(
    "File size",
    (1e4, 3e4, 1e5, 3e5, 1e6, 3e6),
    ("below 10 kB", "10 to 30 kB", "30 to 100 kB", "100 to 300 kB", "0.3 to 1 MB", "1 to 3 MB", "3 MB and up"),
)


def histogram(scale: Scale, values: Iterable[float]) -> Markup:
    """A figure; empty bins before the first and after the last that holds something are left out."""
    counts = scale.count(values)
    filled = [number for number, count in enumerate(counts) if count]
    shown = range(filled[0], filled[-1] + 1) if filled else range(0)
    highest = max(counts, default=0)
    bars = [_bar(line, scale.labels[number], counts[number], highest) for line, number in enumerate(shown)]
    spoken = "; ".join(f"{scale.labels[number]}: {counts[number]:,}" for number in shown)
    drawing = element(
        "svg",
        *bars,
        viewBox=f"0 0 {_WIDTH} {max(1, len(bars)) * _LINE}",
        role="img",
        aria_label=f"{scale.title}: {spoken}",
    )
    return element("figure", element("figcaption", scale.title), drawing, class_="histogram")


def _bar(line: int, label: str, count: int, highest: int) -> Markup:
    top, room = line * _LINE, _WIDTH - _LABEL - _COUNT
    length = max(1.5, room * count / highest) if count else 0
    middle = top + _LINE / 2 + 4
    return element(
        "g",
        element("text", label, x=_LABEL - 8, y=f"{middle:g}", text_anchor="end"),
        element("rect", x=_LABEL, y=top + 3, width=f"{length:.1f}", height=_LINE - 6),
        element("text", f"{count:,}", x=f"{_LABEL + length + 6:.1f}", y=f"{middle:g}", class_="count"),
    )

"""HTML from values: whatever a text tries, it is shown as the text that it is."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.output.page.histogram import ASPECT, FILE_SIZE, LONGER_SIDE, Scale, histogram
from cvl.output.page.markup import Markup, element, escaped, joined, name, prose
from cvl.output.page.table import Column, Look, row, table, within

COLUMNS = (Column("Name"), Column("Count", number=True), Column("Cure", wide=True))


class Reader(HTMLParser):
    """What a browser would make of some HTML: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_a_text_never_becomes_an_element_or_leaves_its_attribute(text: str) -> None:
    read = Reader(element("p", text, title=text))
    assert [tag for tag, _ in read.elements] == ["p"]
    assert list(read.elements[0][1]) == ["title"]


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cn"))))
def test_a_text_without_control_characters_is_shown_as_it_is(text: str) -> None:
    assert Reader(element("p", text)).text == text


@given(st.text(alphabet=st.characters()))
def test_every_text_can_be_written_as_utf_8(text: str) -> None:
    for shown in (escaped(text), name(text), prose(text)):
        assert shown.encode().decode() == shown
        assert "\0" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\udc80", r"\udc80"),
        ("\ud83d", r"\ud83d"),
        ("a\0b", r"a\x00b"),
        ("\x1b[31m", r"\x1b[31m"),
        ("line\nfeed", r"line\nfeed"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("שלום", "שלום"),
        ("</bdi><b>", "</bdi><b>"),
    ],
)
def test_a_name_shows_every_character_that_it_has(text: str, shown: str) -> None:
    read = Reader(name(text))
    assert read.text == shown
    assert read.elements == [("bdi", {"dir": "ltr"})]


def test_a_long_name_keeps_both_ends_and_says_how_long_it_was() -> None:
    shown = Reader(name("a" * 5_000 + "b" * 5_000)).text
    assert shown.startswith("aaa")
    assert shown.endswith("bbb (10,000 characters)")
    assert len(shown) < 250
    assert len(Reader(name("a" * 10_000, None)).text) == 10_000


def test_prose_keeps_its_lines_and_its_direction_and_is_cut() -> None:
    assert Reader(prose(" שלום\nעולם ")).text == "שלום\nעולם"
    assert prose("x").startswith('<bdi dir="auto">')
    assert Reader(prose("word " * 100, 12)).text == "word word wo …"


def test_markup_is_not_escaped_twice() -> None:
    inner = element("b", "<")
    assert element("p", inner, "<") == "<p><b>&lt;</b>&lt;</p>"
    assert joined([inner, "&"]) == "<b>&lt;</b>&amp;"
    assert escaped(inner) is inner


def test_attributes_are_named_as_in_html_and_left_out_where_there_is_none() -> None:
    made = element("img", alt="", class_="a b", aria_label=None, data_label='"', hidden=True, open=False, width=3)
    assert made == '<img alt="" class="a b" data-label="&quot;" hidden width="3">'


def test_a_table_has_heads_for_its_columns_and_its_rows() -> None:
    made = table(Look("Things", search=True), COLUMNS, [row(COLUMNS, ("a", "1", "<x>"))])
    cells = [(tag, values.get("scope")) for tag, values in Reader(made).elements if tag in ("th", "td")]
    assert cells == [("th", "col")] * 3 + [("th", "row"), ("td", None), ("td", None)]
    roles = {tag: values.get("role") for tag, values in Reader(made).elements}
    assert (roles["table"], roles["tr"], roles["td"]) == ("table", "row", "cell")


def test_a_search_field_has_a_label_and_waits_for_the_script() -> None:
    made = Reader(table(Look("Things", search=True), COLUMNS, []))
    assert any(values.get("class") == "tools" and "hidden" in values for _, values in made.elements)
    assert [tag for tag, _ in made.elements].index("label") < [tag for tag, _ in made.elements].index("input")
    assert made.text.startswith("Search things")
    assert "input" not in [tag for tag, _ in Reader(table(Look("Things"), COLUMNS, [])).elements]


def test_a_tall_table_can_be_scrolled_by_keyboard() -> None:
    frames = [
        values for _, values in Reader(table(Look("Things", tall=True), COLUMNS, [])).elements if "tabindex" in values
    ]
    assert [(frame["role"], frame["aria-label"], frame["tabindex"]) for frame in frames] == [("region", "Things", "0")]


def test_what_does_not_fit_is_counted_and_not_made() -> None:
    made: list[str] = []

    def show(text: str) -> Markup:
        made.append(text)
        return Markup(text)

    assert within(["é" * 10] * 5, show, 60) == ([Markup("é" * 10)] * 3, 2)
    assert len(made) == 4
    assert within(["a", "b"], Markup, 2) == ([Markup("a"), Markup("b")], 0)
    assert within(["x" * 100, "x"], Markup, 50) == ([], 2)


@pytest.mark.parametrize("scale", [LONGER_SIDE, ASPECT, FILE_SIZE], ids=lambda scale: scale.title)
def test_a_scale_has_a_label_for_every_bin(scale: Scale) -> None:
    assert len(scale.labels) == len(scale.edges) + 1
    assert list(scale.edges) == sorted(set(scale.edges))


@pytest.mark.parametrize(
    ("width", "height", "label"),
    [
        (1, 4, "below 1:3"),
        (2, 3, "2:3 to 9:10"),
        (9, 10, "about square"),
        (1, 1, "about square"),
        (10, 9, "about square"),
        (3, 2, "10:9 to 3:2"),
        (16, 9, "3:2 to 2:1"),
        (3, 1, "3:1 and up"),
    ],
)
def test_aspect_ratios_fall_into_their_bins(width: int, height: int, label: str) -> None:
    counts = ASPECT.count([width / height])
    assert ASPECT.labels[counts.index(1)] == label


def test_a_histogram_says_its_numbers_aloud_and_draws_only_what_is_there() -> None:
    read = Reader(histogram(LONGER_SIDE, [200, 200, 600]))
    (drawing,) = (values for tag, values in read.elements if tag == "svg")
    assert drawing["aria-label"] == ("Longer side, pixels: 128 to 255: 2; 256 to 383: 0; 384 to 511: 0; 512 to 639: 1")
    widths = [float(values["width"] or "") for tag, values in read.elements if tag == "rect"]
    assert widths[1:3] == [0, 0]
    assert widths[0] == pytest.approx(2 * widths[3], abs=0.1)


def test_a_histogram_of_nothing_is_no_error() -> None:
    assert "<rect" not in histogram(FILE_SIZE, [])

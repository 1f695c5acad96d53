"""The list of signed links is looked at before a byte moves: is it there, is it whole, is it still good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cvl.demo.internet.signed import links_file, signed_link
from cvl.download.links import LinkList, check_links, read_links
from cvl.errors import EXIT_USAGE, GateError
from cvl.manifest import Gate

GATE = Gate(page="https://publisher.example/downloads", ask="accept the licence and save the list")
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
EARLIER = datetime(2024, 2, 14, 9, 30, tzinfo=UTC)
NAMES = tuple(f"sa_{number:06d}.tar" for number in range(5))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A list as the publisher makes it: unsorted, with a header and rows of other files."""
    folder = tmp_path / "signed"
    folder.mkdir()
    for name in NAMES:
        (folder / name).touch()
    listed = tmp_path / "links.txt"
    listed.write_text(links_file(folder, LATER))
    return listed


def refused(error: GateError) -> str:
    """The message, after a look at what every refusal at the gate must have."""
    assert error.exit_code == EXIT_USAGE
    assert error.hint is not None
    assert GATE.page in error.hint
    assert GATE.ask in error.hint
    assert "--skip-gated" in error.hint
    return str(error)


def test_every_row_with_a_link_is_read_whatever_its_place(path: Path) -> None:
    rows = path.read_text().splitlines()
    assert rows[1:] != sorted(rows[1:])
    links = read_links(path, GATE)
    assert set(NAMES) < set(links.links)
    assert all(links.links[name] == signed_link(name, LATER) for name in NAMES)
    assert "file_name" not in links.links


@pytest.mark.parametrize("change", [str, lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text])
def test_lists_that_passed_through_other_editors_are_read(path: Path, change: object) -> None:
    path.write_bytes(change(path.read_text()).encode())  # type: ignore[operator]
    assert set(NAMES) < set(read_links(path, GATE).links)


def test_rows_that_are_no_rows_are_passed_over(path: Path) -> None:
    text = "a note\n\n\tlonely\nsa_000000.tar\n" + path.read_text() + "sa_9.tar\tnot-a-link\n"
    path.write_text(text)
    assert "sa_9.tar" not in read_links(path, GATE).links


def test_bytes_that_are_no_text_do_not_hide_the_rows(path: Path) -> None:
    path.write_bytes(b"\xff\xfe junk\n" + path.read_bytes())
    assert set(NAMES) < set(read_links(path, GATE).links)


def test_a_list_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(GateError) as caught:
        read_links(tmp_path / "nothing.txt", GATE)
    assert "nothing.txt: No such file" in refused(caught.value)


@pytest.mark.parametrize("text", ["", "file_name\tcdn_link\n", "<html>Sign in</html>", "sa_000000.tar https://x\n"])
def test_a_list_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "links.txt").write_text(text)
    with pytest.raises(GateError) as caught:
        read_links(tmp_path / "links.txt", GATE)
    assert "has no row of a file name, a tab and a link" in refused(caught.value)


def test_a_good_list_passes(path: Path) -> None:
    check_links(read_links(path, GATE), NAMES, GATE, "sam")


def test_no_list_is_refused_with_the_page_to_visit() -> None:
    with pytest.raises(GateError) as caught:
        check_links(None, NAMES, GATE, "sam")
    assert refused(caught.value) == "`sam` needs a list of signed links, and there is none"


def test_a_missing_row_is_named_and_all_of_them_counted(path: Path) -> None:
    with pytest.raises(GateError) as caught:
        check_links(read_links(path, GATE), (*NAMES, "sa_000050.tar", "sa_000051.tar"), GATE, "sam")
    assert "no link for sa_000050.tar (2 missing in all)" in refused(caught.value)


def test_an_expired_list_is_refused_with_its_date(path: Path) -> None:
    path.write_text("\n".join(f"{name}\t{signed_link(name, EARLIER)}" for name in NAMES))
    with pytest.raises(GateError) as caught:
        check_links(read_links(path, GATE), NAMES[:2], GATE, "sam")
    assert "expired on 2024-02-14 09:30 UTC (2 of 2)" in refused(caught.value)


def test_only_the_links_that_are_needed_must_be_good(path: Path) -> None:
    mixed = {NAMES[0]: signed_link(NAMES[0], LATER), NAMES[1]: signed_link(NAMES[1], EARLIER)}
    links = LinkList(path, mixed)
    check_links(links, NAMES[:1], GATE, "sam")
    with pytest.raises(GateError, match="1 of 2"):
        check_links(links, NAMES[:2], GATE, "sam")


def test_a_link_tells_when_it_ends(path: Path) -> None:
    assert read_links(path, GATE).expiry(NAMES[0]) == LATER


@pytest.mark.parametrize("query", ["", "?x=1", "?oe=", "?oe=zzz", "?oe=" + "F" * 40, "?oe=-1"])
def test_a_link_that_does_not_say_when_it_ends_is_tried(path: Path, query: str) -> None:
    links = LinkList(path, {"a.tar": f"https://host.example/a.tar{query}"})
    if query != "?oe=-1":
        assert links.expiry("a.tar") is None
        check_links(links, ["a.tar"], GATE, "sam")
    else:
        with pytest.raises(GateError, match="1969"):
            check_links(links, ["a.tar"], GATE, "sam")

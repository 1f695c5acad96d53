"""The demo's screen: what it shows, and the picture that it keeps."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cvl.output.screen import Screen


def text_of(picture: Path) -> str:
    """All that an SVG shows; rich writes blanks as hard ones."""
    ET.parse(picture)
    return html.unescape(picture.read_text(encoding="utf-8")).replace("\xa0", " ")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in ("coco/train2017/1.jpg", "coco/train2017/2.jpg", "allava/allava_laion/images/a/b/3.jpg", "a.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / ".cvl").mkdir()
    (folder / ".cvl" / "secret").write_bytes(b"x")
    (folder / "linked").symlink_to("coco/train2017")
    return folder


def test_a_command_is_shown_as_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(record=False).command("cvl fetch coco sam --shards 0-50")
    assert capsys.readouterr().out == "\n$ cvl fetch coco sam --shards 0-50\n"


def test_the_story_can_leave_stdout_to_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(record=False, stderr=True)
    screen.say("Once upon a time")
    screen.command("cvl status --json")
    assert capsys.readouterr() == ("", "Once upon a time\n\n$ cvl status --json\n")


def test_the_tree_shows_folders_with_their_files_and_where_links_lead(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Screen(record=False).tree(data)
    shown = capsys.readouterr().out
    assert [line.lstrip("│├└─ ") for line in shown.splitlines()] == [
        "",
        "data",
        "a.json",
        "allava",
        "allava_laion",
        "images  1 files",
        "coco",
        "train2017  2 files",
        "linked → coco/train2017",
    ]


def test_the_picture_holds_what_was_shown(data: Path, tmp_path: Path) -> None:
    screen = Screen(record=True)
    screen.say("Every host is played by this machine.")
    screen.command("cvl verify-layout")
    screen.output("\x1b[32m0 images missing\x1b[0m, [brackets] stay")
    screen.tree(data)
    screen.save(tmp_path / "pictures" / "demo.svg")
    shown = text_of(tmp_path / "pictures" / "demo.svg")
    for line in ("cvl verify-layout", "0 images missing", "[brackets] stay", "train2017", "Every host is played"):
        assert line in shown


def test_commands_print_colours_and_no_moving_bars_into_the_picture() -> None:
    assert Screen.environment() == {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "0", "COLUMNS": "100"}

"""A run as it is shown: on a terminal, in a log, to a script."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from cvl.output import training
from cvl.output.training import (
    half_blocks,
    line_of,
    listener,
    print_briefing,
    print_exported,
    print_inspected,
    print_piece,
    print_trained,
    questions,
)
from cvl.train.batch import Batching
from cvl.train.progress import Briefing, DataRow, Difference, Inspected, PartCount, Piece, Step, Trained

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

BRIEFING = Briefing(
    stage=3,
    title="Instruction tuning",
    model="ConvLLaVA-7B at 768 pixels",
    start="stage 2 of mine: /data/[mine]/stage2",
    parts=(
        PartCount("vision_tower.embeddings", 10_000, 0),
        PartCount("projector", 2_500, 2_500),
        PartCount("language_model", 7_000_000, 3_000_000),
    ),
    data=(
        DataRow("llava665k", 665_000, 624_000, {"missing image": 298}, {"first turn by gpt: it is dropped": 12}),
        DataRow("mine", 3, 2, {}, {}),
    ),
    batching=Batching(8, 16, 2),
    steps=2_598,
    warmup=78,
    rates={"projector": 2e-5, "language_model": 2e-5},
    precision="bf16",
    zero="zero3",
    device="NVIDIA H200",
    resumed=0,
    differences=(
        Difference("data", ("llava665k", "mine"), ("llava665k",)),
        Difference("projector_learning_rate", 1e-4, None),
    ),
    notes=("config.json names [another] tower",),
)


def step(number: int, steps: int = 100) -> Step:
    return Step(number, steps, number / steps, 7.24203, 2e-5, 1.5, 41.32)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "COLUMNS": "100", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)


def briefed(briefing: Briefing) -> list[str]:
    """The lines of a briefing, without the white space that tables are made of."""
    console = Console(file=io.StringIO(), width=200, highlight=False, markup=False, emoji=False)
    print_briefing(console, briefing)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_briefing_begins_with_the_stage_and_where_it_starts() -> None:
    lines = briefed(BRIEFING)
    assert lines[0] == "Stage 3: Instruction tuning, ConvLLaVA-7B at 768 pixels"
    assert lines[1] == "starts from stage 2 of mine: /data/[mine]/stage2"


def test_the_briefing_says_of_each_part_whether_it_learns() -> None:
    lines = briefed(BRIEFING)
    start = lines.index("part parameters learns")
    assert lines[start + 1 : start + 5] == [
        "vision_tower.embeddings 10,000 no",
        "projector 2,500 yes",
        "language_model 7,000,000 3,000,000",
        "in all 7,012,500 3,002,500",
    ]


def test_the_briefing_counts_records_by_source_and_those_left_out_by_reason() -> None:
    lines = briefed(BRIEFING)
    start = lines.index("instruction file records with a picture left out")
    assert lines[start + 1 : start + 6] == [
        "llava665k 665,000 624,000 298",
        "mine 3 2 0",
        "in all 665,003 624,002 298",
        "llava665k: 298 records left out: missing image",
        "llava665k: 12 records read in a stated way: first turn by gpt: it is dropped",
    ]


def test_the_briefing_shows_the_arithmetic() -> None:
    lines = briefed(BRIEFING)
    assert "batch: 256 records = 8 processes × 16 records × 2 micro-batches added up" in lines
    assert "steps: 2,598, of which 78 warm up" in lines
    rates = "learning rates: projector 2e-05, language_model 2e-05; bf16, ZeRO: zero3, on NVIDIA H200"
    assert rates in lines
    gone_on = briefed(replace(BRIEFING, resumed=1_500))
    assert "steps: 2,598, of which 78 warm up, going on after step 1,500" in gone_on


def test_the_briefing_ends_with_what_differs_and_what_was_mended() -> None:
    assert briefed(BRIEFING)[-3:] == [
        "data: llava665k, mine, the stage says llava665k",
        "projector_learning_rate: 0.0001, the stage says nothing",
        "config.json names [another] tower",
    ]


def test_a_step_is_a_line() -> None:
    expected = "step 1,000 of 2,598  loss 7.2420  learning rate 2.00e-05  41.3 records/s"
    assert line_of(step(1000, 2598)).plain == expected


def test_a_script_gets_a_line_of_json_for_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with listener(as_json=True) as told:
        told.note("putting the start weights together")
        told.briefing(BRIEFING)
        told.step(step(1))
    out, err = capsys.readouterr()
    note, briefing, stepped = (json.loads(line) for line in out.splitlines())
    assert note == {"note": "putting the start weights together"}
    assert briefing["briefing"]["batching"] == {"processes": 8, "micro": 16, "accumulation": 2}
    assert briefing["briefing"]["data"][0]["skipped"] == {"missing image": 298}
    assert (stepped["step"], stepped["loss"], stepped["grad_norm"]) == (1, 7.24203, 1.5)
    assert err == ""


def steps_of(lines: str) -> list[int]:
    return [int(number) for number in re.findall(r"^step (\d+) of", lines, re.MULTILINE)]


@pytest.mark.parametrize(
    ("steps", "shown"), [(3, [1, 2, 3]), (100, [1, *range(5, 101, 5)]), (50, [1, *range(2, 51, 2)])]
)
def test_a_log_gets_a_line_at_every_milestone(capsys: pytest.CaptureFixture[str], steps: int, shown: list[int]) -> None:
    with listener(as_json=False) as told:
        for number in range(1, steps + 1):
            told.step(step(number, steps))
    out, err = capsys.readouterr()
    assert (out, steps_of(err)) == ("", shown)


def test_a_slow_run_leaves_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_LINE_EVERY", 0.0)
    with listener(as_json=False) as told:
        for number in range(1, 5):
            told.step(step(number, 1000))
    assert steps_of(capsys.readouterr().err) == [1, 2, 3, 4]


def test_a_log_gets_notes_and_the_briefing_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with listener(as_json=False) as told:
        told.note("[note]")
        told.briefing(BRIEFING)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("[note]\nStage 3: Instruction tuning")
    assert "\x1b" not in err


@pytest.mark.usefixtures("terminal")
def test_a_terminal_has_a_bar_from_the_first_step_on(capsys: pytest.CaptureFixture[str]) -> None:
    with listener(as_json=False) as told:
        told.note("putting the start weights together")
        # Whatever prepares the run may have bars of its own until then.
        assert "\x1b[?25l" not in capsys.readouterr().err
        told.step(step(1))
        told.step(step(2))
        shown = capsys.readouterr().err
    assert "\x1b[?25l" in shown
    assert "step 1 of 100  loss 7.2420" in ESCAPES.sub("", shown)
    assert "\x1b[?25h" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_a_run_that_fails_gives_the_cursor_back(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with listener(as_json=False) as told:
            told.step(step(1))
            raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        fail()
    assert "\x1b[?25h" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_no_color_means_no_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with listener(as_json=False) as told:
        told.step(step(1))
    assert "\x1b[?25l" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("trained", "shown"),
    [
        (Trained(Path("/t/stage1"), 2_598, 1.23456, 0), "trained: /t/stage1: 2,598 steps, loss 1.2346\n"),
        (Trained(Path("/t/stage1"), 5, None, 0), "trained: /t/stage1: 5 steps\n"),
        (Trained(Path("/t/stage1"), 0, None, 7, already=True), "trained already: /t/stage1\n"),
        (
            Trained(Path("/t/stage1"), 5, 1.0, 1_234),
            "trained: /t/stage1: 5 steps, loss 1.0000\n"
            "1,234 records left out: their pictures cannot be read, see damaged.jsonl there\n",
        ),
    ],
)
def test_the_outcome_is_data_on_stdout(capsys: pytest.CaptureFixture[str], trained: Trained, shown: str) -> None:
    print_trained(trained)
    assert capsys.readouterr() == (shown, "")


def test_a_folder_can_be_copied_from_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "20")
    folder = Path("/a/rather/long/folder of/somebody/checkpoints/7b-768/stage1")
    print_trained(Trained(folder, 5, 1.0, 0))
    print_trained(Trained(folder, 5, 1.0, 0, already=True))
    print_exported(folder, ())
    assert ESCAPES.sub("", capsys.readouterr().out).count(str(folder)) == 3


def test_an_export_tells_remarks_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_exported(Path("/out"), ("change it if you move the folder", "no [tokenizer]"))
    out, err = capsys.readouterr()
    assert out == "exported, read again and compared: /out\n"
    assert err == "change it if you move the folder\nno [tokenizer]\n"


SAMPLE = Inspected(
    annotation="llava665k",
    record=1234,
    picture=None,
    pieces=(
        Piece("<s> USER: ", 5, labelled=False, picture=False),
        Piece("", 144, labelled=False, picture=True),
        Piece("What [is] this? ASSISTANT:", 9, labelled=False, picture=False),
        Piece("A cat.</s>", 4, labelled=True, picture=False),
    ),
    dropped=0,
)


def test_without_colours_what_is_learnt_stands_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    print_inspected([SAMPLE])
    assert capsys.readouterr().out == (
        "llava665k, record 1,234\n"
        "<s> USER: [144 tokens of the picture]What [is] this? ASSISTANT:⟦A cat.</s>⟧\n"
        "162 tokens, 4 of them labelled\n\n"
    )


@pytest.mark.usefixtures("terminal")
def test_with_colours_what_is_learnt_is_green(capsys: pytest.CaptureFixture[str]) -> None:
    print_inspected([SAMPLE])
    shown = capsys.readouterr().out
    assert "\x1b[1;32mA cat.</s>\x1b[0m" in shown
    assert "\x1b[1;35m[144 tokens of the picture]\x1b[0m" in shown
    assert "⟦" not in shown


def test_what_was_cut_off_and_what_is_odd_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_inspected([replace(SAMPLE, dropped=1_500, remarks=("the published code gives this record up",))])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "the published code gives this record up"
    assert lines[-2] == "162 tokens, 4 of them labelled, 1,500 cut off"


def test_a_damaged_sample_has_a_reason_in_place_of_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    print_inspected([replace(SAMPLE, picture=Path("/t/1.jpg"), pieces=(), damaged="damaged JPEG"), SAMPLE])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == ["llava665k, record 1,234", "/t/1.jpg", "left out: damaged JPEG", "", "llava665k, record 1,234"]


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_the_picture_in_small(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Image.new("RGB", (640, 320), (255, 0, 0)).save(tmp_path / "red.png")
    print_inspected([replace(SAMPLE, picture=tmp_path / "red.png")])
    lines = [line for line in capsys.readouterr().out.splitlines() if "▀" in line]
    assert [ESCAPES.sub("", line) for line in lines] == ["▀" * 32] * 8


@pytest.mark.parametrize("environment", [{}, {"TTY_COMPATIBLE": "1", "NO_COLOR": "1"}])
def test_no_colours_no_picture(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: Mapping[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    Image.new("RGB", (64, 32)).save(tmp_path / "black.png")
    print_inspected([replace(SAMPLE, picture=tmp_path / "black.png")])
    assert "▀" not in capsys.readouterr().out


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("content", [None, b"", b"<html>"])
def test_a_picture_that_cannot_be_shown_is_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "1.jpg").write_bytes(content)
    print_inspected([replace(SAMPLE, picture=tmp_path / "1.jpg", damaged="no picture", pieces=())])
    assert "left out: no picture" in capsys.readouterr().out


def test_half_blocks_show_two_pixels_a_character() -> None:
    picture = Image.new("RGB", (2, 4))
    for y, color in enumerate(((1, 2, 3), (4, 5, 6), (7, 8, 9), (250, 251, 252))):
        for x in range(2):
            picture.putpixel((x, y), color)
    shown = half_blocks(picture)
    assert shown.plain == "▀▀\n▀▀"
    styles = [str(span.style) for span in shown.spans]
    assert styles == ["rgb(1,2,3) on rgb(4,5,6)"] * 2 + ["rgb(7,8,9) on rgb(250,251,252)"] * 2


@pytest.mark.parametrize(("size", "lines"), [((3, 2), 1), ((3, 3), 1), ((3, 5), 2), ((3, 1), 0)])
def test_half_blocks_leave_an_odd_last_row_out(size: tuple[int, int], lines: int) -> None:
    assert half_blocks(Image.new("RGB", size)).plain == "\n".join(["▀" * size[0]] * lines)


def test_questions_are_the_lines_that_say_something(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is this?\n\n  \n  And that? "))
    assert list(questions()) == ["What is this?", "And that?"]
    assert capsys.readouterr() == ("", "> " * 5)


def test_pieces_of_an_answer_stand_next_to_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    for piece in ("A ", "cat", "[1].", "\n"):
        print_piece(piece)
    assert capsys.readouterr() == ("A cat[1].\n", "")

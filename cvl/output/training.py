"""A run as it is shown: the briefing, the loss as it falls, samples with their labels in colour, answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cvl.errors import ImageError
from cvl.images import decode
from cvl.output.console import print_json, stderr, stdout
from cvl.train.progress import Briefing, Inspected, Listener, Step, Trained

_MILESTONES = 20
_LINE_EVERY = 30.0
_THUMBNAIL = (32, 32)


@contextmanager
def listener(*, as_json: bool) -> Iterator[Listener]:
    """The listener that fits: JSON lines, a live bar, or plain lines."""
    console = stderr()
    if as_json:
        yield _Json()
    elif console.is_terminal and console.is_interactive and not console.no_color:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TimeRemainingColumn())
        progress = Progress(*columns, console=console, transient=True)
        try:
            yield _Lines(console, progress)
        finally:
            progress.stop()
    else:
        yield _Lines(console, None)


class _Json:
    """One line of JSON on stdout for each thing that is told."""

    def note(self, text: str) -> None:
        print_json({"note": text})

    def briefing(self, briefing: Briefing) -> None:
        print_json({"briefing": briefing})

    def step(self, step: Step) -> None:
        print_json(step)


class _Lines:
    """A line at every twentieth part of the run, and now and then between; a bar where there is a terminal."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self._console = console
        self._progress = progress
        self._bar = progress.add_task("", total=None) if progress is not None else None
        self._told = time.monotonic()

    def note(self, text: str) -> None:
        self._console.print(Text(text, style="yellow"))

    def briefing(self, briefing: Briefing) -> None:
        print_briefing(self._console, briefing)

    def step(self, step: Step) -> None:
        if self._progress is not None and self._bar is not None:
            # Not before the first step: until then the terminal is that of what prepares the run.
            self._progress.start()
            self._progress.update(self._bar, description=str(line_of(step)), completed=step.step, total=step.steps)
        if self._due(step):
            self._told = time.monotonic()
            self._console.print(line_of(step))

    def _due(self, step: Step) -> bool:
        every = max(1, step.steps // _MILESTONES)
        milestone = step.step == 1 or step.step == step.steps or step.step % every == 0
        return milestone or time.monotonic() - self._told >= _LINE_EVERY


def line_of(step: Step) -> Text:
    """A logged step as a line."""
    return Text.assemble(
        (f"step {step.step:,} of {step.steps:,}", "bold"),
        f"  loss {step.loss:.4f}  learning rate {step.learning_rate:.2e}",
        f"  {step.records_per_second:,.1f} records/s",
    )


def print_briefing(console: Console, briefing: Briefing) -> None:
    """What learns, from what, on what: everything that is worth a look before hours are spent."""
    console.print(Text.assemble((f"Stage {briefing.stage}: {briefing.title}", "bold"), f", {briefing.model}"))
    console.print(f"starts from {briefing.start}")
    console.print(_parts(briefing))
    console.print(_data(briefing))
    for name, reasons in (("left out", "skipped"), ("read in a stated way", "remarks")):
        for row in briefing.data:
            for reason, count in getattr(row, reasons).items():
                console.print(Text(f"{row.name}: {count:,} records {name}: {reason}", style="yellow"))
    console.print(f"batch: {briefing.batching.size:,} records = {briefing.batching}")
    resumed = f", going on after step {briefing.resumed:,}" if briefing.resumed else ""
    console.print(f"steps: {briefing.steps:,}, of which {briefing.warmup:,} warm up{resumed}")
    rates = ", ".join(f"{name} {rate:g}" for name, rate in briefing.rates.items())
    console.print(f"learning rates: {rates}; {briefing.precision}, ZeRO: {briefing.zero}, on {briefing.device}")
    for difference in briefing.differences:
        ours, shipped = _shown(difference.value), _shown(difference.shipped)
        console.print(Text(f"{difference.key}: {ours}, the stage says {shipped}", style="cyan"))
    for note in briefing.notes:
        console.print(Text(note, style="yellow"))


def _shown(setting: object) -> str:
    if isinstance(setting, tuple):
        return ", ".join(map(str, setting))
    return str(setting) if setting is not None else "nothing"


def _parts(briefing: Briefing) -> Table:
    table = _table("part", "parameters", "learns")
    for part in briefing.parts:
        learns = "yes" if part.trainable == part.parameters else f"{part.trainable:,}" if part.trainable else "no"
        table.add_row(part.name, f"{part.parameters:,}", Text(learns, style="green" if part.trainable else "dim"))
    total = sum(part.parameters for part in briefing.parts)
    table.add_row("in all", f"{total:,}", f"{sum(part.trainable for part in briefing.parts):,}")
    return table


def _data(briefing: Briefing) -> Table:
    table = _table("instruction file", "records", "with a picture", "left out")
    for row in briefing.data:
        table.add_row(row.name, f"{row.records:,}", f"{row.pictures:,}", f"{sum(row.skipped.values()):,}")
    records = sum(row.records for row in briefing.data)
    table.add_row("in all", f"{records:,}", f"{sum(row.pictures for row in briefing.data):,}", _skipped(briefing))
    return table


def _skipped(briefing: Briefing) -> str:
    return f"{sum(sum(row.skipped.values()) for row in briefing.data):,}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def print_trained(trained: Trained) -> None:
    """What became of a stage."""
    console = stdout()
    if trained.already:
        console.print(f"trained already: {trained.folder}", soft_wrap=True)
        return
    loss = f", loss {trained.loss:.4f}" if trained.loss is not None else ""
    console.print(f"trained: {trained.folder}: {trained.steps:,} steps{loss}", soft_wrap=True)
    if trained.damaged:
        damaged = f"{trained.damaged:,} records left out: their pictures cannot be read, see damaged.jsonl there"
        console.print(Text(damaged, style="yellow"))


def print_exported(folder: Path, remarks: tuple[str, ...]) -> None:
    """Where an export lies, and what there is to know about it."""
    stdout().print(f"exported, read again and compared: {folder}", soft_wrap=True)
    for remark in remarks:
        stderr().print(Text(remark, style="yellow"), soft_wrap=True)


def print_inspected(samples: list[Inspected]) -> None:
    """Each sample: its picture in small, its text, what the model learns to say in green."""
    console = stdout()
    for sample in samples:
        console.print(Text(f"{sample.annotation}, record {sample.record:,}", style="bold"))
        if sample.picture is not None:
            console.print(Text(str(sample.picture), style="dim"))
            _print_thumbnail(console, sample.picture)
        if sample.damaged is not None:
            console.print(Text(f"left out: {sample.damaged}\n", style="red"))
            continue
        for remark in sample.remarks:
            console.print(Text(remark, style="yellow"))
        console.print(_marked(sample, plain=not console.is_terminal or console.no_color), soft_wrap=True)
        tokens = sum(piece.tokens for piece in sample.pieces)
        labelled = sum(piece.tokens for piece in sample.pieces if piece.labelled)
        cut = f", {sample.dropped:,} cut off" if sample.dropped else ""
        console.print(Text(f"{tokens:,} tokens, {labelled:,} of them labelled{cut}\n", style="dim"))


def _marked(sample: Inspected, *, plain: bool) -> Text:
    """The text of a sample; where there are no colours, what is labelled stands in brackets."""
    text = Text()
    for piece in sample.pieces:
        if piece.picture:
            text.append(f"[{piece.tokens} tokens of the picture]", style="bold magenta")
        elif piece.labelled:
            text.append(f"⟦{piece.text}⟧" if plain else piece.text, style="bold green")
        else:
            text.append(piece.text, style="dim")
    return text


def _print_thumbnail(console: Console, picture: Path) -> None:
    """The picture in half blocks, two pixels a character; nothing where there are no colours."""
    if not console.is_terminal or console.no_color:
        return
    try:
        small = decode(picture).convert("RGB")
    except ImageError:
        return
    small.thumbnail(_THUMBNAIL, Image.Resampling.BILINEAR)
    console.print(half_blocks(small))


def half_blocks(picture: Image.Image) -> Text:
    """A small RGB picture as text: each character shows the pixel above and the one below."""
    lines = []
    for y in range(0, picture.height - 1, 2):
        line = Text()
        for x in range(picture.width):
            upper, lower = picture.getpixel((x, y)), picture.getpixel((x, y + 1))
            line.append("▀", style=f"rgb({_rgb(upper)}) on rgb({_rgb(lower)})")
        lines.append(line)
    return Text("\n").join(lines)


def _rgb(pixel: object) -> str:
    return ",".join(map(str, pixel)) if isinstance(pixel, tuple) else str(pixel)


def questions() -> Iterator[str]:
    """What is typed, line by line, until the input ends; empty lines are passed over."""
    console = stderr()
    while True:
        console.print("> ", end="", style="bold")
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def print_piece(text: str) -> None:
    """A piece of an answer, as soon as it is there."""
    sys.stdout.write(text)
    sys.stdout.flush()

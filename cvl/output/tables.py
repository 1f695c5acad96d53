"""Results as tables: sources, conversions, verification, status."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from cvl.manifest import Catalog, File, Source
from cvl.output.console import print_whole, stdout
from cvl.output.grid import new_table
from cvl.units import gigabytes

if TYPE_CHECKING:
    # What these are made by loads the HTTP clients, which a verification has no use for.
    from cvl.status import SourceStatus, Status
    from cvl.verify.report import AnnotationState, Decoded, Problem, Report, StagePlan

_NO_CURE = "nothing to do"
_MARKS = {True: Text("yes", style="green"), False: Text("no", style="red"), None: Text("not asked", style="dim")}


def print_sources(catalog: Catalog, statuses: tuple[SourceStatus, ...]) -> None:
    """Every source in a line: files, bytes, the stages that read it, what is here, licence, what it asks."""
    table = new_table("source", "files", "bytes", "stages", "here", "licence", "asks")
    for status in statuses:
        source = catalog.sources[status.name]
        row = (status.name, f"{status.files}", gigabytes(status.bytes or None), _stages(status), _here(status))
        table.add_row(*row, source.licence or "not stated", source.asks or "nothing")
    stdout().print(table)


def print_source(source: Source, status: SourceStatus) -> None:
    """One source with all that is known of it: where its files come from and land, how sure it is, what else it has."""
    console = stdout()
    console.print(Text.assemble((status.name, "bold"), f": {source.title}"))
    console.print(f"licence: {source.licence or 'not stated'}; asks: {source.asks or 'nothing'}")
    console.print(
        f"page: {source.homepage or 'none'}; stages: {_stages(status)}; here: {status.here} of {status.files}"
    )
    table = new_table("file", "bytes", "digest", "lands in", "from")
    for file in source.files:
        table.add_row(file.name, gigabytes(_size(file)), _digest(file), _landing(file), file.url)
    if source.files:
        console.print(table)
    for annotation in source.annotations:
        records = f", {annotation.records:,} records" if annotation.records is not None else ""
        console.print(
            f"instruction file: {annotation.name}: {annotation.path}{records}; images: {annotation.image_root}"
        )
    if source.gate is not None:
        console.print(f"gate: visit {source.gate.page}: {source.gate.ask}")
    for mirror in dict.fromkeys(mirror for file in source.files for mirror in file.mirrors):
        use = f"--mirror {mirror.name}" if mirror.opt_in else "used by itself"
        console.print(f"mirror: {mirror.url} ({use}{': ' if mirror.note else ''}{mirror.note})")
    for alternative in source.alternatives:
        console.print(f"alternative: --alternative {status.name}={alternative.name}: {alternative.title}")
    for link in source.links:
        console.print(f"link: {link.path} → {link.target}")


def _size(file: File) -> int | None:
    """Bytes of a file or of all its shards, as far as known."""
    if not isinstance(file.size, dict):
        return file.size or file.approximate_size
    rest = len(file.shard_numbers) - len(file.size)
    return sum(file.size.values()) + rest * (file.approximate_size or 0)


def _digest(file: File) -> str:
    if not (file.sha256 or file.md5):
        return "at first contact"
    # SA-1B has a sha256 for one shard and an md5 for all: the word is of what all have.
    whole = isinstance(file.sha256, str) or (file.sha256 is not None and len(file.sha256) == len(file.shard_numbers))
    return f"{'sha256' if whole else 'md5'}, {file.certainty}"


def _landing(file: File) -> str:
    place = file.unpack or file.snapshot
    return place.into if place is not None else str(file.path)


def _stages(status: SourceStatus) -> str:
    return ",".join(map(str, status.stages)) or "-"


def print_report(report: Report) -> None:
    """The tree folder by folder, the instruction files, the problems with their cures, and the stages."""
    console = stdout()
    folders = new_table("folder", "source", "expected", "found")
    for folder in report.folders:
        short = (folder.expected is not None and folder.found < folder.expected) or not folder.found
        found = Text(f"{folder.found:,}", style="red" if short else "green")
        folders.add_row(folder.path, folder.source, _number(folder.expected), found)
    files = new_table("instruction file", "records", "text only", "missing pictures", "training skips")
    for state in report.annotations:
        skips = ", ".join(f"{count:,} {reason}" for reason, count in state.skipped.items()) or "none"
        files.add_row(state.name, f"{state.records:,}", f"{state.text_only:,}", f"{state.missing:,}", skips)
    console.print(folders)
    console.print()
    console.print(files)
    console.print()
    _print_findings(report.annotations)
    _print_problems(report.problems, "bold red")
    _print_problems(report.remarks, "bold yellow")
    if report.decoded is not None:
        console.print(_decoded(report.decoded))
    plans = {plan.number: plan for plan in report.plans}
    for stage, ready in report.stages.items():
        console.print(Text.assemble(f"stage {stage}: ", ("ready", "green") if ready else ("not ready", "red")))
        if stage in plans:
            _print_plan(plans[stage])
    console.print(f"{report.images_missing:,} images missing, {len(report.problems)} problems")


def _print_findings(annotations: Iterable[AnnotationState]) -> None:
    """What is odd about records, what training does with them, and where to look."""
    console = stdout()
    for state in annotations:
        for finding in state.findings:
            fate = f"{finding.fate}: {finding.meaning}" if finding.meaning else f"{finding.fate}"
            console.print(f"{state.name}: {finding.label}: {finding.count:,} records, {fate}")
            for example in finding.examples:
                console.print(Text(f"    record {example.record:,} ({example.id}): {example.words}", style="dim"))


def _decoded(decoded: Decoded) -> str:
    remembered = f", {decoded.remembered:,} of them by an earlier run" if decoded.remembered else ""
    return f"{decoded.pictures:,} pictures decoded ({decoded.depth}){remembered}, {decoded.damaged:,} damaged"


def _print_plan(plan: StagePlan) -> None:
    """What a stage would leave out, and why it would not begin."""
    console = stdout()
    for blocker in plan.blockers:
        console.print(Text(f"    {blocker}", style="red"))
    for source, reasons in plan.skipped.items():
        left = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        console.print(Text(f"    leaves out records of {source}: {left}", style="dim"))


def _print_problems(problems: Iterable[Problem], style: str) -> None:
    console = stdout()
    for problem in problems:
        console.print(Text.assemble((f"{problem.kind}", style), f" {problem.path}: {problem.detail}"))
        for example in problem.examples:
            console.print(Text(f"    {example}", style="dim"))
        # Of what needs no cure nothing is told that looks like a command.
        if not problem.cure.startswith(_NO_CURE):
            print_whole(console, Text.assemble(("  cure: ", "cyan"), problem.cure))


def print_status(status: Status) -> None:
    """Where the journey stands, and what to type next."""
    console = stdout()
    table = new_table("source", "stages", "files here", "bytes here")
    for source in status.sources:
        files = Text(f"{source.here}/{source.files}", style="green" if source.complete else "yellow")
        stages = ",".join(map(str, source.stages)) or "-"
        table.add_row(
            source.name, stages, files, f"{gigabytes(source.bytes_here)} of {gigabytes(source.bytes or None)}"
        )
    console.print(f"tree: {status.root}")
    console.print(table)
    when = f"{status.verified_at:%Y-%m-%d %H:%M} UTC, {status.problems} problems" if status.verified_at else "never"
    console.print(f"last verified: {when}")
    for stage in status.stages:
        trained = ", ".join([*stage.trained, *(f"{name} begun" for name in stage.begun)]) or "not yet"
        line = Text.assemble(f"stage {stage.number}, {stage.title}: data complete ", _MARKS[stage.verified])
        console.print(line + Text(f", trained {trained}"))
    print_whole(console, Text.assemble(("next: ", "bold cyan"), status.next_command))


def _here(status: SourceStatus) -> Text:
    if status.complete:
        return Text("all", style="green") if status.files else Text("-")
    return Text(f"{status.here} of {status.files}", style="yellow" if status.here else "dim")


def _number(value: int | None) -> str:
    return f"{value:,}" if value is not None else "any"

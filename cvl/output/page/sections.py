"""The page's sections about the tree: what is there, whether it will do, what is wrong and what mends it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from cvl.output.page.markup import Markup, element, joined, name, prose
from cvl.output.page.missing import MissingPicture
from cvl.output.page.table import Column, Look, row, table, within
from cvl.output.page.tally import SourceTally, StageTally
from cvl.units import counted
from cvl.verify.report import AnnotationState, Finding, FolderState, Problem, StagePlan

# Bytes that each table may take. Stages, sources, folders and instruction files are as many as manifests name.
_SMALL = 100_000
_PROBLEMS = 600_000
_MISSING = 800_000
_FINDINGS_SIZE = 300_000

_LONGEST_CURE = 4000

_VERDICTS = {
    (True, True): ("ready", "good"),
    (True, False): ("cannot run", "bad"),
    (False, True): ("runs, not complete", "warn"),
    (False, False): ("cannot run", "bad"),
}

_SOURCES = (
    Column("Source", wide=True),
    Column("Found", number=True),
    Column("Expected", number=True),
    Column("Missing", number=True),
    Column("Damaged", number=True),
    Column("Problems", number=True),
)
_FOLDERS = (
    Column("Folder", wide=True),
    Column("Source"),
    Column("Expected", number=True),
    Column("Found", number=True),
)
_FILES = (
    Column("Instruction file", wide=True),
    Column("Records", number=True),
    Column("Text only", number=True),
    Column("Picture missing", number=True),
    Column("Left out", number=True),
)
_FINDINGS = (
    Column("What", wide=True),
    Column("Instruction file"),
    Column("Records", number=True),
    Column("Training", wide=True),
    Column("Examples", wide=True),
)
_SKIPS = (Column("Source"), Column("Records", number=True), Column("Reason"))
_PROBLEM = (
    Column("Problem"),
    Column("Count", number=True),
    Column("Where and what", wide=True),
    Column("Cure", wide=True),
)
_MISSED = (Column("Picture", wide=True), Column("Source"), Column("Named by"), Column("Record", number=True))


def section(anchor: str, title: str, *children: str) -> Markup:
    """A section with its heading, which the page's menu leads to."""
    heading = element("h2", title, id=f"{anchor}-title")
    return element("section", heading, *children, id=anchor, aria_labelledby=f"{anchor}-title")


def stages_section(stages: tuple[StageTally, ...]) -> Markup:
    """Each stage: can it run, what does it wait for, what would it leave out."""
    return section("stages", "Stages", element("div", *map(_stage, stages), class_="stages"))


def sources_section(tallies: tuple[SourceTally, ...], folders: tuple[FolderState, ...]) -> Markup:
    """Each source: present, missing, damaged; its folders below."""
    note = "Found and expected count files in folders; missing and damaged count pictures that instruction files name."
    rows = _cut(_SOURCES, (_source_cells(tally) for tally in tallies), _SMALL)
    whole = table(Look("Sources"), _SOURCES, rows)
    below = table(Look("Folders"), _FOLDERS, _cut(_FOLDERS, map(_folder_cells, folders), _SMALL))
    details = element("details", element("summary", f"All {counted(len(folders), 'folder')}"), below)
    return section("sources", "Sources", element("p", note, class_="note"), whole, details if folders else "")


def files_section(states: tuple[AnnotationState, ...]) -> Markup:
    """Each instruction file: records, those that training leaves out, and what is odd about them."""
    whole = table(Look("Instruction files"), _FILES, _cut(_FILES, map(_file_cells, states), _SMALL))
    found = [(state.name, finding) for state in states for finding in state.findings]
    rows, rest = within(found, _finding_row, _FINDINGS_SIZE)
    look = Look("Oddities of records", search=True)
    odd = (element("h3", "Oddities of records"), _left(rest, "line"), table(look, _FINDINGS, rows)) if found else ()
    return section("files", "Instruction files", whole, *odd)


def problems_section(problems: tuple[Problem, ...], remarks: tuple[Problem, ...]) -> Markup:
    """Every problem with its cure, then what is odd and keeps nothing from running."""
    good = element("p", "None was found.", class_="good")
    listed = _problem_list("Problems", problems) if problems else (good,)
    odd = (element("h3", "Remarks"), *_problem_list("Remarks", remarks)) if remarks else ()
    return section("problems", "Problems", *listed, *odd)


def missing_section(pictures: tuple[MissingPicture, ...], total: int) -> Markup:
    """Missing pictures by name, as many as fit."""
    if not total:
        return section("missing", "Missing pictures", element("p", "None.", class_="good"))
    rows, _ = within(pictures, _missing_row, _MISSING)
    what = f"{len(rows):,} of {counted(total, 'picture')} that instruction files name and that are not there."
    note = element("p", what, " The record is one that names the picture, counted from 0.", class_="note")
    look = Look("Missing pictures", search=True, tall=True)
    return section("missing", "Missing pictures", note, table(look, _MISSED, rows))


def _cut(columns: tuple[Column, ...], cells: Iterable[tuple[str, ...]], allowance: int) -> list[Markup]:
    """Rows as far as they fit, and a last one that says how many did not."""
    rows, rest = within(cells, partial(row, columns), allowance)
    if rest:
        rows.append(row(columns, (f"and {rest:,} more", *[""] * (len(columns) - 1))))
    return rows


def _left(rest: int, noun: str) -> Markup:
    return element("p", f"{counted(rest, noun)} more did not fit on this page.", class_="note") if rest else Markup()


def _stage(stage: StageTally) -> Markup:
    plan = stage.plan
    word, colour = _VERDICTS[plan.complete, plan.runs]
    heading = element("h3", f"Stage {plan.number} ", element("span", word, class_=f"badge {colour}"))
    summary = element("p", element("strong", stage.title), f", {plan.trained:,} of {counted(plan.records, 'record')}")
    waits = element("ul", *(element("li", prose(reason)) for reason in stage.waits_for)) if stage.waits_for else ""
    return element("article", heading, summary, waits, _skips(plan))


def _skips(plan: StagePlan) -> Markup:
    """Which records of a stage training would leave out: by source and reason, the most first."""
    found = [(source, reason, count) for source, reasons in plan.skipped.items() for reason, count in reasons.items()]
    if not found:
        return element("p", "No record would be left out.", class_="note")
    found.sort(key=lambda entry: (-entry[2], entry[:2]))
    cells = ((source or "no source", f"{count:,}", reason.replace("-", " ")) for source, reason, count in found)
    label = f"Records that stage {plan.number} would leave out"
    summary = element("summary", f"{counted(plan.records - plan.trained, 'record')} would be left out")
    return element("details", summary, table(Look(label, narrow=True), _SKIPS, _cut(_SKIPS, cells, _SMALL)), open=True)


def _problem_list(label: str, problems: tuple[Problem, ...]) -> tuple[Markup, ...]:
    rows, rest = within(problems, _problem_row, _PROBLEMS)
    return _left(rest, "line"), table(Look(label, search=True), _PROBLEM, rows)


def _missing_row(picture: MissingPicture) -> Markup:
    record = "" if picture.record is None else f"{picture.record:,}"
    path = element("span", name(picture.path), class_="path")
    return row(_MISSED, (path, picture.source, picture.annotation, record))


def _source_cells(tally: SourceTally) -> tuple[str, ...]:
    label = joined((element("b", tally.name or "unclaimed"), " ", element("span", tally.title, class_="muted")))
    bar = (
        element("progress", "", max=1, value=f"{tally.share:.3f}", aria_hidden="true")
        if tally.share is not None
        else ""
    )
    expected = f"{tally.expected:,}" if tally.expected is not None else "any"
    wrong = (_marked(tally.missing), _marked(tally.damaged), _marked(tally.problems))
    return joined((label, bar)), f"{tally.found:,}", expected, *wrong


def _marked(count: int) -> Markup:
    """A number that should be nought."""
    return element("span", f"{count:,}", class_="bad" if count else "muted")


def _folder_cells(folder: FolderState) -> tuple[str, ...]:
    short = not folder.found or (folder.expected is not None and folder.found < folder.expected)
    found = element("span", f"{folder.found:,}", class_="bad" if short else "good")
    return name(folder.path), folder.source, f"{folder.expected:,}" if folder.expected is not None else "any", found


def _file_cells(state: AnnotationState) -> tuple[str, ...]:
    label = joined((element("b", state.name), " ", element("span", name(state.path), class_="muted")))
    skipped = sum(state.skipped.values())
    return label, f"{state.records:,}", f"{state.text_only:,}", _marked(state.missing), _marked(skipped)


def _finding_row(found: tuple[str, Finding]) -> Markup:
    file, finding = found
    items = (
        element("li", f"record {each.record:,}", " ", name(each.id, 60) if each.id else "", " ", prose(each.words, 120))
        for each in finding.examples
    )
    folded = element("details", element("summary", counted(len(finding.examples), "example")), element("ul", *items))
    fate = f"{finding.fate}: {finding.meaning}" if finding.meaning else str(finding.fate)
    return row(_FINDINGS, (finding.label, file, f"{finding.count:,}", fate, folded if finding.examples else ""))


def _problem_row(problem: Problem) -> Markup:
    where = element("div", name(problem.path), class_="path")
    what = element(
        "div",
        *([element("span", problem.source, class_="source"), ": "] if problem.source else []),
        prose(problem.detail),
    )
    kind = element("span", str(problem.kind).replace("-", " "), class_="kind")
    return row(_PROBLEM, (kind, f"{problem.count:,}", joined((where, what, _examples(problem))), _cure(problem.cure)))


def _examples(problem: Problem) -> Markup:
    if not problem.examples:
        return Markup()
    items = (element("li", name(example)) for example in problem.examples)
    return element("details", element("summary", counted(len(problem.examples), "example")), element("ul", *items))


def _cure(cure: str) -> Markup:
    if cure.startswith("nothing to do"):
        return prose(cure)
    if len(cure) > _LONGEST_CURE:
        # A part of a command is another command.
        return prose(f"a command of {len(cure):,} characters, which cvl verify-layout prints")
    # What is shown is what is copied: a name with a line break in it is not to run as a second command.
    return element("code", name(cure, None), class_="cure")

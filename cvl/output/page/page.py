"""The whole page: one file, opened from disk, that asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from string import Template

import cvl
from cvl.annotations.place import notes_of
from cvl.errors import DiskError, UsageError
from cvl.files import beside, write_atomically
from cvl.manifest import Catalog
from cvl.output.page import tally
from cvl.output.page.damaged import damaged_files
from cvl.output.page.gallery import damaged_section, samples_section, sizes_section
from cvl.output.page.indexes import opened
from cvl.output.page.markup import Markup, element, escaped, joined, name
from cvl.output.page.missing import missing_pictures
from cvl.output.page.samples import samples
from cvl.output.page.sections import files_section, missing_section, problems_section, sources_section, stages_section
from cvl.output.page.sizes import measure
from cvl.root import Root
from cvl.units import counted
from cvl.verify.report import Report

MAX_BYTES = 5_000_000
"""No page is larger: each section has an allowance, and says how much it had to leave out."""

_MENU = {
    "stages": "Stages",
    "sources": "Sources",
    "problems": "Problems",
    "missing": "Missing pictures",
    "damaged": "Damaged pictures",
    "files": "Instruction files",
    "sizes": "Sizes",
    "samples": "Records",
}


def write_page(report: Report, catalog: Catalog, root: Root, target: Path) -> None:
    """Write what a verification found as one HTML page, in one step: a reader sees the old page or the new.

    The page needs no other file and no network. The same report of the same tree gives the same bytes.

    Raises:
        UsageError, DiskError: as `check_target`; or the disk is full.
    """
    check_target(target)
    content = render_page(report, catalog, root).encode()
    try:
        write_atomically(target, content)
    except OSError as error:
        raise _unwritable(target, error) from error


def check_target(target: Path) -> None:
    """Find out whether a page could be written there, before hours are spent on what it would show.

    Raises:
        UsageError: its folder does not exist, or it is a folder itself.
        DiskError: its folder cannot be written.
    """
    folder, trial = target.parent, beside(target)
    try:
        if not folder.is_dir():
            hint = "make it, or choose another place with --report FILE"
            raise UsageError(f"there is no folder {folder} for the report", hint=hint)
        if target.is_dir():
            raise UsageError(f"{target} is a folder", hint=f"name a file in it: --report {target / 'report.html'}")
        # Permissions do not tell: of a read-only mount, of quotas.
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise _unwritable(target, error) from error


def render_page(report: Report, catalog: Catalog, root: Root) -> str:
    """The page as text, at most `MAX_BYTES` as UTF-8.

    Reads the tree's indexes, its skip list, and the pictures that it shows; a thing that is not there is left out.
    """
    return _shell(f"{root.path.name}, verified", _body(report, catalog, root))


def _unwritable(target: Path, error: OSError) -> DiskError:
    reason = error.strerror or str(error)
    return DiskError(f"cannot write the report {target}: {reason}", hint="choose another place with --report FILE")


def _body(report: Report, catalog: Catalog, root: Root) -> Markup:
    notes = notes_of(root)
    with opened(report, catalog, root, notes) as indexes:
        missing = missing_pictures(report, catalog, notes, indexes)
        main = (
            stages_section(tally.stages(report, catalog)),
            sources_section(tally.sources(report, catalog), report.folders),
            problems_section(report.problems, report.remarks),
            missing_section(missing, report.images_missing),
            damaged_section(damaged_files(report, root, notes), report, root),
            files_section(report.annotations),
            sizes_section(measure(catalog, root, indexes)),
            samples_section(samples(indexes), root),
        )
    return joined((_header(report, root), element("main", *main, id="main"), _footer()))


def _header(report: Report, root: Root) -> Markup:
    scope = "All three stages" if report.stage is None else f"Stage {report.stage} only"
    title = element(
        "h1", name(root.path.name or str(root.path)), " ", element("span", _verdict(report), class_="verdict")
    )
    where = element("p", f"{scope}; the tree at ", element("code", name(str(root.path))), class_="note")
    return element("header", title, where, _figures(report), _menu())


def _verdict(report: Report) -> Markup:
    wrong = len(report.problems)
    return element(
        "span", counted(wrong, "problem") if wrong else "proven", class_="badge bad" if wrong else "badge good"
    )


def _figures(report: Report) -> Markup:
    ready = sum(report.stages.values())
    numbers = {
        "stages ready": f"{ready} of {len(report.stages)}",
        "files found": f"{sum(folder.found for folder in report.folders):,}",
        "pictures missing": f"{report.images_missing:,}",
        "pictures damaged": f"{tally.damaged(report):,}",
        "records": f"{sum(state.records for state in report.annotations):,}",
    }
    return element("dl", *(element("div", element("dt", key), element("dd", value)) for key, value in numbers.items()))


def _menu() -> Markup:
    links = (element("li", element("a", title, href=f"#{anchor}")) for anchor, title in _MENU.items())
    return element("nav", element("ul", *links), aria_label="Sections")


def _footer() -> Markup:
    words = f"Made by cvl {cvl.__version__} with verify-layout --report. Nothing on this page is fetched from anywhere."
    return element("footer", element("p", words))


def _shell(title: str, body: Markup) -> str:
    style, script = _part("page.css"), _part("page.js")
    rules = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": _hash(style),
        "script-src": _hash(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    policy = "; ".join(f"{key} {value}" for key, value in rules.items())
    # By its digest the policy lets in our script and style, and no other, whatever a text may try.
    values = {"title": escaped(title), "policy": escaped(policy), "style": style, "script": script, "body": body}
    return Template(_part("page.html")).substitute(values)


def _part(file: str) -> str:
    return files(__package__).joinpath(file).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"

"""The commands that work on a tree that is here: convert, verify-layout, status."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import typer

from cvl import options
from cvl.errors import EXIT_FAILED, EXIT_PROBLEMS, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from cvl.convert.report import Conversion
    from cvl.events import Reporter
    from cvl.manifest import Catalog
    from cvl.root import Root
    from cvl.verify.report import Report
    from cvl.verify.verify import Checks


def convert(
    names: options.Converted,
    dry_run: options.LookOnly = False,
    quarantine: options.Quarantine = None,
    thorough: options.Thorough = False,
    remove_originals: options.RemoveOriginals = False,
    jobs: options.Processes = None,
    part: options.Share = None,
    engine: options.EngineChoice = options.Engines.LOCAL,
    root: options.Root = options.DEFAULT_ROOT,
    manifests: options.Manifests = None,
    as_json: options.Json = False,
) -> None:
    """Turn whatever is not a real JPEG into one: first frame, RGB, quality 95, judged by content.

    cvl convert ocrvqa
    """
    from cvl.convert.jpeg import Conversion, convert_folder
    from cvl.convert.jpeg import remove_originals as remove
    from cvl.events import Event, EventKind
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.output.converted import print_converted, print_removed
    from cvl.output.progress import reporter
    from cvl.parallel import WHOLE, Engine, Part
    from cvl.root import Root

    catalog, failed = load_catalog(manifests), False
    share = Part.parse(part) if part is not None else WHOLE
    for name in names:
        folder = catalog.convertible(name)
        below = folder.removeprefix("data/")
        aside = None if quarantine is None else quarantine / below
        conversion = Conversion(Root(root).at(folder), Root(root).originals / below, aside, share, thorough)
        with reporter(as_json=False) as report, _held(Root(root), conversion, report, writes=not dry_run):
            done = convert_folder(
                conversion,
                jobs=jobs,
                engine=Engine(engine),
                dry_run=dry_run,
                on_progress=lambda i, n, name=name: report(Event(EventKind.PROGRESS, name, name, i, n, "files")),  # type: ignore[misc]
            )
            removal = remove(conversion, jobs=jobs, engine=Engine(engine)) if remove_originals and not dry_run else None
        print_json(done.as_json()) if as_json else print_converted(done, dry_run=dry_run)
        if removal is not None:
            print_json(removal) if as_json else print_removed(removal)
        failed |= bool(done.unreadable)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _held(root: Root, conversion: Conversion, report: Reporter, *, writes: bool) -> AbstractContextManager[None]:
    """The tree, held alone or, for a part, together with the other parts.

    What writes nothing needs no lock, and where there is no folder yet, the lock would be the first thing there.
    """
    from cvl.exclusive import exclusive, shared
    from cvl.parallel import WHOLE

    if not writes or not conversion.folder.is_dir():
        return nullcontext()
    return (exclusive if conversion.part == WHOLE else shared)(root, report)


def verify_layout(
    stage: options.Stage = None,
    decode: options.Decode = None,
    page: options.ReportPage = None,
    fix: options.Fix = False,
    yes: options.Yes = False,
    dry_run: options.ShowOnly = False,
    undo: options.Undo = False,
    references_only: options.ReferencesOnly = False,
    jobs: options.Processes = None,
    part: options.Share = None,
    engine: options.EngineChoice = options.Engines.LOCAL,
    root: options.Root = options.DEFAULT_ROOT,
    manifests: options.Manifests = None,
    as_json: options.Json = False,
) -> None:
    """Prove that the tree is complete: every folder, and every picture that an instruction file names.

    Ends with 3 if anything is missing; each problem names its cure. Records that training must leave out go into
    ROOT/data/.cvl/skiplist.json.

    cvl verify-layout --decode quick --report report.html

    cvl verify-layout --fix
    """
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.output.tables import print_report
    from cvl.parallel import WHOLE, Engine, Part
    from cvl.root import Root
    from cvl.verify.ahead import look_ahead

    _check_wishes(fix=fix, yes=yes, dry_run=dry_run, undo=undo)
    catalog, tree = load_catalog(manifests), Root(root)
    look_ahead(catalog, tree, jobs)
    from cvl.verify.decode import Depth
    from cvl.verify.pictures import Work
    from cvl.verify.verify import Checks

    work = Work(jobs, Engine(engine), Part.parse(part) if part is not None else WHOLE)
    checks = Checks(Depth[decode.name] if decode is not None else None, references_only, work)
    if page is not None:
        from cvl.output.page import check_target

        check_target(page)
    if undo:
        _undo(tree, as_json=as_json)
    if fix and not dry_run:
        _finish(tree)
    outcome = _verified(catalog, tree, stage, checks)
    if fix and outcome.problems and _fix(catalog, tree, outcome, ask=not yes, dry_run=dry_run, as_json=as_json):
        outcome = _verified(catalog, tree, stage, checks)
    if page is not None:
        from cvl.output.page import write_page

        write_page(outcome, catalog, tree, page)
    print_json(outcome) if as_json else print_report(outcome)
    if outcome.problems:
        _remind(root, manifests)
        raise typer.Exit(EXIT_PROBLEMS)


def _check_wishes(*, fix: bool, yes: bool, dry_run: bool, undo: bool) -> None:
    if fix and undo:
        raise UsageError("--fix and --undo are opposites", hint="give one of them")
    if (yes or dry_run) and not fix:
        raise UsageError("--yes and --dry-run say how to --fix", hint="add --fix")


def _verified(catalog: Catalog, tree: Root, stage: int | None, checks: Checks) -> Report:
    from cvl.output.progress import reporter
    from cvl.verify.verify import verify

    with reporter(as_json=False) as report:
        return verify(catalog, tree, stage, report, checks=checks)


def _finish(tree: Root) -> None:
    """Go on with a repair that was killed: its user had agreed to it."""
    from cvl.events import Event, EventKind
    from cvl.output.progress import reporter
    from cvl.verify.repair import finish_repairs

    with reporter(as_json=False) as report:
        finished = finish_repairs(tree, report)
        if finished is not None:
            report(Event(EventKind.NOTE, text=f"a repair that was cut short is now {finished}"))


def _fix(catalog: Catalog, tree: Root, outcome: Report, *, ask: bool, dry_run: bool, as_json: bool) -> bool:
    """Show what can be repaired, ask, and do it; whether anything was done. With --json it is told on stderr only."""
    from cvl.output.progress import reporter
    from cvl.output.repairs import print_applied, print_repairs
    from cvl.verify.repair import apply_repairs, plan_repairs

    plan = plan_repairs(catalog, tree, outcome)
    if not as_json:
        print_repairs(plan)
    if dry_run or not plan.repairs:
        return False
    if ask and sys.stdin.isatty() and sys.stderr.isatty() and not typer.confirm("Do that?", err=True):
        return False
    with reporter(as_json=False) as report:
        applied = apply_repairs(tree, plan, report)
    if not as_json:
        print_applied(applied)
    return True


def _undo(tree: Root, *, as_json: bool) -> None:
    from cvl.output.progress import reporter
    from cvl.output.repairs import print_undone
    from cvl.verify.repair import undo_repairs

    with reporter(as_json=False) as report:
        undone = undo_repairs(tree, report)
    if not as_json:
        print_undone(undone)


def status(
    root: options.Root = options.DEFAULT_ROOT, manifests: options.Manifests = None, as_json: options.Json = False
) -> None:
    """Show where the whole journey stands, and what to type next."""
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.output.tables import print_status
    from cvl.root import Root
    from cvl.status import status as status_of

    current = status_of(load_catalog(manifests), Root(root))
    print_json(current) if as_json else print_status(current)
    _remind(root, manifests)


def _remind(root: Path, manifests: Path | None) -> None:
    """Commands that were just printed name no tree: who typed where it is must type it again."""
    from cvl.output.console import print_hint

    typed = [("--root", "CVL_ROOT", root if root != options.DEFAULT_ROOT else None)]
    typed.append(("--manifests", "CVL_MANIFESTS", manifests))
    words = [f"{option} {shlex.quote(str(path))}" for option, name, path in typed if path and name not in os.environ]
    if words:
        print_hint(f"add {' '.join(words)} to these commands")

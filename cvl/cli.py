"""The `cvl` command: parse, call one function, print.

Whatever a command needs is imported when it runs, so that `cvl --help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cvl import __version__
from cvl.errors import EXIT_FAILED, EXIT_PROBLEMS, Cancelled, CvlError, DiskError, UsageError

if TYPE_CHECKING:
    from cvl.manifest import Catalog

app = typer.Typer(
    help="From an empty disk to a trained ConvLLaVA: fetch every source of the data document, convert what is not a "
    "JPEG, prove that the ShareGPT4V tree is complete.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 work failed, 2 wrong usage, manifest or gate, 3 verification found problems, "
    "130 cancelled.",
)

RootOption = Annotated[
    Path,
    typer.Option("--root", envvar="CVL_ROOT", help="The tree's root, the document's ShareGPT4V/.", show_default=True),
]
ManifestsOption = Annotated[
    Path | None,
    typer.Option("--manifests", envvar="CVL_MANIFESTS", help="A folder of your own manifests, laid over ours by name."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]
StageOption = Annotated[int | None, typer.Option("--stage", help="Only what this stage needs: 1, 2 or 3.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", min=1, help="Processes to use; default: one a core.")]

DEFAULT_ROOT = Path("ShareGPT4V")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"cvl {__version__}")
        raise typer.Exit


@app.command()
def sources(
    names: Annotated[list[str] | None, typer.Argument(help="Sources; all if none is named.", metavar="NAME")] = None,
    root: RootOption = DEFAULT_ROOT,
    manifests: ManifestsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the sources: files, bytes, licence, what each asks of you, what is already here; named ones in full."""
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.output.tables import print_source, print_sources
    from cvl.root import Root
    from cvl.status import source_status

    catalog = load_catalog(manifests)
    statuses = source_status(catalog, Root(root), tuple(names or ()))
    if as_json:
        print_json([{"status": status, "source": catalog.sources[status.name].model_dump()} for status in statuses])
    elif names:
        for status in statuses:
            print_source(catalog.sources[status.name], status)
    else:
        print_sources(catalog, statuses)


@app.command()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Sources, or `all` for everything that the stages need.", metavar="NAME"),
    ] = None,
    shards: Annotated[
        list[str] | None, typer.Option("--shards", help="Shards of sharded sources, inclusive: 0-50, or sam=0-2.")
    ] = None,
    stage: StageOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; move and write nothing.")] = False,
    downloads: Annotated[
        Path | None,
        typer.Option(
            "--from",
            exists=True,
            file_okay=False,
            help="A folder of files that you downloaded yourself; they are used in place.",
        ),
    ] = None,
    sam_links: Annotated[
        Path | None,
        typer.Option("--sam-links", envvar="CVL_SAM_LINKS", help="Meta's list of links; default: ROOT/sam-links.txt."),
    ] = None,
    skip_gated: Annotated[
        bool, typer.Option("--skip-gated", help="Go on without sources that ask something first.")
    ] = False,
    mirrors: Annotated[
        list[str] | None, typer.Option("--mirror", help="Use this opt-in mirror, before all else.")
    ] = None,
    alternatives: Annotated[
        list[str] | None, typer.Option("--alternative", help="Other bytes for a source: ocrvqa=urls.")
    ] = None,
    accept_digest: Annotated[
        bool, typer.Option("--accept-digest", help="Take files whose single-source digest differs at the right size.")
    ] = False,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Keep archives after unpacking them.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask addresses again that were given up for good.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Files in flight at once.")] = 4,
    retries: Annotated[int, typer.Option("--retries", min=1, help="Failures in a row before a file is given up.")] = 5,
    root: RootOption = DEFAULT_ROOT,
    manifests: ManifestsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download, check and unpack sources into the tree. Safe to stop and to run again.

    cvl fetch coco sam --shards 0-50

    cvl fetch all --skip-gated
    """
    from cvl.download.fetch import Options, execute, prepare
    from cvl.download.policy import Policy
    from cvl.download.select import Request
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.output.progress import reporter
    from cvl.output.tables import print_fetched, print_plan, print_skipped
    from cvl.root import Root

    catalog = load_catalog(manifests)
    chosen = tuple(names or ())
    request = Request(
        names=chosen,
        stage=stage,
        shards=_shards(shards or []),
        alternatives=dict(_alternative(text, chosen, catalog) for text in alternatives or []),
        mirrors=frozenset(mirrors or ()),
    )
    options = Options(
        jobs=jobs,
        sam_links=sam_links,
        downloads=downloads,
        skip_gated=skip_gated,
        accept_digest=accept_digest,
        keep_archives=keep_archives,
        retry_failed=retry_failed,
        policy=Policy(attempts=retries),
    )
    prepared = prepare(catalog, Root(root), request, options)
    if dry_run:
        print_skipped(prepared.skipped)
        print_json(prepared.plan) if as_json else print_plan(prepared.plan)
        return
    with reporter(as_json=as_json, total=prepared.plan.transfer_bytes) as report:
        result = execute(prepared, catalog, Root(root), options, report=report)
    if as_json:
        print_json({"kind": "result", "result": result, "bytes": result.bytes, "failed": len(result.failed)})
    else:
        print_fetched(result)
    if result.failed or result.link_errors:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def convert(
    names: Annotated[list[str], typer.Argument(help="Sources whose pictures are to become JPEGs.", metavar="NAME")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    remove_originals: Annotated[
        bool, typer.Option("--remove-originals", help="Delete originals whose JPEG is whole.")
    ] = False,
    jobs: JobsOption = None,
    root: RootOption = DEFAULT_ROOT,
    manifests: ManifestsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn whatever is not a real JPEG into one: first frame, RGB, quality 95, judged by content.

    cvl convert ocrvqa
    """
    from cvl.convert.jpeg import Conversion, convert_folder
    from cvl.convert.jpeg import remove_originals as remove
    from cvl.events import Event, EventKind
    from cvl.exclusive import exclusive
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.output.progress import reporter
    from cvl.output.tables import print_converted, print_removed
    from cvl.root import Root

    catalog, failed = load_catalog(manifests), False
    for name in names:
        folder = catalog.convertible(name)
        conversion = Conversion(Root(root).at(folder), Root(root).originals / folder.removeprefix("data/"))
        # What writes nothing needs no lock, and where there is no folder yet, the lock would be the first thing there.
        writes = not dry_run and conversion.folder.is_dir()
        with reporter(as_json=False) as report, exclusive(Root(root), report) if writes else nullcontext():
            done = convert_folder(
                conversion,
                jobs=jobs,
                dry_run=dry_run,
                on_progress=lambda i, n, name=name: report(Event(EventKind.PROGRESS, name, name, i, n, "files")),  # type: ignore[misc]
            )
            removal = remove(conversion, jobs=jobs) if remove_originals and not dry_run else None
        print_json(done.as_json()) if as_json else print_converted(done, dry_run=dry_run)
        if removal is not None:
            print_json(removal) if as_json else print_removed(removal)
        failed |= bool(done.unreadable)
    if failed:
        raise typer.Exit(EXIT_FAILED)


@app.command("verify-layout")
def verify_layout(
    stage: StageOption = None,
    root: RootOption = DEFAULT_ROOT,
    manifests: ManifestsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that the tree is complete: every folder, and every picture that an instruction file names.

    Ends with 3 if anything is missing; each problem names its cure. Records that training must leave out go into
    ROOT/data/.cvl/skiplist.json.
    """
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.output.progress import reporter
    from cvl.output.tables import print_report
    from cvl.root import Root
    from cvl.verify.verify import verify

    catalog = load_catalog(manifests)
    with reporter(as_json=False) as report:
        outcome = verify(catalog, Root(root), stage, report)
    print_json(outcome) if as_json else print_report(outcome)
    if outcome.problems:
        raise typer.Exit(EXIT_PROBLEMS)


@app.command()
def status(root: RootOption = DEFAULT_ROOT, manifests: ManifestsOption = None, as_json: JsonOption = False) -> None:
    """Show where the whole journey stands, and what to type next."""
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.output.tables import print_status
    from cvl.root import Root
    from cvl.status import status as status_of

    current = status_of(load_catalog(manifests), Root(root))
    print_json(current) if as_json else print_status(current)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the miniature lives; run again, it goes on.")] = Path(
        "cvl-demo"
    ),
    record: Annotated[Path | None, typer.Option("--record", help="Keep a picture of the terminal, as SVG.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Walk the whole journey on a miniature of every source, served on this machine.

    Each command that it runs is the real one and is printed first.
    """
    if as_json and record is not None:
        raise UsageError("--record keeps what a person sees, --json prints for scripts", hint="leave one of them out")
    try:
        from cvl.demo.run import run_demo
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the demo needs {error.name}, which is not installed", hint="pip install 'cvl[demo]'"
        ) from error

    raise typer.Exit(run_demo(folder, record, as_json=as_json))


def _shards(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """`0-50` and `sam=0-2` to shard numbers by source; the key "" stands for the one that is sharded."""
    from cvl.manifest import parse_shards

    chosen: dict[str, tuple[int, ...]] = {}
    for text in texts:
        source, _, numbers = text.rpartition("=")
        try:
            chosen[source] = tuple(sorted({*chosen.get(source, ()), *parse_shards(numbers)}))
        except ValueError as problem:
            raise UsageError(f"--shards {text}: {problem}", hint="write --shards 0-50, or --shards sam=0-2") from None
    return chosen


def _alternative(text: str, names: tuple[str, ...], catalog: Catalog) -> tuple[str, str]:
    """`ocrvqa=urls` to its parts; a bare name belongs to the one source asked for that has alternatives."""
    source, _, chosen = text.rpartition("=")
    asked = names if names and "all" not in names else tuple(catalog.sources)
    owners = [source] if source else [name for name in asked if catalog.source(name).alternatives]
    if len(owners) != 1:
        raise UsageError(
            f"--alternative {text} does not say of which source", hint=f"write --alternative SOURCE={chosen}"
        )
    return owners[0], chosen


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Cancelled("stopped; what is done stays done", hint="run the same command again to go on")


def main() -> NoReturn:
    """Run the command line and end the process with its exit code; no traceback for a user's mistake."""
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, _stop)
    try:
        app()
    except CvlError as error:
        _fail(error)
    except BrokenPipeError:
        # The reader of our output went away, as in `cvl sources | head`.
        sys.stderr.close()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        problem = f"{where}{error.strerror or error}"
        _fail(DiskError(problem, hint="check that path and its permissions, or choose another --root"))
    sys.exit(0)


def _fail(error: CvlError) -> NoReturn:
    from cvl.output.console import print_error

    print_error(error)
    if isinstance(error, Cancelled):
        # Threads that wait for a silent server would hold the process back; what they have is on the disk.
        sys.stdout.flush()
        os._exit(error.exit_code)
    sys.exit(error.exit_code)

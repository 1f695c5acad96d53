"""The commands that bring data: sources, fetch."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import typer

from cvl import options
from cvl.errors import EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from cvl.download.fetch import Options, Prepared
    from cvl.download.select import Request
    from cvl.manifest import Catalog
    from cvl.root import Root


def sources(
    names: options.Listed = None,
    root: options.Root = options.DEFAULT_ROOT,
    manifests: options.Manifests = None,
    as_json: options.Json = False,
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


def fetch(
    names: options.Fetched = None,
    shards: options.Shards = None,
    stage: options.Stage = None,
    dry_run: options.PlanOnly = False,
    downloads: options.Downloads = None,
    sam_links: options.SamLinks = None,
    skip_gated: options.SkipGated = False,
    mirrors: options.Mirrors = None,
    alternatives: options.Alternatives = None,
    accept_digest: options.AcceptDigest = False,
    keep_archives: options.KeepArchives = False,
    retry_failed: options.RetryFailed = False,
    jobs: options.InFlight = 4,
    retries: options.Retries = 5,
    locked: options.Locked = False,
    wait_for_links: options.WaitForLinks = None,
    connections: options.ConnectionCount = 16,
    limit_rate: options.LimitRate = None,
    timeout: options.Timeout = 30.0,
    part: options.Share = None,
    engine: options.Unpacker = options.Engines.LOCAL,
    root: options.Root = options.DEFAULT_ROOT,
    manifests: options.Manifests = None,
    as_json: options.Json = False,
) -> None:
    """Download, check and unpack sources into the tree. Safe to stop and to run again.

    cvl fetch coco sam --shards 0-50

    cvl fetch all --skip-gated
    """
    from cvl.download.fetch import Options, prepare
    from cvl.download.transport.policy import Policy
    from cvl.manifest import load_catalog
    from cvl.parallel import WHOLE, Engine, Part
    from cvl.root import Root

    catalog, tree = load_catalog(manifests), Root(root)
    request = _request(catalog, names or [], stage, shards or [], alternatives or [], mirrors or [])
    how = Options(
        jobs=jobs,
        sam_links=sam_links,
        downloads=downloads,
        skip_gated=skip_gated,
        accept_digest=accept_digest,
        keep_archives=keep_archives,
        retry_failed=retry_failed,
        locked=locked,
        policy=Policy(attempts=retries),
        wait_for_links=sys.stderr.isatty() if wait_for_links is None else wait_for_links,
        connections=connections,
        limit_rate=_rate(limit_rate),
        timeout=timeout,
        part=Part.parse(part) if part is not None else WHOLE,
        engine=Engine(engine),
    )
    prepared = prepare(catalog, tree, request, how)
    if dry_run:
        _show(prepared, as_json=as_json)
    else:
        _carry_out(prepared, catalog, tree, how, as_json=as_json)


def _request(
    catalog: Catalog,
    names: list[str],
    stage: int | None,
    shards: list[str],
    alternatives: list[str],
    mirrors: list[str],
) -> Request:
    from cvl.download.select import Request

    others = dict(_alternative(text, tuple(names), catalog) for text in alternatives)
    return Request(tuple(names), stage, _shards(shards), others, frozenset(mirrors))


def _show(prepared: Prepared, *, as_json: bool) -> None:
    from cvl.output.console import print_json
    from cvl.output.fetched import print_plan, print_skipped

    print_skipped(prepared.skipped)
    print_json(prepared.plan) if as_json else print_plan(prepared.plan)


def _carry_out(prepared: Prepared, catalog: Catalog, tree: Root, how: Options, *, as_json: bool) -> None:
    from cvl.download.fetch import execute
    from cvl.output.console import print_json
    from cvl.output.fetched import plain_result, print_fetched
    from cvl.output.progress import reporter

    with reporter(as_json=as_json, plan=prepared.plan) as report:
        result = execute(prepared, catalog, tree, how, report=report)
    print_json(plain_result(result)) if as_json else print_fetched(result)
    if result.failed or result.link_errors:
        raise typer.Exit(EXIT_FAILED)


def _rate(text: str | None) -> int | None:
    """`500k`, `10M`, `1.5G` or plain bytes, to bytes a second."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)(?:[bB](?:/s)?)?", text.strip())
    rate = int(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[match[2].lower()]) if match else 0
    if rate < 1:
        raise UsageError(f"--limit-rate {text} is no rate", hint="write bytes a second: 500k, 10M, 1.5G")
    return rate


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

"""From what the user typed to the files that are wanted: a pure function of the manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cvl.errors import UsageError
from cvl.manifest import (
    STAGES,
    Alternative,
    Catalog,
    Expand,
    File,
    Link,
    Snapshot,
    Source,
    Unpack,
    format_shards,
)
from cvl.manifest.fields import Certainty

T = TypeVar("T", int, str)


@dataclass(frozen=True)
class Request:
    """What the user typed.

    Args:
        names: sources, or `all` for everything that the three stages need.
        stage: only what this stage needs.
        shards: shard numbers by source; the key `""` stands for every sharded source that is named.
        alternatives: the alternative to take, by source.
        mirrors: names of the opt-in mirrors that may be used.
        model: whose start weights belong to `all` and to stage 1.
    """

    names: tuple[str, ...] = ()
    stage: int | None = None
    shards: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    alternatives: Mapping[str, str] = field(default_factory=dict)
    mirrors: frozenset[str] = frozenset()
    model: str = "7b-768"


@dataclass(frozen=True)
class Remote:
    """One file to have: a manifest's file with its shard filled in.

    Args:
        source: the source that it belongs to.
        name: in the cache, one of a kind.
        urls: where it can be had, in the order in which they are tried.
        size: bytes, None where only first contact will tell.
        approximate_size: bytes for the plan, where `size` is None.
    """

    source: str
    name: str
    urls: tuple[str, ...]
    shard: int | None = None
    size: int | None = None
    approximate_size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    certainty: Certainty = "confirmed"
    path: str | None = None
    unpack: Unpack | None = None
    snapshot: Snapshot | None = None
    expand: Expand | None = None

    @property
    def expected_bytes(self) -> int | None:
        """Bytes to count with: the size, or the estimate, or None."""
        return self.size if self.size is not None else self.approximate_size


@dataclass(frozen=True)
class Wanted:
    """The files and links of the sources that the user asked for."""

    sources: tuple[str, ...]
    remotes: tuple[Remote, ...]
    links: tuple[Link, ...]


def select(catalog: Catalog, request: Request) -> Wanted:
    """The files that `request` asks for.

    Raises:
        UsageError: an unknown source, stage, shard, alternative or mirror.
    """
    names, unneeded = _sources(catalog, request)
    _check_mirrors(catalog, request)
    remotes: list[Remote] = []
    links: list[Link] = []
    for name in names:
        source = catalog.source(name)
        for file in _files(name, source, request):
            if file.path not in unneeded:
                remotes.extend(_remotes(name, file, request))
        links.extend(source.links)
    _check_shards_used(catalog, names, request)
    return Wanted(names, tuple(remotes), tuple(links))


def _sources(catalog: Catalog, request: Request) -> tuple[tuple[str, ...], set[str]]:
    """The sources asked for, and the paths of instruction files that none of the asked-for stages reads."""
    if request.stage is not None and request.stage not in catalog.stages:
        raise UsageError(f"there is no stage {request.stage}", hint="stages are 1, 2 and 3")
    if request.model not in catalog.models:
        raise UsageError(f"there is no model called `{request.model}`", hint=f"known: {', '.join(catalog.models)}")
    named = [name for name in request.names if name != "all"]
    for name in named:
        catalog.source(name)
    if not request.names and request.stage is None:
        raise UsageError("nothing to fetch", hint="name a source (`cvl sources` lists them), or `all`")
    if "all" not in request.names and request.stage is None:
        return tuple(dict.fromkeys(named)), set()
    stages = STAGES if request.stage is None else (request.stage,)
    read = {annotation.path for stage in stages for annotation in catalog.stage_annotations(stage)}
    needed = [name for stage in stages for name in catalog.stage_sources(stage)]
    if 1 in stages:
        needed.extend(catalog.weight_sources(request.model))
    needed.extend(named)
    written = {annotation.path for _, annotation in catalog.annotations.values()}
    by_name = {annotation.path for name in named for annotation in catalog.source(name).annotations}
    return tuple(name for name in catalog.sources if name in needed), written - read - by_name


def _files(name: str, source: Source, request: Request) -> tuple[File, ...]:
    chosen = request.alternatives.get(name)
    if chosen is None:
        return source.files
    return alternative(name, source, chosen).files


def alternative(name: str, source: Source, chosen: str) -> Alternative:
    """The alternative of `source` that is called `chosen`.

    Raises:
        UsageError: it has none of that name.
    """
    for entry in source.alternatives:
        if entry.name == chosen:
            return entry
    known = ", ".join(entry.name for entry in source.alternatives) or "it has none"
    raise UsageError(f"`{name}` has no alternative called `{chosen}`", hint=f"alternatives of {name}: {known}")


def _remotes(source: str, file: File, request: Request) -> Iterable[Remote]:
    if not file.shard_numbers:
        yield _remote(source, file, None, request.mirrors)
        return
    for shard in _asked_shards(source, file, request):
        yield _remote(source, file, shard, request.mirrors)


def _asked_shards(source: str, file: File, request: Request) -> tuple[int, ...]:
    asked = request.shards.get(source)
    if asked is None:
        # A bare range speaks of whatever is sharded, so each file takes of it what it has.
        asked = request.shards.get("", file.shard_numbers)
        return tuple(shard for shard in asked if shard in file.shard_numbers)
    stray = sorted(set(asked) - set(file.shard_numbers))
    if stray:
        raise UsageError(
            f"`{source}` has no shard {format_shards(stray)}",
            hint=f"its shards are {format_shards(file.shard_numbers)}",
        )
    return asked


def _check_shards_used(catalog: Catalog, names: tuple[str, ...], request: Request) -> None:
    """Refuse shard numbers that no named source has: a typing slip must not end as "nothing to do"."""
    ranges = {name: file.shard_numbers for name in names for file in catalog.sources[name].files if file.shards}
    for source in set(request.shards) - {""} - set(ranges):
        raise UsageError(
            f"--shards names `{source}`, which is not sharded or not asked for", hint=_sharded_hint(ranges)
        )
    if "" in request.shards:
        held = {shard for numbers in ranges.values() for shard in numbers}
        stray = sorted(set(request.shards[""]) - held)
        if stray:
            problem = f"no source that you named has shard {format_shards(stray)}"
            raise UsageError(problem, hint=_sharded_hint(ranges))


def _sharded_hint(ranges: Mapping[str, tuple[int, ...]]) -> str:
    listed = ", ".join(f"{name} has {format_shards(numbers)}" for name, numbers in ranges.items())
    return listed or "none of the named sources is sharded: leave --shards out"


def _check_mirrors(catalog: Catalog, request: Request) -> None:
    files = [file for source in catalog.sources.values() for file in source.files]
    known = {mirror.name for file in files for mirror in file.mirrors if mirror.opt_in}
    for name in request.mirrors - known:
        raise UsageError(f"there is no mirror called `{name}`", hint=f"known: {', '.join(sorted(known))}")


def _remote(source: str, file: File, shard: int | None, mirrors: frozenset[str]) -> Remote:
    return Remote(
        source=source,
        name=_fill(file.name, shard),
        urls=tuple(_fill(url, shard) for url in _places(file, mirrors)),
        shard=shard,
        size=_of_shard(file.size, shard),
        approximate_size=file.approximate_size,
        md5=_of_shard(file.md5, shard),
        sha256=_of_shard(file.sha256, shard),
        certainty=file.certainty,
        path=file.path,
        unpack=file.unpack,
        snapshot=file.snapshot,
        expand=file.expand,
    )


def _places(file: File, mirrors: frozenset[str]) -> list[str]:
    """Addresses in the order in which they are tried: mirrors that the user named come before the publisher's own."""
    named = [mirror.url for mirror in file.mirrors if mirror.opt_in and mirror.name in mirrors]
    free = [mirror.url for mirror in file.mirrors if not mirror.opt_in]
    return [*named, file.url, *free]


def _fill(text: str, shard: int | None) -> str:
    return text if shard is None else text.format(shard=shard)


def _of_shard(value: T | dict[int, T] | None, shard: int | None) -> T | None:
    if not isinstance(value, dict):
        return value
    return value.get(shard) if shard is not None else None

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
        stage: only what this stage needs; with names, only what it needs of them.
        shards: shard numbers by source; the key `""` stands for the one sharded source that is asked for.
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
        converts: whether `cvl convert` works on the source's pictures, so that they may differ from what came.
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
    converts: bool = False

    @property
    def expected_bytes(self) -> int | None:
        """Bytes to count with: the size, or the estimate, or None."""
        return self.size if self.size is not None else self.approximate_size

    @property
    def proven(self) -> bool:
        """Whether a digest is known that its bytes can be held against."""
        return self.sha256 is not None or self.md5 is not None

    @property
    def certain(self) -> bool:
        """Whether that digest is beyond doubt."""
        return self.proven and self.certainty == "confirmed"


@dataclass(frozen=True)
class Wanted:
    """The files and links of the sources that the user asked for."""

    sources: tuple[str, ...]
    remotes: tuple[Remote, ...]
    links: tuple[Link, ...]


def select(catalog: Catalog, request: Request) -> Wanted:
    """The files that `request` asks for.

    Raises:
        UsageError: an unknown source, stage, shard, alternative or mirror, or one of no source that is asked for.
    """
    names, unread = _sources(catalog, request)
    _check_choices(catalog, names, request)
    remotes: list[Remote] = []
    links: list[Link] = []
    for name in names:
        source = catalog.source(name)
        for file in _files(name, source, request):
            if file.path not in unread:
                remotes.extend(_remotes(name, source, file, request))
        links.extend(source.links)
    return Wanted(names, tuple(remotes), tuple(links))


def _sources(catalog: Catalog, request: Request) -> tuple[tuple[str, ...], frozenset[str]]:
    """The sources asked for, and the paths of instruction files that none of the asked-for stages reads."""
    if request.stage is not None and request.stage not in catalog.stages:
        raise UsageError(f"there is no stage {request.stage}", hint="stages are 1, 2 and 3")
    if request.model not in catalog.models:
        raise UsageError(f"there is no model called `{request.model}`", hint=f"known: {', '.join(catalog.models)}")
    named = tuple(dict.fromkeys(name for name in request.names if name != "all"))
    for name in named:
        catalog.source(name)
    everything = "all" in request.names
    if not request.names and request.stage is None:
        raise UsageError("nothing to fetch", hint="name a source (`cvl sources` lists them), or `all`")
    if not everything and request.stage is None:
        return named, frozenset()
    needed, unread = _needs(catalog, request)
    if request.stage is not None:
        return _of_stage(named, needed, request.stage) if named and not everything else needed, unread
    by_name = {annotation.path for name in named for annotation in catalog.source(name).annotations}
    return tuple(name for name in catalog.sources if name in {*needed, *named}), unread - by_name


def _needs(catalog: Catalog, request: Request) -> tuple[tuple[str, ...], frozenset[str]]:
    """The sources that the stages need, and the paths of instruction files that none of them reads."""
    stages = STAGES if request.stage is None else (request.stage,)
    read = {annotation.path for stage in stages for annotation in catalog.stage_annotations(stage)}
    needed = {name for stage in stages for name in catalog.stage_sources(stage)}
    if 1 in stages:
        needed.update(catalog.weight_sources(request.model))
    written = {annotation.path for _, annotation in catalog.annotations.values()}
    return tuple(name for name in catalog.sources if name in needed), frozenset(written - read)


def _of_stage(named: tuple[str, ...], needed: tuple[str, ...], stage: int) -> tuple[str, ...]:
    for name in named:
        if name not in needed:
            raise UsageError(f"stage {stage} needs nothing of `{name}`", hint=f"it needs {', '.join(needed)}")
    return named


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


def _remotes(name: str, source: Source, file: File, request: Request) -> Iterable[Remote]:
    if not file.shard_numbers:
        yield _remote(name, source, file, None, request.mirrors)
        return
    for shard in _asked_shards(name, file, request):
        yield _remote(name, source, file, shard, request.mirrors)


def _asked_shards(source: str, file: File, request: Request) -> tuple[int, ...]:
    return request.shards.get(source) or request.shards.get("") or file.shard_numbers


def _check_choices(catalog: Catalog, names: tuple[str, ...], request: Request) -> None:
    """Refuse a choice that no asked-for source offers: a typing slip must not end as "nothing to do"."""
    for source, chosen in request.alternatives.items():
        if source not in names:
            raise UsageError(
                f"--alternative {source}={chosen}: `{source}` is not asked for", hint=f"name {source} as well"
            )
        alternative(source, catalog.source(source), chosen)
    files = {name: _files(name, catalog.sources[name], request) for name in names}
    _check_mirrors(files, request)
    _check_shards(files, request)


def _check_shards(files: Mapping[str, tuple[File, ...]], request: Request) -> None:
    ranges = {name: file.shard_numbers for name, own in files.items() for file in own if file.shards}
    listed = ", ".join(f"{name} has {format_shards(numbers)}" for name, numbers in ranges.items())
    hint = listed or "none of the named sources is sharded: leave --shards out"
    if "" in request.shards and len(ranges) > 1:
        bare = format_shards(request.shards[""])
        raise UsageError(
            f"--shards {bare} does not say of which source: {listed}",
            hint=f"write --shards {next(iter(ranges))}={bare}",
        )
    for source, asked in request.shards.items():
        name = source or next(iter(ranges), "")
        if name not in ranges:
            who = f"`{source}`" if source else "what you named"
            raise UsageError(f"--shards: {who} is not sharded, or not asked for", hint=hint)
        stray = sorted(set(asked) - set(ranges[name]))
        if stray:
            raise UsageError(f"`{name}` has no shard {format_shards(stray)}", hint=hint)


def _check_mirrors(files: Mapping[str, tuple[File, ...]], request: Request) -> None:
    known = {mirror.name for own in files.values() for file in own for mirror in file.mirrors if mirror.opt_in}
    for name in sorted(request.mirrors - known):
        hint = f"they have {', '.join(sorted(known))}" if known else "they have none: leave --mirror out"
        raise UsageError(f"none of the named sources has a mirror called `{name}`", hint=hint)


def _remote(name: str, source: Source, file: File, shard: int | None, mirrors: frozenset[str]) -> Remote:
    return Remote(
        source=name,
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
        converts=source.convert is not None,
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

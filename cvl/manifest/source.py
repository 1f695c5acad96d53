"""Source manifests: one TOML a source, read into frozen values. `docs/manifests.md` shows the schema with examples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Self

from pydantic import Field, PositiveInt, model_validator

from cvl.manifest.fields import (
    CacheName,
    Certainty,
    FileUrl,
    Frozen,
    LinkTarget,
    Md5,
    Name,
    PerShard,
    Sha256,
    ShardText,
    TreePath,
    Url,
    hub_place,
    wrong,
)
from cvl.manifest.shards import parse_shards


class Unpack(Frozen):
    """How an archive goes into the tree.

    Args:
        into: the folder that members land in.
        include: globs over member names (`*` crosses slashes); nothing else is written.
        exclude: globs over member names that are left out although included.
        strip: leading folders of a member's name that are dropped.
        flatten: drop all folders of a member's name.
        members: how many files must come out, where the publisher's number is known.
    """

    into: TreePath
    include: tuple[str, ...] = Field(default=("*",), min_length=1)
    exclude: tuple[str, ...] = ()
    strip: int = Field(default=0, ge=0)
    flatten: bool = False
    members: int | None = Field(default=None, ge=1)


class Expand(Frozen):
    """A list of many small files: the file that holds this table is a JSON object, one entry a small file.

    Args:
        into: the folder that the small files land in, each named by its key and the suffix of its content.
        url_field: the field of an entry that holds its address.
        count: how many entries the list has, for the plan's estimate before the list is here.
        approximate_size: bytes of one small file, likewise.
    """

    into: TreePath
    url_field: str
    count: int | None = Field(default=None, ge=1)
    approximate_size: int | None = Field(default=None, ge=1)


class Snapshot(Frozen):
    """A whole hub repository, file by file.

    Args:
        into: the folder that it lands in.
        include: globs over the repository's paths.
        exclude: globs over paths that are left out although included.
    """

    into: TreePath
    include: tuple[str, ...] = Field(default=("*",), min_length=1)
    exclude: tuple[str, ...] = ()


class Mirror(Frozen):
    """Another place of the same bytes, held to the same digest.

    Args:
        url: where.
        name: what `cvl fetch --mirror NAME` calls it.
        opt_in: whether it is used only when the user names it.
        note: why, in a few words.
    """

    url: FileUrl
    name: str = ""
    opt_in: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _opt_in_has_name(self) -> Self:
        if self.opt_in and not self.name:
            raise wrong("an opt-in mirror has no name", 'give it one, such as name = "backup"')
        return self


class File(Frozen):
    """One remote file, or one per shard.

    Args:
        name: its name in the cache, one of a kind over all manifests; `{shard}` in it for sharded files.
        url: where it is; the scheme picks the transport.
        shards: the inclusive range of shard numbers.
        size: bytes; for sharded files a table from shard number to bytes.
        approximate_size: bytes of one file, for plans, where `size` is not known.
        md5: digest; for sharded files a table.
        sha256: digest; for sharded files a table.
        certainty: `single-source` where digests were seen in one place only, so that a mismatch may be theirs.
        mirrors: other places of the same bytes, in the order in which they are tried.
        path: where the file itself lands, or
        unpack: how it is unpacked, or
        snapshot: where the repository lands.
        expand: what more to fetch once this list is here (needs `path`).
    """

    name: CacheName
    url: FileUrl
    shards: ShardText | None = None
    size: PerShard[PositiveInt] | None = None
    approximate_size: int | None = Field(default=None, ge=1)
    md5: PerShard[Md5] | None = None
    sha256: PerShard[Sha256] | None = None
    certainty: Certainty = "confirmed"
    mirrors: tuple[Mirror, ...] = ()
    path: TreePath | None = None
    unpack: Unpack | None = None
    snapshot: Snapshot | None = None
    expand: Expand | None = None

    @cached_property
    def shard_numbers(self) -> tuple[int, ...]:
        """The shards of this file, empty if it is not sharded."""
        return parse_shards(self.shards) if self.shards is not None else ()

    @property
    def _urls(self) -> tuple[str, ...]:
        return (self.url, *(mirror.url for mirror in self.mirrors))

    @model_validator(mode="after")
    def _lands_once(self) -> Self:
        if sum(place is not None for place in (self.path, self.unpack, self.snapshot)) != 1:
            raise wrong("it must say once where it lands", "give one of `path`, `unpack` and `snapshot`")
        if self.expand is not None and self.path is None:
            raise wrong("`expand` needs the list on disk", "give the list a `path`")
        if self.snapshot is not None and not self.url.startswith("hf://"):
            raise wrong("only hub repositories have snapshots", "use an hf:// address, or `path`")
        return self

    @model_validator(mode="after")
    def _hub_addresses_fit(self) -> Self:
        for place in (hub_place(url) for url in self._urls if url.startswith("hf://")):
            if self.snapshot is None and not place.path:
                raise wrong(f"`{place.repo}` is a whole repository", "add the file's path, or land it as a `snapshot`")
            if self.snapshot is not None and place.path:
                raise wrong(f"`{place.path}` is one file of a repository", "end the address after the repository")
        return self

    @model_validator(mode="after")
    def _shards_make_sense(self) -> Self:
        tables = {"size": self.size, "md5": self.md5, "sha256": self.sha256}
        if self.shards is None:
            templated = any("{shard" in text for text in (self.name, *self._urls))
            if templated or any(isinstance(table, dict) for table in tables.values()):
                raise wrong("it speaks of shards but has no range", 'add shards = "0-50"')
            return self
        if self.unpack is None:
            raise wrong("every shard would land in the same place", "only archives have shards: give it `unpack`")
        _check_template("name", self.name)
        for url in self._urls:
            _check_template("url", url)
        for key, table in tables.items():
            if table is not None and not isinstance(table, dict):
                raise wrong(f"`{key}` is one value for many shards", f"write a table: [files.{key}] 0 = …")
            stray = sorted(set(table or ()) - set(self.shard_numbers))
            if stray:
                raise wrong(
                    f"`{key}` names shard {stray[0]}, which is not in {self.shards}", "mend the range or the table"
                )
        return self


def _check_template(field: str, text: str) -> None:
    try:
        first, second = (text.format(shard=shard) for shard in (0, 1))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise wrong(f"`{text}` has braces that are not a shard number", "use {shard} or {shard:06d} only") from None
    if first == second:
        raise wrong(
            f"every shard would have the same {field} `{text}`", f"put {{shard}} or {{shard:06d}} into `{field}`"
        )


class Expect(Frozen):
    """What must stand in the tree afterwards.

    Args:
        folder: a folder of the document's tree.
        suffix: of the files that count.
        files: how many of them the source has, folders below included; left out where nobody published it.
    """

    folder: TreePath
    suffix: str | None = None
    files: int | None = Field(default=None, ge=1)


class Annotation(Frozen):
    """One instruction file.

    Args:
        name: as stage manifests and reports call it.
        path: where it lies in the tree.
        images: the folder that its `image` values are relative to.
        needs: the sources that hold its pictures.
        records: how many records it has, where known.
        joins: stages whose mix it joins without being named by the stage's manifest, for a user's own data.
    """

    name: Name
    path: TreePath
    images: TreePath | None = None
    needs: tuple[str, ...] = ()
    records: int | None = Field(default=None, ge=0)
    joins: tuple[int, ...] = ()

    @property
    def image_root(self) -> str:
        """The folder that `image` values are relative to: `data` unless the manifest says otherwise."""
        return self.images or "data"


class Link(Frozen):
    """A second name for something, made as a symbolic link.

    Args:
        path: the name to make.
        target: what it stands for: a path of this tree, or an absolute path elsewhere. Its last part may be a glob,
            which must match once.
    """

    path: TreePath
    target: LinkTarget


class Convert(Frozen):
    """A folder whose pictures are turned into JPEGs by `cvl convert`."""

    folder: TreePath


class Gate(Frozen):
    """What a source wants of the user before a byte moves.

    Args:
        page: the page to visit.
        ask: what to do there, as an imperative.
    """

    page: Url
    ask: str


class Alternative(Frozen):
    """Other bytes that fill the same folders, chosen by `cvl fetch SOURCE --alternative NAME`.

    Args:
        name: what the user types.
        title: what it is.
        files: in place of the source's own.
    """

    name: Name
    title: str
    files: tuple[File, ...]


class Source(Frozen):
    """Everything about one source.

    Args:
        title: what it is, in a few words.
        licence: of the data, as far as known.
        homepage: the publisher's page.
        asks: what it wants of the user, in a few words; empty for nothing.
        connections: by host, how many connections at once are polite there.
    """

    title: str
    licence: str = ""
    homepage: Url | None = None
    asks: str = ""
    connections: Mapping[str, PositiveInt] = Field(default_factory=dict)
    gate: Gate | None = None
    files: tuple[File, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    expect: tuple[Expect, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    links: tuple[Link, ...] = ()
    convert: Convert | None = None

    @property
    def all_files(self) -> tuple[File, ...]:
        """Its own files and those of its alternatives."""
        return (*self.files, *(file for alternative in self.alternatives for file in alternative.files))

    @model_validator(mode="after")
    def _links_have_gate(self) -> Self:
        if self.gate is None and any(file.url.startswith("links:") for file in self.all_files):
            raise wrong("it does not say where its signed links come from", "add a [gate] with `page` and `ask`")
        return self

"""The miniature's manifests: the shipped ones with the miniature's numbers in place of the real ones.

Addresses, folders, patterns, links and gates stay as they are; only what is known of the bytes differs: sizes, digests,
counts. So every command of the demo runs on the real manifests in all that matters.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from cvl.demo.miniature import World
from cvl.demo.miniature.facts import FileFacts
from cvl.manifest import parse_shards, shipped_manifests

Table = dict[str, Any]
_REVISION = re.compile(r"(?<=\w)@[\w.-]+(?=/)")


def write_manifests(folder: Path, world: World) -> None:
    """Write a manifest for each shipped source into `folder/sources`, to be named with `--manifests folder`."""
    target = folder / "sources"
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((shipped_manifests() / "sources").glob("*.toml")):
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        (target / path.name).write_text(tomli_w.dumps(miniature(manifest, world)), encoding="utf-8")


def miniature(manifest: Table, world: World) -> Table:
    """A source manifest with the miniature's numbers."""
    published = {facts.url: facts for facts in world.facts.files}
    alternatives = [
        alternative | {"files": _files(alternative, published, world)}
        for alternative in manifest.get("alternatives", [])
    ]
    changed = {
        "files": _files(manifest, published, world),
        "alternatives": alternatives,
        "expect": [_expect(table, world) for table in manifest.get("expect", [])],
        "annotations": [_annotation(table, world) for table in manifest.get("annotations", [])],
    }
    return manifest | {key: value for key, value in changed.items() if value}


def _files(manifest: Table, published: dict[str, FileFacts], world: World) -> list[Table]:
    return [_file(table, published, world) for table in manifest.get("files", [])]


def _file(table: Table, published: dict[str, FileFacts], world: World) -> Table:
    if "snapshot" in table:
        return table
    shards = parse_shards(table["shards"]) if "shards" in table else ()
    url = _REVISION.sub("", table["url"])
    facts = {shard: published[url.format(shard=shard)] for shard in shards} or published[url]
    kept = {key: value for key, value in table.items() if key != "approximate_size"}
    # A digest is given where the real manifest gives one: what is learned at first contact there is learned here too.
    kept |= {key: _numbers(facts, key) for key in ("size", "sha256", "md5") if key in table}
    if "members" in table.get("unpack", {}):
        kept["unpack"] = table["unpack"] | {"members": published[url.format(shard=0)].images}
    if "expand" in table:
        entries = {facts.url: facts for facts in world.facts.lists}[url]
        each = entries.size // entries.entries
        kept["expand"] = table["expand"] | {"count": entries.entries, "approximate_size": each}
    return kept


def _numbers(facts: FileFacts | dict[int, FileFacts], key: str) -> Any:
    """What is known of a file under `key`, or for shards a table of it."""
    if isinstance(facts, FileFacts):
        return getattr(facts, key)
    return {str(shard): getattr(entry, key) for shard, entry in facts.items()}


def _expect(table: Table, world: World) -> Table:
    if "files" not in table:
        return table
    folder = world.images_of(table["folder"])
    return table | {"files": folder.suffixes[table["suffix"]] if "suffix" in table else folder.files}


def _annotation(table: Table, world: World) -> Table:
    return table | {"records": world.instructions(table["path"]).records}

"""The miniature's manifests: the shipped ones with the miniature's numbers in place of the real ones.

Of a source, addresses, folders, patterns, links and gates stay as they are; only what is known of the bytes differs:
sizes, digests, counts. Of a stage, what it starts from, what it trains and on which data stay; the rates, the batch and
the epochs are those that a model of this size needs. So every command of the demo runs on the real manifests in all
that matters.
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

MODEL = "miniature"
"""What the miniature's model is called: `--model miniature`."""

RESOLUTION = 128
FIFTH_STAGE = {"blocks": 1, "width": 256}

LEARNING_RATE = 1e-3
EPOCHS = {1: 1, 2: 4, 3: 2}
BATCH_SIZES = {1: 32, 2: 16, 3: 16}
"""By stage. A small model learns by the number of steps: it takes small batches, and sees its little data often."""

MAX_LENGTH = 256
"""Tokens: all conversations about a picture fit, and one of sums alone is cut."""

_REVISION = re.compile(r"(?<=\w)@[\w.-]+(?=/)")


def write_manifests(folder: Path, world: World) -> None:
    """Write manifests into `folder`, to be named with `--manifests folder`: the sources, the stages and the model."""
    for name, manifest in _shipped("sources"):
        _write(folder / "sources" / name, miniature(manifest, world))
    for number, (name, manifest) in enumerate(_shipped("stages"), start=1):
        _write(folder / "stages" / name, miniature_stage(manifest, number))
    _, largest = _shipped("models")[-1]
    _write(folder / "models" / f"{MODEL}.toml", miniature_model(largest))


def _shipped(kind: str) -> list[tuple[str, Table]]:
    """The shipped manifests of one kind: their files' names and what they hold, in alphabetical order."""
    paths = sorted((shipped_manifests() / kind).glob("*.toml"))
    return [(path.name, tomllib.loads(path.read_text(encoding="utf-8"))) for path in paths]


def _write(path: Path, manifest: Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(manifest), encoding="utf-8")


def miniature_model(manifest: Table) -> Table:
    """A model's manifest with the miniature's sizes. The parts are the real ones' folders, small models in them."""
    title = f"The miniature: ConvLLaVA at {RESOLUTION} pixels"
    return manifest | {"title": title, "resolution": RESOLUTION, "fifth_stage": FIFTH_STAGE}


def miniature_stage(manifest: Table, number: int) -> Table:
    """A stage's manifest with rate, batch and epochs for a small model and little data, on a CPU."""
    document = {"learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZES[number], "epochs": EPOCHS[number]}
    scripts = {
        "max_length": MAX_LENGTH,
        "precision": "fp32",
        "deepspeed": "none",
        "activation_checkpointing": False,
    }
    run = {"micro_batch": BATCH_SIZES[number], "workers": 0, "log_every": 10}
    changes: Table = {"document": document, "scripts": scripts, "run": run}
    return manifest | {key: manifest.get(key, {}) | table for key, table in changes.items()}


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

"""Manifests: what every source, stage and model is, as TOML on disk and as frozen values in the program."""

from cvl.manifest.catalog import STAGES, Catalog, cache_names, load_catalog, shipped_manifests
from cvl.manifest.fields import HubPlace, hub_place
from cvl.manifest.override import override, settings
from cvl.manifest.shards import format_shards, parse_shards
from cvl.manifest.source import (
    Alternative,
    Annotation,
    Convert,
    Expand,
    Expect,
    File,
    Gate,
    Link,
    Mirror,
    Snapshot,
    Source,
    Unpack,
)
from cvl.manifest.stage import Document, Model, Run, Scripts, Stage, Trainable

__all__ = [
    "STAGES",
    "Alternative",
    "Annotation",
    "Catalog",
    "Convert",
    "Document",
    "Expand",
    "Expect",
    "File",
    "Gate",
    "HubPlace",
    "Link",
    "Mirror",
    "Model",
    "Run",
    "Scripts",
    "Snapshot",
    "Source",
    "Stage",
    "Trainable",
    "Unpack",
    "cache_names",
    "format_shards",
    "hub_place",
    "load_catalog",
    "override",
    "parse_shards",
    "settings",
    "shipped_manifests",
]

"""All manifests together: the shipped ones with a user's own laid over them, checked against each other."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NoReturn, TypeVar

import cvl
from cvl.errors import ManifestError, UsageError
from cvl.manifest.fields import Frozen
from cvl.manifest.load import load
from cvl.manifest.source import Annotation, File, Source
from cvl.manifest.stage import Model, Stage

M = TypeVar("M", bound=Frozen)
STAGES = (1, 2, 3)


@dataclass(frozen=True)
class Catalog:
    """Every source, stage and model by name, and the file that each came from.

    Args:
        sources: by the name that the user types, in alphabetical order.
        stages: by number.
        models: by name.
        origins: `sources/coco` and the like to the manifest's path, for errors.
    """

    sources: Mapping[str, Source]
    stages: Mapping[int, Stage]
    models: Mapping[str, Model]
    origins: Mapping[str, Path]

    @cached_property
    def annotations(self) -> Mapping[str, tuple[str, Annotation]]:
        """Every instruction file by name, with the name of the source that brings it."""
        return {entry.name: (name, entry) for name, source in self.sources.items() for entry in source.annotations}

    def source(self, name: str) -> Source:
        """The source called `name`.

        Raises:
            UsageError: there is none; the hint names the nearest.
        """
        if name not in self.sources:
            near = difflib.get_close_matches(name, list(self.sources), n=1)
            hint = f"did you mean `{near[0]}`?" if near else "`cvl sources` lists them all"
            raise UsageError(f"there is no source called `{name}`", hint=hint)
        return self.sources[name]

    def convertible(self, name: str) -> str:
        """The folder whose pictures `cvl convert NAME` turns into JPEGs, as a path of the tree.

        Raises:
            UsageError: there is no such source, or nothing of it needs converting.
        """
        convert = self.source(name).convert
        if convert is None:
            names = ", ".join(other for other, source in self.sources.items() if source.convert)
            raise UsageError(f"nothing of `{name}` needs converting", hint=f"sources that do: {names}")
        return convert.folder

    def with_stage(self, number: int, stage: Stage) -> Catalog:
        """The same with another stage in that place.

        Raises:
            ManifestError: the stage names what does not exist.
        """
        changed = replace(self, stages={**self.stages, number: stage})
        _check_references(changed)
        return changed

    def stage_annotations(self, number: int) -> tuple[Annotation, ...]:
        """The instruction files of one stage: those its manifest names, then those that join it."""
        named = [self.annotations[name][1] for name in self.stages[number].data]
        joined = [entry for _, entry in self.annotations.values() if number in entry.joins and entry not in named]
        return (*named, *joined)

    def stage_sources(self, number: int) -> tuple[str, ...]:
        """The sources whose data a stage reads: those that bring its instruction files and those they need."""
        names: set[str] = set()
        for annotation in self.stage_annotations(number):
            names |= {self.annotations[annotation.name][0], *annotation.needs}
        return tuple(sorted(names))

    def weight_sources(self, model: str) -> tuple[str, ...]:
        """The sources that bring the start weights of a model."""
        parts = (self.models[model].language_model, self.models[model].vision_tower)
        return tuple(dict.fromkeys(part.source for part in parts))

    @property
    def polite_connections(self) -> dict[str, int]:
        """By host, how many connections at once its manifests allow; the lowest number counts."""
        limits: dict[str, int] = {}
        for source in self.sources.values():
            for host, limit in source.connections.items():
                limits[host] = min(limit, limits.get(host, limit))
        return limits

    def owner(self, path: str) -> str | None:
        """The source that fills the folder in which `path` lies, or None for a path that no source claims."""
        best, owner = "", None
        for name, source in self.sources.items():
            for folder in _claims(source):
                if (path == folder or path.startswith(folder + "/")) and len(folder) > len(best):
                    best, owner = folder, name
        return owner


def _claims(source: Source) -> Iterator[str]:
    yield from (expect.folder for expect in source.expect)
    yield from (link.path for link in source.links)
    for annotation in source.annotations:
        yield annotation.path
        if annotation.image_root != "data":
            yield annotation.image_root
    yield from (file.path for file in source.files if file.path is not None)


def load_catalog(own: Path | None = None) -> Catalog:
    """The shipped manifests with those of the folder `own` laid over them, by name.

    `own` may hold `sources/`, `stages/` and `models/` like ours; TOML files directly in it are sources.

    Raises:
        UsageError: `own` is not a folder.
        ManifestError: a manifest is wrong in itself, or two of them contradict each other.
    """
    folders = [shipped_manifests()]
    if own is not None:
        if not own.is_dir():
            raise UsageError(f"there is no folder of manifests at {own}", hint="check --manifests or CVL_MANIFESTS")
        folders.append(own)
    origins: dict[str, Path] = {}
    sources = _load_kind(folders, "sources", Source, origins)
    stages = {
        _stage_number(name, origins): stage for name, stage in _load_kind(folders, "stages", Stage, origins).items()
    }
    models = _load_kind(folders, "models", Model, origins)
    catalog = Catalog(sources, stages, models, origins)
    _check_names(catalog)
    _check_references(catalog)
    return catalog


def shipped_manifests() -> Path:
    """The folder of our own manifests: package data in a wheel, beside the package in a checkout."""
    package = Path(cvl.__file__).parent
    inside = package / "manifests"
    return inside if inside.is_dir() else package.parent / "manifests"


def cache_names(file: File) -> tuple[str, ...]:
    """The names that a manifest's file takes in the cache, one a shard."""
    return tuple(file.name.format(shard=shard) for shard in file.shard_numbers) or (file.name,)


def _load_kind(folders: list[Path], kind: str, model: type[M], origins: dict[str, Path]) -> dict[str, M]:
    paths: dict[str, Path] = {}
    for folder in folders:
        paths |= _find(folder, kind)
    origins.update({f"{kind}/{name}": path for name, path in paths.items()})
    return {name: load(path, model) for name, path in sorted(paths.items())}


def _find(folder: Path, kind: str) -> dict[str, Path]:
    """The manifests of one kind in one folder, by name."""
    flat = folder.glob("*.toml") if kind == "sources" else ()
    found: dict[str, Path] = {}
    for path in sorted([*(folder / kind).glob("*.toml"), *flat]):
        if path.stem in found:
            raise ManifestError(path, "file name", f"is also that of {found[path.stem]}", mend="remove one of the two")
        if kind == "sources" and path.stem == "all":
            raise ManifestError(path, "file name", "`all` means every source to `cvl fetch`", mend="call it otherwise")
        found[path.stem] = path
    return found


def _stage_number(name: str, origins: Mapping[str, Path]) -> int:
    numbers = {f"stage{number}": number for number in STAGES}
    if name not in numbers:
        mend = "call it stage1.toml, stage2.toml or stage3.toml"
        raise ManifestError(origins[f"stages/{name}"], "file name", "is not one of the three stages", mend=mend)
    return numbers[name]


def _check_names(catalog: Catalog) -> None:
    """Refuse two files with one cache name, and two instruction files with one name."""
    seen: dict[str, str] = {}
    for name, source in catalog.sources.items():
        for key, label in _names(source):
            if key in seen:
                problem = f"`{label}` is also used by sources/{seen[key]}.toml"
                _refuse(
                    catalog,
                    name,
                    key.partition(" ")[0],
                    problem,
                    "choose a name of its own, such as one that begins with the source's",
                )
            seen[key] = name


def _names(source: Source) -> Iterator[tuple[str, str]]:
    for file in source.all_files:
        for cached in cache_names(file):
            yield f"files.name {cached}", cached
    for annotation in source.annotations:
        yield f"annotations.name {annotation.name}", annotation.name


def _check_references(catalog: Catalog) -> None:
    """Refuse names of sources, instruction files and stages that do not exist."""
    for name, source in catalog.sources.items():
        for annotation in source.annotations:
            for needed in sorted(set(annotation.needs) - set(catalog.sources)):
                _refuse(
                    catalog,
                    name,
                    "annotations.needs",
                    f"there is no source called `{needed}`",
                    "`cvl sources` lists them all",
                )
            for stage in sorted(set(annotation.joins) - set(STAGES)):
                _refuse(catalog, name, "annotations.joins", f"there is no stage {stage}", "stages are 1, 2 and 3")
    for number, stage_manifest in catalog.stages.items():
        for data in sorted(set(stage_manifest.data) - set(catalog.annotations)):
            known = ", ".join(catalog.annotations)
            problem = f"no source has an instruction file called `{data}`"
            raise ManifestError(catalog.origins[f"stages/stage{number}"], "data", problem, mend=f"known: {known}")
    for name, model in catalog.models.items():
        for key, part in (("language_model", model.language_model), ("vision_tower", model.vision_tower)):
            if part.source not in catalog.sources:
                problem = f"there is no source called `{part.source}`"
                raise ManifestError(catalog.origins[f"models/{name}"], f"{key}.source", problem, mend="name a source")


def _refuse(catalog: Catalog, source: str, key: str, problem: str, mend: str) -> NoReturn:
    raise ManifestError(catalog.origins[f"sources/{source}"], key, problem, mend=mend)

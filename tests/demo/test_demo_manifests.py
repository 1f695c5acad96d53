"""The miniature's manifests: the shipped ones in all but the numbers, and the numbers those of the miniature."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cvl.demo.manifests import MODEL, miniature, write_manifests
from cvl.demo.miniature import World
from cvl.manifest import Catalog, File, load_catalog, shipped_manifests

NUMBERS = {"size", "approximate_size", "md5", "sha256", "members", "count", "records"}
REVISION = re.compile(r"(?<=\w)@[\w.-]+(?=/)")


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load_catalog()


def files_of(catalog: Catalog) -> Iterator[tuple[str, File]]:
    for name, source in catalog.sources.items():
        yield from ((name, file) for file in source.files)
        yield from ((name, file) for alternative in source.alternatives for file in alternative.files)


def without_numbers(value: Any, *, expect: bool = False) -> Any:
    """A manifest's tables without what is known of the bytes; `files` is a number only in `expect`."""
    if isinstance(value, dict):
        left_out = NUMBERS | ({"files"} if expect else set())
        return {
            key: without_numbers(entry, expect=key == "expect") for key, entry in value.items() if key not in left_out
        }
    return [without_numbers(entry, expect=expect) for entry in value] if isinstance(value, list) else value


def test_there_is_one_for_every_shipped_source_and_stage_and_one_model(manifests: Path, shipped: Catalog) -> None:
    written = {path.relative_to(manifests).as_posix() for path in manifests.rglob("*") if path.is_file()}
    sources = {f"sources/{name}.toml" for name in shipped.sources}
    assert written == {*sources, *(f"stages/stage{number}.toml" for number in (1, 2, 3)), "models/miniature.toml"}


def comparable(folder: Path, name: str) -> dict[str, Any]:
    """A manifest without its numbers, and without what comes of a list some of whose addresses are dead."""
    manifest: dict[str, Any] = without_numbers(tomllib.loads((folder / "sources" / f"{name}.toml").read_text("utf-8")))
    for alternative in manifest.get("alternatives", []):
        alternative.pop("expect", None)
    return manifest


@pytest.mark.parametrize("name", sorted(path.stem for path in (shipped_manifests() / "sources").glob("*.toml")))
def test_addresses_folders_patterns_links_and_gates_are_the_real_ones(manifests: Path, name: str) -> None:
    assert comparable(manifests, name) == comparable(shipped_manifests(), name)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_stage_starts_trains_and_reads_what_the_real_one_does(
    catalog: Catalog, shipped: Catalog, number: int
) -> None:
    small, real = catalog.stages[number], shipped.stages[number]
    for key in ("title", "starts_from", "train", "data"):
        assert getattr(small, key) == getattr(real, key)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_of_a_stages_settings_only_those_of_size_and_machine_differ(
    catalog: Catalog, shipped: Catalog, number: int
) -> None:
    small, real = catalog.stages[number], shipped.stages[number]
    differing = {
        f"{table}.{key}"
        for table in ("document", "scripts", "run")
        for key, value in getattr(small, table)
        if value != getattr(getattr(real, table), key)
    }
    assert differing <= {
        *("document.learning_rate", "document.batch_size", "document.epochs"),
        *("scripts.max_length", "scripts.precision", "scripts.deepspeed", "scripts.activation_checkpointing"),
        *("run.micro_batch", "run.workers", "run.log_every"),
    }
    assert (small.scripts.precision, small.scripts.deepspeed) == ("fp32", "none")
    assert small.run.micro_batch == small.document.batch_size


def test_the_real_models_stay_and_the_miniature_is_one_more(catalog: Catalog, shipped: Catalog) -> None:
    assert {name: model for name, model in catalog.models.items() if name != MODEL} == shipped.models


def test_the_miniature_model_lies_where_the_real_one_does(catalog: Catalog, shipped: Catalog) -> None:
    small, real = catalog.models[MODEL], shipped.models["7b-768"]
    assert (small.language_model, small.vision_tower) == (real.language_model, real.vision_tower)
    assert (small.projector, small.conversation) == (real.projector, real.conversation)
    assert catalog.weight_sources(MODEL) == ("vicuna", "convnext")
    assert small.visual_tokens == 4


def test_numbers_are_given_where_the_real_manifests_give_them(catalog: Catalog, shipped: Catalog) -> None:
    for (_, small), (_, real) in zip(files_of(catalog), files_of(shipped), strict=True):
        for key in ("size", "md5", "sha256"):
            assert (getattr(small, key) is None) == (getattr(real, key) is None), (real.name, key)


def test_sizes_and_digests_are_those_of_the_published_files(catalog: Catalog, world: World) -> None:
    checked = 0
    for _, file in files_of(catalog):
        if file.snapshot is not None:
            continue
        for shard in file.shard_numbers or (None,):
            facts = world.file(file.url.format(shard=shard))
            for key in ("size", "md5", "sha256"):
                known = getattr(file, key)
                value = known.get(shard) if isinstance(known, dict) else known
                assert value in (None, getattr(facts, key))
                checked += value is not None
    assert checked > 100


def test_counts_are_those_of_the_miniature(catalog: Catalog, world: World) -> None:
    for name, source in catalog.sources.items():
        for expect in source.expect:
            assert expect.files in (None, world.images_of(expect.folder).files), (name, expect.folder)
        for annotation in source.annotations:
            assert annotation.records == world.instructions(annotation.path).records


def test_every_sam_shard_gives_as_many_pictures_as_its_manifest_says(catalog: Catalog, world: World) -> None:
    (file,) = catalog.sources["sam"].files
    assert file.unpack is not None
    assert {world.file(file.url.format(shard=shard)).images for shard in file.shard_numbers} == {file.unpack.members}


def test_the_list_of_single_covers_has_its_own_count(catalog: Catalog, world: World) -> None:
    (alternative,) = catalog.sources["ocrvqa"].alternatives
    expand = alternative.files[0].expand
    assert expand is not None
    (facts,) = world.facts.lists
    listed = json.loads(world.path(facts.url).read_bytes())
    assert expand.count == facts.entries == len(listed)
    assert expand.approximate_size == facts.size // facts.entries


def test_a_revision_in_an_address_does_not_hide_the_file(world: World) -> None:
    url = "hf://datasets/liuhaotian/LLaVA-Pretrain@70f9d1e5e1a697fe35830875cfc7de1dd590d727/images.zip"
    manifest = {"files": [{"name": "x.zip", "url": url, "size": 1}]}
    assert miniature(manifest, world)["files"] == [
        {"name": "x.zip", "url": url, "size": world.file(REVISION.sub("", url)).size}
    ]


def test_an_address_that_the_miniature_lacks_is_an_error(world: World) -> None:
    with pytest.raises(KeyError):
        miniature({"files": [{"name": "x.zip", "url": "http://nobody.example/x.zip", "size": 1}]}, world)


def test_writing_again_changes_nothing(tmp_path: Path, world: World, manifests: Path) -> None:
    for _ in range(2):
        write_manifests(tmp_path, world)
    for path in manifests.glob("*/*.toml"):
        assert (tmp_path / path.relative_to(manifests)).read_bytes() == path.read_bytes()

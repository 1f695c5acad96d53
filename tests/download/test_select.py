"""What the user typed becomes a list of files, or an error that says what to type instead."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from fetching import HOST, catalog_of

from cvl.download.select import Remote, Request, alternative, select
from cvl.errors import UsageError
from cvl.manifest import Catalog, load_catalog

DIGESTS = {number: f"{number}" * 64 for number in range(3)}
SHARDED = {
    "name": "mine-{shard:03d}.zip",
    "url": f"{HOST}/{{shard:03d}}.zip",
    "shards": "0-4",
    "size": {0: 10, 1: 11},
    "sha256": DIGESTS,
    "approximate_size": 9,
    "unpack": {"into": "data/mine"},
}


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load_catalog()


def chosen(catalog: Catalog, *names: str, **changes: Any) -> tuple[Remote, ...]:
    return pick(catalog, Request(names=names, **changes))


def pick(catalog: Catalog, request: Request) -> tuple[Remote, ...]:
    return select(with_model(catalog), request).remotes


def with_model(catalog: Catalog) -> Catalog:
    """A catalog of our own has no models; the request names one."""
    return replace(catalog, models=catalog.models or load_catalog().models)


def hint(caught: pytest.ExceptionInfo[UsageError]) -> str:
    return caught.value.hint or ""


def test_a_source_brings_its_files_in_the_manifests_order(shipped: Catalog) -> None:
    assert [remote.name for remote in chosen(shipped, "vg")] == ["vg-images.zip", "vg-images2.zip"]


def test_three_archives_that_are_all_called_images_zip_have_names_of_their_own(shipped: Catalog) -> None:
    archives = [r for r in chosen(shipped, "gqa", "vg", "lcs") if r.urls[0].endswith("/images.zip")]
    assert {remote.name for remote in archives} == {"gqa-images.zip", "vg-images.zip", "lcs-images.zip"}
    assert len({remote.unpack.into for remote in archives if remote.unpack}) == 3


def test_no_two_files_of_all_sources_share_a_name(shipped: Catalog) -> None:
    names = [remote.name for remote in chosen(shipped, *shipped.sources)]
    assert len(set(names)) == len(names)


def test_a_source_named_twice_is_fetched_once(shipped: Catalog) -> None:
    assert chosen(shipped, "coco", "gqa", "coco") == chosen(shipped, "coco", "gqa")


def test_an_unknown_source_gets_the_nearest_name_as_a_hint(shipped: Catalog) -> None:
    with pytest.raises(UsageError, match="no source called `coc`") as caught:
        chosen(shipped, "coc")
    assert hint(caught) == "did you mean `coco`?"


def test_nothing_asked_for_is_an_error(shipped: Catalog) -> None:
    with pytest.raises(UsageError, match="nothing to fetch") as caught:
        chosen(shipped)
    assert "all" in hint(caught)


def test_all_is_what_the_three_stages_and_the_model_need(shipped: Catalog) -> None:
    wanted = select(shipped, Request(names=("all",)))
    needed = {name for stage in (1, 2, 3) for name in shipped.stage_sources(stage)}
    assert set(wanted.sources) == needed | set(shipped.weight_sources("7b-768"))


def test_all_leaves_out_instruction_files_that_no_stage_reads(shipped: Catalog) -> None:
    assert "blip_laion_cc_sbu_558k.json" not in {remote.name for remote in chosen(shipped, "all")}
    assert "blip_laion_cc_sbu_558k.json" in {remote.name for remote in chosen(shipped, "lcs")}
    assert "blip_laion_cc_sbu_558k.json" in {remote.name for remote in chosen(shipped, "all", "lcs")}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_is_what_it_reads(shipped: Catalog, stage: int) -> None:
    wanted = select(shipped, Request(stage=stage))
    weights = shipped.weight_sources("7b-768") if stage == 1 else ()
    assert set(wanted.sources) == {*shipped.stage_sources(stage), *weights}


def test_a_source_beside_a_stage_is_wanted_as_far_as_the_stage_needs_it(shipped: Catalog) -> None:
    assert select(shipped, Request(names=("coco",), stage=3)).sources == ("coco",)
    names = {remote.name for remote in select(shipped, Request(names=("allava",), stage=1)).remotes}
    assert "ALLaVA-Caption-LAION-4V.json" in names
    assert "ALLaVA-Instruct-LAION-4V.json" not in names


def test_a_source_that_a_stage_does_not_need_is_refused(shipped: Catalog) -> None:
    with pytest.raises(UsageError, match="stage 3 needs nothing of `sam`") as caught:
        select(shipped, Request(names=("sam",), stage=3))
    assert "coco" in hint(caught)


def test_stage_3_needs_only_the_files_that_it_reads_of_a_source(shipped: Catalog) -> None:
    names = {remote.name for remote in select(shipped, Request(stage=3)).remotes}
    assert "llava_v1_5_mix665k.json" in names
    assert not any(name.startswith("ALLaVA") for name in names)


@pytest.mark.parametrize("stage", [0, 4])
def test_an_unknown_stage_is_refused(shipped: Catalog, stage: int) -> None:
    with pytest.raises(UsageError, match=f"no stage {stage}"):
        pick(shipped, Request(stage=stage))


def test_an_unknown_model_is_refused_with_those_there_are(shipped: Catalog) -> None:
    with pytest.raises(UsageError, match="no model called `13b`") as caught:
        chosen(shipped, "coco", model="13b")
    assert "7b-768" in hint(caught)


def test_shards_are_filled_into_name_address_size_and_digest() -> None:
    remotes = chosen(catalog_of(mine={"files": [SHARDED]}), "mine")
    assert [remote.name for remote in remotes] == [f"mine-{number:03d}.zip" for number in range(5)]
    assert [remote.urls for remote in remotes] == [(f"{HOST}/{number:03d}.zip",) for number in range(5)]
    assert [remote.size for remote in remotes] == [10, 11, None, None, None]
    assert [remote.sha256 for remote in remotes] == [*DIGESTS.values(), None, None]
    assert [remote.expected_bytes for remote in remotes] == [10, 11, 9, 9, 9]
    assert [remote.shard for remote in remotes] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("key", ["", "mine"])
def test_shards_may_be_chosen(key: str) -> None:
    remotes = chosen(catalog_of(mine={"files": [SHARDED]}), "mine", shards={key: (1, 3)})
    assert [remote.shard for remote in remotes] == [1, 3]


def test_the_document_s_range_is_inclusive(shipped: Catalog) -> None:
    assert len(chosen(shipped, "sam", shards={"": tuple(range(51))})) == 51


def test_a_bare_range_leaves_sources_that_are_not_sharded_whole(shipped: Catalog) -> None:
    remotes = chosen(shipped, "sam", "coco", shards={"": (8, 9)})
    assert {remote.name for remote in remotes} == {"sam-000008.tar", "sam-000009.tar", "coco-train2017.zip"}


@pytest.mark.parametrize("names", [("sam", "allava"), ("all",)])
def test_a_bare_range_for_several_sharded_sources_is_refused(shipped: Catalog, names: tuple[str, ...]) -> None:
    """Who does not want 576 GB of SAM must not lose seven of ALLaVA's ten archives as well."""
    with pytest.raises(UsageError, match="--shards 0-2 does not say of which source") as caught:
        chosen(shipped, *names, shards={"": (0, 1, 2)})
    assert re.search(r"write --shards (sam|allava)=0-2", hint(caught))


def test_a_named_range_leaves_other_sources_whole(shipped: Catalog) -> None:
    remotes = chosen(shipped, "sam", "allava", shards={"sam": (0, 1)})
    assert len([r for r in remotes if r.source == "sam"]) == 2
    assert len([r for r in remotes if r.source == "allava" and r.shard is not None]) == 10


def test_a_shard_that_a_source_does_not_have_is_refused(shipped: Catalog) -> None:
    with pytest.raises(UsageError, match="`sam` has no shard 51-52") as caught:
        chosen(shipped, "sam", shards={"sam": (50, 51, 52)})
    assert "0-50" in hint(caught)


def test_a_bare_shard_that_the_source_does_not_have_is_refused(shipped: Catalog) -> None:
    with pytest.raises(UsageError, match="`sam` has no shard 99") as caught:
        chosen(shipped, "sam", shards={"": (0, 99)})
    assert "sam has 0-50" in hint(caught)


@pytest.mark.parametrize("key", ["coco", "sam", "nothing"])
def test_shards_of_a_source_that_is_not_sharded_or_not_asked_for_are_refused(shipped: Catalog, key: str) -> None:
    with pytest.raises(UsageError, match=f"--shards: `{key}` is not sharded, or not asked for"):
        chosen(shipped, "coco", shards={key: (0,)})


def test_shards_without_anything_sharded_are_refused(shipped: Catalog) -> None:
    with pytest.raises(UsageError, match="what you named is not sharded") as caught:
        chosen(shipped, "coco", shards={"": (0,)})
    assert "leave --shards out" in hint(caught)


MIRRORED = {
    "name": "file.bin",
    "url": f"{HOST}/file.bin",
    "path": "data/mine/file.bin",
    "mirrors": [
        {"url": "https://free.example/1"},
        {"url": "https://named.example/1", "name": "backup", "opt_in": True},
        {"url": "https://free.example/2", "name": "second"},
        {"url": "https://named.example/2", "name": "other", "opt_in": True},
    ],
}
FREE = (f"{HOST}/file.bin", "https://free.example/1", "https://free.example/2")


def test_free_mirrors_come_after_the_publisher_in_the_manifests_order() -> None:
    assert chosen(catalog_of(mine={"files": [MIRRORED]}), "mine")[0].urls == FREE


def test_an_opt_in_mirror_is_used_only_when_it_is_named_and_then_first() -> None:
    catalog = catalog_of(mine={"files": [MIRRORED]})
    assert chosen(catalog, "mine", mirrors=frozenset({"backup"}))[0].urls == ("https://named.example/1", *FREE)
    both = chosen(catalog, "mine", mirrors=frozenset({"other", "backup"}))[0].urls
    assert both == ("https://named.example/1", "https://named.example/2", *FREE)


@pytest.mark.parametrize("name", ["nothing", "second"])
def test_a_mirror_that_nobody_has_to_name_cannot_be_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"none of the named sources has a mirror called `{name}`") as caught:
        chosen(catalog_of(mine={"files": [MIRRORED]}), "mine", mirrors=frozenset({name}))
    assert hint(caught) == "they have backup, other"


def test_a_mirror_of_a_sharded_file_names_the_shard_too(shipped: Catalog) -> None:
    (remote,) = chosen(shipped, "sam", shards={"sam": (14,)}, mirrors=frozenset({"hub-backup"}))
    assert remote.urls[0].endswith("/sa_000014.tar")
    assert remote.urls[-1] == "links:sa_000014.tar"


def test_an_alternative_takes_the_place_of_the_source_s_files(shipped: Catalog) -> None:
    remotes = chosen(shipped, "ocrvqa", alternatives={"ocrvqa": "urls"})
    assert [remote.name for remote in remotes] == ["ocrvqa-dataset.json"]
    assert remotes[0].expand is not None
    assert [remote.name for remote in chosen(shipped, "ocrvqa")] == ["ocrvqa-images.zip"]


def test_an_alternative_is_found_by_name(shipped: Catalog) -> None:
    assert alternative("ocrvqa", shipped.sources["ocrvqa"], "urls").name == "urls"


def test_an_alternative_of_a_source_that_is_not_asked_for_is_refused(shipped: Catalog) -> None:
    with pytest.raises(UsageError, match="`ocrvqa` is not asked for") as caught:
        chosen(shipped, "coco", alternatives={"ocrvqa": "urls"})
    assert hint(caught) == "name ocrvqa as well"


@pytest.mark.parametrize(("source", "known"), [("ocrvqa", "urls"), ("coco", "it has none")])
def test_an_unknown_alternative_is_refused_with_those_there_are(shipped: Catalog, source: str, known: str) -> None:
    with pytest.raises(UsageError, match=f"`{source}` has no alternative called `zip`") as caught:
        chosen(shipped, source, alternatives={source: "zip"})
    assert known in hint(caught)


def test_links_come_with_the_sources_that_want_them(shipped: Catalog) -> None:
    paths = {link.path for link in select(shipped, Request(names=("webdata",))).links}
    assert "data/web-celebrity/images/Choi_Min-sik.jpg" in paths
    assert select(shipped, Request(names=("coco",))).links == ()

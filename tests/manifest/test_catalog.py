from __future__ import annotations

from pathlib import Path

import pytest

from cvl.errors import EXIT_USAGE, ManifestError, UsageError
from cvl.manifest import STAGES, Catalog, cache_names, load_catalog, shipped_manifests

MINE = """
title = "Mine"
[[annotations]]
name = "mine"
path = "data/mine/mine.json"
images = "data/mine/images"
"""
ARCHIVE = """
title = "Mine"
[[files]]
name = "@"
url = "http://host/a.zip"
unpack = { into = "data/mine" }
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder of manifests, still empty."""
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(own: Path) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        load_catalog(own)
    error = caught.value
    assert error.exit_code == EXIT_USAGE
    assert str(error).startswith(f"{error.file}: {error.key}: ")
    assert error.mend
    return error


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load_catalog()


class TestOverlay:
    def test_without_a_folder_the_shipped_manifests_stand(self, shipped: Catalog) -> None:
        assert {"coco", "sam", "vicuna"} <= set(shipped.sources)
        assert tuple(shipped.stages) == STAGES
        assert "7b-768" in shipped.models
        assert all(path.is_relative_to(shipped_manifests()) for path in shipped.origins.values())

    def test_an_empty_folder_changes_nothing(self, own: Path, shipped: Catalog) -> None:
        assert load_catalog(own) == shipped

    @pytest.mark.parametrize("name", ["mine.toml", "sources/mine.toml"])
    def test_a_source_is_added_flat_or_in_its_folder(self, own: Path, shipped: Catalog, name: str) -> None:
        path = write(own, name, MINE)
        catalog = load_catalog(own)
        assert set(catalog.sources) - set(shipped.sources) == {"mine"}
        assert catalog.source("mine").title == "Mine"
        assert catalog.origins["sources/mine"] == path

    @pytest.mark.parametrize("name", ["coco.toml", "sources/coco.toml"])
    def test_a_source_of_a_shipped_name_takes_its_place_whole(self, own: Path, shipped: Catalog, name: str) -> None:
        write(own, name, 'title = "My own COCO"')
        catalog = load_catalog(own)
        assert set(catalog.sources) == set(shipped.sources)
        assert (catalog.source("coco").title, catalog.source("coco").files) == ("My own COCO", ())
        assert catalog.source("gqa") == shipped.source("gqa")

    def test_the_place_of_a_shipped_source_may_keep_its_cache_names(self, own: Path, shipped: Catalog) -> None:
        write(own, "coco.toml", ARCHIVE.replace("@", shipped.source("coco").files[0].name))
        assert load_catalog(own).source("coco").files[0].url == "http://host/a.zip"

    def test_sources_are_in_alphabetical_order_wherever_they_come_from(self, own: Path) -> None:
        write(own, "aaa.toml", MINE)
        assert list(load_catalog(own).sources) == sorted(load_catalog(own).sources)

    def test_stages_and_models_are_overlaid_too(self, own: Path) -> None:
        text = (shipped_manifests() / "stages/stage3.toml").read_text(encoding="utf-8")
        write(own, "stages/stage3.toml", text.replace("batch_size = 128", "batch_size = 64"))
        text = (shipped_manifests() / "models/7b-768.toml").read_text(encoding="utf-8")
        write(own, "models/tiny.toml", text.replace("768", "64"))
        catalog = load_catalog(own)
        assert [catalog.stages[number].document.batch_size for number in STAGES] == [256, 256, 64]
        assert catalog.models["tiny"].visual_tokens == 1

    def test_other_files_in_the_folder_are_not_looked_at(self, own: Path, shipped: Catalog) -> None:
        write(own, "README.md", "not a manifest")
        write(own, "sources/notes.txt", "not a manifest")
        assert load_catalog(own) == shipped

    @pytest.mark.parametrize("name", ["nowhere", "mine.toml"])
    def test_what_is_no_folder_is_refused(self, own: Path, name: str) -> None:
        write(own, "mine.toml", MINE)
        with pytest.raises(UsageError, match="there is no folder of manifests at") as caught:
            load_catalog(own / name)
        assert caught.value.hint == "check --manifests or CVL_MANIFESTS"

    def test_one_name_in_both_places_is_refused_rather_than_one_of_them_forgotten(self, own: Path) -> None:
        write(own, "mine.toml", MINE)
        path = write(own, "sources/mine.toml", MINE)
        error = refused(own)
        assert (error.file, error.key, error.mend) == (path, "file name", "remove one of the two")

    def test_a_source_cannot_be_called_all(self, own: Path) -> None:
        path = write(own, "all.toml", MINE)
        error = refused(own)
        assert (error.file, error.key) == (path, "file name")
        assert "means every source" in str(error)

    @pytest.mark.parametrize("name", ["stage4", "stage0", "stage", "3", "stage01", "stage3b", "Stage3", "stage²"])
    def test_a_stage_is_one_of_three_by_its_file_name(self, own: Path, name: str) -> None:
        text = (shipped_manifests() / "stages/stage3.toml").read_text(encoding="utf-8")
        path = write(own, f"stages/{name}.toml", text)
        error = refused(own)
        assert (error.file, error.key) == (path, "file name")
        assert error.mend == "call it stage1.toml, stage2.toml or stage3.toml"

    def test_an_error_names_the_users_file(self, own: Path) -> None:
        path = write(own, "coco.toml", "titel = 1")
        assert refused(own).file == path


class TestCacheNames:
    def test_a_sharded_file_has_a_name_for_each_shard(self, shipped: Catalog) -> None:
        names = cache_names(shipped.source("sam").files[0])
        assert (len(names), names[0], names[-1]) == (51, "sam-000000.tar", "sam-000050.tar")

    def test_another_file_has_its_own(self, shipped: Catalog) -> None:
        assert cache_names(shipped.source("coco").files[0]) == ("coco-train2017.zip",)

    def test_one_name_twice_in_one_manifest_is_refused(self, own: Path) -> None:
        second = ARCHIVE.partition("[[files]]")[2]
        path = write(own, "mine.toml", (ARCHIVE + "[[files]]" + second).replace("@", "a.zip"))
        error = refused(own)
        assert (error.file, error.key) == (path, "files.name")
        assert "`a.zip` is also used by sources/mine.toml" in str(error)

    def test_one_name_in_two_manifests_is_refused(self, own: Path) -> None:
        path = write(own, "mine.toml", ARCHIVE.replace("@", "coco-train2017.zip"))
        error = refused(own)
        assert (error.file, error.key) == (path, "files.name")
        assert "`coco-train2017.zip` is also used by sources/coco.toml" in str(error)
        assert "begins with the source's" in error.mend

    def test_a_name_that_a_shard_takes_is_refused(self, own: Path) -> None:
        path = write(own, "zebra.toml", ARCHIVE.replace("@", "sam-000050.tar"))
        error = refused(own)
        assert error.file == path
        assert "`sam-000050.tar` is also used by sources/sam.toml" in str(error)

    def test_two_ranges_of_shards_that_overlap_are_refused(self, own: Path) -> None:
        text = ARCHIVE.replace("@", "sam-{shard:06d}.tar").replace("a.zip", "{shard}") + 'shards = "50-60"'
        write(own, "zebra.toml", text)
        assert "`sam-000050.tar` is also used by sources/sam.toml" in str(refused(own))
        write(own, "zebra.toml", text.replace("50-60", "51-60"))
        assert len(load_catalog(own).source("zebra").files[0].shard_numbers) == 10

    def test_files_of_alternatives_count_too(self, own: Path) -> None:
        write(own, "zebra.toml", ARCHIVE.replace("@", "ocrvqa-dataset.json"))
        assert "also used by sources/ocrvqa.toml" in str(refused(own))

    def test_two_instruction_files_of_one_name_are_refused(self, own: Path) -> None:
        path = write(own, "mine.toml", MINE.replace('"mine"', '"llava665k"'))
        error = refused(own)
        assert (error.file, error.key) == (path, "annotations.name")
        assert "`llava665k` is also used by sources/llava.toml" in str(error)


class TestReferences:
    def test_an_unknown_source_in_needs_is_refused(self, own: Path) -> None:
        path = write(own, "mine.toml", MINE + 'needs = ["coco", "cocoa"]')
        error = refused(own)
        assert (error.file, error.key, error.mend) == (path, "annotations.needs", "`cvl sources` lists them all")
        assert "there is no source called `cocoa`" in str(error)

    @pytest.mark.parametrize("stage", [0, 4])
    def test_an_unknown_stage_in_joins_is_refused(self, own: Path, stage: int) -> None:
        path = write(own, "mine.toml", MINE + f"joins = [3, {stage}]")
        error = refused(own)
        assert (error.file, error.key, error.mend) == (path, "annotations.joins", "stages are 1, 2 and 3")
        assert f"there is no stage {stage}" in str(error)

    def test_a_stage_that_names_unknown_data_is_refused_with_what_is_known(self, own: Path) -> None:
        text = (shipped_manifests() / "stages/stage3.toml").read_text(encoding="utf-8")
        path = write(own, "stages/stage3.toml", text.replace("llava665k", "llava665"))
        error = refused(own)
        assert (error.file, error.key) == (path, "data")
        assert "no source has an instruction file called `llava665`" in str(error)
        assert "llava665k" in error.mend

    @pytest.mark.parametrize(("source", "key"), [("vicuna", "language_model"), ("convnext", "vision_tower")])
    def test_a_model_that_names_an_unknown_source_is_refused(self, own: Path, source: str, key: str) -> None:
        text = (shipped_manifests() / "models/7b-768.toml").read_text(encoding="utf-8")
        path = write(own, "models/mine.toml", text.replace(f'"{source}"', '"nobody"'))
        error = refused(own)
        assert (error.file, error.key, error.mend) == (path, f"{key}.source", "name a source")

    def test_of_several_wrong_names_it_is_always_the_same_that_is_told(self, own: Path) -> None:
        write(own, "mine.toml", MINE + 'needs = ["z", "y", "x"]')
        assert "`x`" in str(refused(own))

    def test_a_replaced_source_must_still_have_the_data_that_stages_name(self, own: Path) -> None:
        write(own, "llava.toml", 'title = "no instruction file"')
        error = refused(own)
        assert error.key == "data"
        assert "`llava665k`" in str(error)


class TestQuestions:
    def test_data_of_ones_own_joins_the_mix_of_the_stages_that_it_names(self, own: Path, shipped: Catalog) -> None:
        write(own, "mine.toml", MINE + 'needs = ["coco"]\njoins = [1, 3]')
        catalog = load_catalog(own)
        for number, joined in ((1, ["mine"]), (2, []), (3, ["mine"])):
            before = [entry.name for entry in shipped.stage_annotations(number)]
            assert [entry.name for entry in catalog.stage_annotations(number)] == before + joined
        assert set(catalog.stage_sources(3)) - set(shipped.stage_sources(3)) == {"mine"}
        assert "mine" not in catalog.stage_sources(2)

    def test_data_that_a_stage_names_and_that_joins_it_is_read_once(self, own: Path) -> None:
        write(own, "mine.toml", MINE + "joins = [3]")
        text = (shipped_manifests() / "stages/stage3.toml").read_text(encoding="utf-8")
        write(own, "stages/stage3.toml", text.replace('"llava665k"', '"mine", "llava665k"'))
        assert [entry.name for entry in load_catalog(own).stage_annotations(3)] == ["mine", "llava665k"]

    def test_a_stages_sources_are_those_of_its_instruction_files_and_of_their_pictures(self, shipped: Catalog) -> None:
        assert shipped.stage_sources(3) == ("coco", "gqa", "llava", "ocrvqa", "textvqa", "vg")

    def test_an_unknown_source_is_answered_with_the_nearest(self, shipped: Catalog) -> None:
        with pytest.raises(UsageError, match="there is no source called `ocr_vqa`") as caught:
            shipped.source("ocr_vqa")
        assert caught.value.hint == "did you mean `ocrvqa`?"

    def test_a_source_like_no_other_is_answered_with_the_command_that_lists_them(self, shipped: Catalog) -> None:
        with pytest.raises(UsageError) as caught:
            shipped.source("imagenet21k")
        assert caught.value.hint == "`cvl sources` lists them all"

    def test_a_source_is_converted_where_its_manifest_says_so(self, shipped: Catalog) -> None:
        assert shipped.convertible("ocrvqa") == "data/ocr_vqa/images"
        with pytest.raises(UsageError, match="nothing of `coco` needs converting") as caught:
            shipped.convertible("coco")
        assert caught.value.hint == "sources that do: ocrvqa"

    @pytest.mark.parametrize(
        ("path", "owner"),
        [
            ("data/coco/train2017/000000000009.jpg", "coco"),
            ("data/coco/train2017", "coco"),
            ("data/coco/train20170/x.jpg", None),
            ("data/llava/llava_pretrain/images/00120/001200924.jpg", "lcs"),
            ("data/llava/llava_v1_5_mix665k.json", "llava"),
            ("data/vg/VG_100K_2/1.jpg", "vg"),
            ("data/allava/allava_laion/images/1.jpeg", "allava"),
            ("data/allava/allava_vflan/images/images_191task_1k/x.jpg", "vflan"),
            ("data/web-celebrity/images/Choi_Min-sik.jpg", "webdata"),
            ("data/mine/x.jpg", None),
        ],
    )
    def test_every_place_of_the_tree_has_the_owner_whose_folder_is_nearest(
        self, shipped: Catalog, path: str, owner: str | None
    ) -> None:
        assert shipped.owner(path) == owner

    def test_start_weights_are_named_once_each(self, own: Path, shipped: Catalog) -> None:
        assert shipped.weight_sources("7b-768") == ("vicuna", "convnext")
        text = (shipped_manifests() / "models/7b-768.toml").read_text(encoding="utf-8")
        write(own, "models/one.toml", text.replace('"convnext"', '"vicuna"'))
        assert load_catalog(own).weight_sources("one") == ("vicuna",)

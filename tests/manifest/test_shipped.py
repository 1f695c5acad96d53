"""The shipped manifests held against what is known of the sources: every number below was written down a second time,
from what the publishers say, so that a slip of one digit in a manifest is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from cvl.manifest import STAGES, Catalog, File, Model, hub_place, load_catalog, shipped_manifests

CHECKOUT = Path(__file__).parents[2]

SOURCE_NAMES = "allava coco convnext gqa lcs llava ocrvqa sam sharegpt4v textvqa vflan vg vicuna webdata"
DOCUMENT = {
    # lr, batch, epochs, warm-up, weight decay, optimizer
    1: (3e-4, 256, 1, 0.03, 0.0, "adamw"),
    2: (2e-5, 256, 1, 0.03, 0.0, "adamw"),
    3: (2e-5, 128, 1, 0.03, 0.0, "adamw"),
}
DOCUMENT_TREE = """
data/allava/allava_laion/images
data/allava/allava_laion/ALLaVA-Caption-LAION-4V.json
data/allava/allava_laion/ALLaVA-Instruct-LAION-4V.json
data/allava/allava_vflan/ALLaVA-Caption-VFLAN-4V.json
data/allava/allava_vflan/ALLaVA-Instruct-VFLAN-4V.json
data/coco/train2017
data/llava/llava_v1_5_mix665k.json
data/sam/images
data/gqa/images
data/ocr_vqa/images
data/textvqa/train_images
data/vg/VG_100K
data/vg/VG_100K_2
data/vflan/images_191task_1k
data/vflan/annotation_191-task_1k.json
data/sharegpt4v/share-captioner_coco_lcs_sam_1246k_1107.json
data/sharegpt4v/sharegpt4v_instruct_gpt4-vision_cap100k.json
data/share_textvqa/images
data/web-celebrity/images
data/web-landmark/images
data/wikiart/images
"""

WHOLE_FILES = {
    # cache name: (url, bytes, sha256)
    "coco-train2017.zip": (
        "http://images.cocodataset.org/zips/train2017.zip",
        19_336_861_798,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    "lcs-images.zip": (
        "hf://datasets/liuhaotian/LLaVA-Pretrain@70f9d1e5e1a697fe35830875cfc7de1dd590d727/images.zip",
        27_356_108_382,
        "05459d8cb059bd32322b1c466c1cbd4568b09b1ce1db748425b7977236912660",
    ),
    "gqa-images.zip": (
        "https://downloads.cs.stanford.edu/nlp/data/gqa/images.zip",
        21_817_965_542,
        "02ce5c49c793accd5305356de9c39a50f80a7aaac193b0203de30dbbc65bde62",
    ),
    "ocrvqa-images.zip": (
        "hf://datasets/weizhiwang/llava_v15_instruction_images/ocr_vqa_images_llava_v15.zip",
        8_971_611_056,
        "3759c8aa0f17cab162e22fc5c3ac77f3a4d5e342974c4ad4cc316b2308a0094a",
    ),
    "textvqa-train_val_images.zip": (
        "https://dl.fbaipublicfiles.com/textvqa/images/train_val_images.zip",
        7_072_297_970,
        "ecf35005640d0708eae185aab1c0a10f89b2db7420b29185a1ed92a8f4290498",
    ),
    "vg-images.zip": (
        "https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip",
        9_731_705_982,
        "51c682d2721f880150720bb416e0346a4c787e4c55d7f80dfd1bd3f73ba81646",
    ),
    "vg-images2.zip": (
        "https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip",
        5_471_658_058,
        "99da1a0ddf87011319ff3b05cf9176ffee2731cc3c52951162d9ef0d68e3cfb5",
    ),
    "webdata-share_textvqa.zip": (
        "gdrive://1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2",
        126_417_739,
        "6967fddcbbef7ea8ebd401b99b765d480933c48c92f8a8fc4d95988b2681cba6",
    ),
    "webdata-web-celebrity.zip": (
        "gdrive://1-SB71C3j1mVg0kDDXwj2IWGEoBoRUD-J",
        103_216_303,
        "cac22138f1a0602219026cca0173d104b3d57d981c94409d2e689a8d0d7ad395",
    ),
    "webdata-web-landmark.zip": (
        "gdrive://1JpJkN7ZMA50xAhMx9O-rVb5yLhfGm3_o",
        227_426_263,
        "0fa9f2184dda8badb740aaa39fe66fd4d840b009041ff63f4fed7fcf5f0ec199",
    ),
    "webdata-wikiart.zip": (
        "gdrive://1FxB2Nw-vWUcTUSI_dBpPIykb-uGYoEqV",
        185_443_242,
        "132b7393f970692385b47214a17462f39f73492545a3eeb9d8ab80ac029b1a20",
    ),
    "ALLaVA-Caption-LAION-4V.json": (
        "hf://datasets/FreedomIntelligence/ALLaVA-4V/allava_laion/ALLaVA-Caption-LAION-4V.json",
        1_147_199_280,
        "31332e293f4e0687fa8771372e07837fbd57acce27f29d27a033254f41bc0ffc",
    ),
    "ALLaVA-Instruct-LAION-4V.json": (
        "hf://datasets/FreedomIntelligence/ALLaVA-4V/allava_laion/ALLaVA-Instruct-LAION-4V.json",
        536_502_661,
        "c0fb094b92ad11eab80fee704ff58b7e7ab26a655f93c63808dad703ee0f373f",
    ),
    "ALLaVA-Caption-VFLAN-4V.json": (
        "hf://datasets/FreedomIntelligence/ALLaVA-4V/allava_vflan/ALLaVA-Caption-VFLAN-4V.json",
        379_544_520,
        "b3d9c3fac2f5d616bb8147bc0728215aa0e3016d52bed774873c49b5c2dcade9",
    ),
}
ESTIMATED_FILES: Mapping[str, tuple[str, int, str | None]] = {
    # cache name: (url, bytes as far as anybody said, sha256 where it is known although the size is not)
    "ALLaVA-Instruct-VFLAN-4V.json": (
        "hf://datasets/FreedomIntelligence/ALLaVA-4V/allava_vflan/ALLaVA-Instruct-VFLAN-4V.json",
        230_000_000,
        "dd78450e5c76141e71af4962f8f75cba3188037951cc781f519ec45ec1efdf77",
    ),
    "llava_v1_5_mix665k.json": (
        "hf://datasets/liuhaotian/LLaVA-Instruct-150K@011f884bcf152693aca1d531d067f31e748bea02/llava_v1_5_mix665k.json",
        1_030_000_000,
        None,
    ),
    "blip_laion_cc_sbu_558k.json": (
        "hf://datasets/liuhaotian/LLaVA-Pretrain@70f9d1e5e1a697fe35830875cfc7de1dd590d727/blip_laion_cc_sbu_558k.json",
        181_000_000,
        None,
    ),
    "share-captioner_coco_lcs_sam_1246k_1107.json": (
        "hf://datasets/Lin-Chen/ShareGPT4V/share-captioner_coco_lcs_sam_1246k_1107.json",
        1_490_000_000,
        "5c5f0f4ee58d7b7467f9e49eb5b17f930890a8a0c18a4e2a5be6b15714ef8b3c",
    ),
    "sharegpt4v_instruct_gpt4-vision_cap100k.json": (
        "hf://datasets/Lin-Chen/ShareGPT4V/sharegpt4v_instruct_gpt4-vision_cap100k.json",
        134_000_000,
        None,
    ),
    "vflan-image_191-task_1k.zip": (
        "hf://datasets/Vision-Flan/vision-flan_191-task_1k/image_191-task_1k.zip",
        36_320_000_000,
        "1107caf4636638da2d0d3b943f258954715d5c6ca3187a31706271c57f6d8852",
    ),
    "annotation_191-task_1k.json": (
        "hf://datasets/Vision-Flan/vision-flan_191-task_1k/annotation_191-task_1k.json",
        110_000_000,
        None,
    ),
}
ALLAVA_CHUNKS = """
0ffa5fc9d9d6327ceffc41c55144ce5ca7198cb809e25ce71c88c20c74901fe7 9278660594
da0a8244ddaab14839ba997900b794bfa8158858ff9da3779ca8d96d52979eac 9346575144
78b64dfe43426f546639e89e0ba410fc8b6d6eec1fef137e2cdf4b1eca30b57c 9209730611
9fcc4f26e5147312044bc15bb7640252459f930d6bdb42f3dc0baee0ce584812 9304641899
0e5821e1b5e6ab4b976530f1a76c0b64c7f70c2d00267320a8f1d03c2cd85f96 9300776038
b225fb10776c33bbe6d9fbb746e1524c9608fb520f61223fd8c4746e7df12872 9055761948
85f899375b160d0a34176d9e051d286bde592da659d3a50c7d64749ed1b1e377 9382165829
6068efbf264962b265fd901a0096de42d3d0ea45fe7b5887c6d1e1ad330598b6 9309331130
c06fe73f40cc7759d9255502588ebee5db375b81dce70d010e6470bec840e4d1 8940486596
558e291a5f998bf9930e67753bcd8b7ad33e307bc4a59de6b976a9c7de1eaa79 9145347558
"""
SAM_MD5S = """
78d0f487c735a3de86ae6e1b0ff24ea9 c69be32127c9b4a6dc89ff95b036e44d 771eb6a2e6337a6e8c724309faf6a4d7
caab7a8a85d31b1c21b726993a21e894 7c54aa5af99e1f0aa0d86789e8b2301a 39af5057caeb94a38b55279ba535a8bb
2973abc96f1907d598140db307459307 f1e40a5f566a5d92bc478de6cb025112 0c74a035dba90aafb6355463c0a8e15b
50d3d8d8ad7dc1d04de73de1ce171a59 a4d29f2f00c66722acf1c96dff8f1296 481dba8aee556bd2f5832278437e2e74
0957445aa7bbe267bc151f612ac3e015 68fab5d691aa53cb6b8080128971eddd 45e15f9ff5ded968abe4eb01b95be29a
259118b32686de86fdce3b41e979e517 441129d8f0cbed260c8eafaac98b3965 dade5977ae2736a79dbbed4e9a550ec4
f2abe4b0001cb243e699125833df36a5 05f1a621b3f685e5213602b99613eaf6 9f82d3ffe778c007d2b1a0b24c96f4d1
fe55567bc5931782ca64a18a03ac47e7 c1d23eccda2ba87150de151333cfbc15 4138699181656ccaa33c30cb551c5c5e
d466ecb2e925b270d208b4256bcd9416 5ddf27fcf77da3610045275c899d7c9a d1c539e5bf719411c2eb10ba066628f3
6adc45f0ee85e85bca6b23fac8e26076 65d885301017048cf3bf5bfe6a0f46d7 a88b6270eff050995fa4084cb03bf090
367997a8328dcbc62701b54fc89dadb3 d6b43dfa4435af14154098f91fe27283 91385a6c9af7cc1a4ed558135e1c356c
4e4d6a1de9309f6d4054775184328010 e36d6a702603d597c5ae99c4d83f4e6f de2e1beaaa1d910bb180400ee55b73a7
ee3dfb1940e6c0ddf1353834ec46b76b d8ee57265342af18a795330521d960e0 4723cf9f132e2f1305bff596c32ae0f1
5b5db9afeea3cff452df7ca85beaf0cf c6840ba75711e1dc30c8ecb07f18c806 aed0f35b8646fe0cae73a1727213d88e
f0d04fb9f49b2e6f586294906300711e 042b180dab65402030841a25fbe162d2 7fa838be2fe6433638fcda889441a234
c0d4505821f5e92ec26185d9e2b234f1 bc3e27501767317705a7b554928e0337 d5e6dd27274a2ab3f7fd4f2de93f9763
d6b8d33269b0d0e07a307aee7ffc52b8 f860a9ddcb973029e0a7e73c3a3b7ee6 5a2ea71c804dceed1b00a8ba6dc659e7
"""
SINGLE_SOURCE = {
    "sam-{shard:06d}.tar",  # seen of a backup's bytes, not of the publisher's own
    "textvqa-train_val_images.zip",
    "vg-images2.zip",
    "webdata-share_textvqa.zip",
    "webdata-web-celebrity.zip",
    "webdata-web-landmark.zip",
    "webdata-wikiart.zip",
}
INSIDE = {
    # archive: (a member as its publisher has it, where the document's tree wants it)
    "allava-laion-images_{shard}.zip": (
        "mnt/some/deep/folder/100277305.jpeg",
        "data/allava/allava_laion/images/100277305.jpeg",
    ),
    "coco-train2017.zip": ("train2017/000000000009.jpg", "data/coco/train2017/000000000009.jpg"),
    "lcs-images.zip": ("00120/001200924.jpg", "data/llava/llava_pretrain/images/00120/001200924.jpg"),
    "gqa-images.zip": ("images/2375429.jpg", "data/gqa/images/2375429.jpg"),
    "ocrvqa-images.zip": ("images/140031996X.jpg", "data/ocr_vqa/images/140031996X.jpg"),
    "textvqa-train_val_images.zip": ("train_images/0a.jpg", "data/textvqa/train_images/0a.jpg"),
    "vg-images.zip": ("VG_100K/2317.jpg", "data/vg/VG_100K/2317.jpg"),
    "vg-images2.zip": ("VG_100K_2/1.jpg", "data/vg/VG_100K_2/1.jpg"),
    "sam-{shard:06d}.tar": ("sa_545504.jpg", "data/sam/images/sa_545504.jpg"),
    "vflan-image_191-task_1k.zip": ("images_191task_1k/a.png", "data/vflan/images_191task_1k/a.png"),
    "webdata-share_textvqa.zip": ("data/share_textvqa/images/a.jpg", "data/share_textvqa/images/a.jpg"),
    "webdata-web-celebrity.zip": ("data/web-celebrity/images/a.jpg", "data/web-celebrity/images/a.jpg"),
    "webdata-web-landmark.zip": ("data/web-landmark/images/a.jpg", "data/web-landmark/images/a.jpg"),
    "webdata-wikiart.zip": ("data/wikiart/images/a.jpg", "data/wikiart/images/a.jpg"),
}
COUNTS = {
    "data/coco/train2017": (".jpg", 118_287),
    "data/llava/llava_pretrain/images": (".jpg", 558_128),
    "data/sam/images": (".jpg", 570_486),
    "data/gqa/images": (".jpg", 148_854),
    "data/textvqa/train_images": (".jpg", 25_119),
    "data/vg/VG_100K": (".jpg", 64_346),
    "data/vg/VG_100K_2": (".jpg", 43_903),
    "data/vflan/images_191task_1k": (None, 181_393),
    # Nobody published how many files these hold.
    "data/allava/allava_laion/images": (None, None),
    "data/ocr_vqa/images": (".jpg", None),
    "data/share_textvqa/images": (None, None),
    "data/web-celebrity/images": (None, None),
    "data/web-landmark/images": (None, None),
    "data/wikiart/images": (None, None),
}
ANNOTATIONS = {
    # name: (source, file, folder that its pictures are relative to, records)
    "sharegpt4vpretrain": (
        "sharegpt4v",
        "data/sharegpt4v/share-captioner_coco_lcs_sam_1246k_1107.json",
        "data",
        1_246_901,
    ),
    "sharegpt4v100k": (
        "sharegpt4v",
        "data/sharegpt4v/sharegpt4v_instruct_gpt4-vision_cap100k.json",
        "data",
        102_025,
    ),
    "llava665k": ("llava", "data/llava/llava_v1_5_mix665k.json", "data", 665_298),
    "allava_laion_caption": (
        "allava",
        "data/allava/allava_laion/ALLaVA-Caption-LAION-4V.json",
        "data/allava",
        468_670,
    ),
    "allava_laion_instruct": (
        "allava",
        "data/allava/allava_laion/ALLaVA-Instruct-LAION-4V.json",
        "data/allava",
        468_670,
    ),
    "allava_vflan_caption": (
        "allava",
        "data/allava/allava_vflan/ALLaVA-Caption-VFLAN-4V.json",
        "data/allava",
        194_977,
    ),
    "allava_vflan_instruct": (
        "allava",
        "data/allava/allava_vflan/ALLaVA-Instruct-VFLAN-4V.json",
        "data/allava",
        194_254,
    ),
    "vflan": ("vflan", "data/vflan/annotation_191-task_1k.json", "data/vflan/images_191task_1k", 186_103),
    "lcs": (
        "lcs",
        "data/llava/llava_pretrain/blip_laion_cc_sbu_558k.json",
        "data/llava/llava_pretrain/images",
        558_128,
    ),
}
NEEDS = {
    "sharegpt4vpretrain": {"sam", "lcs", "coco"},
    "sharegpt4v100k": {"sam", "lcs", "coco", "webdata"},
    "llava665k": {"coco", "vg", "ocrvqa", "gqa", "textvqa"},
    "allava_laion_caption": {"allava"},
    "allava_laion_instruct": {"allava"},
    "allava_vflan_caption": {"vflan"},
    "allava_vflan_instruct": {"vflan"},
    "vflan": {"vflan"},
    "lcs": {"lcs"},
}
CAPTIONS = ["sharegpt4vpretrain", "sharegpt4v100k", "allava_laion_caption", "allava_vflan_caption"]
STAGE_DATA = {
    1: CAPTIONS,
    2: [*CAPTIONS, "allava_laion_instruct", "allava_vflan_instruct", "vflan"],
    3: ["llava665k"],
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def files(catalog: Catalog) -> dict[str, File]:
    """Every file of every source, alternatives left out, by cache name."""
    return {file.name: file for source in catalog.sources.values() for file in source.files}


def expected_bytes(file: File) -> int:
    """What a plan counts with."""
    sizes = file.size if isinstance(file.size, dict) else {}
    whole = file.size if isinstance(file.size, int) else file.approximate_size or 0
    return sum(sizes.get(shard, whole) for shard in file.shard_numbers) if file.shard_numbers else whole


class TestSources:
    def test_the_sources_are_those_that_the_user_types(self, catalog: Catalog) -> None:
        assert set(catalog.sources) == set(SOURCE_NAMES.split())

    def test_every_file_is_one_that_was_written_down_here(self, files: dict[str, File]) -> None:
        sharded = {"allava-laion-images_{shard}.zip", "sam-{shard:06d}.tar"}
        weights = {"vicuna-7b-v1.5", "LAION-CLIP-ConvNeXt-Large-512"}
        assert set(files) == {*WHOLE_FILES, *ESTIMATED_FILES, *sharded, *weights}

    @pytest.mark.parametrize("name", WHOLE_FILES)
    def test_a_file_that_is_known_to_the_byte(self, files: dict[str, File], name: str) -> None:
        file = files[name]
        assert (file.url, file.size, file.sha256) == WHOLE_FILES[name]
        assert file.approximate_size is None

    @pytest.mark.parametrize("name", ESTIMATED_FILES)
    def test_a_file_whose_size_is_known_in_round_numbers(self, files: dict[str, File], name: str) -> None:
        file = files[name]
        assert (file.url, file.approximate_size, file.sha256) == ESTIMATED_FILES[name]
        assert file.size is None

    def test_only_coco_and_sam_have_md5s(self, files: dict[str, File]) -> None:
        assert {name for name, file in files.items() if file.md5} == {"coco-train2017.zip", "sam-{shard:06d}.tar"}
        assert files["coco-train2017.zip"].md5 == "cced6f7f71b7629ddf16f17bbcfab6b2"

    def test_digests_that_were_seen_in_one_place_say_so(self, files: dict[str, File]) -> None:
        assert {name for name, file in files.items() if file.certainty == "single-source"} == SINGLE_SOURCE

    def test_allavas_ten_chunks(self, files: dict[str, File]) -> None:
        file = files["allava-laion-images_{shard}.zip"]
        rows = [line.split() for line in ALLAVA_CHUNKS.split("\n") if line]
        assert file.url == ("hf://datasets/FreedomIntelligence/ALLaVA-4V/allava_laion/image_chunks/images_{shard}.zip")
        assert file.shard_numbers == tuple(range(10))
        assert file.sha256 == {shard: digest for shard, (digest, _) in enumerate(rows)}
        assert file.size == {shard: int(size) for shard, (_, size) in enumerate(rows)}
        assert expected_bytes(file) == 92_273_477_347

    def test_sams_51_shards(self, files: dict[str, File]) -> None:
        file = files["sam-{shard:06d}.tar"]
        assert file.url == "links:sa_{shard:06d}.tar"
        assert file.shard_numbers == tuple(range(51))
        digests = SAM_MD5S.split()
        assert file.md5 == dict(enumerate(digests))
        assert len(set(digests)) == 51
        assert file.size == {14: 11_213_714_588}
        assert file.sha256 == {14: "b9b1a1c9699c181e466e9f79302685208905137f67987c6526449768e5d7cdd3"}

    def test_sams_bytes_add_up_but_for_rounding(self, files: dict[str, File]) -> None:
        assert 0 <= 576_155_235_091 - expected_bytes(files["sam-{shard:06d}.tar"]) < 51

    def test_sams_mirrors_are_taken_only_when_asked_for(self, files: dict[str, File]) -> None:
        mirrors = {mirror.name: mirror for mirror in files["sam-{shard:06d}.tar"].mirrors}
        assert all(mirror.opt_in for mirror in mirrors.values())
        assert {name: mirror.url for name, mirror in mirrors.items()} == {
            "opendatalab": "openxlab://OpenDataLab/SA-1B/raw/sa_{shard:06d}.tar",
            "hub-backup": "hf://datasets/Aber-r/SA-1B_backup@140d15308aff47dae3b00214083838d56a4319c6/sa_{shard:06d}.tar",
        }

    def test_cocos_mirror_is_the_same_store_by_path(self, files: dict[str, File]) -> None:
        (mirror,) = files["coco-train2017.zip"].mirrors
        assert mirror.url == "https://s3.amazonaws.com/images.cocodataset.org/zips/train2017.zip"

    def test_lcss_mirror_is_the_copy_of_equal_bytes(self, files: dict[str, File]) -> None:
        (mirror,) = files["lcs-images.zip"].mirrors
        assert mirror.url == ("hf://datasets/332F/LLaVA-Pretrain@698a737896f11f8cd9548d2989d2c2875405e955/images.zip")

    def test_webdata_is_643_megabytes(self, catalog: Catalog) -> None:
        assert sum(expected_bytes(file) for file in catalog.sources["webdata"].files) == 642_503_547

    def test_the_document_takes_about_810_gigabytes(self, catalog: Catalog) -> None:
        parts = {name: sum(map(expected_bytes, source.files)) for name, source in catalog.sources.items()}
        total = sum(parts.values())
        assert total == pytest.approx(810e9, rel=0.001)
        shares = {name: round(100 * parts[name] / total, 1) for name in ("sam", "allava", "vflan", "lcs")}
        assert shares == {"sam": 71.1, "allava": 11.7, "vflan": 4.5, "lcs": 3.4}

    def test_ocrvqas_covers_can_be_had_one_by_one(self, catalog: Catalog) -> None:
        (alternative,) = catalog.sources["ocrvqa"].alternatives
        (file,) = alternative.files
        assert (alternative.name, file.url) == ("urls", "gdrive://1r0tyZUwGCc4wIG4RkiglCGNL_nFJjR6Q")
        assert file.approximate_size == 113_000_000
        assert file.expand is not None
        assert (file.expand.url_field, file.expand.count) == ("imageURL", 207_572)
        assert file.expand.into == "data/ocr_vqa/images"
        # One cover is estimated from the archive that was packed from 207,549 of them.
        assert file.expand.approximate_size == pytest.approx(8_971_611_056 / 207_549, rel=0.01)

    def test_only_sam_has_a_gate(self, catalog: Catalog) -> None:
        assert [name for name, source in catalog.sources.items() if source.gate or source.asks] == ["sam"]
        gate = catalog.sources["sam"].gate
        assert gate is not None
        assert gate.page == "https://ai.meta.com/datasets/segment-anything-downloads/"

    def test_licences_are_those_that_the_publishers_state(self, catalog: Catalog) -> None:
        assert catalog.sources["allava"].licence == "Apache-2.0"
        assert catalog.sources["sharegpt4v"].licence == "CC BY-NC 4.0"
        assert catalog.sources["llava"].licence == "CC BY 4.0 and OpenAI's terms"
        assert catalog.sources["webdata"].licence == "academic use only"

    def test_hub_addresses_name_whole_commits_or_none(self, catalog: Catalog) -> None:
        for source in catalog.sources.values():
            urls = [url for file in source.all_files for url in (file.url, *(mirror.url for mirror in file.mirrors))]
            revisions = {hub_place(url).revision for url in urls if url.startswith("hf://")} - {None}
            assert all(re.fullmatch("[0-9a-f]{40}", revision or "") for revision in revisions)

    def test_each_manifest_begins_with_what_it_is_and_the_command_that_uses_it(self) -> None:
        for path in sorted(shipped_manifests().rglob("*.toml")):
            head = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
            assert all(line.startswith("#") for line in head), path
            command = f"cvl fetch {path.stem}" if path.parent.name == "sources" else "cvl train --stage"
            assert any(line.startswith(f"#   {command}") for line in head), path


class TestTree:
    @pytest.mark.parametrize("path", DOCUMENT_TREE.split())
    def test_everything_in_the_documents_tree_is_brought_by_a_source(self, catalog: Catalog, path: str) -> None:
        owner = catalog.owner(path)
        assert owner is not None
        claimed = {entry.folder for entry in catalog.sources[owner].expect}
        claimed |= {file.path for file in catalog.sources[owner].files if file.path is not None}
        assert path in claimed

    def test_every_folder_is_promised_with_the_number_that_its_publisher_gives(self, catalog: Catalog) -> None:
        promised = {
            entry.folder: (entry.suffix, entry.files) for source in catalog.sources.values() for entry in source.expect
        }
        assert promised == COUNTS

    def test_every_promised_folder_is_one_that_an_archive_of_its_source_fills(self, catalog: Catalog) -> None:
        for name, source in catalog.sources.items():
            filled = {folder for file in source.files for folder in landing_folders(file)}
            assert {entry.folder for entry in source.expect} == filled, name

    def test_every_archive_has_been_looked_into(self, files: dict[str, File]) -> None:
        assert {name for name, file in files.items() if file.unpack} == set(INSIDE)

    @pytest.mark.parametrize("name", INSIDE)
    def test_a_member_of_each_archive_lands_where_instruction_files_look(
        self, files: dict[str, File], name: str
    ) -> None:
        unpack, (member, place) = files[name].unpack, INSIDE[name]
        assert unpack is not None
        assert any(fnmatchcase(member, pattern) for pattern in unpack.include)
        kept = member.split("/")[-1:] if unpack.flatten else member.split("/")[unpack.strip :]
        assert "/".join([unpack.into, *kept]) == place

    def test_sams_shards_hold_as_many_pictures_as_its_folder(self, files: dict[str, File]) -> None:
        unpack = files["sam-{shard:06d}.tar"].unpack
        assert unpack is not None
        assert unpack.members == 11_186
        assert 51 * unpack.members == COUNTS["data/sam/images"][1]
        assert unpack.include == ("*.jpg",), "the masks beside the pictures are not wanted"

    def test_the_captions_of_pt_are_those_of_all_pictures_of_three_sources(self, catalog: Catalog) -> None:
        promised = {entry.folder: entry.files or 0 for source in catalog.sources.values() for entry in source.expect}
        folders = ("data/sam/images", "data/llava/llava_pretrain/images", "data/coco/train2017")
        records = catalog.annotations["sharegpt4vpretrain"][1].records
        assert sum(promised[folder] for folder in folders) == records == 1_246_901

    def test_vision_flans_pictures_have_a_second_name_where_allava_looks(self, catalog: Catalog) -> None:
        (link,) = catalog.sources["vflan"].links
        assert (link.path, link.target) == (
            "data/allava/allava_vflan/images/images_191task_1k",
            "data/vflan/images_191task_1k",
        )

    def test_two_celebrities_have_the_names_that_the_captions_spell(self, catalog: Catalog) -> None:
        folder = "data/web-celebrity/images"
        assert {link.path: link.target for link in catalog.sources["webdata"].links} == {
            f"{folder}/Choi_Min-sik.jpg": f"{folder}/Choi_Min_sik*",
            f"{folder}/Lee_Byung-hun.jpg": f"{folder}/Lee_Byung_hun*",
        }

    def test_only_book_covers_are_converted(self, catalog: Catalog) -> None:
        assert [name for name, source in catalog.sources.items() if source.convert] == ["ocrvqa"]
        assert catalog.convertible("ocrvqa") == "data/ocr_vqa/images"


class TestStages:
    @pytest.mark.parametrize("stage", STAGES)
    def test_the_documents_hyperparameters_to_the_digit(self, catalog: Catalog, stage: int) -> None:
        table = catalog.stages[stage].document
        found = (table.learning_rate, table.batch_size, table.epochs, table.warmup_ratio, table.weight_decay)
        assert (*found, table.optimizer) == DOCUMENT[stage]

    @pytest.mark.parametrize("stage", STAGES)
    def test_what_the_document_leaves_to_the_published_scripts(self, catalog: Catalog, stage: int) -> None:
        scripts = catalog.stages[stage].scripts
        assert (scripts.schedule, scripts.adam_betas, scripts.adam_epsilon) == ("cosine", (0.9, 0.999), 1e-8)
        assert (scripts.max_length, scripts.max_grad_norm, scripts.precision) == (2048, 0, "bf16")
        assert (scripts.image_aspect_ratio, scripts.group_by_modality_length) == ("pad", True)
        assert scripts.deepspeed == {1: "zero2", 2: "zero3", 3: "zero3"}[stage]

    @pytest.mark.parametrize("stage", STAGES)
    def test_the_data_of_each_stage(self, catalog: Catalog, stage: int) -> None:
        assert list(catalog.stages[stage].data) == STAGE_DATA[stage]

    def test_the_parts_that_learn(self, catalog: Catalog) -> None:
        encoder = [f"vision_tower.stage{number}" for number in (3, 4, 5)]
        assert {number: list(stage.train) for number, stage in catalog.stages.items()} == {
            1: ["vision_tower.stage5", "projector"],
            2: [*encoder, "projector", "language_model"],
            3: ["projector", "language_model"],
        }

    def test_each_stage_starts_from_the_one_before(self, catalog: Catalog) -> None:
        starts = [catalog.stages[number].starts_from for number in STAGES]
        assert starts == ["weights", "stage1", "stage2"]

    def test_instruction_files_are_where_the_document_has_them(self, catalog: Catalog) -> None:
        found = {
            name: (source, entry.path, entry.image_root, entry.records)
            for name, (source, entry) in catalog.annotations.items()
        }
        assert found == ANNOTATIONS

    def test_instruction_files_need_the_sources_whose_pictures_they_name(self, catalog: Catalog) -> None:
        assert {name: set(entry.needs) for name, (_, entry) in catalog.annotations.items()} == NEEDS

    def test_no_shipped_data_joins_a_stage_behind_its_manifests_back(self, catalog: Catalog) -> None:
        assert not [name for name, (_, entry) in catalog.annotations.items() if entry.joins]

    def test_every_source_of_the_document_is_read_by_a_stage(self, catalog: Catalog) -> None:
        read = {name for stage in STAGES for name in catalog.stage_sources(stage)}
        assert set(catalog.sources) - read == {"vicuna", "convnext"}


class TestModels:
    def test_three_resolutions_with_their_visual_tokens(self, catalog: Catalog) -> None:
        tokens = {name: (model.resolution, model.visual_tokens) for name, model in catalog.models.items()}
        assert tokens == {"7b-768": (768, 144), "7b-1024": (1024, 256), "7b-1536": (1536, 576)}

    def test_the_fifth_stage_is_six_blocks_of_3072_channels(self, catalog: Catalog) -> None:
        assert {(model.fifth_stage.blocks, model.fifth_stage.width) for model in catalog.models.values()} == {(6, 3072)}

    def test_start_weights_lie_where_their_source_lands_them(self, catalog: Catalog) -> None:
        for model in catalog.models.values():
            for source, path in parts(model):
                (file,) = catalog.sources[source].files
                assert file.snapshot is not None
                assert file.snapshot.into == path

    def test_start_weights_are_vicuna_and_the_encoder_that_convllava_starts_from(self, catalog: Catalog) -> None:
        urls = {name: [file.url for file in catalog.sources[name].files] for name in ("vicuna", "convnext")}
        assert urls == {
            "vicuna": ["hf://lmsys/vicuna-7b-v1.5"],
            "convnext": ["hf://ConvLLaVA/LAION-CLIP-ConvNeXt-Large-512"],
        }


class TestWhereTheManifestsAre:
    def test_a_checkout_finds_them_beside_the_package(self, tmp_path: Path) -> None:
        assert found_by(CHECKOUT, tmp_path) == (CHECKOUT / "manifests", SOURCE_NAMES.split())

    def test_a_wheel_finds_them_within_the_package(self, tmp_path: Path) -> None:
        pytest.importorskip("hatchling", reason="building a wheel needs hatchling")
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
        built = subprocess.run(build, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        (wheel,) = tmp_path.glob("cvl-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / "site")
        ours = {path.relative_to(CHECKOUT): path.read_bytes() for path in (CHECKOUT / "manifests").rglob("*.toml")}
        theirs = {
            path.relative_to(tmp_path / "site/cvl"): path.read_bytes()
            for path in (tmp_path / "site/cvl/manifests").rglob("*.toml")
        }
        assert ours == theirs
        assert not (tmp_path / "site/tests").exists()
        assert found_by(tmp_path / "site", tmp_path) == (tmp_path / "site/cvl/manifests", SOURCE_NAMES.split())


def landing_folders(file: File) -> set[str]:
    """The folders of the tree that an archive fills, by its patterns."""
    if file.unpack is None:
        return set()
    kept = [pattern.split("/")[:-1][file.unpack.strip :] for pattern in file.unpack.include]
    return {"/".join([file.unpack.into, *([] if file.unpack.flatten else parts)]) for parts in kept}


def parts(model: Model) -> list[tuple[str, str]]:
    return [(part.source, part.path) for part in (model.language_model, model.vision_tower)]


def found_by(package: Path, cwd: Path) -> tuple[Path, list[str]]:
    """The folder of manifests that the `cvl` in `package` finds, and the sources that it reads from there."""
    code = "from cvl.manifest import *; print(shipped_manifests(), *load_catalog().sources, sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    folder, *sources = run.stdout.splitlines()
    return Path(folder), sources

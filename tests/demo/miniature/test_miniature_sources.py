"""Each source is packed as the real one is: names, roots, containers and oddities."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from cvl.demo.miniature import World, build_world
from cvl.demo.miniature.sources import allava, lcs, ocrvqa, plain, sam, vflan, webdata
from cvl.demo.miniature.sources.sizes import Sizes

SCALE = 0.1


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("worlds") / "world", scale=SCALE)


def zip_files(world: World, url: str) -> dict[str, bytes]:
    with zipfile.ZipFile(world.path(url)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def zip_entries(world: World, url: str) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(world.path(url)) as archive:
        return archive.infolist()


def is_deflated(world: World, url: str) -> bool:
    (method,) = {entry.compress_type for entry in zip_entries(world, url) if not entry.is_dir()}
    return method == zipfile.ZIP_DEFLATED


def image_format(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.format is not None
        return picture.format


def listed(world: World) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = json.loads(world.path(ocrvqa.LIST_URL).read_bytes())
    return entries


class TestPlainZips:
    @pytest.mark.parametrize(
        ("url", "pattern"),
        [
            (plain.COCO_URL, r"train2017/\d{12}\.jpg"),
            (plain.GQA_URL, r"images/\d+\.jpg"),
            (plain.TEXTVQA_URL, r"train_images/[0-9a-f]{16}\.jpg|README\.txt"),
            (plain.VG_PART1_URL, r"VG_100K/\d+\.jpg"),
            (plain.VG_PART2_URL, r"VG_100K_2/\d+\.jpg"),
        ],
    )
    def test_members_lie_under_the_published_root(self, world: World, url: str, pattern: str) -> None:
        assert all(re.fullmatch(pattern, name) for name in zip_files(world, url))

    @pytest.mark.parametrize("url", [plain.COCO_URL, plain.GQA_URL, plain.TEXTVQA_URL, plain.VG_PART1_URL])
    def test_every_picture_is_a_whole_jpeg(self, world: World, url: str) -> None:
        files = zip_files(world, url)
        assert {image_format(data) for name, data in files.items() if name.endswith(".jpg")} == {"JPEG"}

    def test_a_few_files_of_visual_genomes_second_part_are_empty(self, world: World) -> None:
        files = zip_files(world, plain.VG_PART2_URL)
        empty = {PurePosixPath(name).name for name, data in files.items() if not data}
        assert empty == set(plain.VG_EMPTY)
        assert world.images_of("data/vg/VG_100K_2").empty == len(empty)

    def test_cocos_mirror_has_the_same_bytes(self, world: World) -> None:
        assert world.path(plain.COCO_MIRROR).read_bytes() == world.path(plain.COCO_URL).read_bytes()

    def test_the_two_parts_share_no_name(self, world: World) -> None:
        first, second = (zip_files(world, url) for url in (plain.VG_PART1_URL, plain.VG_PART2_URL))
        assert {name.rpartition("/")[2] for name in first}.isdisjoint(name.rpartition("/")[2] for name in second)

    def test_some_zips_are_deflated_and_some_have_entries_for_folders(self, world: World) -> None:
        assert is_deflated(world, plain.VG_PART1_URL)
        assert not is_deflated(world, plain.COCO_URL)
        assert zip_entries(world, plain.COCO_URL)[0].is_dir()
        assert not zip_entries(world, plain.GQA_URL)[0].is_dir()


class TestSam:
    BROKEN = (14, 16, 17, 19)

    def recovered(self, data: bytes) -> list[str]:
        """The pictures that a stream gets which keeps what it has at the error and goes on after empty blocks."""
        names = []
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|*", ignore_zeros=True) as archive:
            try:
                for entry in archive:
                    file = archive.extractfile(entry)
                    if file is not None and entry.name.endswith(".jpg"):
                        assert image_format(file.read()) == "JPEG"
                        names.append(entry.name)
            except tarfile.ReadError:
                pass
        return names

    def strict(self, data: bytes) -> list[str]:
        """The members that a reader gets which wants a sound container. Raises what such a reader raises."""
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data)), mode="r:") as archive:
            return archive.getnames()

    def shards(self, world: World) -> Iterator[tuple[int, bytes]]:
        for number in range(51):
            yield number, world.path(f"links:sa_{number:06d}.tar").read_bytes()

    def test_there_are_51_shards_of_gzip_under_the_name_of_tar(self, world: World) -> None:
        assert all(data.startswith(b"\x1f\x8b") for _, data in self.shards(world))
        assert sum(facts.url.startswith("links:") for facts in world.facts.files) == 51

    def test_pictures_and_masks_lie_flat_and_are_equally_many(self, world: World) -> None:
        names = self.strict(next(self.shards(world))[1])
        stems = [name.removesuffix(".jpg") for name in names if name.endswith(".jpg")]
        assert all(re.fullmatch(r"\./sa_\d+\.(jpg|json)", name) for name in names)
        assert stems == [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def test_every_picture_of_every_shard_can_be_recovered(self, world: World) -> None:
        for number, data in self.shards(world):
            assert len(self.recovered(data)) == world.file(f"links:sa_{number:06d}.tar").images, number

    def test_four_containers_are_broken(self, world: World) -> None:
        broken = []
        for number, data in self.shards(world):
            whole = world.file(f"links:sa_{number:06d}.tar").members
            try:
                if len(self.strict(data)) < whole:
                    broken.append(number)
            except (tarfile.TarError, EOFError, zlib.error, OSError):
                broken.append(number)
        assert tuple(broken) == self.BROKEN
        assert {facts.url for facts in world.facts.files if facts.broken and facts.url.startswith("links:")} == {
            f"links:sa_{number:06d}.tar" for number in self.BROKEN
        }

    def test_ids_rise_from_one_with_gaps(self) -> None:
        ids = [int(photo.stem.removeprefix("sa_")) for shard in sam.sam_photos(6) for photo in shard]
        assert ids == sorted(set(ids))
        assert ids[0] == 1
        assert ids[-1] > len(ids)

    def test_the_mirror_has_the_same_bytes_under_the_pinned_revision(self, world: World) -> None:
        for number, data in self.shards(world):
            assert world.path(f"hf://{sam.MIRROR}/sa_{number:06d}.tar").read_bytes() == data
        folder = world.folder / "hub" / sam.MIRROR
        assert (folder / ".revisions").read_text().split() == ["140d15308aff47dae3b00214083838d56a4319c6"]
        rows = [line.split() for line in (folder / "checklist.chk").read_text().splitlines()]
        assert {name: md5 for md5, name in rows} == {
            f"sa_{number:06d}.tar": world.file(f"links:sa_{number:06d}.tar").md5 for number in range(51)
        }

    def test_masks_speak_of_their_picture(self, world: World) -> None:
        with tarfile.open(world.path("links:sa_000000.tar")) as archive:
            masks = json.load(archive.extractfile("./sa_1.json"))  # type: ignore[arg-type]
        assert masks["image"]["file_name"] == "sa_1.jpg"
        assert all(len(mask["bbox"]) == 4 for mask in masks["annotations"])


class TestAllava:
    def chunks(self, world: World) -> Iterator[str]:
        for number in range(10):
            yield f"hf://{allava.REPOSITORY}/allava_laion/image_chunks/images_{number}.zip"

    def test_members_lie_deep_and_have_different_base_names(self, world: World) -> None:
        names = [PurePosixPath(name) for url in self.chunks(world) for name in zip_files(world, url)]
        assert all(name.parts[0] == "mntcephfs" and len(name.parts) > 5 for name in names)
        assert len({name.name for name in names}) == len(names)

    def test_the_suffix_is_the_formats_name(self, world: World) -> None:
        suffixes = set()
        for url in self.chunks(world):
            for name, data in zip_files(world, url).items():
                suffix = PurePosixPath(name).suffix
                suffixes.add(suffix)
                assert suffix == f".{image_format(data).lower()}"
        assert suffixes == {".jpeg", ".png", ".webp"}

    def test_local_headers_are_those_of_large_archives(self, world: World) -> None:
        path = world.path(next(self.chunks(world)))
        entry = next(entry for entry in zipfile.ZipFile(path).infolist() if not entry.is_dir())
        extra_length = int.from_bytes(path.read_bytes()[entry.header_offset + 28 : entry.header_offset + 30], "little")
        assert extra_length > 0


class TestLcs:
    def test_pictures_lie_in_numbered_folders_without_a_root(self, world: World) -> None:
        for name in zip_files(world, lcs.IMAGES_URL):
            folder, _, file = name.partition("/")
            assert re.fullmatch(r"\d{9}\.jpg", file)
            assert folder == file[:5]

    def test_the_mirror_has_the_same_bytes(self, world: World) -> None:
        assert world.path(f"hf://{lcs.MIRROR}/images.zip").read_bytes() == world.path(lcs.IMAGES_URL).read_bytes()
        text = (world.folder / "hub" / lcs.MIRROR / ".revisions").read_text()
        assert text == "698a737896f11f8cd9548d2989d2c2875405e955\n"

    def test_the_pinned_revision_resolves(self, world: World) -> None:
        text = (world.folder / "hub" / lcs.REPOSITORY / ".revisions").read_text()
        assert text == "70f9d1e5e1a697fe35830875cfc7de1dd590d727\n"


class TestWebData:
    @pytest.mark.parametrize("what", webdata.WEB_SETS, ids=lambda what: what.name)
    def test_members_carry_the_trees_path(self, world: World, what: webdata.WebSet) -> None:
        facts = world.file(what.url)
        assert facts.path == f"drive/{what.drive_id}/{what.name}.zip"
        names = [name for name in zip_files(world, what.url) if name.startswith(f"data/{what.name}/images/")]
        pictures = [name for name in names if name.endswith(".jpg")]
        assert len(pictures) == facts.images == world.images_of(f"data/{what.name}/images").files

    def test_two_celebrities_have_underscores_for_hyphens(self, world: World) -> None:
        names = {PurePosixPath(name).name for name in zip_files(world, webdata.CELEBRITY.url)}
        assert names >= {"Choi_Min_sik.jpg", "Lee_Byung_hun.jpg"}
        assert names.isdisjoint({"Choi_Min-sik.jpg", "Lee_Byung-hun.jpg"})

    def test_the_hub_has_the_same_zips(self, world: World) -> None:
        for what in webdata.WEB_SETS:
            mirrored = world.path(f"{webdata.MIRROR}/{what.name}.zip")
            assert mirrored.read_bytes() == world.path(what.url).read_bytes()

    def test_one_zip_carries_what_a_mac_leaves(self, world: World) -> None:
        assert any(name.startswith("__MACOSX/") for name in zip_files(world, webdata.LANDMARK.url))
        assert is_deflated(world, webdata.WIKIART.url)


class TestOcrVqa:
    def test_the_zip_calls_everything_jpg_but_holds_gifs_and_a_png(self, world: World) -> None:
        files = zip_files(world, ocrvqa.ZIP_URL)
        formats = [image_format(data) for data in files.values()]
        assert all(re.fullmatch(r"images/\d{9}[\dX]\.jpg", name) for name in files)
        assert formats.count("PNG") == 1
        assert 0.03 <= formats.count("GIF") / len(formats) <= 0.06

    def test_some_keys_end_in_x_and_all_are_valid(self, world: World) -> None:
        keys = list(listed(world))
        assert any(key.endswith("X") for key in keys)
        for key in keys:
            digits = [10 if digit == "X" else int(digit) for digit in key]
            assert sum(weight * digit for weight, digit in zip(range(10, 0, -1), digits, strict=True)) % 11 == 0

    def test_both_ways_give_the_same_bytes_under_the_same_keys(self, world: World) -> None:
        dead = set(world.facts.lists[0].dead)
        singly = {}
        for key, entry in listed(world).items():
            path = world.folder / "http" / unquote(entry["imageURL"]).removeprefix("http://")
            assert path.exists() == (key not in dead)
            if path.exists():
                singly[f"images/{key}.jpg"] = path.read_bytes()
        assert singly == zip_files(world, ocrvqa.ZIP_URL)

    def test_urls_end_in_what_the_picture_is(self, world: World) -> None:
        formats = {".jpg": "JPEG", ".gif": "GIF", ".png": "PNG"}
        files = zip_files(world, ocrvqa.ZIP_URL)
        suffixes = set()
        for key, entry in listed(world).items():
            if f"images/{key}.jpg" in files:
                suffix = PurePosixPath(entry["imageURL"]).suffix
                suffixes.add(suffix)
                assert image_format(files[f"images/{key}.jpg"]) == formats[suffix]
        assert suffixes == set(formats)

    def test_some_urls_need_unquoting(self, world: World) -> None:
        assert any("%2B" in entry["imageURL"] for entry in listed(world).values())

    def test_the_list_has_the_published_fields(self, world: World) -> None:
        for entry in listed(world).values():
            assert set(entry) == {"imageURL", "questions", "answers", "title", "authorName", "genre", "split"}
            assert entry["imageURL"].startswith("http://ecx.images-amazon.com/images/I/")
            assert len(entry["questions"]) == len(entry["answers"])
            assert entry["answers"][0] == entry["authorName"]
            assert entry["split"] in (1, 2, 3)

    def test_the_facts_of_the_list_are_those_of_its_pictures(self, world: World) -> None:
        (facts,) = world.facts.lists
        files = zip_files(world, ocrvqa.ZIP_URL)
        assert facts.entries == len(listed(world)) == len(files) + len(facts.dead)
        assert facts.size == sum(map(len, files.values()))


class TestVisionFlan:
    def test_the_root_is_called_otherwise_than_the_zip(self, world: World) -> None:
        assert vflan.ZIP_URL.endswith("/image_191-task_1k.zip")
        assert all(name.startswith("images_191task_1k/") for name in zip_files(world, vflan.ZIP_URL))
        assert is_deflated(world, vflan.ZIP_URL)

    def test_names_beyond_ascii_are_flagged_as_utf8(self, world: World) -> None:
        entries = [entry for entry in zip_entries(world, vflan.ZIP_URL) if not entry.filename.isascii()]
        assert len(entries) >= 5
        assert all(entry.flag_bits & 0x800 for entry in entries)

    def test_some_pictures_have_four_inks(self, world: World) -> None:
        pictures = zip_files(world, vflan.ZIP_URL).values()
        assert {Image.open(io.BytesIO(data)).mode for data in pictures} == {"RGB", "CMYK"}


def test_scale_one_gives_the_full_sizes_and_none_falls_below_its_least() -> None:
    assert Sizes.scaled(1.0) == Sizes()
    tiny = Sizes.scaled(0.0)
    assert (tiny.coco, tiny.sam, tiny.ocrvqa) == (12, 2, 30)

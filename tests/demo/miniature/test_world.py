from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from cvl.demo.miniature import world as module
from cvl.demo.miniature.facts import FileFacts
from cvl.demo.miniature.weights import ENCODER_URL
from cvl.demo.miniature.world import STAMP, World, build_world
from cvl.errors import UsageError

SCALE = 0.1


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("worlds") / "world", scale=SCALE)


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def members(path: Path) -> list[str]:
    """The names of an archive's files, without folders' own entries; of a broken one as far as it can be read."""
    if zipfile.is_zipfile(path):
        return [name for name in zipfile.ZipFile(path).namelist() if not name.endswith("/")]
    names: list[str] = []
    with tarfile.open(path, "r|*", ignore_zeros=True) as archive, suppress(tarfile.ReadError):
        names.extend(entry.name for entry in archive)
    return names


def is_archive(facts: FileFacts) -> bool:
    return facts.url.endswith((".zip", ".tar")) or facts.path.endswith(".zip")


def test_two_builds_give_the_same_bytes(world: World, tmp_path: Path) -> None:
    assert contents(build_world(tmp_path / "again", scale=SCALE).folder) == contents(world.folder)


def test_a_second_call_builds_nothing(world: World) -> None:
    before = (world.folder / STAMP).stat()
    again = build_world(world.folder, scale=SCALE)
    assert (world.folder / STAMP).stat() == before
    assert again == world


@pytest.mark.parametrize("change", ["scale", "version"])
def test_another_scale_or_version_is_built_anew(tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = build_world(tmp_path / "world", scale=0.01)
    (small.folder / "left over").touch()
    if change == "version":
        monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    again = build_world(small.folder, scale=0.01 if change == "version" else 0.2)
    assert not (small.folder / "left over").exists()
    assert (again.facts == small.facts) == (change == "version")
    assert names_in(tmp_path) == ["world"]


def test_a_trained_encoder_takes_the_drawn_ones_place(tmp_path: Path) -> None:
    trained, folder = tmp_path / "encoder.safetensors", tmp_path / "world"
    trained.write_bytes(b"trained")
    url = f"{ENCODER_URL}/model.safetensors"
    drawn = build_world(folder, scale=0.01)
    assert drawn.path(url).read_bytes() != b"trained"
    world = build_world(folder, scale=0.01, encoder=trained)
    assert world.path(url).read_bytes() == b"trained"
    assert {facts.url for facts in world.facts.files if facts != drawn.file(facts.url)} == {url}
    before = (folder / STAMP).stat()
    assert build_world(folder, scale=0.01, encoder=trained) == world
    assert (folder / STAMP).stat() == before


def test_a_folder_of_a_version_that_knew_no_trained_encoder_is_built_anew(tmp_path: Path) -> None:
    world = build_world(tmp_path, scale=0.01)
    stamp = json.loads((tmp_path / STAMP).read_bytes())
    (tmp_path / STAMP).write_text(json.dumps({"version": 1, "scale": 0.01, "facts": stamp["facts"]}))
    assert build_world(tmp_path, scale=0.01) == world
    assert json.loads((tmp_path / STAMP).read_bytes()) == stamp


@pytest.mark.parametrize("stamp", [None, b"{", b'{"other": "json"}'])
def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, stamp: bytes | None) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    if stamp is not None:
        (tmp_path / STAMP).write_bytes(stamp)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="not of a miniature world"):
        build_world(tmp_path, scale=SCALE)
    assert contents(tmp_path) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert (build_world(tmp_path, scale=0.01).folder / STAMP).exists()


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("cvl.demo.miniature.sources.catalog.publish_weights", fail)
    with pytest.raises(OSError, match="disk full"):
        build_world(tmp_path / "world", scale=0.01)
    assert names_in(tmp_path) == []


def test_a_world_that_another_process_finished_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, write = tmp_path / "world", module._write

    def slow(new: Path, wanted: module.Build, encoder: bytes | None) -> None:
        monkeypatch.undo()
        build_world(folder, scale=0.01)
        (folder / "of the other").touch()
        write(new, wanted, encoder)

    monkeypatch.setattr(module, "_write", slow)
    build_world(folder, scale=0.01)
    assert (folder / "of the other").exists()
    assert names_in(tmp_path) == ["world"]


def test_a_whole_world_takes_less_than_25_megabytes(tmp_path: Path) -> None:
    folder = build_world(tmp_path / "world").folder
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 25_000_000


def test_sizes_and_digests_are_those_of_the_files(world: World) -> None:
    for facts in world.facts.files:
        data = world.path(facts.url).read_bytes()
        assert facts.size == len(data)
        assert facts.sha256 == hashlib.sha256(data).hexdigest()
        assert facts.md5 == hashlib.md5(data).hexdigest()


def test_member_counts_are_those_of_the_archives(world: World) -> None:
    for facts in world.facts.files:
        assert (facts.members > 0) == is_archive(facts)
        if is_archive(facts):
            names = members(world.path(facts.url))
            lost = 1 if facts.broken and len(names) < facts.members else 0
            assert facts.members - lost == len(names), facts.url


def test_no_two_facts_speak_of_one_url_or_one_file(world: World) -> None:
    assert len({facts.url for facts in world.facts.files}) == len(world.facts.files)
    assert len({facts.path for facts in world.facts.files}) == len(world.facts.files)


def test_every_file_but_the_single_pictures_and_the_helpers_has_facts(world: World) -> None:
    known = {facts.path for facts in world.facts.files} | {STAMP}
    unknown = {path for path in contents(world.folder) if path not in known}
    helpers = {path for path in unknown if path.endswith((".revisions", "checklist.chk"))}
    assert len(helpers) == 5
    assert all(path.startswith("http/ecx.images-amazon.com/images/I/") for path in unknown - helpers)


def test_facts_are_found_by_url_folder_and_path(world: World) -> None:
    assert world.file("http://images.cocodataset.org/zips/train2017.zip").images == 40
    assert world.images_of("data/coco/train2017").files == 40
    assert world.instructions("data/llava/llava_v1_5_mix665k.json").image_root == "data"
    pinned = "hf://datasets/liuhaotian/LLaVA-Pretrain@70f9d1e5e1a697fe35830875cfc7de1dd590d727/images.zip"
    assert world.file(pinned).images == 34
    with pytest.raises(KeyError):
        world.file("http://images.cocodataset.org/zips/val2017.zip")


def test_scale_keeps_the_shards_and_the_chunks(tmp_path: Path) -> None:
    urls = [facts.url for facts in build_world(tmp_path / "tiny", scale=0.01).facts.files]
    assert sum(url.startswith("links:") for url in urls) == 51
    assert sum("image_chunks" in url for url in urls) == 10

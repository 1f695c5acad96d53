from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cvl.demo.miniature.facts import FolderFacts, InstructionFacts, ListFacts
from cvl.demo.miniature.packing import Member
from cvl.demo.miniature.photos import Photo, numbers, photos
from cvl.demo.miniature.pictures import encode
from cvl.demo.miniature.publish import Instructions, Publisher, place, without_revision
from cvl.demo.miniature.scenes import training_scenes

SCENES = training_scenes("publish", 2)


@pytest.fixture
def site(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://images.cocodataset.org/zips/a.zip", "http/images.cocodataset.org/zips/a.zip"),
        ("https://host/path/a.zip", "http/host/path/a.zip"),
        ("http://host/I/51a%2Bb.jpg", "http/host/I/51a+b.jpg"),
        ("hf://datasets/owner/name/deep/a.zip", "hub/datasets/owner/name/deep/a.zip"),
        ("hf://datasets/owner/name@0123abc/a.zip", "hub/datasets/owner/name/a.zip"),
        ("hf://owner/name/config.json", "hub/models/owner/name/config.json"),
        ("hf://owner/name@main/config.json", "hub/models/owner/name/config.json"),
        ("gdrive://some-id", "drive/some-id/a.zip"),
        ("links:sa_000000.tar", "signed/sa_000000.tar"),
    ],
)
def test_each_scheme_has_its_place(url: str, where: str) -> None:
    assert str(place(url, "a.zip" if url.startswith("gdrive") else "")) == where


def test_a_scheme_that_no_source_uses_has_no_place() -> None:
    with pytest.raises(ValueError, match="ftp"):
        place("ftp://host/a.zip")


def test_a_file_is_written_and_measured(site: Publisher) -> None:
    site.file("gdrive://id", b"bytes", name="a.bin")
    (facts,) = site.facts.files
    assert (site.folder / facts.path).read_bytes() == b"bytes"
    assert (facts.url, facts.path, facts.size) == ("gdrive://id", "drive/id/a.bin", 5)


def test_what_is_merely_put_has_no_facts(site: Publisher) -> None:
    site.put("http://host/1.jpg", b"bytes")
    assert site.facts.files == ()


def test_a_zip_is_counted(site: Publisher) -> None:
    site.zip("https://host/a.zip", [Member("images/"), Member("images/1.jpg", b"1"), Member("note.txt", b"2")])
    (facts,) = site.facts.files
    assert (facts.members, facts.images) == (2, 1)
    assert zipfile.is_zipfile(site.folder / facts.path)


def test_an_archive_remembers_that_its_container_is_broken(site: Publisher) -> None:
    site.archive("links:a.tar", b"rubbish", [Member("./a.jpg", b"1")], broken=True)
    (facts,) = site.facts.files
    assert facts.broken
    assert facts.images == 1


def test_a_mirror_has_the_same_bytes_and_facts(site: Publisher) -> None:
    site.zip("gdrive://id", [Member("images/1.jpg", b"1")], name="a.zip")
    site.mirror("gdrive://id", "hf://datasets/o/n/a.zip")
    original, copy = site.facts.files
    assert (site.folder / "hub/datasets/o/n/a.zip").read_bytes() == (site.folder / "drive/id/a.zip").read_bytes()
    assert copy == replace(original, url="hf://datasets/o/n/a.zip", path="hub/datasets/o/n/a.zip")


def test_only_urls_of_the_hub_lose_what_follows_an_at_sign() -> None:
    assert without_revision("hf://datasets/o/n@abc/a.zip") == "hf://datasets/o/n/a.zip"
    assert without_revision("http://host/a@b/c.zip") == "http://host/a@b/c.zip"


def test_instructions_are_written_as_their_source_writes_them_and_counted(site: Publisher) -> None:
    records: list[dict[str, Any]] = [{"id": "1", "image": "gqa/images/größe.jpg"}, {"id": "2"}]
    plain = Instructions("hf://datasets/o/n/plain.json", "data/plain.json", "data")
    fancy = Instructions("hf://datasets/o/n/fancy.json", "data/fancy.json", "data", indent=2, escaped=True)
    for what in (plain, fancy):
        site.instructions(what, records)
    written = [(site.folder / place(what.url)).read_text("utf-8") for what in (plain, fancy)]
    assert [json.loads(text) for text in written] == [records, records]
    assert "größe" in written[0]
    assert "\n" not in written[0]
    assert written[1].isascii()
    assert "\n" in written[1]
    assert site.facts.instructions[0] == InstructionFacts(
        "data/plain.json", plain.url, "data", records=2, text_only=1, prefixes={"gqa/images": 1}
    )


def test_folders_lists_aliases_and_pins_are_noted(site: Publisher) -> None:
    pictures = photos("gqa/images", ["1.jpg", "2.jpg"], SCENES)
    site.folder_of(pictures, empty=["3.jpg"])
    site.list_of_files(ListFacts("gdrive://id", 3, 100, ("gone",)))
    site.alias("data/a-b.jpg", "data/a_b.jpg")
    site.pin("datasets/o/n", "0" * 40)
    assert site.facts.folders == (FolderFacts("data/gqa/images", {".jpg": 3}, empty=1),)
    assert site.facts.lists[0].dead == ("gone",)
    assert site.facts.aliases == {"data/a-b.jpg": "data/a_b.jpg"}
    assert (site.folder / "hub/datasets/o/n/.revisions").read_text() == "0" * 40 + "\n"


def test_a_photo_knows_its_path_stem_and_bytes() -> None:
    photo = Photo("llava/llava_pretrain/images", "00120/001200924.jpg", SCENES[0])
    assert photo.path == "llava/llava_pretrain/images/00120/001200924.jpg"
    assert photo.stem == "001200924"
    assert photo.data() == encode(SCENES[0])
    assert photo.renamed("other.jpg") == Photo(photo.folder, "other.jpg", photo.scene)


def test_photos_want_as_many_names_as_scenes() -> None:
    with pytest.raises(ValueError, match="zip"):
        photos("gqa/images", ["1.jpg"], SCENES)


def test_numbers_are_different_rising_and_always_the_same() -> None:
    drawn = numbers("gqa", 50, 60)
    assert drawn == sorted(set(drawn)) == numbers("gqa", 50, 60)
    assert 1 <= drawn[0] <= drawn[-1] <= 60
    assert drawn != numbers("vg", 50, 60)

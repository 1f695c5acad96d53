"""The instruction files are shaped as the real ones, with their oddities, and say what is true of their pictures."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from cvl.demo.miniature import World, build_world
from cvl.demo.miniature.questions import SHORT, questions
from cvl.demo.miniature.scenes import Scene
from cvl.demo.miniature.sources import allava, lcs, llava, sharegpt4v, vflan
from cvl.demo.miniature.sources.catalog import Pictures, pictures
from cvl.demo.miniature.sources.sizes import Sizes

SCALE = 0.1
ALLAVA_FILES = (allava.LAION_CAPTION, allava.LAION_INSTRUCT, allava.VFLAN_CAPTION, allava.VFLAN_INSTRUCT)
CAPTION_FILES = (sharegpt4v.CAPTIONER, sharegpt4v.CAP100K, lcs.CAPTIONS, *ALLAVA_FILES)
EVERY_FILE = (*CAPTION_FILES, vflan.ANNOTATION, llava.MIX665K)
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("worlds") / "world", scale=SCALE)


@pytest.fixture(scope="module")
def every() -> Pictures:
    return pictures(Sizes.scaled(SCALE))


@pytest.fixture(scope="module")
def mix(world: World) -> Records:
    return read(world, llava.MIX665K)


@pytest.fixture(scope="module")
def scenes(every: Pictures, world: World) -> dict[str, Scene]:
    """The scene of every picture by its path below the tree's root."""
    photos = [*every.coco, *every.gqa, *every.textvqa, *every.vg_part1, *every.vg_part2, *every.lcs, *every.vflan]
    for group in (*every.sam, *every.allava, *every.web.values()):
        photos.extend(group)
    photos.extend(cover.photo for cover in every.covers)
    found = {f"data/{photo.path}": photo.scene for photo in photos}
    flan = {f"data/allava/{allava.VFLAN_INSIDE}{photo.name}": photo.scene for photo in every.vflan}
    return found | flan | {named: found[real] for named, real in world.facts.aliases.items()}


def read(world: World, what: Any) -> Records:
    records: Records = json.loads(world.path(what.url).read_bytes())
    return records


def values(record: dict[str, Any]) -> list[str]:
    return [turn["value"] for turn in record["conversations"]]


def exchanges(record: dict[str, Any]) -> list[tuple[str, str]]:
    said = [value.replace("<image>\n", "").replace("\n<image>", "") for value in values(record)]
    first = 1 if record["conversations"][0]["from"] == "gpt" else 0
    return list(zip(said[first::2], said[first + 1 :: 2], strict=True))


@pytest.mark.parametrize("what", EVERY_FILE, ids=lambda what: what.path)
class TestEveryFile:
    def test_records_have_ids_and_turns_of_human_and_gpt(self, world: World, what: Any) -> None:
        for record in read(world, what):
            assert isinstance(record["id"], str)
            assert {turn["from"] for turn in record["conversations"]} == {"human", "gpt"}
            assert all(set(turn) == {"from", "value"} for turn in record["conversations"])

    def test_an_image_has_one_placeholder_in_the_first_turn_at_one_end(self, world: World, what: Any) -> None:
        for record in read(world, what):
            said = values(record)
            assert sum(value.count("<image>") for value in said) == ("image" in record)
            if "image" in record:
                assert re.match(r"<image>\n|[^<]*\n<image>$", said[0])

    def test_colours_shapes_and_grounds_that_are_said_are_those_of_the_scene(
        self, world: World, what: Any, scenes: dict[str, Scene]
    ) -> None:
        for record in read(world, what):
            if "image" not in record:
                continue
            scene = scenes[f"{what.image_root}/{record['image']}"]
            figures = {(figure.color, figure.shape) for figure in scene.figures}
            for _, answer in exchanges(record):
                assert set(re.findall(r"\ba (\w+) (circle|square|triangle|cross|star)\b", answer)) <= figures
                assert set(re.findall(r"\b(white|gray|black)\b", answer.lower())) <= {scene.background}

    def test_short_answers_are_those_of_the_scene(self, world: World, what: Any, scenes: dict[str, Scene]) -> None:
        for record in read(world, what):
            short = [(question, answer) for question, answer in exchanges(record) if question.endswith(SHORT)]
            if short:
                scene = scenes[f"{what.image_root}/{record['image']}"]
                assert set(short) <= {turn.short for turn in questions(scene)}


@pytest.mark.parametrize("what", CAPTION_FILES, ids=lambda what: what.path)
def test_caption_files_have_two_turns_and_an_image_each(world: World, what: Any) -> None:
    assert all(len(record["conversations"]) == 2 and "image" in record for record in read(world, what))


class TestMix665k:
    def test_sources_have_the_published_proportions(self, world: World, mix: Records) -> None:
        facts = world.instructions(llava.MIX665K.path)
        found = {
            "coco": facts.prefixes["coco/train2017"],
            "vg": facts.prefixes["vg/VG_100K"] + facts.prefixes["vg/VG_100K_2"],
            "ocr_vqa": facts.prefixes["ocr_vqa/images"],
            "gqa": facts.prefixes["gqa/images"],
            "textvqa": facts.prefixes["textvqa/train_images"],
            "text": facts.text_only,
        }
        total = sum(llava.PROPORTIONS.values())
        assert total == 665_298
        for source, count in found.items():
            assert count == pytest.approx(len(mix) * llava.PROPORTIONS[source] / total, abs=1.5)

    def test_text_stands_at_the_end_with_a_model_key_and_no_image(self, mix: Records) -> None:
        kinds = ["image" in record for record in mix]
        first_text = kinds.index(False)
        assert not any(kinds[first_text:])
        assert all(record["model"] == "" for record in mix[first_text:])
        assert not any("model" in record for record in mix[:first_text])

    def test_pictures_come_in_mixed_order(self, mix: Records) -> None:
        first = {record["image"].split("/")[0] for record in mix[:60]}
        assert len(first) >= 4

    def test_a_few_texts_begin_with_an_answer(self, mix: Records) -> None:
        leading = [record for record in mix if record["conversations"][0]["from"] == "gpt"]
        assert len(leading) == llava.LEADING_ANSWERS
        assert all("image" not in record for record in leading)

    def test_one_text_is_longer_than_a_models_context(self, mix: Records) -> None:
        assert max(sum(map(len, values(record))) for record in mix) > 4 * 2048

    def test_sums_are_right(self, mix: Records) -> None:
        sums = [
            match
            for record in mix
            for value in values(record)
            if (match := re.match(r"(\d+) plus (\d+) is (\d+)", value))
        ]
        assert len(sums) > 50
        assert all(int(one) + int(other) == int(total) for one, other, total in (match.groups() for match in sums))

    def test_many_have_several_turns_and_ids_recur(self, mix: Records) -> None:
        assert sum(len(record["conversations"]) > 2 for record in mix) > len(mix) / 5
        assert Counter(record["id"] for record in mix).most_common(1)[0][1] > 1

    def test_book_covers_are_always_called_jpg_gifs_among_them(self, mix: Records, every: Pictures) -> None:
        named = {record["image"] for record in mix if record.get("image", "").startswith("ocr_vqa/")}
        gifs = {cover.photo.path for cover in every.covers if cover.photo.encoding == "gif"}
        assert all(name.endswith(".jpg") for name in named)
        assert named & gifs

    def test_no_dead_cover_is_named(self, mix: Records, world: World) -> None:
        dead = {f"ocr_vqa/images/{key}.jpg" for key in world.facts.lists[0].dead}
        assert dead.isdisjoint(record.get("image") for record in mix)

    def test_the_letter_chosen_is_the_right_one(self, mix: Records, scenes: dict[str, Scene]) -> None:
        chosen = 0
        for record in mix:
            for question, answer in exchanges(record) if "image" in record else ():
                if options := dict(re.findall(r"^([A-D])\. (\w+)$", question, re.MULTILINE)):
                    assert options[answer] == scenes[f"data/{record['image']}"].figures[0].color
                    chosen += 1
        assert chosen > 5

    def test_the_pinned_revision_resolves(self, world: World) -> None:
        text = (world.folder / "hub" / llava.REPOSITORY / ".revisions").read_text()
        assert text == "011f884bcf152693aca1d531d067f31e748bea02\n"


class TestShareGpt4v:
    def test_every_picture_of_sam_lcs_and_coco_is_captioned_once_sam_first(self, world: World, every: Pictures) -> None:
        images = [record["image"] for record in read(world, sharegpt4v.CAPTIONER)]
        sam = [photo.path for shard in every.sam for photo in shard]
        rest = [photo.path for photo in (*every.lcs, *every.coco)]
        assert len(images) == len(sam) + len(rest)
        assert set(images[: len(sam)]) == set(sam)
        assert set(images[len(sam) :]) == set(rest)

    def test_the_smaller_file_names_all_of_webdata_and_only_the_first_shards_of_sam(
        self, world: World, every: Pictures
    ) -> None:
        images = {record["image"] for record in read(world, sharegpt4v.CAP100K)}
        facts = world.instructions(sharegpt4v.CAP100K.path)
        for name, photos in every.web.items():
            assert facts.prefixes[f"{name}/images"] == len(photos)
        first_shards = {photo.path for shard in every.sam[:3] for photo in shard}
        assert {image for image in images if image.startswith("sam/")} == first_shards

    def test_the_placeholder_stands_mostly_first_and_sometimes_last(self, world: World) -> None:
        firsts = [values(record)[0].startswith("<image>") for record in read(world, sharegpt4v.CAPTIONER)]
        assert 0.5 < sum(firsts) / len(firsts) < 1


class TestAllava:
    def test_records_on_the_web_have_the_extra_keys_and_ids_tell_their_file(self, world: World) -> None:
        starts = ("allava_laion_cap_", "allava_laion_inst_", "allava_vflan_cap_", "allava_vflan_inst_")
        for what, start in zip(ALLAVA_FILES, starts, strict=True):
            for record in read(world, what):
                assert record["id"].startswith(start)
                assert ({"original_caption", "url"} <= set(record)) == ("laion" in start)

    def test_images_are_named_from_allavas_own_folder(self, world: World) -> None:
        for what in ALLAVA_FILES:
            folder = allava.VFLAN_INSIDE if "vflan" in what.path else "allava_laion/images/"
            assert all(record["image"].startswith(folder) for record in read(world, what))

    def test_some_pictures_of_the_chunks_are_named_nowhere(self, world: World, every: Pictures) -> None:
        named = {record["image"] for record in read(world, allava.LAION_CAPTION)}
        assert len(named) < sum(map(len, every.allava))


class TestVisionFlan:
    def test_names_are_bare_and_escaped(self, world: World) -> None:
        assert world.path(vflan.ANNOTATION.url).read_bytes().isascii()
        images = [record["image"] for record in read(world, vflan.ANNOTATION)]
        assert not any("/" in image for image in images)
        assert not all(image.isascii() for image in images)

    def test_ids_are_not_unique_and_records_share_pictures(self, world: World) -> None:
        records = read(world, vflan.ANNOTATION)
        assert len({record["id"] for record in records}) < len(records) / 2
        assert len({record["image"] for record in records}) < len(records)
        assert all(record["task_name"] for record in records)

    def test_one_answer_is_empty(self, world: World) -> None:
        answers = [values(record)[-1] for record in read(world, vflan.ANNOTATION)]
        assert answers.count("") == 1

    def test_answers_are_those_of_the_scene(self, world: World, scenes: dict[str, Scene]) -> None:
        for record in read(world, vflan.ANNOTATION):
            ((prompt, answer),) = exchanges(record)
            scene = scenes[f"{vflan.ANNOTATION.image_root}/{record['image']}"]
            question = re.split(r"\n| Answer:", prompt)[0]
            assert answer in ("", *(turn.answer for turn in questions(scene) if turn.question == question))

    def test_some_prompts_have_options_and_bars(self, world: World) -> None:
        prompts = [values(record)[0] for record in read(world, vflan.ANNOTATION)]
        assert any("Options:" in prompt for prompt in prompts)
        assert any("|" in prompt for prompt in prompts)

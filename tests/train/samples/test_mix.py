"""Which records a stage trains on, which it leaves out, and that every one of them is accounted for."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from typing import Any

import numpy as np
import pytest
from instructions import GOOD, STAGE, TEXT, OwnData, having, record

from cvl.annotations import FATAL, Problem
from cvl.annotations.skiplist import SkipEntry, read_skiplist, update_skiplist
from cvl.demo.miniature import World
from cvl.errors import AnnotationError, UsageError
from cvl.events import Event, EventKind
from cvl.manifest import Catalog
from cvl.root import Root
from cvl.train.samples.mix import MENDED, BadRecords, Mix, read_mix
from cvl.verify.verify import verify

SOUND = record("1.png", *GOOD)
SPOKEN = record(None, *TEXT)
NOT_FATAL = [problem for problem in Problem if not problem & FATAL]


def mix_of(own: OwnData, **options: Any) -> Mix:
    return read_mix(own.catalog, own.root, STAGE, **options)


def numbers(mix: Mix) -> list[list[int]]:
    return [part.numbers.tolist() for part in mix.parts]


def test_records_are_numbered_through_all_files_in_the_order_of_the_stage(own: OwnData) -> None:
    own.draw("1.png")
    own.add("second", [SPOKEN] * 2)
    own.add("first", [SOUND] * 3)
    mix = mix_of(own)
    assert [part.name for part in mix.parts] == ["second", "first"]
    assert len(mix) == 5
    located = [mix.locate(number) for number in range(5)]
    assert [(part.name, number) for part, number in located] == [
        ("second", 0),
        ("second", 1),
        ("first", 0),
        ("first", 1),
        ("first", 2),
    ]
    assert located[2][0].index.record(0) == SOUND
    assert located[2][0].images == own.images


def test_numbers_lead_past_records_that_are_left_out(own: OwnData) -> None:
    own.add("a", [having(Problem.NO_ANSWER), SPOKEN, having(Problem.NO_ANSWER)])
    own.add("empty", [])
    own.add("b", [having(Problem.IMAGE_LIST)])
    own.add("c", [SPOKEN, having(Problem.NO_ANSWER), SPOKEN])
    mix = mix_of(own)
    assert numbers(mix) == [[1], [], [], [0, 2]]
    assert [(part.name, number) for part, number in map(mix.locate, range(3))] == [("a", 1), ("c", 0), ("c", 2)]


@pytest.mark.parametrize("number", [2, 100, -3])
def test_a_number_beyond_the_mix_is_refused(own: OwnData, number: int) -> None:
    own.add("a", [SPOKEN] * 2)
    with pytest.raises(IndexError):
        mix_of(own).locate(number)


def test_a_mix_of_nothing_is_empty(own: OwnData) -> None:
    mix = mix_of(own)
    assert (len(mix), mix.lengths().tolist(), mix.skipped) == (0, [], {})


def test_records_with_a_missing_picture_are_left_out_and_counted(own: OwnData) -> None:
    own.draw("1.png")
    own.add("a", [SOUND, record("2.png", *GOOD), SPOKEN, record("2.png", *GOOD)])
    own.verify()
    mix = mix_of(own)
    assert numbers(mix) == [[0, 2]]
    assert mix.parts[0].skipped == {"missing image": 2}
    assert mix.unverified == ()


@pytest.mark.parametrize("problem", list(FATAL), ids=lambda problem: problem.name)
@pytest.mark.parametrize("bad_records", ["mend", "skip"])
def test_a_record_that_nobody_can_read_is_left_out_by_its_reason(
    own: OwnData, problem: Problem, bad_records: BadRecords
) -> None:
    own.draw("1.png")
    own.add("a", [SOUND, having(problem), SOUND])
    mix = mix_of(own, bad_records=bad_records)
    assert numbers(mix) == [[0, 2]]
    assert mix.parts[0].skipped == {problem.label: 1}
    assert mix.parts[0].remarks == {}


@pytest.mark.parametrize("problem", NOT_FATAL, ids=lambda problem: problem.name)
def test_an_odd_record_is_kept_with_a_remark_on_how_it_is_read(own: OwnData, problem: Problem) -> None:
    own.draw("1.png")
    own.add("a", [SOUND, having(problem)])
    (part,) = mix_of(own).parts
    assert part.numbers.tolist() == [0, 1]
    assert part.skipped == {}
    assert part.remarks == {f"{problem.label}: {MENDED[problem]}": 1}


def test_there_is_a_stated_way_to_read_every_problem_that_is_not_fatal() -> None:
    assert set(MENDED) == set(NOT_FATAL)


@pytest.mark.parametrize("problem", NOT_FATAL, ids=lambda problem: problem.name)
def test_an_odd_record_is_left_out_where_all_bad_ones_are(own: OwnData, problem: Problem) -> None:
    own.draw("1.png")
    own.add("a", [having(problem), SOUND])
    (part,) = mix_of(own, bad_records="skip").parts
    assert part.numbers.tolist() == [1]
    assert (part.skipped, part.remarks) == ({problem.label: 1}, {})


@pytest.mark.parametrize("problem", list(Problem), ids=lambda problem: problem.name)
def test_where_bad_records_are_errors_the_file_and_the_first_records_are_named(own: OwnData, problem: Problem) -> None:
    own.add("good", [SOUND])
    path = own.add("a", [SOUND, *[having(problem)] * 7])
    with pytest.raises(AnnotationError) as caught:
        mix_of(own, bad_records="error")
    assert str(caught.value).startswith(f"{path} has bad records: ")
    assert f"{problem.label} (7: record 1, 2, 3, 4, 5, …)" in str(caught.value)
    assert caught.value.hint is not None
    assert "--set bad_records=mend" in caught.value.hint


def test_an_error_names_every_problem_of_the_file(own: OwnData) -> None:
    own.add("a", [having(Problem.NO_ANSWER), SOUND, having(Problem.LAST_TURN_HUMAN)])
    with pytest.raises(AnnotationError) as caught:
        mix_of(own, bad_records="error")
    assert f"{Problem.NO_ANSWER.label} (1: record 0)" in str(caught.value)
    assert f"{Problem.LAST_TURN_HUMAN.label} (1: record 2)" in str(caught.value)


def test_sound_records_pass_where_bad_ones_are_errors_though_a_picture_is_missing(own: OwnData) -> None:
    own.add("a", [SOUND, SPOKEN])
    own.verify()
    mix = mix_of(own, bad_records="error")
    assert (numbers(mix), mix.skipped) == ([[1]], {"missing image": 1})


def test_a_record_with_several_reasons_is_left_out_once(own: OwnData) -> None:
    twice = record("gone.png", *GOOD, ("bot", "Hello."))
    own.add("a", [twice, record("gone.png", *GOOD), SPOKEN])
    own.verify()
    (part,) = mix_of(own).parts
    assert part.skipped == {Problem.UNKNOWN_SPEAKER.label: 1, "missing image": 1}
    assert part.numbers.tolist() == [2]


def test_every_record_is_trained_on_or_counted(own: OwnData) -> None:
    own.draw("1.png")
    every = [SOUND, SPOKEN, record("gone.png", *GOOD), *map(having, Problem)]
    order = np.random.default_rng(1).integers(0, len(every), 300).tolist()
    own.add("a", [every[kind] for kind in order])
    own.verify()
    for bad_records in ("mend", "skip"):
        (part,) = mix_of(own, bad_records=bad_records).parts
        assert len(part) + sum(part.skipped.values()) == 300
        kept = {0, 1} | (
            {3 + list(Problem).index(problem) for problem in NOT_FATAL} if bad_records == "mend" else set()
        )
        assert part.numbers.tolist() == [number for number, kind in enumerate(order) if kind in kept]


def test_whatever_reason_the_skip_list_gives_is_honoured(own: OwnData) -> None:
    path = own.add("a", [SPOKEN] * 9)
    stat = path.stat()
    listed = SkipEntry(stat.st_size, stat.st_mtime_ns, 9, {"not-decodable": "0-2,8", "missing-image": "2-3"})
    update_skiplist(own.root.skiplist, {"a": listed})
    (part,) = mix_of(own).parts
    assert part.numbers.tolist() == [4, 5, 6, 7]
    assert sum(part.skipped.values()) == 5
    assert set(part.skipped) == {"not decodable", "missing image"}


def test_a_skip_list_of_another_version_of_the_file_is_not_honoured_in_silence(own: OwnData) -> None:
    path = own.add("a", [SPOKEN])
    own.verify()
    os.utime(path, ns=(1, 1))
    with pytest.raises(UsageError) as caught:
        mix_of(own)
    assert str(caught.value) == f"{own.root.skiplist} speaks of another version of {path}"
    assert caught.value.hint == "run `cvl verify-layout --stage 3` again"
    own.verify()
    assert len(mix_of(own)) == 1


def test_files_whose_pictures_nobody_looked_for_are_named(own: OwnData) -> None:
    own.add("spoken", [SPOKEN])
    own.add("unseen", [SPOKEN, SOUND])
    assert mix_of(own).unverified == ("unseen",)
    own.verify()
    assert mix_of(own).unverified == ()


def test_own_data_joins_the_stage_without_being_named(own: OwnData) -> None:
    own.add("named", [SPOKEN] * 2)
    own.add("mine", [SPOKEN], joins=True)
    assert [(part.name, len(part)) for part in mix_of(own).parts] == [("named", 2), ("mine", 1)]


def test_an_unknown_stage_is_refused(own: OwnData) -> None:
    with pytest.raises(UsageError, match="there is no stage 4"):
        read_mix(own.catalog, own.root, 4)


def test_an_absent_and_a_broken_file_are_errors(own: OwnData) -> None:
    path = own.add("a", [SPOKEN])
    path.write_text("[{")
    with pytest.raises(AnnotationError, match=r"a\.json"):
        mix_of(own)
    path.unlink()
    with pytest.raises(AnnotationError, match=r"a\.json: the instruction file cannot be opened"):
        mix_of(own)


def test_lengths_are_words_with_the_sign_of_the_modality(own: OwnData) -> None:
    own.draw("1.png")
    own.add("a", [SOUND, having(Problem.NO_ANSWER), SPOKEN])
    own.add("b", [record(None, *TEXT, *TEXT)])
    lengths = mix_of(own).lengths()
    assert lengths.dtype == np.int64
    # "<image>" is a word here, as it is to the published code.
    assert lengths.tolist() == [8, -6, -12]


def test_a_record_of_no_words_has_a_length_all_the_same(own: OwnData) -> None:
    """Only the skip list and a policy yet to come could let one through; the sign must not get lost even so."""
    own.draw("1.png")
    own.add("a", [SOUND, SPOKEN])
    mix = mix_of(own)
    (part,) = mix.parts
    part.index.words = np.zeros(2, dtype=np.uint32)
    assert mix.lengths().tolist() == [1, -1]


def test_pictures_and_text_only_records_are_told_apart(own: OwnData) -> None:
    own.draw("1.png")
    own.add("a", [SOUND, SPOKEN, SOUND, record("gone.png", *GOOD)])
    own.verify()
    (part,) = mix_of(own).parts
    assert (len(part), part.pictures) == (3, 2)


def test_reasons_and_remarks_are_added_up_over_the_files(own: OwnData) -> None:
    own.draw("1.png")
    own.add("a", [having(Problem.NO_ANSWER), having(Problem.LAST_TURN_HUMAN)])
    own.add("b", [having(Problem.NO_ANSWER)] * 2 + [having(Problem.IMAGE_LIST)])
    mix = mix_of(own)
    assert mix.skipped == {Problem.NO_ANSWER.label: 3, Problem.IMAGE_LIST.label: 1}
    assert [count for part in mix.parts for count in part.remarks.values()] == [1]


def test_a_mix_arrives_whole_in_another_process(own: OwnData) -> None:
    own.draw("1.png")
    own.add("a", [SOUND, having(Problem.NO_ANSWER), SPOKEN])
    own.verify()
    mix = mix_of(own)
    sent = pickle.loads(pickle.dumps(mix))
    assert [(part.name, number) for part, number in map(sent.locate, range(2))] == [("a", 0), ("a", 2)]
    assert sent.locate(1)[0].index.record(2) == SPOKEN
    assert (sent.lengths().tolist(), sent.skipped) == (mix.lengths().tolist(), mix.skipped)


def test_what_is_sent_does_not_grow_with_the_texts(own: OwnData) -> None:
    long = record(None, TEXT[0], ("gpt", "word " * 2000))
    own.add("a", [long] * 500)
    assert len(pickle.dumps(mix_of(own))) < 8_000


def test_the_building_of_an_index_is_told(own: OwnData) -> None:
    own.add("a", [SPOKEN])
    told: list[Event] = []
    mix_of(own, progress=told.append)
    assert {(event.kind, event.name, event.source) for event in told} == {(EventKind.PROGRESS, "a", "mine")}
    told.clear()
    mix_of(own, progress=told.append)
    assert told == []


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_complete_tree_is_trained_on_whole(complete: Root, catalog: Catalog, world: World, stage: int) -> None:
    mix = read_mix(catalog, complete, stage)
    # Vision-Flan has one record whose answer is empty, as in life.
    unanswered = {"vflan": 1}
    for annotation, part in zip(catalog.stage_annotations(stage), mix.parts, strict=True):
        facts = world.instructions(annotation.path)
        assert len(part) == facts.records - unanswered.get(part.name, 0)
        assert (part.name, len(part) - part.pictures) == (annotation.name, facts.text_only)
        assert part.images == complete.at(annotation.image_root)
    assert mix.skipped == ({Problem.NO_ANSWER.label: 1} if stage == 2 else {})
    assert mix.unverified == ()


def test_lengths_are_what_the_published_code_counts(complete: Root, catalog: Catalog) -> None:
    mix = read_mix(catalog, complete, 3)
    records = json.loads(complete.at("data/llava/llava_v1_5_mix665k.json").read_bytes())
    words = [sum(len(turn["value"].split()) for turn in item["conversations"]) for item in records]
    assert mix.lengths().tolist() == [
        count if "image" in item else -count for item, count in zip(records, words, strict=True)
    ]


def test_a_stage_goes_on_without_a_source_that_is_gone(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.at("data/textvqa/train_images"))
    verify(catalog, complete, 3)
    (part,) = read_mix(catalog, complete, 3).parts
    gone = read_skiplist(complete.skiplist)["llava665k"].numbers()
    assert gone
    assert part.skipped == {"missing image": len(gone)}
    assert part.numbers.tolist() == sorted(set(range(len(part.index))) - gone)

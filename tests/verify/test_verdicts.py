"""What is remembered of pictures: kept at once, found again, and never believed of a file that has changed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cvl.verify.verdicts import SOUND, Damaged, Verdicts, VerdictWriter, hash_of, known_damage, merge

ABSENT = 0


def asked(*names: str, size: int = 5, mtime_ns: int = 7, depth: int = 1, kind: int = 1) -> NDArray[Any]:
    rows = [(hash_of(name.encode()), size, mtime_ns, depth, kind) for name in names]
    return np.array(rows, SOUND)


def note(folder: Path, sound: NDArray[Any], *damaged: Damaged) -> None:
    with VerdictWriter(folder) as writer:
        writer.append(sound.tobytes(), damaged)


def kinds(folder: Path, *names: str, depth: int = 1, **changes: int) -> list[int]:
    return Verdicts(folder).known(asked(*names, **changes), depth).tolist()


def damage(path: str, text: str = "cut", size: int = 5) -> Damaged:
    return Damaged(path, size, 7, "cut-short-image", text)


def test_nothing_is_known_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert kinds(tmp_path / "none", "a", "b") == [ABSENT, ABSENT]
    assert known_damage(tmp_path / "none") == {}


def test_what_was_noted_is_known_by_path_size_and_time(tmp_path: Path) -> None:
    note(tmp_path, asked("a", "b", kind=3))
    assert kinds(tmp_path, "b", "c", "a") == [3, ABSENT, 3]
    assert kinds(tmp_path, "a", size=6) == [ABSENT]
    assert kinds(tmp_path, "a", mtime_ns=8) == [ABSENT]


def test_a_closer_look_answers_a_quicker_question_and_not_the_other_way(tmp_path: Path) -> None:
    note(tmp_path, asked("quick", depth=1))
    note(tmp_path, asked("full", depth=2))
    assert kinds(tmp_path, "quick", "full", depth=1) == [1, 1]
    assert kinds(tmp_path, "quick", "full", depth=2) == [ABSENT, 1]


def test_a_picture_that_was_noted_twice_is_known_both_times(tmp_path: Path) -> None:
    note(tmp_path, np.concatenate([asked("a", size=1), asked("b"), asked("a", size=2)]))
    assert [kinds(tmp_path, "a", size=size) for size in (1, 2, 3)] == [[1], [1], [ABSENT]]


def test_merging_keeps_the_last_word(tmp_path: Path) -> None:
    note(tmp_path, asked("a", "c", mtime_ns=100), damage("x", "first"))
    note(tmp_path, asked("a", "b"), damage("x", "second"), damage("y"))
    merge(tmp_path)
    assert len(list(tmp_path.glob("*.sound"))) == len(list(tmp_path.glob("*.damaged"))) == 1
    assert kinds(tmp_path, "a", "b", "c") == [1, 1, ABSENT]
    assert kinds(tmp_path, "a", "c", mtime_ns=100) == [ABSENT, 1]
    assert {path: each.text for path, each in known_damage(tmp_path).items()} == {b"x": "second", b"y": "cut"}


def test_merging_leaves_alone_what_a_run_is_writing(tmp_path: Path) -> None:
    note(tmp_path, asked("a"))
    note(tmp_path, asked("b"))
    with VerdictWriter(tmp_path) as writer:
        writer.append(asked("c").tobytes(), ())
        merge(tmp_path)
        writer.append(asked("d").tobytes(), ())
        assert len(list(tmp_path.glob("*.sound"))) == 2
    assert kinds(tmp_path, "a", "b", "c", "d") == [1, 1, 1, 1]


@pytest.mark.parametrize("times", [0, 1])
def test_merging_little_does_nothing(tmp_path: Path, times: int) -> None:
    for _ in range(times):
        note(tmp_path, asked("b", "a"))
    merge(tmp_path)
    assert kinds(tmp_path, "a", "b") == [times, times]


@pytest.mark.parametrize("cut", [1, SOUND.itemsize - 1])
def test_half_a_record_of_a_killed_run_is_passed_over(tmp_path: Path, cut: int) -> None:
    note(tmp_path, asked("a", "b"), damage("x"), damage("y"))
    (sound,), (damaged,) = tmp_path.glob("*.sound"), tmp_path.glob("*.damaged")
    sound.write_bytes(sound.read_bytes()[:-cut])
    damaged.write_bytes(damaged.read_bytes()[: -cut - 1])
    assert kinds(tmp_path, "a", "b") == [1, ABSENT]
    assert known_damage(tmp_path).keys() == {b"x"}


def test_verdicts_that_are_sent_to_another_process_are_opened_once_there(tmp_path: Path) -> None:
    note(tmp_path, asked("a"))
    sent = pickle.dumps(Verdicts(tmp_path))
    first, second = pickle.loads(sent), pickle.loads(sent)
    assert first is second
    assert first.known(asked("a"), 1).tolist() == [1]
    assert pickle.loads(pickle.dumps(Verdicts(tmp_path))) is not first


def test_many_are_told_apart(tmp_path: Path) -> None:
    names = [f"data/{number}.jpg" for number in range(5000)]
    note(tmp_path, asked(*names[::2]))
    note(tmp_path, asked(*names[1::4]))
    before = kinds(tmp_path, *names)
    assert [bool(kind) for kind in before] == [number % 4 != 3 for number in range(5000)]
    merge(tmp_path)
    assert kinds(tmp_path, *names) == before

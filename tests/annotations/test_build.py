from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvl.annotations import FATAL, AnnotationFile, Problem, build_index, index_of, open_index
from cvl.errors import AnnotationError, DiskError

REPOSITORY = Path(__file__).resolve().parent.parent
Write = Callable[..., AnnotationFile]


def turns(question: str = "<image>\nWhat is it?", answer: str = "A bus.") -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


RECORDS: list[Any] = [
    {"id": "000000033471", "image": "coco/train2017/000000033471.jpg", "conversations": turns()},
    {"id": "140031996X", "image": "ocr_vqa/images/Bücher 本 \U0001f4da.jpg", "conversations": turns()},
    {"id": "wgByO4Y_0", "model": "", "conversations": turns('Hello  there\n\\"{[', "]}\té\u3000x")},
    {"id": 7, "image": "", "conversations": turns("So?", "So.") * 3, "n": [1.5, None, 12345678901234567890]},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tree" / "index"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(records: Any, **style: Any) -> AnnotationFile:
        path = tmp_path / "mix.json"
        raw = records if isinstance(records, bytes) else json.dumps(records, **style).encode()
        path.write_bytes(raw)
        return AnnotationFile("mix", path, "data")

    return write


def never(_done: int, _total: int) -> None:
    pytest.fail("the index is built, though there is one")


def many(count: int) -> list[dict[str, Any]]:
    """Records over several of the scanner's windows, 1,000 being a megabyte."""
    filler = "word " * 180
    return [
        {
            "id": str(n),
            **({"image": f"a/é{n}.jpg"} if n % 3 else {}),
            "conversations": turns("<image>" * (n % 3 > 0), filler),
        }
        for n in range(count)
    ]


def run(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])
def test_the_index_tells_what_the_file_says(write: Write, folder: Path, style: dict[str, Any]) -> None:
    source = write(RECORDS, **style)
    with build_index(source, folder) as index:
        assert len(index) == 4
        assert [index.record(number) for number in range(4)] == RECORDS
        assert [index.image(number) for number in range(4)] == [
            "coco/train2017/000000033471.jpg",
            "ocr_vqa/images/Bücher 本 \U0001f4da.jpg",
            None,
            None,
        ]
        assert index.has_image.tolist() == [True, True, False, False]
        assert index.words.tolist() == [6, 6, 6, 6]
        assert index.turns.tolist() == [2, 2, 2, 6]
        assert index.problems.tolist() == [0, 0, 0, 0]
        assert index.problem_counts == {}
        raw = source.path.read_bytes()
        for number, record in enumerate(RECORDS):
            start, length = int(index.offset[number]), int(index.length[number])
            assert json.loads(raw[start : start + length]) == record


def test_words_are_the_published_measure_of_length(write: Write, folder: Path) -> None:
    records = [*RECORDS, *many(50)]
    with build_index(write(records), folder) as index:
        expected = [sum(len(turn["value"].split()) for turn in record["conversations"]) for record in records]
        assert index.words.tolist() == expected


def test_a_file_of_many_windows_is_indexed_as_a_whole(write: Write, folder: Path) -> None:
    records = many(4000)
    with build_index(write(records), folder) as index:
        assert len(index) == len(records)
        assert [image for chunk in index.images(chunk=999) for image in chunk] == [r.get("image") for r in records]
        for number in random.Random(0).sample(range(4000), 100):
            assert index.record(number) == records[number]
            assert index.image(number) == records[number].get("image")


def test_every_problem_is_marked_and_counted(write: Write, folder: Path) -> None:
    records: list[Any] = [
        {"image": "a.jpg"},
        {"conversations": [{"from": "system", "value": "x"}, *turns("q")]},
        {"conversations": turns("q", " ") + turns("q")},
        {"conversations": [{"from": "human", "value": None}, {"from": "gpt", "value": "a"}]},
        {"image": "a.jpg", "conversations": turns("q")},
        {"conversations": turns()},
        {"image": ["a.jpg"], "conversations": turns()},
        {"image": 3, "conversations": turns()},
        {"conversations": [{"from": "gpt", "value": "hi"}, *turns("q")]},
        ["not", "an", "object"],
        {"conversations": turns("q", "")},
        {"conversations": turns("q")[:1] + turns("q")},
        {"conversations": turns("q") + turns("q")[:1]},
        {"image": "a.jpg", "conversations": turns() + turns()},
        {"conversations": turns("q", "no </s> here")},
        {"image": "a.jpg", "conversations": turns()},
    ]
    by_strict_readers = [problem for problem in Problem if problem is not Problem.NOT_STRICT_JSON]
    expected = [*by_strict_readers, Problem(0)]
    expected[10] |= Problem.EMPTY_ANSWER
    with build_index(write(records), folder) as index:
        assert index.problems.tolist() == expected
        counts = dict.fromkeys(by_strict_readers, 1) | {Problem.EMPTY_ANSWER: 2}
        assert index.problem_counts == counts
        usable = np.flatnonzero((index.problems & FATAL) == 0)
        assert usable.tolist() == [2, 4, 5, 8, 12, 14, 15]
        not_an_object: Any = index.record(9)
        assert not_an_object == ["not", "an", "object"]


@pytest.mark.parametrize("raw", [b"[]", b"\xef\xbb\xbf [ \n ] \n"])
def test_an_array_without_records_has_an_empty_index(write: Write, folder: Path, raw: bytes) -> None:
    source = write(raw)
    seen: list[tuple[int, int]] = []
    build_index(source, folder, lambda *bytes_: seen.append(bytes_)).close()
    assert seen == [(len(raw), len(raw))]
    with index_of(source, folder, never) as index:  # found, although an empty index is false
        assert len(index) == 0
        assert list(index.images()) == []
        with pytest.raises(IndexError):
            index.record(0)


def test_more_turns_than_a_column_can_hold_are_many_turns(write: Write, folder: Path) -> None:
    with build_index(write([{"conversations": turns("q", "a") * 40_000}]), folder) as index:
        assert index.turns.tolist() == [65_535]
        assert index.words.tolist() == [80_000]


def test_progress_ends_at_the_file_size(write: Write, folder: Path) -> None:
    source = write(many(3000))
    seen: list[tuple[int, int]] = []
    build_index(source, folder, lambda *bytes_: seen.append(bytes_)).close()
    size = source.path.stat().st_size
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)


def test_the_index_is_built_once(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    assert open_index(source, folder) is None
    index_of(source, folder).close()
    index_of(source, folder, never).close()


def touch_later(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def test_a_file_of_the_same_size_and_another_time_is_indexed_anew(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    source.path.write_bytes(source.path.read_bytes().replace(b"000000033471.jpg", b"000000033472.jpg"))
    touch_later(source.path)
    assert open_index(source, folder) is None
    with index_of(source, folder) as index:
        assert index.image(0) == "coco/train2017/000000033472.jpg"
    assert len(names(folder / "mix")) == 11, "the files of the old index are gone"


def test_a_file_of_another_size_and_the_same_time_is_indexed_anew(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    stat = source.path.stat()
    build_index(source, folder).close()
    write(RECORDS[:2])
    os.utime(source.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_index(source, folder) is None
    with index_of(source, folder) as index:
        assert len(index) == 2


def test_an_open_index_outlives_the_next_one(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    with build_index(source, folder) as old, build_index(source, folder) as new:
        assert [old.image(n) for n in range(4)] == [new.image(n) for n in range(4)]
        assert old.record(3) == new.record(3)


@pytest.mark.parametrize("key", ["version", "format", "columns"])
def test_an_index_of_another_version_is_not_opened_and_built_anew(write: Write, folder: Path, key: str) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    path = folder / "mix" / "index.json"
    header = json.loads(path.read_text())
    header[key] = {"version": 1, "format": "else", "columns": {}}[key]
    path.write_text(json.dumps(header))
    assert open_index(source, folder) is None
    with index_of(source, folder) as index:
        assert len(index) == 4


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": "cvl annotation', b"\xff\xff", b"[]"])
def test_a_damaged_header_is_no_index(write: Write, folder: Path, content: bytes) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    (folder / "mix" / "index.json").write_bytes(content)
    assert open_index(source, folder) is None


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\0")])
@pytest.mark.parametrize("column", ["offset", "length", "image_start", "images", "words", "turns", "problems"])
def test_a_missing_or_cut_column_is_no_index(
    write: Write, folder: Path, column: str, damage: Callable[[Path], None]
) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    damage(next((folder / "mix").glob(f"{column}.*.bin")))
    assert open_index(source, folder) is None
    with index_of(source, folder) as index:
        assert index.record(0) == RECORDS[0]


def test_an_index_moves_with_its_tree(write: Write, folder: Path, tmp_path: Path) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved / "index")
    shutil.copy2(source.path, moved / "mix.json")
    with index_of(AnnotationFile("mix", moved / "mix.json", "data"), moved / "index", never) as index:
        assert index.record(1) == RECORDS[1]


def test_an_absent_instruction_file_has_no_index_even_if_there_was_one(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    source.path.unlink()
    assert open_index(source, folder) is None
    with pytest.raises(AnnotationError, match=r"mix\.json: the instruction file cannot be opened: No such file") as e:
        index_of(source, folder)
    assert "cvl fetch" in str(e.value.hint)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected a JSON array, found an empty file of 0 bytes"),
        (b"<html>", "found a web page"),
        (b'{"a": 1}\n{"a": 2}\n', "found JSON Lines"),
        (b'[{"a": 1}, {"b": ', "byte 11: the file ends, at 17 bytes"),
        (b'[{"a": 1}, {"b": "caf\xe9"}]', "byte 21: not UTF-8: invalid continuation byte"),
        (b'[{"a": 1}, {"image": "\\q"}]', "record 1, 15 bytes at 11, cannot be read: JSON is malformed"),
        (b'[{"a": 1}, {"a" 1}]', "record 1, 7 bytes at 11, cannot be read: JSON is malformed"),
        (b'[{"a": 1}, {]]', "record 1, 2 bytes at 11, cannot be read: JSON is malformed"),
        (b"[{}, nul]", "record 1, 3 bytes at 5, cannot be read"),
        (b"[{}, " + b"[" * 9999 + b"]" * 9999 + b"]", "record 1, 19998 bytes at 5, cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_place(
    write: Write, folder: Path, raw: bytes, message: str
) -> None:
    source = write(raw)
    with pytest.raises(AnnotationError, match=f"{re.escape(str(source.path))}.*{re.escape(message)}") as caught:
        index_of(source, folder)
    assert caught.value.hint
    assert open_index(source, folder) is None
    assert names(folder / "mix") == set()


@pytest.mark.parametrize("odd", [b'{"image": "\\ud83d", "conversations": []}', b'{"image": "a.jpg", "score": NaN}'])
def test_a_record_that_only_python_s_reader_takes_is_skipped_and_the_others_are_read(
    write: Write, folder: Path, odd: bytes
) -> None:
    """Files written by Python may hold them; one such record must not refuse a file of a million others."""
    with build_index(write(b'[{"image": "b.jpg"}, ' + odd + b"]"), folder) as index:
        assert len(index) == 2
        assert index.image(0) == "b.jpg"
        assert index.image(1) is None
        assert index.problem_counts[Problem.NOT_STRICT_JSON] == 1
        assert Problem.NOT_STRICT_JSON in FATAL


def test_publishing_removes_nothing_but_files_of_its_own(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    kept = folder / "mix" / "holiday.jpg"
    kept.write_bytes(b"precious")
    (folder / "mix" / "words.old.bin").write_bytes(b"of a killed build")
    build_index(source, folder).close()
    assert kept.read_bytes() == b"precious"
    assert not (folder / "mix" / "words.old.bin").exists()


def test_records_are_numbered_through_all_windows(write: Write, folder: Path) -> None:
    raw = json.dumps(many(3000)).encode()[:-1] + b', {"image" 1}]'
    with pytest.raises(AnnotationError, match=rf"record 3000, 11 bytes at {len(raw) - 12}, cannot be read"):
        index_of(write(raw), folder)


def test_a_file_that_changes_meanwhile_is_an_error_and_the_next_build_a_good_one(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    with pytest.raises(AnnotationError, match="was changed while it was indexed"):
        build_index(source, folder, lambda *_: touch_later(source.path))
    with index_of(source, folder) as index:
        assert len(index) == 4


def test_what_progress_raises_leaves_the_old_index_and_no_litter(write: Write, folder: Path) -> None:
    class Stop(Exception):
        pass

    def stop(*_bytes: int) -> None:
        raise Stop

    source = write(RECORDS)
    with pytest.raises(Stop):
        build_index(source, folder, stop)
    assert names(folder / "mix") == set()
    build_index(source, folder).close()
    before = names(folder / "mix")
    with pytest.raises(Stop):
        build_index(source, folder, stop)
    assert names(folder / "mix") == before
    index_of(source, folder, never).close()


KILLED = """
import os, signal, sys
from pathlib import Path
from cvl.annotations import AnnotationFile, build_index

path, folder, calls = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
left = [calls]

def die(done, total):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

build_index(AnnotationFile("mix", path, "data"), folder, die)
"""


@pytest.mark.parametrize("calls", [1, 3])
def test_a_build_that_is_killed_is_never_opened_and_swept_away_by_the_next(
    write: Write, folder: Path, calls: int
) -> None:
    source = write(many(3000))
    assert run(KILLED, source.path, folder, calls).returncode == -signal.SIGKILL
    assert len(names(folder / "mix")) == 10
    assert open_index(source, folder) is None
    with index_of(source, folder) as index:
        assert len(index) == 3000
        assert names(folder / "mix") == {"index.json", *(column.file for column in index.header.columns.values())}


def test_a_rebuild_that_is_killed_leaves_the_old_index(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    assert run(KILLED, source.path, folder, 1).returncode == -signal.SIGKILL
    with index_of(source, folder, never) as index:
        assert index.record(3) == RECORDS[3]


def build_or_open(source: AnnotationFile, folder: Path) -> tuple[int, bool]:
    """Runs in another process: how many records there are, and whether this process built the index."""
    calls: list[int] = []
    with index_of(source, folder, lambda done, _total: calls.append(done)) as index:
        return len(index), bool(calls)


def rebuild(source: AnnotationFile, folder: Path) -> bool:
    """Runs in another process: whether a few builds gave what the file says."""
    for _ in range(10):
        with build_index(source, folder) as index:
            if [index.record(n) for n in range(4)] != RECORDS:
                return False
    return True


def test_of_processes_that_ask_at_once_one_builds(write: Write, folder: Path) -> None:
    source = write(many(3000))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = list(pool.map(build_or_open, [source] * 2, [folder] * 2))
    assert sorted(found) == [(3000, False), (3000, True)]


def test_processes_that_build_and_open_at_once_never_see_a_part(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        built = [pool.submit(rebuild, source, folder) for _ in range(2)]
        while not all(future.done() for future in built):
            index = open_index(source, folder)
            if index is not None:
                with index:
                    assert [index.record(n) for n in range(4)] == RECORDS
        assert all(future.result() for future in built)


def test_a_full_disk_is_told_and_leaves_the_old_index(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    write(many(3000))
    code = """
import resource, sys
from pathlib import Path
from cvl.annotations import AnnotationFile, build_index
from cvl.errors import DiskError

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    build_index(AnnotationFile("mix", Path(sys.argv[1]), "data"), Path(sys.argv[2]))
except DiskError as error:
    print(error, error.hint)
"""
    before = names(folder / "mix")
    done = run(code, source.path, folder)
    assert "mix: File too large" in done.stdout
    assert "choose another --root" in done.stdout
    assert names(folder / "mix") == before


def test_a_folder_that_cannot_be_made_is_told(write: Write, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="Not a directory"):
        index_of(write(RECORDS), tmp_path / "file" / "index")


def test_a_valid_index_in_a_read_only_folder_opens_and_nothing_is_written(write: Write, folder: Path) -> None:
    source = write(RECORDS)
    build_index(source, folder).close()
    (folder / "mix.lock").unlink(missing_ok=True)
    places: Sequence[Path] = [folder, folder / "mix"]
    before = [(names(place), place.stat().st_mtime_ns) for place in places]
    for place in places:
        place.chmod(0o555)
    try:
        with index_of(source, folder, never) as index:
            assert index.record(0) == RECORDS[0]
        assert [(names(place), place.stat().st_mtime_ns) for place in places] == before
    finally:
        for place in places:
            place.chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_without_an_index_is_told(write: Write, folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    try:
        with pytest.raises(DiskError, match="Permission denied"):
            index_of(write(RECORDS), folder)
    finally:
        folder.chmod(0o755)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    record = json.dumps(many(2)[1])
    sizes = []
    for count in (5_000, 40_000):
        path = tmp_path / f"{count}.json"
        path.write_text("[" + ",\n".join([record] * count) + "]")
        sizes.append(path.stat().st_size)
    code = """
import resource, sys
from pathlib import Path
from cvl.annotations import AnnotationFile, build_index

build_index(AnnotationFile("x", Path(sys.argv[1]), "data"), Path(sys.argv[2])).close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    small, large = (int(run(code, tmp_path / f"{count}.json", tmp_path / "index").stdout) for count in (5_000, 40_000))
    assert sizes[1] - sizes[0] > 30e6
    assert large - small < 8e6

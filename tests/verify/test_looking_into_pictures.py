"""Pictures decoded on every core: remembered, looked at again where they changed, shared out, safe to kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from photographs import encoded, photograph, zeroed

from cvl.images import ImageKind
from cvl.parallel import Part
from cvl.verify.decode import Depth
from cvl.verify.pictures import Looked, Work, look_at_headers, look_into, still_damaged
from cvl.verify.verdicts import known_damage

GOOD, CUT, ODD, GIF = b"data/a.jpg", b"data/cut.jpg", b"data/odd.jpg", b"data/gif.jpg"
ALL = (GOOD, CUT, ODD, GIF)
QUICK, FULL = Depth.QUICK, Depth.FULL


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "data").mkdir(parents=True)
    rocket = photograph()
    contents = (rocket, rocket[: len(rocket) // 2], zeroed(rocket), encoded("GIF", "P"))
    for path, content in zip(ALL, contents, strict=True):
        put(root, path, content)
    return root


def put(root: Path, path: bytes, content: bytes) -> None:
    (root / os.fsdecode(path)).write_bytes(content)


def quiet(_done: int, _total: int | None) -> None:
    pass


def look(root: Path, *paths: bytes, depth: Depth = QUICK, work: Work | None = None) -> Looked:
    return look_into(root, paths or ALL, depth, root.parent / "verdicts", work or Work(jobs=1), quiet)


def reasons(looked: Looked) -> dict[str, str]:
    return {path: flaw.reason for path, flaw in looked.flaws.items()}


def test_each_depth_finds_what_it_can(root: Path) -> None:
    quick, full = look(root), look(root, depth=FULL)
    assert reasons(quick) == {"data/cut.jpg": "cut-short-image"}
    assert reasons(full) == {"data/cut.jpg": "cut-short-image", "data/odd.jpg": "damaged-image"}
    assert quick.kinds == full.kinds == {"data/gif.jpg": ImageKind.GIF}
    assert (quick.pictures, full.pictures) == (4, 4)


def test_a_second_look_finds_the_same_and_reads_nothing(root: Path) -> None:
    first = look(root, depth=FULL)
    for path in ALL:  # the same size and time, and no content that could be decoded
        place = root / os.fsdecode(path)
        status = place.stat()
        place.write_bytes(bytes(status.st_size))
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = look(root, depth=FULL)
    assert (first.remembered, second.remembered) == (0, 4)
    assert (reasons(second), second.kinds) == (reasons(first), first.kinds)


def test_a_full_look_answers_a_quick_question(root: Path) -> None:
    look(root, depth=FULL)
    again = look(root)
    assert again.remembered == 4
    assert reasons(again) == {"data/cut.jpg": "cut-short-image", "data/odd.jpg": "damaged-image"}


def test_a_quick_look_does_not_answer_a_full_question(root: Path) -> None:
    look(root)
    assert look(root, depth=FULL).remembered == 1, "what was damaged then is damaged"


def test_what_has_changed_is_looked_at_again(root: Path) -> None:
    look(root)
    put(root, CUT, photograph("retina.jpg"))
    put(root, GOOD, b"<html>")
    again = look(root)
    assert reasons(again) == {"data/a.jpg": "no-picture"}
    assert again.remembered == 2


def test_a_mended_picture_stays_mended(root: Path) -> None:
    look(root)
    put(root, CUT, photograph("retina.jpg"))
    look(root)
    final = look(root)
    assert (reasons(final), final.remembered) == ({}, 4)


def test_a_picture_that_goes_meanwhile_is_told_of_and_not_remembered(root: Path) -> None:
    assert reasons(look(root, GOOD, b"data/gone.jpg")) == {"data/gone.jpg": "unreadable-image"}
    put(root, b"data/gone.jpg", photograph())
    assert reasons(look(root, b"data/gone.jpg")) == {}


def test_two_parts_find_together_what_one_run_finds(root: Path) -> None:
    parts = [look(root, depth=FULL, work=Work(jobs=1, part=Part(number, 2))) for number in (1, 2)]
    together = Looked()
    for part in parts:
        together.add(part)
    assert together.pictures == 4
    assert all(part.pictures for part in parts) or together.flaws
    whole = look(root, depth=FULL)
    assert whole.remembered == 4
    assert (reasons(whole), whole.kinds) == (reasons(together), together.kinds)


def test_several_processes_find_what_one_finds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvl.verify.pictures._SHARD_FILES", 1)
    told: list[tuple[int, int | None]] = []
    folder = root.parent / "other"
    many = look_into(root, ALL, FULL, folder, Work(jobs=2), lambda done, total: told.append((done, total)))
    assert reasons(many) == reasons(look(root, depth=FULL))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_headers_tell_what_is_no_jpeg_without_reading_more(root: Path) -> None:
    put(root, b"data/web.jpg", b"<html>")
    kinds = look_at_headers(root, [*ALL, b"data/web.jpg"], Work(jobs=1), quiet)
    assert kinds == {"data/gif.jpg": ImageKind.GIF, "data/web.jpg": None}


def test_damage_is_remembered_until_the_file_changes(root: Path) -> None:
    look(root)
    suspects = list(known_damage(root.parent / "verdicts").values())
    assert still_damaged(root, suspects)["data/cut.jpg"].reason == "cut-short-image"
    put(root, CUT, photograph())
    assert still_damaged(root, suspects) == {}
    (root / os.fsdecode(CUT)).unlink()
    assert still_damaged(root, suspects) == {}


KILLED = """
import os, sys
from pathlib import Path
from cvl.verify import pictures
from cvl.verify.decode import Depth
pictures._SHARD_FILES = 2
root = Path(sys.argv[1])
paths = [os.fsencode(f"data/{number}.jpg") for number in range(200)]
def progress(done, total):
    print(done, flush=True)
pictures.look_into(root, paths, Depth.FULL, Path(sys.argv[2]), pictures.Work(jobs=1), progress)
"""


def test_a_run_that_is_killed_is_gone_on_with(root: Path) -> None:
    paths = [f"data/{number}.jpg".encode() for number in range(200)]
    for path in paths:
        put(root, path, photograph("retina.jpg"))
    folder = root.parent / "verdicts"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    done = 0
    while done < 10:
        done = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = look(root, *paths, depth=FULL)
    assert again.pictures == 200
    assert done <= again.remembered < 200
    assert not again.flaws

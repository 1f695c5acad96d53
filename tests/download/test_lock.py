"""What was seen at first contact is kept once, without secrets, and pins what is fetched later."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fetching import remote

from cvl.download.lock import VERSION, Lock, Seen, unsigned
from cvl.errors import UsageError

SEEN = Seen("https://host.example/images.zip", 1000, "a" * 64, '"tag"', "0" * 40)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ShareGPT4V" / "cvl.lock"


def test_a_lock_is_empty_before_first_contact_and_writes_nothing(path: Path) -> None:
    assert Lock(path).seen("images.zip") is None
    assert not path.parent.exists()


def test_what_was_seen_is_read_again(path: Path) -> None:
    Lock(path).record("images.zip", SEEN)
    found = Lock(path).seen("images.zip")
    assert found is not None
    assert replace(found, time="") == SEEN


def test_the_time_of_contact_is_noted_in_utc(path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    lock = Lock(path)
    lock.record("images.zip", SEEN)
    found = lock.seen("images.zip")
    assert found is not None
    assert before <= datetime.fromisoformat(found.time) <= datetime.now(UTC)


def test_the_file_is_sorted_indented_json_with_a_newline_at_its_end(path: Path) -> None:
    lock = Lock(path)
    for name in ("b.zip", "a.zip", "c.zip"):
        lock.record(name, SEEN)
    text = path.read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["version"] == VERSION
    assert list(document["files"]) == ["a.zip", "b.zip", "c.zip"]
    assert text == json.dumps(document, indent=2) + "\n"


@pytest.mark.parametrize(
    "again", [SEEN, replace(SEEN, etag='"other"'), replace(SEEN, time="2030-01-01T00:00:00+00:00")]
)
def test_the_same_bytes_seen_again_do_not_touch_the_file(path: Path, again: Seen) -> None:
    Lock(path).record("images.zip", SEEN)
    before = path.stat()
    Lock(path).record("images.zip", again)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_bytes_take_the_place_of_the_old_ones(path: Path) -> None:
    lock = Lock(path)
    lock.record("images.zip", SEEN)
    lock.record("images.zip", replace(SEEN, size=2000, sha256="b" * 64))
    found = Lock(path).seen("images.zip")
    assert found is not None
    assert (found.size, found.sha256) == (2000, "b" * 64)


def test_threads_record_side_by_side(path: Path) -> None:
    lock = Lock(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: lock.record(f"{number:02}.zip", SEEN), range(40)))
    assert len(json.loads(path.read_text())["files"]) == 40


def test_what_another_process_recorded_meanwhile_is_kept(path: Path) -> None:
    waiting, first = Lock(path), Lock(path)
    first.record("first.zip", SEEN)
    waiting.record("second.zip", SEEN)
    assert list(json.loads(path.read_text())["files"]) == ["first.zip", "second.zip"]


def test_a_pin_brings_size_and_digest_where_the_manifest_has_none(path: Path) -> None:
    lock = Lock(path)
    lock.record("file.bin", SEEN)
    pinned = lock.pin(remote())
    assert (pinned.size, pinned.sha256, pinned.md5) == (1000, "a" * 64, None)


def test_what_the_manifest_knows_is_never_overruled(path: Path) -> None:
    lock = Lock(path)
    lock.record("file.bin", SEEN)
    assert lock.pin(remote(size=5, sha256="c" * 64)) == remote(size=5, sha256="c" * 64)
    assert lock.pin(remote(md5="d" * 32)) == remote(size=1000, md5="d" * 32)


def test_a_file_that_was_never_seen_is_not_pinned(path: Path) -> None:
    assert Lock(path).pin(remote()) == remote()


def test_what_begins_alike_is_found_together(path: Path) -> None:
    lock = Lock(path)
    for name in ("model", "model--a.bin", "model--b.bin", "other--a.bin"):
        lock.record(name, SEEN)
    assert sorted(lock.beginning("model--")) == ["model--a.bin", "model--b.bin"]


def test_several_files_are_recorded_in_one_step_and_the_known_ones_stay_as_they_are(path: Path) -> None:
    lock = Lock(path)
    lock.record("a.zip", replace(SEEN, time="2026-01-01T00:00:00+00:00"))
    lock.record_all({"a.zip": SEEN, "b.zip": SEEN})
    files = json.loads(path.read_text())["files"]
    assert list(files) == ["a.zip", "b.zip"]
    assert files["a.zip"]["time"] == "2026-01-01T00:00:00+00:00"
    before = path.stat()
    lock.record_all({"a.zip": SEEN, "b.zip": SEEN})
    lock.record_all({})
    assert path.stat().st_mtime_ns == before.st_mtime_ns


# Held to


def test_a_frozen_lock_pins_what_the_manifest_leaves_open_and_what_it_doubts(path: Path) -> None:
    Lock(path).record("file.bin", SEEN)
    lock = Lock(path, frozen=True)
    wanted = remote(size=1000, sha256="a" * 64)
    for other in (remote(), remote(md5="d" * 32), remote(size=1000, certainty="single-source"), wanted):
        pinned = lock.pin(other)
        assert (pinned.size, pinned.sha256, pinned.certainty) == (1000, "a" * 64, "confirmed")
        assert lock.pin(pinned) == pinned
    assert lock.pin(wanted) == wanted


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"size": 5}, "the manifest has size 5, .* has 1000"),
        ({"sha256": "c" * 64}, f"the manifest has sha256 {'c' * 64}, .* has {'a' * 64}"),
        ({"sha256": "c" * 64, "certainty": "single-source"}, f"the manifest has sha256 {'c' * 64}"),
    ],
)
def test_a_manifest_that_contradicts_a_frozen_lock_is_refused(path: Path, known: dict[str, Any], said: str) -> None:
    Lock(path).record("file.bin", SEEN)
    with pytest.raises(UsageError, match=rf"file\.bin: {said}") as caught:
        Lock(path, frozen=True).pin(remote(**known))
    assert str(path) in str(caught.value)
    assert "without --locked" in (caught.value.hint or "")


def test_a_frozen_lock_is_neither_written_nor_read_again(path: Path) -> None:
    Lock(path).record("a.zip", SEEN)
    frozen, before = Lock(path, frozen=True), path.read_bytes()
    frozen.record("b.zip", SEEN)
    assert path.read_bytes() == before
    Lock(path).record("c.zip", SEEN)
    frozen.refresh()
    assert frozen.seen("c.zip") is None


def test_a_lock_that_is_not_frozen_sees_what_others_wrote(path: Path) -> None:
    lock = Lock(path)
    Lock(path).record("c.zip", SEEN)
    lock.refresh()
    assert lock.seen("c.zip") is not None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["b.zip"], "does not name b.zip, and"),
        (["a.zip", "b.zip", "c.zip"], "does not name b.zip and 1 more, and"),
        ([f"{number}.zip" for number in range(1001)], "does not name 0.zip and 1,000 more, and"),
    ],
)
def test_what_a_frozen_lock_does_not_name_is_refused(path: Path, names: list[str], said: str) -> None:
    Lock(path).record("a.zip", SEEN)
    with pytest.raises(UsageError, match=said) as caught:
        Lock(path, frozen=True).require(names)
    assert str(path) in str(caught.value)
    assert caught.value.hint == "run once without --locked and keep the lock that it writes"


def test_what_a_lock_names_passes_and_without_being_held_to_everything_does(path: Path) -> None:
    Lock(path).record("a.zip", SEEN)
    Lock(path, frozen=True).require(["a.zip"])
    Lock(path, frozen=True).require([])
    Lock(path).require(["b.zip"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "files": {"a": {}}}'])
def test_a_file_that_is_no_lock_is_refused_with_the_way_out(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a lock file") as caught:
        Lock(path)
    assert "version control" in (caught.value.hint or "")
    assert path.read_text() == text


def test_a_lock_of_a_newer_format_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"version": VERSION + 1, "files": {}}))
    with pytest.raises(UsageError, match=f"has format {VERSION + 1}, this cvl reads {VERSION}"):
        Lock(path)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://host.example/a%20b.zip?oe=65F&sig=x#part", "https://host.example/a%20b.zip"),
        ("https://name:secret@host.example:8443/a.zip", "https://host.example:8443/a.zip"),
        ("hf://datasets/owner/name@main/a.zip", "hf://datasets/owner/name@main/a.zip"),
        ("hf://owner/name@main/a.zip", "hf://owner/name@main/a.zip"),
        ("gdrive://1f4v_3e1OJ", "gdrive://1f4v_3e1OJ"),
        ("links:sa_000000.tar", "links:sa_000000.tar"),
        ("openxlab://OpenDataLab/SA-1B/raw/a.tar", "openxlab://OpenDataLab/SA-1B/raw/a.tar"),
    ],
)
def test_addresses_are_kept_without_what_is_secret_or_expires(url: str, kept: str) -> None:
    assert unsigned(url) == kept

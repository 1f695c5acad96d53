"""A journal never names a byte that is not in the file: cut anywhere, damaged anywhere, after a power cut."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.download.transport import journal as journal_module
from cvl.download.transport.journal import Journal, Told, Version, read_journal
from cvl.download.transport.ranges import Ranges, Span

VERSION = Version("https://host.example/file", '"tag"', 1_000_000)
RECORD = 20
"""Bytes of a record."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.part.journal"


@pytest.fixture
def data(tmp_path: Path) -> Iterator[int]:
    """The file that the journal speaks of, as far as syncing it goes."""
    file = os.open(tmp_path / "file.part", os.O_RDWR | os.O_CREAT)
    yield file
    os.close(file)


@pytest.fixture
def power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine was started anew: nothing else of it is to be told from here."""
    boot = tmp_path / "boot_id"
    boot.write_text("00000000-0000-0000-0000-000000000000\n")
    monkeypatch.setattr(journal_module, "_BOOT_ID", boot)


def begun(path: Path, *spans: Span, version: Version = VERSION, safe: tuple[Span, ...] = ()) -> Journal:
    return Journal(path, Told(version, Ranges(spans), Ranges(safe)))


def noted(path: Path, *spans: Span, version: Version = VERSION) -> bytes:
    """A journal of these records, closed; its bytes."""
    journal = begun(path, version=version)
    for span in spans:
        journal.note(span)
    journal.close()
    return path.read_bytes()


def have(path: Path) -> Ranges:
    told = read_journal(path)
    return told.have if told is not None else Ranges()


SPANS = (Span(0, 100), Span(500, 700), Span(100, 200), Span(900, 1000))


def test_there_is_none_before_it_is_begun(path: Path) -> None:
    assert read_journal(path) is None


@pytest.mark.parametrize(
    "version",
    [
        VERSION,
        Version("https://host.example/file"),
        Version("https://host.example/file", "Wed, 21 Oct 2015 07:28:00 GMT"),
        Version("https://host.example/ü\n{}", '"\\"\n"', 2**60),
    ],
)
def test_it_says_which_version_of_which_file_it_is_of(path: Path, version: Version) -> None:
    noted(path, *SPANS, version=version)
    told = read_journal(path)
    assert told is not None
    assert told.version == version
    assert told.have == Ranges(SPANS)


def test_it_begins_with_what_is_there(path: Path) -> None:
    journal = begun(path, Span(0, 10), Span(20, 30))
    journal.note(Span(10, 15))
    journal.close()
    assert list(have(path)) == [Span(0, 15), Span(20, 30)]


def test_beginning_anew_leaves_nothing_of_the_old_one(path: Path) -> None:
    noted(path, *SPANS)
    begun(path, Span(5, 6), version=Version("https://host.example/other")).close()
    assert read_journal(path) == (Version("https://host.example/other"), Ranges([Span(5, 6)]), Ranges())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_cut_at_any_byte_it_names_a_beginning_of_its_records(path: Path) -> None:
    whole = noted(path, *SPANS)
    head = whole.index(b"\n") + 1
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        told = read_journal(path)
        if size < head - 1:
            assert told is None
        else:
            assert told is not None
            assert told.have == Ranges(SPANS[: max(size - head, 0) // RECORD])


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_with_any_byte_flipped_it_names_nothing_that_was_not_noted(path: Path, flip: int) -> None:
    whole = noted(path, *SPANS)
    head = whole.index(b"\n") + 1
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
        told = read_journal(path)
        if at >= head:
            # What follows a damaged record is not believed either.
            assert told is not None
            assert told.have == Ranges(SPANS[: (at - head) // RECORD])
        elif told is not None:
            # A flip within a text is another version, or another boot, of which nothing is safe.
            assert told.version != VERSION or not told.have


@given(st.binary(max_size=300))
def test_other_content_is_no_journal(content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda _: content)
        assert read_journal(Path("any")) is None


@pytest.mark.parametrize("head", [b"", b"{", b"[]", b'{"version": {"url": 1}, "boot": ""}', b'{"url": "x"}', b"\xff"])
def test_a_head_that_says_nothing_is_none(path: Path, head: bytes) -> None:
    path.write_bytes(head + b"\n")
    assert read_journal(path) is None


def test_without_a_mark_nothing_outlives_a_power_cut(path: Path, request: pytest.FixtureRequest) -> None:
    noted(path, *SPANS)
    request.getfixturevalue("power_cut")
    assert read_journal(path) == (VERSION, Ranges(), Ranges())


def test_what_was_synced_outlives_a_power_cut(path: Path, data: int, request: pytest.FixtureRequest) -> None:
    journal = begun(path, Span(0, 10))
    journal.note(Span(20, 30))
    journal.syncing(data)()
    journal.note(Span(30, 40))
    journal.syncing(data)()
    journal.note(Span(50, 60))
    journal.close()
    safe = Ranges([Span(0, 10), Span(20, 40)])
    assert read_journal(path) == (VERSION, Ranges([Span(0, 10), Span(20, 40), Span(50, 60)]), safe)
    request.getfixturevalue("power_cut")
    assert read_journal(path) == (VERSION, safe, safe)


def test_a_mark_that_was_torn_off_leaves_the_one_before(path: Path, data: int, request: pytest.FixtureRequest) -> None:
    journal = begun(path)
    journal.note(Span(0, 10))
    journal.syncing(data)()
    journal.note(Span(10, 20))
    journal.syncing(data)()
    journal.close()
    path.write_bytes(path.read_bytes()[:-1])
    request.getfixturevalue("power_cut")
    assert have(path) == Ranges([Span(0, 10)])


def is_same(file: int, other: int) -> bool:
    """Whether two descriptors are of one file."""
    return os.path.sameopenfile(file, other)


def test_bytes_that_come_while_the_disk_is_waited_for_are_not_safe(
    path: Path, data: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    journal, sync = begun(path), os.fdatasync

    def slow(file: int) -> None:
        if is_same(file, data):
            journal.note(Span(10, 20))
        sync(file)

    journal.note(Span(0, 10))
    monkeypatch.setattr(os, "fdatasync", slow)
    journal.syncing(data)()
    journal.close()
    assert have(path) == Ranges([Span(0, 20)])
    request.getfixturevalue("power_cut")
    assert have(path) == Ranges([Span(0, 10)])


def test_the_file_is_synced_before_its_mark_and_the_mark_after(
    path: Path, data: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts: list[str] = []
    sync, write = os.fdatasync, os.write

    def name_of(file: int) -> str:
        return "data" if is_same(file, data) else "journal"

    monkeypatch.setattr(os, "fdatasync", lambda file: (acts.append(name_of(file)), sync(file)))

    def told_write(file: int, content: bytes) -> int:
        acts.append("mark")
        return write(file, content)

    journal = begun(path)
    monkeypatch.setattr(os, "write", told_write)
    journal.syncing(data)()
    journal.close()
    assert acts == ["data", "mark", "journal"]


def test_what_is_safe_stays_so_in_a_journal_that_is_begun_anew(path: Path, request: pytest.FixtureRequest) -> None:
    begun(path, Span(0, 50), Span(70, 80), safe=(Span(0, 10), Span(30, 40))).close()
    assert have(path) == Ranges([Span(0, 50), Span(70, 80)])
    request.getfixturevalue("power_cut")
    assert have(path) == Ranges([Span(0, 10), Span(30, 40)])


def test_a_journal_that_has_something_to_lose_is_on_the_disk_before_it_replaces_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    noted(path, *SPANS)
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    before = path.read_bytes()
    begun(path, Span(0, 10), safe=(Span(0, 10),)).close()
    assert synced == [before]
    begun(path, Span(0, 10)).close()
    assert len(synced) == 1


def test_a_second_power_cut_changes_nothing(path: Path, data: int, request: pytest.FixtureRequest) -> None:
    """A machine that comes up, goes on, and goes down again before the next sync."""
    journal = begun(path)
    journal.note(Span(0, 10))
    journal.syncing(data)()
    journal.close()
    told = read_journal(path)
    assert told is not None
    later = Journal(path, told)
    later.note(Span(10, 20))
    later.close()
    request.getfixturevalue("power_cut")
    assert have(path) == Ranges([Span(0, 10)])


def test_a_system_without_boots_takes_every_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_BOOT_ID", path / "nothing")
    noted(path, *SPANS)
    assert have(path) == Ranges(SPANS)


def test_records_of_many_threads_do_not_mix(path: Path) -> None:
    journal = begun(path)

    def note(first: int) -> None:
        for number in range(first, 4000, 8):
            journal.note(Span(10 * number, 10 * number + 9))

    threads = [threading.Thread(target=note, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert have(path) == Ranges(Span(10 * number, 10 * number + 9) for number in range(4000))


def test_a_record_that_was_cut_short_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last write before a disk is full is cut short without an error: what followed it would not be read."""
    journal, write = begun(path), os.write
    journal.note(Span(0, 10))
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:7]))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        journal.note(Span(10, 20))
    journal.close()
    assert have(path) == Ranges([Span(0, 10)])


def test_a_journal_gives_its_file_back(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (Path.iterdir holds one open itself)
    for _ in range(5):
        begun(path).close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

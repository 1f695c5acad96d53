"""An unfinished transfer: bytes in any order, their journal, digests of the prefix; nothing counts that is not so."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fetching import md5, noise, sha256
from hypothesis import given, settings
from hypothesis import strategies as st

import cvl
from cvl.download.transport import journal as journal_module
from cvl.download.transport.journal import Version, read_journal
from cvl.download.transport.part import Part, forget_journal, forget_orphans
from cvl.download.transport.ranges import Ranges, Span

URL = "https://host.example/file"
CONTENT = noise(300_000)
SIZE = len(CONTENT)
VERSION = Version(URL, '"tag"', SIZE)
UNSIZED = Version(URL, '"tag"')


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    part = Part(tmp_path / "downloads" / "file.part", ("sha256", "md5"))
    yield part
    part.close()


def bring(part: Part, start: int, stop: int) -> None:
    """Write and note these bytes of the file."""
    part.write(CONTENT[start:stop], start)
    part.note(start, stop)


def left(part: Part) -> list[str]:
    return sorted(path.name for path in part.path.parent.iterdir())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (Path.iterdir holds one open itself)


def later(part: Part) -> Part:
    """The part as a process finds it that comes after this one was killed."""
    return Part(part.path)


def test_nothing_is_made_by_asking(part: Part, tmp_path: Path) -> None:
    assert (part.size, part.prefix, part.version, part.complete) == (0, 0, None, False)
    assert part.digests()["sha256"] == sha256(b"")
    assert not part.digest()
    assert not list(tmp_path.iterdir())


def test_a_part_has_the_length_of_the_file_from_the_beginning_on(part: Part) -> None:
    part.begin(VERSION)
    assert part.path.stat().st_size == SIZE
    assert (part.size, part.prefix, part.version) == (0, 0, VERSION)
    assert part.missing() == Ranges([Span(0, SIZE)])


def test_its_room_is_taken_before_the_first_byte(part: Part) -> None:
    part.begin(Version(URL, None, 1 << 20))
    if part.path.stat().st_blocks == 0:
        pytest.skip("this file system makes no room in advance")
    assert part.path.stat().st_blocks * 512 >= 1 << 20


def test_bytes_count_once_they_are_noted(part: Part) -> None:
    part.begin(VERSION)
    part.write(CONTENT[:1000], 0)
    assert part.size == 0
    assert later(part).size == 0
    part.note(0, 1000)
    assert part.size == 1000
    assert later(part).size == 1000


def test_bytes_land_where_they_belong_in_any_order(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 200_000, SIZE)
    bring(part, 0, 1000)
    assert (part.size, part.prefix) == (101_000, 1000)
    assert part.missing() == Ranges([Span(1000, 200_000)])
    bring(part, 1000, 200_000)
    assert part.complete
    assert part.prefix == SIZE
    assert part.path.read_bytes() == CONTENT


def test_noting_nothing_writes_nothing(part: Part) -> None:
    part.begin(VERSION)
    before = part.path.with_name("file.part.journal").stat().st_size
    part.note(5, 5)
    assert part.path.with_name("file.part.journal").stat().st_size == before


def test_what_a_killed_process_left_is_gone_on_with(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    bring(part, 5000, 6000)
    other = later(part)
    assert (other.version, other.size) == (VERSION, 2000)
    other.go_on(VERSION)
    bring(other, 1000, 5000)
    bring(other, 6000, SIZE)
    assert other.digests() == {"sha256": sha256(CONTENT)}
    other.close()


def test_a_part_without_a_journal_says_nothing(part: Part) -> None:
    part.path.parent.mkdir()
    part.path.write_bytes(CONTENT)
    assert (later(part).size, later(part).version) == (0, None)


def test_a_journal_without_a_part_says_nothing(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    part.path.unlink()
    assert (later(part).size, later(part).version) == (0, None)


def test_a_part_that_is_shorter_than_its_journal_says_is_not_believed(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    os.truncate(part.path, 999)
    assert (later(part).size, later(part).version) == (0, None)


def test_a_part_that_is_cut_while_it_is_written_is_an_error_and_no_endless_loop(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    os.truncate(part.path, 500)
    with pytest.raises(OSError, match="cut short") as caught:
        part.digests()
    assert caught.value.filename == str(part.path)


def test_beginning_drops_what_is_there(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    part.digest()
    other = Version("https://host.example/other", None, 4)
    part.begin(other)
    assert part.path.read_bytes() == bytes(4)
    part.write(b"new!", 0)
    part.note(0, 4)
    assert part.digests()["sha256"] == sha256(b"new!")
    assert later(part).version == other


def test_another_address_may_go_on_with_what_is_here(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    part.digest()
    mirror = Version("https://mirror.example/file", None, SIZE)
    part.go_on(mirror)
    assert (part.version, part.size, later(part).version) == (mirror, 1000, mirror)
    bring(part, 1000, SIZE)
    assert part.digests() == {"sha256": sha256(CONTENT), "md5": md5(CONTENT)}


def test_a_version_that_ends_earlier_ends_what_is_here(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    bring(part, 2000, 3000)
    part.digest()
    part.go_on(Version(URL, None, 700))
    assert (part.size, part.path.stat().st_size, part.complete) == (700, 700, True)
    assert part.digests()["sha256"] == sha256(CONTENT[:700])
    assert later(part).size == 700


def test_a_file_of_unknown_size_ends_where_it_ends(part: Part) -> None:
    part.begin(UNSIZED)
    bring(part, 0, 1000)
    assert not part.complete
    assert later(part).size == 1000
    part.ends_here()
    assert part.complete
    assert part.version == Version(URL, '"tag"', 1000)
    assert later(part).complete
    assert part.path.read_bytes() == CONTENT[:1000]


def test_an_empty_file_is_complete(part: Part) -> None:
    part.begin(Version(URL, None, 0))
    assert part.complete
    assert not part.missing()
    part.begin(UNSIZED)
    part.ends_here()
    assert part.complete
    assert part.path.read_bytes() == b""


def test_digests_follow_the_prefix_and_never_run_ahead_of_it(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 1000, 2000)
    assert not part.digest()
    bring(part, 0, 1000)
    assert part.digest(500)
    assert part.digest()
    assert not part.digest()
    assert part.digests() == {"sha256": sha256(CONTENT[:2000]), "md5": md5(CONTENT[:2000])}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_order_of_pieces_and_processes_gives_the_digest_of_the_file(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 500))
    cuts = sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=10))})
    pieces = data.draw(st.permutations(list(pairwise(cuts))))
    version = Version(URL, None, size)
    with TemporaryDirectory() as folder:
        part = Part(Path(folder) / "file.part")
        part.begin(version)
        for start, stop in pieces:
            bring(part, start, stop)
            match data.draw(st.sampled_from(["go on", "digest", "another process", "sync"])):
                case "digest":
                    part.digest(data.draw(st.integers(1, 500)))
                case "sync":
                    part.syncing()()
                case "another process":
                    part.close()
                    part = later(part)
                    part.go_on(version)
        assert part.complete
        assert part.digests() == {"sha256": sha256(CONTENT[:size])}
        part.close()


@pytest.mark.parametrize("seed", range(4))
def test_threads_that_write_out_of_order_make_the_file(part: Part, seed: int) -> None:
    chance = random.Random(seed)
    cuts = sorted({0, SIZE, *(chance.randrange(SIZE) for _ in range(200))})
    pieces = list(pairwise(cuts))
    chance.shuffle(pieces)
    part.begin(VERSION)

    def write(mine: list[tuple[int, int]]) -> None:
        for start, stop in mine:
            bring(part, start, stop)

    threads = [threading.Thread(target=write, args=(pieces[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        part.digest(10_000)
    for thread in threads:
        thread.join()
    assert part.complete
    assert part.digests() == {"sha256": sha256(CONTENT), "md5": md5(CONTENT)}
    assert later(part).complete


def test_discarding_removes_bytes_and_journal(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    part.digest()
    part.discard()
    part.discard()
    assert (part.size, part.version) == (0, None)
    assert part.digests()["sha256"] == sha256(b"")
    assert left(part) == []


def test_a_finished_file_keeps_its_journal_until_it_has_found_its_place(part: Part, tmp_path: Path) -> None:
    part.begin(VERSION)
    bring(part, 0, SIZE)
    assert part.finish() == part.path
    assert later(part).complete
    part.path.rename(tmp_path / "file")
    forget_journal(part.path)
    forget_journal(part.path)
    assert left(part) == []
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_journals_of_parts_that_are_gone_are_swept(part: Part) -> None:
    part.begin(VERSION)
    other = Part(part.path.with_name("other.part"))
    other.begin(VERSION)
    part.path.unlink()
    forget_orphans(part.path.parent)
    assert left(part) == ["other.part", "other.part.journal"]
    other.discard()
    forget_orphans(part.path.parent / "nothing")


def test_a_file_from_elsewhere_takes_the_place_of_all_that_is_here(part: Part) -> None:
    part.begin(VERSION)
    bring(part, 0, 1000)
    part.digest()
    file = part.path.with_name("download.tmp")
    file.write_bytes(b"by another client")
    part.adopt(file, URL)
    assert left(part) == ["file.part", "file.part.journal"]
    assert part.complete
    assert part.digests()["sha256"] == sha256(b"by another client")
    assert part.version == Version(URL, None, 17)
    assert later(part).complete
    part.finish()
    forget_journal(part.path)
    assert left(part) == ["file.part"]


def test_a_kill_within_an_adoption_leaves_a_file_that_is_begun_anew(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path == file:
            raise KeyboardInterrupt
        return replace(path, target)

    part.begin(VERSION)
    file = part.path.with_name("download.tmp")
    file.write_bytes(b"by another client")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            part.adopt(file, URL)
    assert later(part).version is None
    assert file.read_bytes() == b"by another client"


def test_what_was_synced_on_the_way_is_synced_at_the_end(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fdatasync
    part.begin(VERSION)
    bring(part, 0, 1000)
    part.syncing()()
    bring(part, 1000, SIZE)
    part.close()
    inode = part.path.stat().st_ino

    def told_sync(file: object) -> None:
        number = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
        synced.append(os.fstat(number).st_ino)
        sync(number)

    monkeypatch.setattr(os, "fdatasync", told_sync)
    part.finish()
    assert synced == [inode]


def test_what_came_in_moments_is_not_waited_for(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    part.begin(VERSION)
    bring(part, 0, SIZE)
    monkeypatch.setattr(os, "fdatasync", lambda _: pytest.fail("the disk was waited for"))
    part.finish()


def test_after_a_power_cut_what_was_synced_counts_however_often_it_is_gone_on_with(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(journal_module, "_BOOT_ID", boot)
    boot.write_text("first")
    part.begin(VERSION)
    bring(part, 0, 1000)
    part.syncing()()
    bring(part, 1000, 2000)
    part.go_on(VERSION)
    bring(part, 2000, 3000)
    for count in range(3):
        boot.write_text(f"boot {count}")
        part.close()
        part = later(part)
        assert part.size == 1000
        part.go_on(VERSION)
        bring(part, 1000, 4000)
    part.syncing()()
    part.close()
    boot.write_text("last")
    assert later(part).size == 4000


def test_nothing_is_kept_open(tmp_path: Path) -> None:
    before = descriptors()
    for number in range(5):
        part = Part(tmp_path / f"{number}.part")
        part.begin(VERSION)
        part.begin(UNSIZED)
        bring(part, 0, 1000)
        part.digest()
        part.syncing()()
        part.ends_here()
        part.go_on(VERSION)
        part.close()
        part.close()
        later(part)
        part.go_on(VERSION)
        part.finish()
        part.go_on(VERSION)
        part.discard()
        (tmp_path / "file").write_bytes(b"x")
        part.adopt(tmp_path / "file", URL)
    assert descriptors() == before


def test_a_disk_that_fails_when_a_file_is_closed_does_not_close_another_s(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor is gone even if closing it fails; a second try would close whatever has its number by then."""
    close = os.close
    part.begin(VERSION)

    def failing(file: int) -> None:
        close(file)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", failing)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            part.close()
    assert descriptors() == before - 2
    part.close()


def test_a_chunk_that_is_written_piece_by_piece_is_written_whole(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, chunk, at: write(file, memoryview(chunk)[:300], at))
    part.begin(VERSION)
    bring(part, 500, 2000)
    assert part.path.read_bytes()[:2000] == bytes(500) + CONTENT[500:2000]


def run(script: str, *arguments: str | Path) -> str:
    """What a process prints that runs this script."""
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_file_that_may_not_grow_is_an_error_and_what_was_noted_is_the_file_s(part: Part) -> None:
    # A process may write files of so many bytes only: the last write is first cut short, then refused.
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from cvl.download.transport.part import Part; from cvl.download.transport.journal import Version\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "part, content = Part(Path(sys.argv[1])), bytes(range(250)) * 4\n"
        "part.begin(Version('url'))\n"
        "part.write(content, 0); part.note(0, 1000)\n"
        "try: part.write(content, 1000)\n"
        "except OSError as error: print(error.errno)\n"
        "try: part.begin(Version('url', None, 5000))\n"
        "except OSError as error: print(error.errno, part.path.stat().st_size)\n"
    )
    assert run(script, part.path) == f"{errno.EFBIG}\n{errno.EFBIG} 0\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_file_that_does_not_fit_is_refused_before_its_first_byte(small_disk: Path) -> None:
    before = descriptors()
    part = Part(small_disk / "file.part")
    with pytest.raises(OSError, match=FULL) as caught:
        part.begin(Version(URL, None, 100_000))
    assert caught.value.errno == errno.ENOSPC
    assert part.path.stat().st_size == part.path.stat().st_blocks == 0
    part.close()
    assert descriptors() == before
    assert later(part).version is None
    part.begin(Version(URL, None, 10_000))
    bring(part, 0, 10_000)
    assert part.complete
    part.close()


FULL = os.strerror(errno.ENOSPC)


def fill(part: Part) -> None:
    """Write the file's bytes until there is no room."""
    for start in range(0, SIZE, 5000):
        bring(part, start, start + 5000)


def test_a_disk_that_fills_up_loses_nothing_that_was_noted(small_disk: Path) -> None:
    part = Part(small_disk / "file.part")
    part.begin(UNSIZED)
    with pytest.raises(OSError, match=FULL):
        fill(part)
    assert 0 < part.size < 64 << 10
    part.close()
    assert later(part).size == part.size
    assert part.path.read_bytes()[: part.size] == CONTENT[: part.size]


def note_every_second_byte(part: Part, size: int) -> None:
    """Bytes one by one with a gap after each, so that the journal grows as fast as it can."""
    for start in range(0, size, 2):
        bring(part, start, start + 1)


def test_a_disk_that_has_no_room_for_the_journal_counts_nothing_that_is_not_in_it(small_disk: Path) -> None:
    version = Version(URL, None, 20_000)
    part = Part(small_disk / "file.part")
    part.begin(version)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(32 << 10))
    with pytest.raises(OSError, match=FULL):
        note_every_second_byte(part, 20_000)
    missing = part.missing()
    part.close()
    assert 0 < part.size < 10_000
    assert later(part).missing() == missing
    ballast.unlink()
    part.go_on(version)
    for start, stop in missing:
        bring(part, start, stop)
    assert later(part).complete
    assert part.digests() == {"sha256": sha256(CONTENT[:20_000])}
    part.close()


WRITER = """
import hashlib, os, random, sys, threading
from pathlib import Path
from cvl.download.transport.journal import Version, read_journal
from cvl.download.transport.part import Part

path, chance = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
part = Part(path)

def content(version):
    return hashlib.shake_128((version.validator or "").encode()).digest(2_000_000)

def write(data, spans):
    for start, stop in spans:
        part.write(data[start:stop], start)
        part.note(start, stop)

def bring(version):
    data = content(version)
    if version.size is None:
        while part.prefix < len(data):
            write(data, [(part.prefix, min(part.prefix + chance.randrange(1, 2000), len(data)))])
        return part.ends_here()
    pieces = []
    missing = part.missing()
    while (span := missing.take(chance.randrange(1, 2000))) is not None:
        pieces.append(tuple(span))
    chance.shuffle(pieces)
    threads = [threading.Thread(target=write, args=(data, pieces[number::4])) for number in range(4)]
    [thread.start() for thread in threads]
    while any(thread.is_alive() for thread in threads):
        part.digest(50_000)
    [thread.join() for thread in threads]

if part.version is not None and not part.complete:
    part.go_on(part.version)
    bring(part.version)
print("here", flush=True)
while True:
    if part.complete:
        assert part.digests()["sha256"] == hashlib.sha256(content(part.version)[: part.size]).hexdigest()
        part.finish()
    version = Version("url", str(chance.randrange(10**9)), chance.choice([2_000_000, None]))
    if chance.random() < 0.2:
        file = path.with_name("file.tmp")
        file.write_bytes(content(Version("", "")))
        part.adopt(file, "url")
        assert part.digests()["sha256"] == hashlib.sha256(content(Version("", ""))).hexdigest()
    part.begin(version)
    bring(version)
"""


def kill_in_the_midst(folder: Path, times: int, seed: int) -> None:
    """Let a process write pieces at random, kill it, look, let the next one go on; until so many were in the midst."""
    path, chance, unfinished = folder / "file.part", random.Random(seed), 0
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)}
    while unfinished < times:
        command = [sys.executable, "-c", WRITER, str(path), str(chance.randrange(10**9))]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n", process.communicate()[1].decode()
            # Not a word about time: only that a kill may come at any instant.
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        part = Part(path)
        unfinished += part.size > 0 and not part.complete
        assert is_borne_out(part)


def is_borne_out(part: Part) -> bool:
    """Whether every byte that counts as here is one of the version that the journal names."""
    if part.version is None:
        return part.size == 0
    there = part.path.read_bytes()
    content = hashlib.shake_128((part.version.validator or "").encode()).digest(2_000_000)
    told = read_journal(part.path.with_name(f"{part.path.name}.journal"))
    assert told is not None
    return all(there[start:stop] == content[start:stop] for start, stop in told.have)


def test_a_kill_at_any_instant_never_counts_a_byte_that_is_not_the_file_s(tmp_path: Path) -> None:
    kill_in_the_midst(tmp_path, 4, seed=0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_kills_never_count_a_byte_that_is_not_the_file_s(tmp_path: Path, seed: int) -> None:
    kill_in_the_midst(tmp_path, 50, seed)

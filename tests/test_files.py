"""Files are whole or not there, whatever happens to the process, the disk or the folder."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cvl import files
from cvl.errors import Cancelled, DiskError
from cvl.files import (
    beside,
    count_files,
    disk_errors,
    is_temporary,
    publish,
    reserve,
    settle,
    stands_beside,
    sweep,
    take,
    write_atomically,
)

LONGEST_NAME = 255


def test_a_name_beside_lies_in_the_same_folder_and_is_hidden(tmp_path: Path) -> None:
    name = beside(tmp_path / "picture.jpg")
    assert name.parent == tmp_path
    assert name.name.startswith(".cvl-picture.jpg-")
    assert name.suffix == ".tmp"


@pytest.mark.parametrize("name", ["picture.jpg", "a-b--c.jpg", "-.jpg"])
def test_a_name_beside_tells_what_it_stands_beside(tmp_path: Path, name: str) -> None:
    assert is_temporary(beside(tmp_path / name).name)
    assert stands_beside(beside(tmp_path / name).name) == name


def test_two_machines_that_share_a_folder_get_two_names(tmp_path: Path) -> None:
    """Their processes may have the same numbers, and their threads too: as if this process had been loaded anew."""
    program = "import sys, pathlib; from cvl.files import beside; print(beside(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", program, str(tmp_path / "picture.jpg")]
    names = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    tokens = {name.rsplit("-", 3)[1] for name in names}
    assert len(tokens) == 2


def test_two_threads_get_two_names(tmp_path: Path) -> None:
    barrier = threading.Barrier(2)

    def name() -> Path:
        barrier.wait()
        return beside(tmp_path / "picture.jpg")

    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(name) for _ in range(2))
    assert first.result() != second.result()


@pytest.mark.parametrize("letter", ["x", "ü", "日", "😀"])
@pytest.mark.parametrize("start", ["", "x", "xx", "xxx"])
def test_the_longest_name_has_a_name_beside_it(tmp_path: Path, start: str, letter: str) -> None:
    name = start + letter * ((LONGEST_NAME - len(start)) // len(letter.encode()))
    write_atomically(tmp_path / name, b"content")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_sweep_removes_what_was_left_half_written_and_nothing_else(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    left = [beside(tmp_path / "x.jpg"), beside(deep / "y.jpg")]
    kept = [tmp_path / "x.jpg", deep / ".cvl-note", deep / "y.tmp", tmp_path / ".hidden"]
    for path in (*left, *kept):
        path.touch()
    sweep(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_a_sweep_of_a_folder_that_is_not_there_is_none(tmp_path: Path) -> None:
    sweep(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def test_writing_replaces_the_old_content_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_content_and_no_leftovers(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_atomically(place, b"new")
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "inside"]


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([letter]) * 300_000 for letter in range(8)]
    write_atomically(path, contents[0])
    seen: set[bytes] = set()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for content in contents:
            write_atomically(path, content)
        ended.set()
        reading.result()
    assert seen <= set(contents)


def test_a_durable_file_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync, seen = tmp_path / "file", os.fsync, []
    path.write_bytes(b"old")

    def told_sync(file: int) -> None:
        seen.append((Path(f"/proc/self/fd/{file}").read_bytes(), path.read_bytes()))
        sync(file)

    monkeypatch.setattr(os, "fsync", told_sync)
    write_atomically(path, b"new", durable=True)
    assert seen == [(b"new", b"old")]
    write_atomically(path, b"newer")
    assert len(seen) == 1


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    """The descriptor of an empty file."""
    file = os.open(tmp_path / "opened", os.O_RDWR | os.O_CREAT)
    yield file
    os.close(file)


@pytest.mark.parametrize("size", [0, 1, 4096, 5_000_000])
def test_a_reserved_file_has_its_length_and_reads_as_nothing(opened: int, size: int) -> None:
    reserve(opened, size)
    assert os.fstat(opened).st_size == size
    assert os.pread(opened, size + 1, 0) == bytes(size)


def test_reserving_leaves_what_is_written_as_it_is(opened: int) -> None:
    os.pwrite(opened, b"content", 0)
    reserve(opened, 10)
    assert os.pread(opened, 100, 0) == b"content" + bytes(3)
    reserve(opened, 4)
    assert os.pread(opened, 100, 0) == b"cont"


def test_a_file_system_that_cannot_promise_room_gives_the_length(opened: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class System:
        """A C library whose file system has no such thing, or that is too old to ask."""

        def fallocate64(self, *_: object) -> int:
            ctypes.set_errno(errno.EOPNOTSUPP)
            return -1

    for libc in (System(), object()):
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, libc=libc, **__: libc)
        os.ftruncate(opened, 0)
        reserve(opened, 5000)
        assert os.fstat(opened).st_size == 5000


def test_what_is_longer_than_any_file_is_an_error(opened: int) -> None:
    with pytest.raises(OSError, match=r"large|argument"):
        reserve(opened, 2**63 - 1)


def test_room_that_is_not_there_is_not_taken(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a small disk")
    try:
        file = os.open(disk / "file", os.O_RDWR | os.O_CREAT)
        os.pwrite(file, b"content", 0)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            reserve(file, 100_000)
        assert os.pread(file, 100, 0) == b"content"
        assert os.fstat(file).st_size == 7
        reserve(file, 60_000)
        os.close(file)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_folder_s_disk_can_be_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (Path.iterdir holds one open itself)
    settle(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(FileNotFoundError):
        settle(tmp_path / "nothing")


def test_publishing_moves_the_file_and_makes_the_folder(tmp_path: Path) -> None:
    finished, place = tmp_path / "file.part", tmp_path / "data" / "coco" / "file"
    finished.write_bytes(b"content")
    before = finished.stat().st_ino
    publish(finished, place)
    assert place.read_bytes() == b"content"
    assert place.stat().st_ino == before
    assert not finished.exists()


def test_publishing_replaces_an_older_file(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "place").write_bytes(b"old")
    publish(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place").read_bytes() == b"new"


@pytest.fixture
def two_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders, between which nothing can be renamed or linked, as between file systems."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    rename, link = Path.replace, os.link

    def replace(path: Path, target: Path) -> Path:
        if path.parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    def no_link(source: Path, target: Path) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(os, "link", no_link)
    return first, second


def test_publishing_crosses_file_systems(two_disks: tuple[Path, Path]) -> None:
    first, second = two_disks
    (first / "finished").write_bytes(b"content")
    publish(first / "finished", second / "place")
    assert [path.name for path in second.iterdir()] == ["place"]
    assert (second / "place").read_bytes() == b"content"
    assert not (first / "finished").exists()


def test_publishing_that_fails_keeps_the_finished_file(tmp_path: Path) -> None:
    finished, place = tmp_path / "finished", tmp_path / "place"
    finished.write_bytes(b"content")
    (place / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        publish(finished, place)
    assert finished.read_bytes() == b"content"


def test_taking_gives_a_second_place_without_a_second_copy(tmp_path: Path) -> None:
    original, place = tmp_path / "original", tmp_path / "data" / "place"
    original.write_bytes(b"content")
    take(original, place)
    assert original.stat().st_ino == place.stat().st_ino


def test_taking_copies_where_it_cannot_link(two_disks: tuple[Path, Path]) -> None:
    first, second = two_disks
    (first / "original").write_bytes(b"content")
    take(first / "original", second / "place")
    assert (second / "place").read_bytes() == (first / "original").read_bytes() == b"content"
    assert [path.name for path in second.iterdir()] == ["place"]


def test_taking_replaces_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"new")
    (tmp_path / "place").write_bytes(b"old")
    take(tmp_path / "original", tmp_path / "place")
    assert (tmp_path / "place").read_bytes() == b"new"


def test_taking_a_link_takes_the_file_behind_it(tmp_path: Path) -> None:
    # The hub's cache is made of relative links, which point nowhere from another folder.
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blobs" / "b10b").write_bytes(b"content")
    (tmp_path / "snapshot" / "file.json").symlink_to("../blobs/b10b")
    take(tmp_path / "snapshot" / "file.json", tmp_path / "data" / "mine" / "file.json")
    assert (tmp_path / "data" / "mine" / "file.json").read_bytes() == b"content"


def test_counting_goes_below_and_leaves_hidden_files_out(tmp_path: Path) -> None:
    (tmp_path / "00000").mkdir()
    for name in ("a.jpg", "b.png", "00000/c.jpg", ".d.jpg"):
        (tmp_path / name).touch()
    assert count_files(tmp_path) == 3
    assert count_files(tmp_path, ".jpg") == 2
    assert count_files(tmp_path / "nothing") == 0


def test_counting_follows_a_folder_that_is_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "linked").symlink_to("real")
    assert count_files(tmp_path / "linked") == 1


def test_counting_does_not_walk_in_circles(tmp_path: Path) -> None:
    """`ln -s /mnt/x data/coco/train2017`, typed twice, makes a link to the folder in the folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "real" / "real").symlink_to(tmp_path / "real")
    assert count_files(tmp_path / "real") == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path, code: int) -> None:
    with pytest.raises(DiskError, match=f"no room left on the disk of {tmp_path}") as caught, disk_errors(tmp_path):
        raise OSError(code, os.strerror(code))
    assert "run the same command again" in (caught.value.hint or "")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR])
def test_what_else_the_system_says_of_a_file_is_told_with_its_name(tmp_path: Path, code: int) -> None:
    reason = os.strerror(code)
    with pytest.raises(DiskError, match=f"cannot use /mnt/data/x: {reason}") as caught, disk_errors(tmp_path):
        raise OSError(code, reason, "/mnt/data/x")
    assert "--root" in (caught.value.hint or "")


def test_an_error_without_a_number_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=f"cannot use {tmp_path}: odd"), disk_errors(tmp_path):
        raise OSError("odd")


def test_our_own_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(Cancelled), disk_errors(tmp_path):
        raise Cancelled("stopped")


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    # A process may write files of so many bytes only: the system refuses the rest as a full disk does.
    script = (
        "import resource, sys; from pathlib import Path; from cvl.files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(5000))\n"
        "except OSError as error: print(error.errno)\n"
    )
    path = tmp_path / "file"
    path.write_bytes(b"old")
    package = str(Path(files.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env=os.environ | {"PYTHONPATH": package},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]

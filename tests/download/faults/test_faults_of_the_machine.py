"""The fault table, part 6: our own side fails, is stopped, or is asked twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mine import CONNECTIONS, CONTENT, FOREVER, MIB, URL, Mine, assert_says, finish, send, wait_until

from cvl.demo.internet import FaultKind
from cvl.root import Root

RATE = 2_000_000
SOON = 10.0
"""Seconds that no process should need to end, however busy the machine is with other tests."""
PLAIN_USER = "" if os.geteuid() else "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all"
"""Takes from root what lets it write where nobody may."""

Disk = Callable[[str], None]


@pytest.fixture
def disk(tree: Root) -> Iterator[Disk]:
    """A small disk of its own below the tree's root: called with options of `mount`, it makes or changes it."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    tree.path.mkdir()
    mounted = False

    def mount(options: str) -> None:
        nonlocal mounted
        wish = f"remount,{options}" if mounted else options
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", wish, "tmpfs", tree.path], capture_output=True, text=True)
        if done.returncode and not mounted:
            pytest.skip(f"no disk can be mounted here: {done.stderr}")
        assert done.returncode == 0, done.stderr
        mounted = True

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", tree.path], check=True)


def test_a_disk_that_is_too_small_is_told_before_a_byte_moves(mine: Mine, disk: Disk) -> None:
    disk("size=8m")
    mine.publish()
    done = mine.fetch()
    assert done.code == 1
    assert_says(done.stderr, "needs", "free")
    assert mine.internet.exchanges == []


def test_a_disk_that_turns_out_too_small_is_told_and_nothing_is_lost(mine: Mine, disk: Disk) -> None:
    """Nobody knew the size beforehand."""
    disk("size=8m")
    mine.publish(size=None)
    done = mine.fetch()
    assert done.code == 1
    assert_says(done.stderr, str(mine.root.path), "no room left")
    mine.assert_nothing_landed()
    assert len(mine.exchanges()) <= 8
    disk("size=40m")
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_disk_that_another_program_fills_costs_nothing_that_is_here(mine: Mine, disk: Disk) -> None:
    disk("size=40m")
    mine.publish()
    mine.fault(FaultKind.RATE, rate=RATE)
    process = mine.start()
    wait_until(lambda: mine.sent() >= 3 * MIB, process)
    ballast = mine.root.at("ballast")
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            continue
    mine.internet.heal()
    done = finish(process)
    if done.code:
        assert_says(done.stderr, "no room left")
        mine.assert_nothing_landed()
    ballast.unlink()
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_disk_that_cannot_be_written_is_told_before_a_byte_moves(mine: Mine, disk: Disk) -> None:
    disk("size=40m")
    mine.publish()
    disk("ro")
    done = mine.fetch()
    assert done.code == 1
    assert_says(done.stderr, str(mine.root.path), "read-only")
    assert mine.internet.exchanges == []


def test_a_tree_that_may_not_be_written_is_told_before_a_byte_moves(mine: Mine) -> None:
    mine.publish()
    mine.root.path.mkdir(mode=0o555)
    done = mine.fetch_under(f"exec {PLAIN_USER}")
    assert done.code == 1
    assert_says(done.stderr, str(mine.root.path), "permission denied")
    assert mine.internet.exchanges == []


def test_a_folder_that_may_not_be_written_costs_nothing_that_came(mine: Mine) -> None:
    """Only the file's last step fails, its renaming: the bytes are here, and stay."""
    mine.publish()
    place = mine.landed.parent
    place.mkdir(parents=True)
    place.chmod(0o555)
    try:
        done = mine.fetch_under(f"exec {PLAIN_USER}")
    finally:
        place.chmod(0o755)
    assert done.code == 1
    assert_says(done.stderr, str(place), "permission denied")
    mine.assert_nothing_landed()
    assert mine.fetch().code == 0
    mine.assert_whole()
    assert mine.sent() <= len(CONTENT) + MIB


def test_a_tree_that_is_complete_needs_no_permission_to_write(mine: Mine) -> None:
    mine.publish()
    assert mine.fetch().code == 0
    asked = len(mine.internet.exchanges)
    folders = [mine.root.path, *(path for path in mine.root.path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = mine.fetch_under(f"exec {PLAIN_USER}")
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.code == 0
    assert len(mine.internet.exchanges) == asked


@pytest.mark.parametrize("limit", [12, 20])
def test_too_few_open_files_are_told_or_made_do_with(mine: Mine, limit: int) -> None:
    """With so few not even all of Python's own files can be opened, or not all connections."""
    mine.publish()
    done = mine.fetch_under(f"ulimit -n {limit}; exec")
    if done.code:
        assert done.code == 1
        assert_says(done.stderr, "open no more files", hint="ulimit -n")
        mine.assert_nothing_landed()
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_two_processes_on_one_tree_fetch_a_file_once(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.STALL, CONNECTIONS, after=MIB // 2)
    first = mine.start("--timeout", "6")
    wait_until(lambda: mine.sent() >= MIB // 2, first)
    second = mine.start()
    assert second.stderr is not None
    assert "another cvl is at work" in second.stderr.readline()
    assert (finish(first).code, finish(second).code) == (0, 0)
    mine.assert_whole()
    mine.assert_little_again()


def test_two_processes_that_begin_at_once_do_not_disturb_each_other(mine: Mine) -> None:
    mine.publish()
    both = [mine.start(), mine.start()]
    done = [finish(process) for process in both]
    assert [each.code for each in done] == [0, 0], done
    mine.assert_whole()
    mine.assert_little_again()


def test_the_second_process_goes_on_where_the_first_was_killed(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.STALL, FOREVER, after=MIB // 2)
    first = mine.start("--timeout", "60")
    wait_until(lambda: mine.sent() >= MIB // 2, first)
    second = mine.start()
    assert second.stderr is not None
    assert "another cvl is at work" in second.stderr.readline()
    mine.internet.heal()
    send(first, signal.SIGKILL)
    first.communicate()
    assert finish(second).code == 0
    mine.assert_whole()
    mine.assert_little_again()


@pytest.mark.parametrize("proven", [True, False])
def test_a_kill_in_mid_file_costs_at_most_a_mebibyte_a_connection(mine: Mine, proven: bool) -> None:
    known: dict[str, Any] = {} if proven else {"size": None, "sha256": None}
    mine.publish(**known)
    mine.fault(FaultKind.RATE, rate=RATE)
    for enough in (4 * MIB, 9 * MIB):
        process = mine.start()
        wait_until(lambda enough=enough: mine.sent() >= enough, process)  # type: ignore[misc]
        send(process, signal.SIGKILL)
        process.communicate()
        mine.assert_nothing_landed()
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()
    # Two kills.
    mine.assert_little_again(beyond=len(CONTENT) + 4 * MIB)


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        (signal.SIGINT, FaultKind.STALL),
        (signal.SIGTERM, FaultKind.STALL),
        (signal.SIGINT, FaultKind.SLOW),
        (signal.SIGTERM, FaultKind.RATE),
    ],
)
def test_a_wish_to_stop_is_heard_at_once(mine: Mine, wish: signal.Signals, kind: FaultKind) -> None:
    """Within two seconds where the machine has nothing else to do; --timeout would end it after sixty only."""
    mine.publish()
    steady = kind is FaultKind.RATE
    mine.fault(kind, FOREVER, after=0 if steady else MIB, rate=RATE if steady else 9)
    process = mine.start("--timeout", "60")
    wait_until(lambda: mine.sent() >= MIB, process)
    send(process, wish)
    done = finish(process, within=SOON)
    assert (done.code, done.stdout) == (130, "")
    assert_says(done.stderr, "error: stopped", hint="run the same command again to go on")
    mine.assert_nothing_landed()
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are not told one by one here")
def test_a_wish_to_stop_that_another_thread_hears_is_heeded(mine: Mine) -> None:
    """The system may tell any thread, and Python's handler runs in the main one, which then sleeps on."""
    mine.publish()
    mine.fault(FaultKind.STALL, FOREVER, after=MIB)
    process = mine.start("--timeout", "60")
    wait_until(lambda: mine.sent() >= MIB, process)
    threads = sorted(int(entry.name) for entry in Path(f"/proc/{process.pid}/task").iterdir())
    os.kill(threads[-1], signal.SIGTERM)
    done = finish(process, within=SOON)
    assert done.code == 130
    assert_says(done.stderr, "stopped", hint="again")


def test_a_wish_to_stop_is_heard_while_it_waits_to_try_again(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.STATUS, FOREVER, status=503, retry_after=60)
    process = mine.start()
    wait_until(lambda: len(mine.exchanges(URL)) >= 1, process)
    send(process, signal.SIGINT)
    done = finish(process, within=SOON)
    assert done.code == 130
    assert_says(done.stderr, "stopped", hint="again")

"""The fault table, part 3: the server does not do with ranges what it says, or the file changes between two of them."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from fetching import noise, sha256
from mine import CONNECTIONS, CONTENT, FOREVER, MIB, URL, Mine, assert_told, finish, send, wait_until

from cvl.demo.internet import FaultKind

RATE = 2_000_000
NEWER = noise(len(CONTENT), seed=1)


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """Another version of the file, of the same size."""
    path = tmp_path / "newer.bin"
    path.write_bytes(NEWER)
    return path


def test_a_server_without_ranges_is_served_by_one_connection(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.NO_RANGES)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_server_without_ranges_is_begun_anew_after_a_cut(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.NO_RANGES)
    mine.fault(FaultKind.TRUNCATE, after=5 * MIB)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again(beyond=len(CONTENT) + 5 * MIB)


def test_a_range_that_is_ignored_is_not_written_where_it_was_asked_for(mine: Mine) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.IGNORE_RANGE, FOREVER)
    assert mine.fetch().code == 0
    mine.assert_whole()


def test_a_server_that_knows_ranges_for_the_first_request_only(mine: Mine) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.RATE, rate=20_000_000)
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.IGNORE_RANGE, FOREVER, skip=1)
    assert mine.fetch().code == 0
    mine.assert_whole()


@pytest.mark.parametrize("times", [1, FOREVER])
def test_after_a_wrong_content_range_the_file_is_asked_for_in_one_piece(mine: Mine, times: int) -> None:
    """No digest would tell, and such a server is not to be trusted with ranges any more."""
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.WRONG_CONTENT_RANGE, times)
    done = mine.fetch()
    assert (done.code, "asked for bytes from" in done.stderr) == (0, True)
    assert mine.statuses()[-1] == 200
    mine.assert_whole()
    mine.assert_little_again(beyond=2 * len(CONTENT))


def test_a_wrong_total_in_mid_file_counts_as_another_version(mine: Mine) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.WRONG_TOTAL)
    done = mine.fetch()
    assert (done.code, "has changed" in done.stderr) == (0, True)
    mine.assert_whole()
    mine.assert_little_again(beyond=2 * len(CONTENT))


def test_a_wrong_total_that_stays_is_refused_with_both_numbers(mine: Mine) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.WRONG_TOTAL, FOREVER)
    assert_told(mine.fetch(), URL, f"{len(CONTENT):,}", f"{len(CONTENT) + 1:,}", hint="manifest")
    mine.assert_nothing_landed()
    assert mine.kept() == []


@pytest.mark.parametrize("times", [1, FOREVER])
def test_more_bytes_than_were_asked_for_are_not_written(mine: Mine, times: int) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.EXCESS, times)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again(beyond=2 * len(CONTENT))


def test_another_name_of_the_same_bytes_costs_nothing_under_a_digest(mine: Mine) -> None:
    """As from several machines behind one address: each has a tag of its own, all have the same bytes."""
    mine.publish()
    mine.fault(FaultKind.RATE, rate=RATE)
    process = mine.start()
    wait_until(lambda: mine.sent() >= 7 * MIB, process)
    mine.fault(FaultKind.CHANGED_ETAG)
    assert finish(process).code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_another_name_of_the_same_bytes_in_the_next_run_costs_nothing_under_a_digest(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.RATE, rate=RATE)
    process = mine.start()
    wait_until(lambda: mine.sent() >= 7 * MIB, process)
    send(process, signal.SIGTERM)
    assert finish(process).code == 130
    mine.internet.heal()
    mine.fault(FaultKind.CHANGED_ETAG)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_file_that_changed_once_is_still_fetched_in_ranges(mine: Mine, newer: Path) -> None:
    """The whole file is what If-Range asks for then: the server has done nothing wrong."""
    mine.publish(sha256=None)
    mine.fault(FaultKind.RATE, rate=RATE)
    mine.fault(FaultKind.REPLACED, skip=2, replacement=newer)
    assert mine.fetch().code == 0
    mine.assert_whole(NEWER)
    assert mine.statuses()[2:].count(206) >= CONNECTIONS - 1


@pytest.mark.parametrize("skip", [1, 2])
def test_a_file_that_changes_while_ranges_are_in_flight_is_never_mixed(mine: Mine, newer: Path, skip: int) -> None:
    """Size and kind stay the same, and nobody knows a digest: all bytes must be the new version's."""
    mine.publish(sha256=None)
    mine.fault(FaultKind.RATE, rate=20_000_000)
    mine.fault(FaultKind.TRUNCATE, 2, after=2 * MIB)
    mine.fault(FaultKind.REPLACED, skip=skip, replacement=newer)
    done = mine.fetch()
    assert done.code == 0, done
    mine.assert_whole(NEWER)
    assert mine.sent() <= 2 * len(CONTENT) + 4 * MIB


def test_a_file_that_changes_while_its_last_bytes_come_is_one_version_or_the_other(mine: Mine, newer: Path) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.RATE, rate=4_000_000)
    process = mine.start()
    wait_until(lambda: mine.sent() >= 8 * MIB, process)
    mine.fault(FaultKind.REPLACED, replacement=newer)
    assert finish(process).code == 0
    assert sha256(mine.landed.read_bytes()) in (sha256(CONTENT), sha256(NEWER))
    assert mine.kept() == []


def test_a_file_that_changed_between_two_runs_is_begun_anew(mine: Mine, newer: Path) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.STATUS, FOREVER, status=500)
    assert mine.fetch().code == 1
    mine.internet.heal()
    mine.fault(FaultKind.REPLACED, replacement=newer)
    assert mine.fetch().code == 0
    mine.assert_whole(NEWER)


def test_a_file_that_changed_is_refused_where_the_manifest_knows_the_old_one(mine: Mine, newer: Path) -> None:
    mine.publish()
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.REPLACED, skip=1, replacement=newer)
    assert_told(mine.fetch(), "sha256", sha256(CONTENT))
    mine.assert_nothing_landed()
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()


def test_a_file_that_keeps_changing_is_given_up(mine: Mine, newer: Path) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, FOREVER, after=2 * MIB)
    stop = threading.Event()
    process = mine.start()
    swapper = threading.Thread(target=_keep_changing, args=(mine, newer, stop))
    swapper.start()
    try:
        done = finish(process, within=45)
    finally:
        stop.set()
        swapper.join()
    if done.code == 0:
        assert sha256(mine.landed.read_bytes()) in (sha256(CONTENT), sha256(NEWER))
    else:
        assert_told(done, URL)
        mine.assert_nothing_landed()


def _keep_changing(mine: Mine, newer: Path, stop: threading.Event) -> None:
    published = mine.site.folder / "http/host.example/mine.bin"
    other = newer.with_name("other.bin")
    other.write_bytes(CONTENT)
    while not stop.wait(0.05):
        for content in (newer, other):
            content.with_suffix(".tmp").write_bytes(content.read_bytes())
            content.with_suffix(".tmp").replace(published)

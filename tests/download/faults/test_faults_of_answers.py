"""The fault table, part 1: the server answers, but not with the file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fetching import tarred, zipped
from mine import CONNECTIONS, CONTENT, FOREVER, MIB, MIRROR, URL, Mine, assert_told

from cvl.demo.internet import FaultKind

PICTURE = {"a.jpg": CONTENT[:MIB]}
GZIPPED = tarred(PICTURE, "w:gz")
Pack = Callable[[Mapping[str, bytes]], bytes]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_honoured(mine: Mine, status: int) -> None:
    mine.publish()
    mine.fault(FaultKind.STATUS, status=status, retry_after=2)
    began = time.monotonic()
    done = mine.fetch()
    assert time.monotonic() - began >= 2
    assert done.code == 0
    assert re.search(rf"{status}.*again in 2 s", done.stderr)
    mine.assert_whole()
    mine.assert_little_again()


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_as_a_date_is_honoured(mine: Mine, status: int) -> None:
    mine.publish()
    date = datetime.now(UTC) + timedelta(seconds=4)
    mine.fault(FaultKind.STATUS, status=status, retry_after=format_datetime(date, usegmt=True))
    done = mine.fetch()
    assert datetime.now(UTC) >= date.replace(microsecond=0)
    assert done.code == 0
    assert re.search(rf"{status}.*again in [1-4] s", done.stderr)
    mine.assert_whole()


def test_retry_after_of_hours_is_told_and_not_waited_for(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.STATUS, FOREVER, status=429, retry_after=7200)
    done = mine.fetch()
    assert_told(done, URL, "429")
    assert re.search(r"7,?200 s|120 min|2 h", done.stderr)
    mine.assert_nothing_landed()
    assert len(mine.statuses()) <= 4


def test_retry_after_leads_to_a_mirror_first_where_there_is_one(mine: Mine) -> None:
    mine.publish(also=MIRROR)
    mine.fault(FaultKind.STATUS, FOREVER, status=429, retry_after=7200)
    assert mine.fetch().code == 0
    mine.assert_whole()
    assert mine.sent(MIRROR) >= len(CONTENT)


def test_a_burst_of_500_is_survived(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.STATUS, 2, status=500)
    done = mine.fetch()
    assert done.code == 0
    assert mine.statuses().count(500) == 2
    assert "500" in done.stderr
    mine.assert_whole()
    mine.assert_little_again()


def test_a_burst_of_500_in_mid_file_costs_nothing_that_is_here(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.RESET, after=2 * MIB)
    mine.fault(FaultKind.STATUS, 2, status=500)
    assert mine.fetch("--retries", "5").code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_server_that_is_always_broken_is_given_up_and_what_came_is_kept(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.TRUNCATE, CONNECTIONS, after=700_000)
    mine.fault(FaultKind.STATUS, FOREVER, status=500)
    done = mine.fetch()
    assert_told(done, URL, "500")
    mine.assert_nothing_landed()
    assert mine.sent(URL) >= 700_000
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()
    assert mine.sent(URL) <= len(CONTENT) + MIB


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_asked_for_once(mine: Mine, status: int) -> None:
    mine.publish()
    mine.fault(FaultKind.STATUS, FOREVER, status=status)
    assert_told(mine.fetch(), URL, str(status))
    assert mine.statuses() == [status]
    mine.assert_nothing_landed()
    assert mine.kept() == []


@pytest.mark.parametrize("status", [401, 403])
def test_what_may_not_be_had_is_asked_for_once(mine: Mine, status: int) -> None:
    mine.publish()
    mine.fault(FaultKind.STATUS, FOREVER, status=status)
    assert_told(mine.fetch(), URL, str(status))
    assert mine.statuses() == [status]
    mine.assert_nothing_landed()
    assert mine.kept() == []


@pytest.mark.parametrize("status", [403, 404])
def test_what_one_server_does_not_give_a_mirror_does(mine: Mine, status: int) -> None:
    mine.publish(also=MIRROR)
    mine.fault(FaultKind.STATUS, FOREVER, status=status)
    done = mine.fetch()
    assert done.code == 0
    assert str(status) in done.stderr
    assert status in mine.statuses()
    mine.assert_whole()
    mine.assert_little_again(MIRROR)


@pytest.mark.parametrize("name", ["mine.zip", "mine.json"])
def test_a_web_page_is_never_taken_for_a_file(mine: Mine, name: str) -> None:
    """Nothing is known of the file, so that nothing but its looks can tell."""
    mine.publish(size=None, sha256=None, name=name)
    mine.fault(FaultKind.HTML, FOREVER)
    assert_told(mine.fetch(), URL, "web page", hint="browser")
    mine.assert_nothing_landed()
    assert mine.kept() == []


def test_a_web_page_that_came_once_leaves_no_trace(mine: Mine) -> None:
    mine.publish(zipped(PICTURE), size=None, sha256=None)
    mine.fault(FaultKind.HTML)
    done = mine.fetch()
    assert (done.code, "web page" in done.stderr) == (0, True)
    mine.assert_whole(zipped(PICTURE))


def test_a_web_page_in_mid_file_is_not_written_into_it(mine: Mine) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, after=700_000)
    mine.fault(FaultKind.HTML)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_web_page_for_ever_leaves_what_came_before_it(mine: Mine) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.HTML, FOREVER)
    assert_told(mine.fetch(), URL, "web page", hint="browser")
    mine.assert_nothing_landed()
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()
    assert mine.sent() <= len(CONTENT) + MIB


@pytest.mark.parametrize(("name", "pack"), [("mine.zip", zipped), ("mine.tar", tarred)])
def test_a_web_page_instead_of_an_archive_is_not_unpacked(mine: Mine, name: str, pack: Pack) -> None:
    mine.publish(pack(PICTURE), size=None, sha256=None, path=None, name=name, unpack={"into": "data/mine"})
    mine.fault(FaultKind.HTML, FOREVER)
    assert_told(mine.fetch(), "web page", hint="browser")
    mine.assert_nothing_landed()
    assert mine.kept() == []
    mine.internet.heal()
    assert mine.fetch().code == 0
    assert mine.root.at("data/mine/a.jpg").read_bytes() == PICTURE["a.jpg"]


def test_a_chain_of_redirects_is_followed(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.REDIRECT, FOREVER, hops=5)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_chain_of_redirects_across_hosts_is_followed(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.REDIRECT, FOREVER, across=("mirror.example", "cdn-lfs.huggingface.co"))
    mine.fault(FaultKind.RESET, 2, pattern=f"{URL}*", after=500_000)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_redirect_without_end_is_given_up_with_its_reason(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.REDIRECT_LOOP, FOREVER)
    assert_told(mine.fetch(), URL, "redirect")
    assert len(mine.statuses()) <= 30
    mine.assert_nothing_landed()


def test_a_server_without_head_is_none_the_worse(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.NO_HEAD, FOREVER)
    assert mine.fetch().code == 0
    mine.assert_whole()
    assert mine.sent(URL) <= len(CONTENT) + MIB


@pytest.mark.parametrize(
    ("kind", "ranges"),
    [(FaultKind.NO_CONTENT_LENGTH, True), (FaultKind.NO_CONTENT_LENGTH, False), (FaultKind.CHUNKED, False)],
)
def test_a_file_without_a_length_is_fetched_whole(mine: Mine, kind: FaultKind, ranges: bool) -> None:
    mine.publish()
    if not ranges:
        mine.fault(FaultKind.NO_RANGES)
    mine.fault(kind, FOREVER)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_file_of_which_nobody_knows_the_length_is_refused_with_its_reason(mine: Mine) -> None:
    """Neither manifest nor server name a length, and the body's end is the connection's: a cut one looks the same."""
    mine.publish(size=None, sha256=None)
    mine.fault(FaultKind.NO_RANGES)
    mine.fault(FaultKind.NO_CONTENT_LENGTH, FOREVER)
    assert_told(mine.fetch(), URL, "how long")
    mine.assert_nothing_landed()


def test_a_digest_stands_in_for_a_length(mine: Mine) -> None:
    mine.publish(size=None)
    mine.fault(FaultKind.NO_RANGES)
    mine.fault(FaultKind.NO_CONTENT_LENGTH, FOREVER)
    assert mine.fetch().code == 0
    mine.assert_whole()


def test_a_gzipped_answer_is_not_taken_for_an_archive(mine: Mine) -> None:
    mine.publish(GZIPPED, size=None, sha256=None, path=None, name="mine.tar.gz", unpack={"into": "data/mine"})
    mine.fault(FaultKind.CONTENT_ENCODING, FOREVER)
    done = mine.fetch()
    assert_told(done, URL, "gzip")
    mine.assert_nothing_landed()
    mine.internet.heal()
    assert mine.fetch().code == 0
    assert mine.root.at("data/mine/a.jpg").read_bytes() == PICTURE["a.jpg"]


def test_a_gzipped_answer_in_mid_file_leaves_what_came_before_it(mine: Mine) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.CONTENT_ENCODING)
    assert_told(mine.fetch(), URL, "gzip")
    mine.assert_nothing_landed()
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()

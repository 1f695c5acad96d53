"""The fault table, part 2: the connection breaks, halts, creeps, or does not come about."""

from __future__ import annotations

import re
import socket

import pytest
from mine import CONNECTIONS, CONTENT, FOREVER, MIB, MIRROR, URL, Mine, assert_told, finish

from cvl.demo.internet import FaultKind


def test_a_truncated_body_is_continued_not_accepted(mine: Mine) -> None:
    mine.publish(sha256=None)
    mine.fault(FaultKind.TRUNCATE, 3, after=700_000)
    done = mine.fetch()
    assert done.code == 0
    assert not re.search("rustls|docs.rs|close_notify", done.stderr), "a library's words are none for a user"
    mine.assert_whole()
    mine.assert_little_again()


def test_a_truncated_body_of_unknown_size_is_continued_not_accepted(mine: Mine) -> None:
    mine.publish(size=None, sha256=None)
    mine.fault(FaultKind.TRUNCATE, 3, after=700_000)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_body_that_is_cut_for_ever_is_given_up_and_kept(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.TRUNCATE, CONNECTIONS, after=700_000)
    mine.fault(FaultKind.TRUNCATE, FOREVER)
    assert_told(mine.fetch(), URL)
    mine.assert_nothing_landed()
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_many_cuts_are_survived_as_long_as_bytes_come(mine: Mine) -> None:
    """More failures than --retries, each after some progress: the budget fills up again."""
    mine.publish()
    mine.fault(FaultKind.TRUNCATE, 8, after=300_000)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_reset_in_mid_body_is_continued(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.RESET, 3, after=700_000)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_stall_is_noticed_and_continued(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.STALL, 2, after=700_000)
    done = finish(mine.start(), within=30)
    assert done.code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_server_that_stays_silent_is_given_up_and_what_came_is_kept(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.STALL, CONNECTIONS, after=700_000)
    mine.fault(FaultKind.STALL, FOREVER)
    assert_told(finish(mine.start(), within=45), URL)
    mine.assert_nothing_landed()
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_body_that_drips_does_not_hold_up_the_file(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.SLOW, 2, after=700_000, rate=50)
    assert finish(mine.start(), within=30).code == 0
    mine.assert_whole()
    mine.assert_little_again()


def test_a_server_that_only_drips_is_left_for_a_mirror(mine: Mine) -> None:
    mine.publish(also=MIRROR)
    mine.fault(FaultKind.SLOW, FOREVER, rate=20)
    assert finish(mine.start(), within=45).code == 0
    mine.assert_whole()


def test_a_server_that_only_drips_is_given_up(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.SLOW, FOREVER, rate=20)
    assert_told(finish(mine.start(), within=45), URL)
    mine.assert_nothing_landed()


def test_a_limit_of_speed_per_connection_is_met_with_more_connections(mine: Mine) -> None:
    """Four connections at 3 MB/s each need a second for 12 MiB; the tests hold no clock to it."""
    mine.publish()
    mine.fault(FaultKind.RATE, rate=3_000_000)
    assert mine.fetch().code == 0
    mine.assert_whole()
    assert len(mine.exchanges()) >= CONNECTIONS
    mine.assert_little_again()


@pytest.mark.parametrize(("status", "limit"), [(429, 1), (503, 2)])
def test_a_limit_of_connections_is_learnt(mine: Mine, status: int, limit: int) -> None:
    """More refusals than --retries: what comes over the allowed connections counts as progress."""
    mine.publish()
    mine.fault(FaultKind.RATE, rate=6_000_000)
    mine.fault(FaultKind.CROWDED, FOREVER, limit=limit, status=status, retry_after=1)
    assert mine.fetch().code == 0
    mine.assert_whole()
    mine.assert_little_again()
    assert mine.statuses().count(status) <= 3 * CONNECTIONS


def test_a_certificate_of_an_unknown_authority_is_refused(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.UNKNOWN_AUTHORITY, FOREVER, pattern="https://host.example")
    assert_told(mine.fetch(), URL, "certificate", hint="SSL_CERT_FILE")
    assert mine.internet.exchanges == []
    mine.assert_nothing_landed()
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()


def test_a_certificate_for_another_name_is_refused(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.OTHER_NAME, FOREVER, pattern="https://host.example")
    assert_told(mine.fetch(), URL, "certificate")
    assert mine.internet.exchanges == []
    mine.assert_nothing_landed()


def test_behind_a_bad_certificate_a_mirror_is_taken(mine: Mine) -> None:
    mine.publish(also=MIRROR)
    mine.fault(FaultKind.UNKNOWN_AUTHORITY, FOREVER, pattern="https://host.example")
    assert mine.fetch().code == 0
    mine.assert_whole()


@pytest.mark.parametrize("url", [URL, URL.replace("https", "http")])
def test_a_proxy_of_the_environment_is_used_with_its_credentials(mine: Mine, url: str) -> None:
    mine.publish(url=url)
    mine.fault(FaultKind.PROXY_AUTH, FOREVER, pattern="*")
    proxy = mine.internet.url.replace("//", "//user:secret@")
    done = mine.fetch(env={name: proxy for name in mine.internet.environment() if name.lower().endswith("_proxy")})
    assert done.code == 0
    assert "secret" not in done.stderr
    mine.assert_whole()
    mine.assert_little_again()


@pytest.mark.parametrize("url", [URL, URL.replace("https", "http")])
def test_a_proxy_that_asks_for_credentials_is_named_as_what_refuses(mine: Mine, url: str) -> None:
    mine.publish(url=url)
    mine.fault(FaultKind.PROXY_AUTH, FOREVER, pattern="*")
    assert_told(mine.fetch(), url, "proxy", "407", hint="HTTPS_PROXY")
    assert {each.status for each in mine.internet.exchanges} == {407}
    assert len(mine.internet.exchanges) <= 2 * CONNECTIONS
    mine.assert_nothing_landed()


def test_a_proxy_that_is_not_there_is_told(mine: Mine) -> None:
    mine.publish()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        names = [name for name in mine.internet.environment() if name.lower().endswith("_proxy")]
        done = mine.fetch(env=dict.fromkeys(names, proxy))
    assert_told(done, URL)
    assert re.search("refused|proxy|connect", done.stderr)
    mine.assert_nothing_landed()


def test_a_host_that_does_not_exist_is_told(mine: Mine) -> None:
    mine.publish(url="https://nowhere.example/mine.bin")
    mine.site.folder.joinpath("http/nowhere.example").rename(mine.site.folder / "away")
    assert_told(mine.fetch(), "nowhere.example")
    assert len(CONTENT) > mine.sent()
    assert mine.kept() == []


def test_a_few_connections_are_enough_for_a_small_file(mine: Mine) -> None:
    mine.publish(CONTENT[:MIB])
    assert mine.fetch().code == 0
    mine.assert_whole(CONTENT[:MIB])
    assert mine.sent() == MIB

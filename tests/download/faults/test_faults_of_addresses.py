"""The fault table, part 5: an address that ends while the file is on its way, and those who hand out fresh ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mine import CDN, CONTENT, DIGEST, FOREVER, HUB, MIB, MIRROR, Mine, assert_told

from cvl.demo.internet import FaultKind

LINKS = "links:mine.bin"
SIGNED = "https://scontent.*"
GATE = '\n[gate]\npage = "https://host.example/terms"\nask = "accept them and save the list of links"\n'


@pytest.fixture
def linked(mine: Mine) -> Mine:
    """The source behind a list of signed links."""
    mine.publish(url=LINKS)
    manifest = mine.manifests / "mine.toml"
    title, _, files = manifest.read_text().partition("\n")
    manifest.write_text(f"{title}\n{GATE}\n{files}")
    return mine


def links_of(mine: Mine, days: int) -> Path:
    """A list of links that are good for some days; lists of different days have different links."""
    path = mine.manifests.parent / f"links-{days}.txt"
    path.write_text(mine.internet.links_file(datetime.now(UTC) + timedelta(days=days)))
    return path


@pytest.mark.parametrize("status", [401, 403, 410])
def test_an_address_of_the_hub_that_expires_in_mid_file_is_asked_for_anew(mine: Mine, status: int) -> None:
    mine.publish(url=HUB)
    mine.fault(FaultKind.EXPIRE, FOREVER, pattern=CDN, skip=2, status=status)
    mine.fault(FaultKind.TRUNCATE, 4, pattern=CDN, after=600_000)
    done = mine.fetch()
    assert done.code == 0, done
    mine.assert_whole()
    mine.assert_little_again(CDN)
    assert len({each.url for each in mine.exchanges(CDN) if each.status in (200, 206)}) >= 2


def test_an_address_of_the_hub_that_never_works_is_given_up(mine: Mine) -> None:
    mine.publish(url=HUB)
    mine.fault(FaultKind.EXPIRE, FOREVER, pattern=CDN, status=403)
    assert_told(mine.fetch(), "cdn-lfs.huggingface.co", "403")
    assert len(mine.exchanges(CDN)) <= 12
    mine.assert_nothing_landed()


def test_a_hub_that_wants_us_to_wait_is_waited_for(mine: Mine) -> None:
    mine.publish(url=HUB)
    mine.fault(FaultKind.STATUS, pattern="https://huggingface.co/*", status=429, retry_after=1)
    assert mine.fetch().code == 0
    mine.assert_whole()


def test_what_the_hub_says_of_the_bytes_is_held_against_them(mine: Mine) -> None:
    """The manifest knows nothing; the hub's linked tag is the digest."""
    mine.publish(url=HUB, size=None, sha256=None)
    mine.fault(FaultKind.FLIP, FOREVER, pattern=CDN, after=1000)
    assert_told(mine.fetch(), "sha256", DIGEST)
    mine.assert_nothing_landed()


@pytest.mark.parametrize("status", [401, 403, 410])
def test_a_signed_link_that_expires_in_mid_file_asks_for_a_fresh_list_and_goes_on(linked: Mine, status: int) -> None:
    linked.fault(FaultKind.EXPIRE, FOREVER, pattern=SIGNED, skip=1, status=status)
    linked.fault(FaultKind.TRUNCATE, pattern=SIGNED, after=900_000)
    done = linked.fetch("--sam-links", links_of(linked, 1))
    assert_told(done, "link", "no longer good", hint="fresh list")
    linked.assert_nothing_landed()
    assert linked.statuses(SIGNED).count(status) <= 4

    linked.internet.heal()
    assert linked.fetch("--sam-links", links_of(linked, 2)).code == 0
    linked.assert_whole()
    assert linked.sent(SIGNED) <= len(CONTENT) + MIB


def test_a_list_whose_links_have_expired_is_refused_before_a_byte_moves(linked: Mine) -> None:
    done = linked.fetch("--sam-links", links_of(linked, -1))
    assert done.code == 2
    assert "expired on" in done.stderr
    assert "https://host.example/terms" in done.stderr
    assert linked.internet.exchanges == []


def test_without_a_good_link_a_mirror_is_taken(linked: Mine) -> None:
    linked.site.put(MIRROR, CONTENT)
    manifest = linked.manifests / "mine.toml"
    manifest.write_text(manifest.read_text() + f'mirrors = [{{ url = "{MIRROR}" }}]\n')
    linked.fault(FaultKind.EXPIRE, FOREVER, pattern=SIGNED, status=403)
    assert linked.fetch("--sam-links", links_of(linked, 1)).code == 0
    linked.assert_whole()

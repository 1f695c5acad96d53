"""The fault table, part 4: the right number of bytes, but not the right ones."""

from __future__ import annotations

import pytest
from fetching import sha256
from mine import CONTENT, DIGEST, FOREVER, MIB, MIRROR, URL, Mine, assert_told

from cvl.demo.internet import FaultKind

WRONG = "0" * 64


@pytest.mark.parametrize("place", [0, len(CONTENT) - 1])
def test_a_flipped_byte_is_noticed_and_the_file_fetched_once_more(mine: Mine, place: int) -> None:
    mine.publish()
    mine.fault(FaultKind.NO_RANGES)  # so that the byte's place in the body is its place in the file
    mine.fault(FaultKind.FLIP, after=place)
    done = mine.fetch()
    assert done.code == 0
    assert "sha256" in done.stderr
    mine.assert_whole()
    mine.assert_little_again(beyond=2 * len(CONTENT))


def test_a_flipped_byte_in_any_range_is_noticed(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.TRUNCATE, after=2 * MIB)
    mine.fault(FaultKind.FLIP, after=1000)
    done = mine.fetch()
    assert done.code == 0
    assert "sha256" in done.stderr
    mine.assert_whole()
    mine.assert_little_again(beyond=2 * len(CONTENT))


def test_bytes_that_are_always_wrong_never_land(mine: Mine) -> None:
    mine.publish()
    mine.fault(FaultKind.FLIP, FOREVER, after=1000)
    done = mine.fetch()
    assert_told(done, "sha256", DIGEST, "found")
    mine.assert_nothing_landed()
    mine.assert_little_again(beyond=2 * len(CONTENT))
    mine.internet.heal()
    assert mine.fetch().code == 0
    mine.assert_whole()


def test_bytes_that_are_wrong_at_one_address_come_from_a_mirror(mine: Mine) -> None:
    mine.publish(also=MIRROR)
    mine.fault(FaultKind.FLIP, FOREVER, after=1000)
    assert mine.fetch().code == 0
    mine.assert_whole()


def test_a_digest_of_a_single_source_that_differs_keeps_the_file_and_asks(mine: Mine) -> None:
    mine.publish(sha256=WRONG, certainty="single-source")
    done = mine.fetch()
    assert_told(done, WRONG, DIGEST, "single source", hint="cvl fetch mine --accept-digest")
    mine.assert_nothing_landed()
    mine.assert_little_again()
    asked = len(mine.exchanges())

    assert mine.fetch("--accept-digest").code == 0
    mine.assert_whole()
    assert len(mine.exchanges()) == asked


def test_a_digest_of_a_single_source_that_differs_is_asked_about_again_and_not_fetched_again(mine: Mine) -> None:
    mine.publish(sha256=WRONG, certainty="single-source")
    assert mine.fetch().code == 1
    asked = len(mine.exchanges())
    assert_told(mine.fetch(), WRONG, DIGEST, hint="--accept-digest")
    assert len(mine.exchanges()) == asked


def test_accept_digest_does_not_excuse_another_size(mine: Mine) -> None:
    mine.publish(size=len(CONTENT) + 1, sha256=WRONG, certainty="single-source")
    mine.fault(FaultKind.RATE, rate=1_000_000)
    assert_told(mine.fetch("--accept-digest"), f"{len(CONTENT) + 1:,}", f"{len(CONTENT):,}")
    mine.assert_nothing_landed()
    assert mine.sent() <= MIB


def test_accept_digest_does_not_excuse_a_confirmed_one(mine: Mine) -> None:
    mine.publish(sha256=WRONG)
    assert_told(mine.fetch("--accept-digest"), WRONG, DIGEST)
    mine.assert_nothing_landed()


@pytest.mark.parametrize("difference", [-1, 1])
def test_another_size_than_the_manifest_names_is_refused_before_the_bytes_move(mine: Mine, difference: int) -> None:
    mine.publish(size=len(CONTENT) + difference, sha256=None)
    mine.fault(FaultKind.RATE, rate=1_000_000)
    assert_told(mine.fetch(), URL, f"{len(CONTENT) + difference:,}", f"{len(CONTENT):,}", hint="manifest")
    mine.assert_nothing_landed()
    assert mine.sent() <= MIB
    assert mine.kept() == []


def test_what_was_seen_first_is_what_is_wanted_from_then_on(mine: Mine) -> None:
    """The manifest knows nothing; the lock does, once the file was here."""
    mine.publish(size=None, sha256=None)
    assert mine.fetch().code == 0
    mine.landed.unlink()
    mine.site.put(URL, CONTENT[::-1])
    assert_told(mine.fetch(), "sha256", DIGEST, sha256(CONTENT[::-1]))
    mine.assert_nothing_landed()

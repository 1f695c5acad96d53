"""The plan is a pure function of values: what is wanted, and what was found."""

from __future__ import annotations

from pathlib import Path

import pytest
from fetching import remote

from cvl.download.plan import Action, Plan, check_disk, plan
from cvl.download.select import Remote, Wanted
from cvl.download.survey import Found, Presence, Survey
from cvl.errors import DiskError
from cvl.manifest import Expand, Link, Unpack

UNPACK = Unpack(into="data/mine")
ABSENT = Found(Presence.ABSENT)
LINK = Link(path="data/b", target="data/a")


def planned(*found: tuple[Remote, Found], jobs: int = 4, keep: bool = False, links: tuple[Link, ...] = ()) -> Plan:
    wanted = Wanted(("mine",), tuple(remote for remote, _ in found), links)
    seen = Survey({remote.name: what for remote, what in found}, links, links_due=bool(links), free_bytes=1000)
    return plan(wanted, seen, jobs=jobs, keep_archives=keep)


def archive(number: int = 0, size: int | None = 100) -> Remote:
    return remote(name=f"{number}.zip", size=size, unpack=UNPACK)


@pytest.mark.parametrize(
    ("found", "action", "transfer"),
    [
        (ABSENT, Action.FETCH, 100),
        (Found(Presence.PART, 30), Action.RESUME, 70),
        (Found(Presence.PART, 130), Action.RESUME, 0),
        (Found(Presence.ARCHIVE, 100, Path("/x")), Action.UNPACK, 0),
        (Found(Presence.LANDED, 100), Action.KEEP, 0),
        (Found(Presence.ABSENT, lost=3), Action.FETCH, 100),
    ],
)
def test_what_is_found_decides_what_is_done(found: Found, action: Action, transfer: int) -> None:
    (step,) = planned((archive(), found)).steps
    assert (step.action, step.transfer_bytes, step.found) == (action, transfer, found)


def test_an_unknown_size_stays_unknown() -> None:
    steps = planned((archive(0, None), ABSENT), (archive(1, None), Found(Presence.PART, 5))).steps
    assert [step.transfer_bytes for step in steps] == [None, None]


def test_an_estimate_stands_for_a_size() -> None:
    (step,) = planned((remote(approximate_size=40), ABSENT)).steps
    assert step.transfer_bytes == 40


def test_a_list_with_entries_left_is_expanded() -> None:
    listed = remote(size=10, expand=Expand(into="data/mine/images", url_field="url", approximate_size=7))
    (step,) = planned((listed, Found(Presence.LANDED, 10, pending=3))).steps
    assert (step.action, step.transfer_bytes) == (Action.EXPAND, 21)
    (step,) = planned((listed, Found(Presence.LANDED, 10))).steps
    assert step.action is Action.KEEP


def test_steps_keep_the_order_of_the_manifests() -> None:
    names = [step.remote.name for step in planned(*((archive(number), ABSENT) for number in (2, 0, 1))).steps]
    assert names == ["2.zip", "0.zip", "1.zip"]


def test_work_and_bytes_are_those_of_the_steps_that_do_something() -> None:
    made = planned((archive(0), ABSENT), (archive(1), Found(Presence.LANDED, 100)), (archive(2, None), ABSENT))
    assert [step.remote.name for step in made.work] == ["0.zip", "2.zip"]
    assert made.transfer_bytes == 100


def test_a_plan_is_idle_when_everything_is_here() -> None:
    assert planned((archive(), Found(Presence.LANDED, 100))).idle
    assert not planned((archive(), ABSENT)).idle
    assert not planned((archive(), Found(Presence.LANDED, 100)), links=(LINK,)).idle


def test_the_peak_is_what_stays_and_the_largest_archives_in_flight() -> None:
    archives = [(archive(number, size), ABSENT) for number, size in enumerate((10, 400, 30, 200))]
    assert planned(*archives, jobs=1).peak_bytes == 640 + 400
    assert planned(*archives, jobs=2).peak_bytes == 640 + 600
    assert planned(*archives, jobs=8).peak_bytes == 640 + 640


def test_kept_archives_all_count() -> None:
    archives = [(archive(number, size), ABSENT) for number, size in enumerate((10, 400))]
    assert planned(*archives, jobs=1, keep=True).peak_bytes == 2 * 410


def test_single_files_have_no_second_copy() -> None:
    assert planned((remote(size=100), ABSENT)).peak_bytes == 100


def test_what_is_here_takes_no_more_room() -> None:
    assert planned((archive(), Found(Presence.LANDED, 100))).peak_bytes == 0
    assert planned((archive(), Found(Presence.ARCHIVE, 100, Path("/x")))).peak_bytes == 100
    assert planned((remote(size=100), Found(Presence.PART, 60, reserved=60))).peak_bytes == 40


def test_room_that_an_unfinished_transfer_holds_already_is_not_asked_for_again() -> None:
    """A part has its final length from its first byte on, however few of its bytes are here."""
    assert planned((remote(size=100), Found(Presence.PART, 1, reserved=100))).peak_bytes == 0
    assert planned((archive(), Found(Presence.PART, 1, reserved=100))).peak_bytes == 100
    assert planned((remote(size=100), Found(Presence.PART, 1))).peak_bytes == 100


def test_a_list_counts_with_all_that_it_names() -> None:
    expand = Expand(into="data/mine/images", url_field="url", count=50, approximate_size=7)
    assert planned((remote(size=10, expand=expand), ABSENT)).peak_bytes == 10 + 350


def test_a_plan_that_fits_is_let_through() -> None:
    check_disk(planned((archive(0, 500), ABSENT)))


def test_a_plan_that_does_not_fit_is_refused_with_both_numbers() -> None:
    made = Plan((), (), links_due=False, peak_bytes=2_500_000_000, free_bytes=1_200_000_000)
    with pytest.raises(DiskError, match=r"needs 2\.5 GB at its peak, the disk has 1\.2 GB free") as caught:
        check_disk(made)
    assert "--dry-run" in (caught.value.hint or "")

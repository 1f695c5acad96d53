from __future__ import annotations

import threading

import pytest
from fetching import until

from cvl.download.lists.asking import Landed
from cvl.download.lists.handover import Handover
from cvl.download.lists.ledger import Row


def landed(key: str, size: int = 0) -> Landed:
    return Landed(Row(key, f"http://h/{key}"), bytes(size))


def test_what_is_laid_down_is_taken_once_in_its_order() -> None:
    handover = Handover()
    handover.put(landed("a", 5))
    handover.put(landed("b"))
    assert not handover.empty
    assert [each.row.key for each in handover.take(9)] == ["a", "b"]
    assert handover.empty
    assert handover.take(0) == []


def test_who_waits_for_something_is_woken_by_it() -> None:
    handover = Handover()
    thread = threading.Timer(0.05, handover.put, [landed("a")])
    thread.start()
    assert [each.row.key for each in handover.take(60)] == ["a"]
    thread.join()


def test_one_thing_of_any_size_finds_room() -> None:
    handover = Handover(most=10)
    handover.put(landed("a", 1000))
    assert [len(each.content) for each in handover.take(0)] == [1000]


def test_who_brings_more_than_there_is_room_for_waits_until_it_is_taken() -> None:
    handover = Handover(most=10)
    handover.put(landed("a", 10))
    thread = threading.Thread(target=handover.put, args=[landed("b", 1)])
    thread.start()
    assert [each.row.key for each in handover.take(0)] == ["a"]
    thread.join()
    assert [each.row.key for each in handover.take(0)] == ["b"]


def test_what_has_no_content_needs_no_room() -> None:
    handover = Handover(most=10)
    for _ in range(100):
        handover.put(landed("settled without a file"))
    assert len(handover.take(0)) == 100


def test_after_closing_nobody_waits_and_nothing_is_kept() -> None:
    handover = Handover(most=10)
    handover.put(landed("a", 10))
    thread = threading.Thread(target=handover.put, args=[landed("b", 1)])
    thread.start()
    handover.close()
    thread.join()
    handover.put(landed("c"))
    assert (handover.closed, handover.empty) == (True, True)


def test_an_error_is_raised_where_things_are_taken_before_they_are() -> None:
    handover = Handover()
    handover.put(landed("a"))
    handover.fail(ValueError("first"))
    handover.fail(ValueError("second"))
    with pytest.raises(ValueError, match="first"):
        handover.take(0)
    assert not handover.empty


def test_an_error_wakes_who_waits() -> None:
    handover = Handover()
    caught: list[Exception] = []

    def wait() -> None:
        try:
            handover.take(60)
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    handover.fail(ValueError("at once"))
    until(lambda: not thread.is_alive())
    assert [str(error) for error in caught] == ["at once"]

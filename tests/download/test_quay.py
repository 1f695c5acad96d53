from __future__ import annotations

import threading

import pytest
from fetching import until

from cvl.download.asking import Landed
from cvl.download.ledger import Row
from cvl.download.quay import Quay


def landed(key: str, size: int = 0) -> Landed:
    return Landed(Row(key, f"http://h/{key}"), bytes(size))


def test_what_is_laid_down_is_taken_once_in_its_order() -> None:
    quay = Quay()
    quay.put(landed("a", 5))
    quay.put(landed("b"))
    assert not quay.empty
    assert [each.row.key for each in quay.take(9)] == ["a", "b"]
    assert quay.empty
    assert quay.take(0) == []


def test_who_waits_for_something_is_woken_by_it() -> None:
    quay = Quay()
    thread = threading.Timer(0.05, quay.put, [landed("a")])
    thread.start()
    assert [each.row.key for each in quay.take(60)] == ["a"]
    thread.join()


def test_one_thing_of_any_size_finds_room() -> None:
    quay = Quay(most=10)
    quay.put(landed("a", 1000))
    assert [len(each.content) for each in quay.take(0)] == [1000]


def test_who_brings_more_than_there_is_room_for_waits_until_it_is_taken() -> None:
    quay = Quay(most=10)
    quay.put(landed("a", 10))
    thread = threading.Thread(target=quay.put, args=[landed("b", 1)])
    thread.start()
    assert [each.row.key for each in quay.take(0)] == ["a"]
    thread.join()
    assert [each.row.key for each in quay.take(0)] == ["b"]


def test_what_has_no_content_needs_no_room() -> None:
    quay = Quay(most=10)
    for _ in range(100):
        quay.put(landed("settled without a file"))
    assert len(quay.take(0)) == 100


def test_after_closing_nobody_waits_and_nothing_is_kept() -> None:
    quay = Quay(most=10)
    quay.put(landed("a", 10))
    thread = threading.Thread(target=quay.put, args=[landed("b", 1)])
    thread.start()
    quay.close()
    thread.join()
    quay.put(landed("c"))
    assert (quay.closed, quay.empty) == (True, True)


def test_an_error_is_raised_where_things_are_taken_before_they_are() -> None:
    quay = Quay()
    quay.put(landed("a"))
    quay.fail(ValueError("first"))
    quay.fail(ValueError("second"))
    with pytest.raises(ValueError, match="first"):
        quay.take(0)
    assert not quay.empty


def test_an_error_wakes_who_waits() -> None:
    quay = Quay()
    caught: list[Exception] = []

    def wait() -> None:
        try:
            quay.take(60)
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    quay.fail(ValueError("at once"))
    until(lambda: not thread.is_alive())
    assert [str(error) for error in caught] == ["at once"]

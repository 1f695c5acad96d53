from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.errors import UsageError
from cvl.train.batch import Batching, batching


@pytest.mark.parametrize(
    ("size", "processes", "at_most", "expected"),
    [
        (256, 8, 32, Batching(8, 32, 1)),  # the published first two stages
        (128, 8, 16, Batching(8, 16, 1)),  # the published third
        (256, 8, 16, Batching(8, 16, 2)),
        (256, 1, 16, Batching(1, 16, 16)),
        (128, 64, 16, Batching(64, 2, 1)),
        (96, 2, 20, Batching(2, 16, 3)),
        (7, 1, 4, Batching(1, 1, 7)),
    ],
)
def test_accumulation_makes_up_what_the_devices_cannot_hold(
    size: int, processes: int, at_most: int, expected: Batching
) -> None:
    assert batching(size, processes, at_most) == expected


@given(st.integers(1, 2048), st.integers(1, 64), st.integers(1, 64))
def test_the_global_batch_is_the_documents_or_the_run_is_refused(size: int, processes: int, at_most: int) -> None:
    try:
        batch = batching(size, processes, at_most)
    except UsageError:
        assert size % processes
    else:
        assert batch.size == size
        assert 1 <= batch.micro <= at_most


def test_an_uneven_number_of_processes_is_told_which_would_do() -> None:
    with pytest.raises(UsageError, match="256 cannot be shared out evenly among 6") as caught:
        batching(256, 6, 16)
    assert "use 4 or 8 processes" in (caught.value.hint or "")


def test_it_is_told_in_words() -> None:
    assert str(Batching(1, 16, 1)) == "1 process × 16 records"
    assert str(Batching(8, 16, 2)) == "8 processes × 16 records × 2 micro-batches added up"


def test_more_processes_than_records_are_told_so() -> None:
    with pytest.raises(UsageError) as caught:
        batching(4, 6, 16)
    assert "use 4 or 4 processes" not in (caught.value.hint or "")
    assert "4 processes" in (caught.value.hint or "")

"""One command holds all of the tree, or several share it; whoever is killed holds nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import cvl
from cvl.errors import Cancelled, DiskError
from cvl.events import Event
from cvl.exclusive import briefly, exclusive, shared
from cvl.root import Root

HOLD = """
import sys
import threading
from pathlib import Path
from cvl import exclusive
from cvl.root import Root

with getattr(exclusive, sys.argv[1])(Root(Path(sys.argv[2])), lambda event: print(event.text, flush=True)):
    print("held", flush=True)
    sys.stdin.readline()
"""

Hold = Callable[..., AbstractContextManager[None]]


@contextmanager
def process(hold: Hold, root: Root) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the tree in this way until a line is written to it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, hold.__name__, str(root.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parents[1])},
    )
    try:
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def line(holder: subprocess.Popen[str]) -> str:
    assert holder.stdout is not None
    return holder.stdout.readline().strip()


class _StopWaitingError(Exception):
    pass


def stop_waiting() -> None:
    raise _StopWaitingError


@pytest.mark.parametrize(("first", "second"), [(exclusive, exclusive), (exclusive, shared), (shared, exclusive)])
def test_who_wants_all_of_it_waits_and_is_waited_for(tree: Root, first: Hold, second: Hold) -> None:
    told: list[Event] = []
    with process(first, tree) as holder:
        assert line(holder) == "held"
        with pytest.raises(_StopWaitingError), second(tree, told.append, stop_waiting):
            raise AssertionError("both hold the tree")
        assert [event.text for event in told] == [f"another cvl is at work on {tree.path}; waiting for it to end"]


def test_parts_neither_wait_for_each_other_nor_shut_each_other_out(tree: Root) -> None:
    with process(shared, tree) as one, process(shared, tree) as two, shared(tree, check_cancelled=stop_waiting):
        assert (line(one), line(two)) == ("held", "held")


def test_only_a_part_that_is_the_first_may_clear_away(tree: Root) -> None:
    alone: list[str] = []

    def clear_away() -> None:
        alone.append("first")
        with pytest.raises(_StopWaitingError), shared(tree, check_cancelled=stop_waiting):
            raise AssertionError("another part began meanwhile")

    with (
        shared(tree, alone=clear_away),
        shared(tree, check_cancelled=stop_waiting, alone=lambda: alone.append("second")),
    ):
        assert alone == ["first"]


def test_what_clearing_away_raises_frees_the_tree(tree: Root) -> None:
    with pytest.raises(_StopWaitingError), shared(tree, alone=stop_waiting):
        raise AssertionError("held")
    with exclusive(tree, check_cancelled=stop_waiting):
        pass


def test_a_file_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """A thousand times one more, by four threads that each open it anew."""
    path, held = tmp_path / "notes" / "held", tmp_path / "count"
    held.write_text("0")

    def count() -> None:
        for _ in range(250):
            with briefly(path):
                held.write_text(str(int(held.read_text()) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held.read_text() == "1000"


def test_a_whole_run_begins_when_the_last_part_has_ended(tree: Root) -> None:
    with process(shared, tree) as one, process(shared, tree) as two:
        assert (line(one), line(two)) == ("held", "held")
        with process(exclusive, tree) as whole:
            assert line(whole).startswith("another cvl is at work")
            one.communicate("end\n")
            with pytest.raises(_StopWaitingError), exclusive(tree, check_cancelled=stop_waiting):
                raise AssertionError("a part still holds the tree")
            two.communicate("end\n")
            assert line(whole) == "held"


@pytest.mark.parametrize("hold", [exclusive, shared])
def test_who_is_killed_holds_nothing(tree: Root, hold: Hold) -> None:
    with process(hold, tree) as holder:
        assert line(holder) == "held"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with exclusive(tree, check_cancelled=stop_waiting):
            pass


def test_the_tree_is_free_again_after_an_error(tree: Root) -> None:
    with pytest.raises(Cancelled), exclusive(tree):
        raise Cancelled("enough")
    with exclusive(tree, check_cancelled=stop_waiting):
        pass


def test_a_tree_that_is_not_there_is_made_and_the_lock_stays(tree: Root) -> None:
    with exclusive(tree):
        assert (tree.notes / "tree.lock").exists()
    assert (tree.notes / "tree.lock").exists(), "who waits for it has it open"


def test_a_tree_that_cannot_be_written_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError), exclusive(Root(tmp_path / "file")):
        raise AssertionError("held")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_worked_on_with_a_word(
    tree: Root, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As Lustre is where it is mounted without `-o flock`."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    told: list[Event] = []
    monkeypatch.setattr(fcntl, "flock", refuse)
    with exclusive(tree, told.append):
        pass
    with shared(tree, alone=stop_waiting), briefly(tree.notes / "file"):
        """Nobody can know whether others are at work, so nothing is cleared away."""
    assert [event.text for event in told] == [
        f"the file system of {tree.path} has no locks: see to it that no other cvl works on it"
    ]


def test_any_other_trouble_with_the_lock_is_a_disk_error(tree: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DiskError, match="No locks available"), exclusive(tree):
        raise AssertionError("held")

"""Shards on every core: order, errors, Ctrl-C, and workers that never outlive the one who started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cvl
from cvl.errors import CvlError, DiskError, UsageError
from cvl.parallel import cores, run_shards, shards_of

WAIT = 30  # seconds: an upper bound for a busy machine, reached only where a test fails


def square(number: int) -> int:
    return number * number


def pid_of(_shard: int) -> int:
    return os.getpid()


def last_first(folder: Path, shard: int) -> int:
    """Shard 0 ends only after shard 1 has."""
    if shard == 0:
        wait_until((folder / "1").exists)
    (folder / str(shard)).touch()
    return shard


def fail_at_two(shard: int) -> int:
    if shard == 2:
        raise DiskError("shard 2: no room", hint="free some")
    return shard


def die_at_two(shard: int) -> int:
    if shard == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return shard


def note_and_sleep(folder: Path, shard: int) -> int:
    (folder / str(os.getpid())).touch()
    time.sleep(WAIT)
    return shard


def disposition_of_sigint(_shard: int) -> tuple[bool, bool]:
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return ignored, signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT} s in vain"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has asked for its exit status yet."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@given(st.lists(st.integers(), max_size=40), st.integers(1, 9))
def test_shards_hold_everything_once_and_in_order(items: list[int], size: int) -> None:
    shards = shards_of(items, size)
    assert [item for shard in shards for item in shard] == items
    assert all(len(shard) == size for shard in shards[:-1])
    assert all(1 <= len(shard) <= size for shard in shards)


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_results_are_in_the_order_of_the_shards(jobs: int) -> None:
    assert run_shards(square, range(20), jobs=jobs) == [number * number for number in range(20)]


def test_the_order_is_kept_where_a_later_shard_ends_first(tmp_path: Path) -> None:
    told: list[int] = []
    assert run_shards(partial(last_first, tmp_path), [0, 1], jobs=2, on_result=told.append) == [0, 1]
    assert told == [1, 0], "on_result is told at once, not when its turn has come"


def test_one_job_or_one_shard_is_done_by_this_process() -> None:
    here = [os.getpid()]
    assert run_shards(pid_of, [1, 2, 3], jobs=1) == here * 3
    assert run_shards(pid_of, [1], jobs=8) == here


def test_more_shards_than_jobs_are_done_by_that_many_other_processes() -> None:
    pids = set(run_shards(pid_of, range(12), jobs=2))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


def test_without_a_number_of_jobs_the_work_is_done_all_the_same() -> None:
    assert run_shards(square, [1, 2, 3]) == [1, 4, 9]


IN_PROCESSES = """
from cvl.parallel import run_shards
if __name__ == "__main__":
    print(run_shards(abs, [-1, -2], jobs=2))
"""


@pytest.mark.parametrize("name", ["t" * 60, "t" * 120])
def test_the_work_is_done_whatever_the_temporary_folder_is_called(tmp_path: Path, name: str) -> None:
    """A socket in it may be called by no more than 107 bytes."""
    (tmp_path / name).mkdir()
    (tmp_path / "program.py").write_text(IN_PROCESSES)
    environment = os.environ | {"TMPDIR": str(tmp_path / name), "PYTHONPATH": str(Path(cvl.__file__).parents[1])}
    command = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.stdout, done.returncode) == ("[1, 2]\n", 0), done.stderr


PREPARED = """
import sys
from cvl.parallel import prepare, run_shards

def loaded(name):
    return name in sys.modules

if __name__ == "__main__":
    prepare(["colorsys", "of_no_such_name"])
    print(run_shards(loaded, ["colorsys", "chunk"], jobs=2), loaded("colorsys"))
"""


def test_modules_are_loaded_ahead_for_workers_and_not_here(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PREPARED)
    environment = os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parents[1])}
    command = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == ("[True, False] False\n", "", 0)


def test_nothing_to_do_is_nothing_done() -> None:
    assert run_shards(square, [], jobs=4) == []


@pytest.mark.parametrize("jobs", [0, -3])
def test_fewer_than_one_job_is_wrong_usage(jobs: int) -> None:
    with pytest.raises(UsageError, match=f"{jobs} jobs: expected one or more") as caught:
        run_shards(square, [1], jobs=jobs)
    assert caught.value.hint is not None


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_shard_comes_out_with_its_hint(jobs: int) -> None:
    with pytest.raises(DiskError, match="shard 2: no room") as caught:
        run_shards(fail_at_two, range(6), jobs=jobs)
    assert caught.value.hint == "free some"


def test_a_worker_that_dies_is_an_error_that_says_so_not_a_hang() -> None:
    with pytest.raises(CvlError, match="one of 2 worker processes died") as caught:
        run_shards(die_at_two, range(6), jobs=2)
    assert caught.value.hint is not None
    assert "--jobs 1" in caught.value.hint


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_the_listener_stops_the_work(jobs: int) -> None:
    def refuse(_result: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_shards(square, range(6), jobs=jobs, on_result=refuse)


def test_an_error_does_not_wait_for_shards_that_still_run(tmp_path: Path) -> None:
    """Two shards sleep for as long as the test may last; the third is never begun."""
    with pytest.raises(AssertionError, match="enough"):
        run_shards(partial(sleep_unless_first, tmp_path), range(4), jobs=3, on_result=stop)
    sleepers = [int(path.name) for path in tmp_path.iterdir()]
    assert sleepers
    assert all(is_gone(pid) for pid in sleepers)


def sleep_unless_first(folder: Path, shard: int) -> int:
    if shard == 0:
        wait_until(lambda: any(folder.iterdir()))
        return shard
    return note_and_sleep(folder, shard)


def stop(_result: int) -> None:
    raise AssertionError("enough")


def test_workers_neither_see_nor_take_ctrl_c() -> None:
    assert run_shards(disposition_of_sigint, range(4), jobs=2) == [(True, True)] * 4


SCRIPT = """
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, {tests!r})
from test_parallel import note_and_sleep

from cvl.parallel import run_shards

if __name__ == "__main__":
    try:
        print("begun", flush=True)
        run_shards(partial(note_and_sleep, Path({notes!r})), range(8), jobs=2)
    except KeyboardInterrupt:
        print("cancelled")
        sys.exit(130)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program whose two workers note their process ids in `notes` and then do not end by themselves."""
    (tmp_path / "notes").mkdir()
    path = tmp_path / "program.py"
    path.write_text(SCRIPT.format(tests=str(Path(__file__).parent), notes=str(tmp_path / "notes")))
    return path


def start(program: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """The program as leader of a process group of its own, and its workers once they are at work."""
    notes = program.parent / "notes"
    process = launch(program)
    wait_until(lambda: len(list(notes.iterdir())) == 2 or process.poll() is not None)
    return process, [int(path.name) for path in notes.iterdir()]


def launch(program: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(cvl.__file__).parents[1]), str(program.parent)])},
        start_new_session=True,
    )


def cancelled(program: Path, delay: float) -> tuple[int, str, str]:
    """How a program ends that gets Ctrl-C so long after it has begun, and what it said from then on."""
    process = launch(program)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=WAIT)
    return process.returncode, out, err


def test_ctrl_c_ends_program_and_workers_without_a_word_from_them(program: Path) -> None:
    process, workers = start(program)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out, err) == (130, "begun\ncancelled\n", "")
    assert all(is_gone(pid) for pid in workers)


@pytest.mark.parametrize("delay", [0.02, 0.06, 0.1])
def test_ctrl_c_is_as_quiet_while_the_workers_come_up(program: Path, delay: float) -> None:
    """The interpreter of a worker takes about a tenth of a second to start, and would answer with a traceback."""
    assert cancelled(program, delay) == (130, "cancelled\n", "")


LOADING = """
import sys, time
from cvl.parallel import prepare

if __name__ == "__main__":
    try:
        prepare(["slow_to_load"])
        print("begun", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        print("cancelled")
        sys.exit(130)
"""


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3])
def test_ctrl_c_is_as_quiet_while_modules_are_loaded_ahead(tmp_path: Path, delay: float) -> None:
    (tmp_path / "program.py").write_text(LOADING)
    (tmp_path / "slow_to_load.py").write_text("import time; time.sleep(1)")
    assert cancelled(tmp_path / "program.py", delay) == (130, "cancelled\n", "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_the_program_is_killed(program: Path, number: signal.Signals) -> None:
    process, workers = start(program)
    process.send_signal(number)
    process.communicate(timeout=WAIT)
    assert process.returncode == -number
    wait_until(lambda: all(is_gone(pid) for pid in workers))

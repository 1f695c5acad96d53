"""`--engine ray`: a real Ray cluster of two nodes does what the processes of one machine do."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from support import Cvl, Done, contents

import cvl as package
from cvl.demo.internet import Internet
from cvl.root import Root

PACKAGE = Path(package.__file__).parents[1]
WAIT = 60  # seconds: an upper bound for a busy machine, reached only where a test fails

# Found, not imported: Ray changes the process that it is imported into.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'cvl[ray]'"
)


class Nodes:
    """Two running nodes with one core each."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self._process = process
        self.address = address

    def lose_one(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("lose\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "lost\n"


@contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    environment = {"PYTHONPATH": str(PACKAGE), "RAY_USAGE_STATS_ENABLED": "0"}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with (folder / "ray.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("ray_nodes.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=plain | environment,
        )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, (folder / "ray.log").read_text()
        yield Nodes(process, address)
    finally:
        process.communicate(timeout=WAIT)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with two_nodes(tmp_path_factory.mktemp("ray")) as nodes:
        yield nodes


PROGRAM = """
import os, sys, time
from functools import partial
from pathlib import Path

from cvl.errors import CvlError, DiskError
from cvl.parallel import Engine, run_shards

FOLDER = Path({folder!r})

def work(shard):
{work}

def told(result):
    print("told", result, flush=True)

if __name__ == "__main__":
    try:
        print("all", run_shards(work, range({shards}), jobs={jobs}, engine=Engine.RAY, on_result=told), flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except CvlError as error:
        sys.exit(f"{{type(error).__name__}}: {{error}} ({{error.hint}})")
"""


def start(folder: Path, nodes: Nodes, *work: str, shards: int = 6, jobs: int | None = None) -> subprocess.Popen[str]:
    """A program whose shards do `work`, lines of Python that return something; its leader of a process group."""
    program = folder / "program.py"
    body = "".join(f"    {line}\n" for line in work)
    program.write_text(PROGRAM.format(folder=str(folder), work=body, shards=shards, jobs=jobs))
    return subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PACKAGE), "RAY_ADDRESS": nodes.address},
        start_new_session=True,
    )


def run(folder: Path, nodes: Nodes, *work: str, shards: int = 6, jobs: int | None = None) -> Done:
    process = start(folder, nodes, *work, shards=shards, jobs=jobs)
    out, err = process.communicate(timeout=WAIT)
    return Done(process.returncode, out, err)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT} s in vain"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


# The engine.


def test_results_are_in_order_and_told_as_they_come(tmp_path: Path, nodes: Nodes) -> None:
    done = run(tmp_path, nodes, "return shard * shard")
    *told, last = done.stdout.splitlines()
    assert (done.code, last) == (0, "all [0, 1, 4, 9, 16, 25]")
    assert sorted(told) == sorted(f"told {number}" for number in (0, 1, 4, 9, 16, 25))


def test_both_nodes_work(tmp_path: Path, nodes: Nodes) -> None:
    """Each of two shards waits for the other one; a node has one core."""
    meet = [
        "import ray",
        "(FOLDER / str(shard)).touch()",
        "while not (FOLDER / str(1 - shard)).exists(): time.sleep(0.01)",
        "return ray.get_runtime_context().get_node_id()",
    ]
    done = run(tmp_path, nodes, *meet, shards=2)
    assert done.code == 0, done.stderr
    assert len({line for line in done.stdout.splitlines() if line.startswith("told")}) == 2


def test_jobs_bound_how_many_shards_are_at_work(tmp_path: Path, nodes: Nodes) -> None:
    alone = ["(FOLDER / 'busy').mkdir()", "time.sleep(0.05)", "(FOLDER / 'busy').rmdir()", "return shard"]
    assert run(tmp_path, nodes, *alone, jobs=1).code == 0


def test_an_error_in_a_shard_comes_out_with_its_hint(tmp_path: Path, nodes: Nodes) -> None:
    done = run(tmp_path, nodes, "raise DiskError('no room', hint='free some')")
    assert (done.code, done.stderr.splitlines()[-1]) == (1, "DiskError: no room (free some)")


def test_a_worker_that_cannot_even_answer_is_told_with_what_it_may_lack(tmp_path: Path, nodes: Nodes) -> None:
    done = run(tmp_path, nodes, "import threading", "return threading.Lock()", shards=1)
    assert done.code == 1
    assert "a worker of the Ray cluster cannot do its work: TypeError: cannot pickle" in done.stderr
    assert "the same path" in done.stderr


def test_a_shard_whose_worker_dies_is_done_by_another(tmp_path: Path, nodes: Nodes) -> None:
    die_once = ["died = FOLDER / f'died-{shard}'", "if not died.exists(): died.touch(); os._exit(9)", "return shard"]
    done = run(tmp_path, nodes, *die_once, shards=3)
    assert (done.code, done.stdout.splitlines()[-1]) == (0, "all [0, 1, 2]"), done.stderr


def test_a_shard_that_kills_every_worker_is_an_error_that_says_so(tmp_path: Path, nodes: Nodes) -> None:
    done = run(tmp_path, nodes, "os._exit(9)", shards=1)
    assert done.code == 1
    assert "CvlError: the Ray cluster lost a shard for good" in done.stderr
    assert "fewer --jobs" in done.stderr


SLEEP = ("(FOLDER / f'at-work-{os.getpid()}').touch()", f"time.sleep({WAIT})", "return shard")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, -15)])
def test_tasks_end_with_the_command_that_is_stopped(
    tmp_path: Path, nodes: Nodes, number: signal.Signals, code: int
) -> None:
    process = start(tmp_path, nodes, *SLEEP)
    wait_until(lambda: len(list(tmp_path.glob("at-work-*"))) == 2 or process.poll() is not None)
    pids = [int(path.name.rpartition("-")[2]) for path in tmp_path.glob("at-work-*")]
    assert len(pids) == 2
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == code, err
    wait_until(lambda: all(is_gone(pid) for pid in pids))


LOOKING = """
import sys, threading, time
from pathlib import Path

from cvl.errors import Cancelled
from cvl.parallel import Engine, ready, run_shards

begun = Path(sys.argv[1])

def sleep(_shard):
    begun.touch()
    time.sleep(600)

def look():
    if begun.exists():
        raise Cancelled("enough")

def work():
    try:
        run_shards(sleep, [1], engine=Engine.RAY, look=look)
    except Cancelled as error:
        print(error)

if __name__ == "__main__":
    with ready(Engine.RAY):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
"""


def test_a_thread_that_hears_no_signals_calls_the_work_off_by_looking(cvl: Cvl, nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "looking.py").write_text(LOOKING)
    run_it = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = cvl.python(run_it, str(tmp_path / "looking.py"), str(tmp_path / "begun"), env={"RAY_ADDRESS": nodes.address})
    assert (done.code, done.stdout) == (0, "enough\n"), done.stderr


def test_where_nobody_listens_the_error_says_so_at_once(tmp_path: Path, nodes: Nodes) -> None:
    done = run(tmp_path, Nodes(nodes._process, "127.0.0.1:1"), "return shard")
    assert done.code == 1
    assert "no Ray cluster at 127.0.0.1:1" in done.stderr
    assert "RAY_ADDRESS" in done.stderr


def test_the_shards_of_a_node_that_is_lost_are_done_by_the_other(tmp_path: Path) -> None:
    sleep_until_lost = [
        "(FOLDER / f'begun-{shard}').touch()",
        "while not (FOLDER / 'lost').exists(): time.sleep(0.01)",
        "return shard",
    ]
    with two_nodes(tmp_path) as nodes:
        process = start(tmp_path, nodes, *sleep_until_lost)
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2 or process.poll() is not None)
        nodes.lose_one()
        (tmp_path / "lost").touch()
        out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out.splitlines()[-1:]) == (0, ["all [0, 1, 2, 3, 4, 5]"]), err


# The command.

FOLDER = "data/ocr_vqa/images"


def fill(root: Root) -> None:
    root.at(FOLDER).mkdir(parents=True)
    for number in range(300):
        target = io.BytesIO()
        Image.linear_gradient("L").resize((20 + number % 50, 30)).save(target, ("GIF", "PNG", "JPEG")[number % 3])
        data = target.getvalue()[:-200] if number % 50 == 0 else target.getvalue()
        (root.at(FOLDER) / f"{number:07}{('.jpg', '.gif')[number % 2]}").write_bytes(data)


def pictures(root: Root) -> dict[str, str]:
    return {name: digest for name, digest in contents(root.path).items() if not name.endswith(".lock")}


def test_a_conversion_on_the_cluster_makes_and_reports_what_one_process_does(
    cvl: Cvl, tree: Root, nodes: Nodes, tmp_path: Path
) -> None:
    fill(tree)
    copy = Root(tmp_path / "copy")
    shutil.copytree(tree.path, copy.path)
    here = cvl("convert", "ocrvqa", "--root", copy.path, "--jobs", "1", "--json")
    there = cvl("convert", "ocrvqa", "--engine", "ray", "--json", env={"RAY_ADDRESS": nodes.address})
    assert there.code == here.code == 1, there.stderr
    assert there.json == here.json
    assert pictures(tree) == pictures(copy)


def test_a_relative_root_is_the_same_for_workers_that_are_elsewhere(cvl: Cvl, tree: Root, nodes: Nodes) -> None:
    fill(tree)
    options = ("--engine", "ray", "--quarantine", "bad", "--json", "--root", tree.path.name)
    done = cvl("convert", "ocrvqa", *options, env={"RAY_ADDRESS": nodes.address})
    report = done.json
    assert report["scanned"] == 300
    assert {left["moved_to"] for left in report["unreadable"]} == {
        str(path) for path in (tree.path.parent / "bad").rglob("*.*")
    }


def test_pictures_under_a_relative_root_are_decoded_by_workers_that_are_elsewhere(
    cvl: Cvl, complete: Root, nodes: Nodes
) -> None:
    options = ("--decode", "full", "--engine", "ray", "--json", "--root", complete.path.name)
    done = cvl("verify-layout", *options, env={"RAY_ADDRESS": nodes.address})
    assert done.code == 0, done.stderr
    assert done.json["decoded"]["damaged"] == 0
    assert done.json["decoded"]["pictures"] > 100


@pytest.mark.usefixtures("links")
def test_what_is_unpacked_on_the_cluster_is_what_one_process_unpacks(
    cvl: Cvl, tree: Root, nodes: Nodes, tmp_path: Path
) -> None:
    fetch = ("fetch", "coco", "sam", "vg", "--shards", "0-9")
    here = cvl(*fetch, "--root", tmp_path / "here", "--sam-links", tree.sam_links)
    there = cvl(*fetch, "--engine", "ray", "--root", tree.path.name, env={"RAY_ADDRESS": nodes.address})
    assert (here.code, there.code) == (0, 0), there.stderr
    notes = ("data/.cvl/", "cvl.lock", "sam-links.txt")
    mine, theirs = (
        {name: it for name, it in contents(root).items() if not name.startswith(notes)}
        for root in (tree.path, tmp_path / "here")
    )
    assert mine == theirs
    assert cvl(*fetch).stdout.startswith("0 files fetched (0 B), ")


UNPACK = """
import sys
from pathlib import Path
from cvl.download.archives.unpack import unpack_with
from cvl.errors import ArchiveError
from cvl.manifest import Unpack
from cvl.parallel import Engine, ready

archive, folder, engine = sys.argv[1:]
recipe = Unpack(into="data/x", include=["*.jpg"], members=3)
try:
    with ready(Engine(engine)):
        unpack_with(Engine(engine), Path(archive), recipe, Path(folder), lambda done, total: None)
except ArchiveError as error:
    print(error)
"""


def test_of_a_damaged_archive_the_same_is_told_and_saved(cvl: Cvl, nodes: Nodes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "three.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.jpg", f"picture {number}")
    damaged = (tmp_path / "three.zip").read_bytes().replace(b"picture 1", b"p1cture 1")
    (tmp_path / "three.zip").write_bytes(damaged)
    environment = {"RAY_ADDRESS": nodes.address}
    here = cvl.python(UNPACK, "three.zip", "here", "local", env=environment)
    there = cvl.python(UNPACK, "three.zip", "there", "ray", env=environment)
    assert there.stdout == here.stdout != ""
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert sorted(contents(tmp_path / "there")) == ["0.jpg", "2.jpg"]


def test_a_fetch_without_a_cluster_says_so_before_a_byte_moves(cvl: Cvl, internet: Internet) -> None:
    done = cvl("fetch", "coco", "--engine", "ray", env={"RAY_ADDRESS": "127.0.0.1:1"})
    assert done.code == 1
    assert "no Ray cluster at 127.0.0.1:1" in done.stderr
    assert internet.body_bytes() == 0

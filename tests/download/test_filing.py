from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fetching import noise

import cvl
from cvl.download.lists.filing import Filing


def test_files_get_their_names_and_contents_and_nothing_else_is_left(tmp_path: Path) -> None:
    contents = {f"{number}.jpg": noise(number * 997, number) for number in range(50)}
    with Filing(tmp_path) as filing:
        for name, content in contents.items():
            filing.put(name, content)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_an_older_file_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"older and longer")
    os.link(tmp_path / "a", tmp_path / "other name")
    with Filing(tmp_path) as filing:
        filing.put("a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "other name").read_bytes() == b"older and longer"


def test_others_may_read_what_the_user_lets_them(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with Filing(tmp_path) as filing:
        filing.put("a", b"new")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_folder_that_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    with Filing(tmp_path / "gone") as filing, pytest.raises(FileNotFoundError) as caught:
        filing.put("a", b"new")
    assert str(caught.value.filename).startswith(str(tmp_path / "gone"))


def test_a_file_for_which_there_is_no_room_is_not_there(tmp_path: Path) -> None:
    """A process that may write 1000 bytes to a file only meets the same half-written file as one on a full disk."""
    script = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from cvl.download.lists.filing import Filing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with Filing(Path(sys.argv[1])) as filing:\n"
        "    filing.put('small', bytes(1000))\n"
        "    filing.put('large', bytes(1001))\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(cvl.__file__).parent.parent)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small"]

"""An unfinished transfer: a prefix of a file, a note of which file, and digests that grow with it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from fetching import noise, sha256
from hypothesis import given
from hypothesis import strategies as st

import cvl
from cvl.download.part import Journal, Part

if TYPE_CHECKING:
    from typing_extensions import Buffer

JOURNAL = Journal("https://host.example/file", '"tag"')


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "downloads" / "file.part", ("sha256", "md5"))


def append(part: Part, *chunks: bytes) -> None:
    with part.open() as file:
        for chunk in chunks:
            part.append(file, chunk)


def test_nothing_is_made_by_asking(part: Part, tmp_path: Path) -> None:
    assert (part.size, part.journal) == (0, None)
    assert not list(tmp_path.iterdir())


def test_the_journal_is_there_before_the_first_byte(part: Part) -> None:
    part.begin(JOURNAL)
    assert part.journal == JOURNAL
    assert not part.path.exists()


def test_beginning_drops_what_is_there(part: Part) -> None:
    part.begin(JOURNAL)
    append(part, b"old")
    part.begin(Journal("https://host.example/other", None))
    append(part, b"new!")
    assert part.path.read_bytes() == b"new!"
    assert part.digests()["sha256"] == sha256(b"new!")
    assert part.journal == Journal("https://host.example/other", None)


def test_digests_grow_with_the_bytes(part: Part) -> None:
    append(part, b"one", b"two")
    assert part.digests() == {
        "sha256": sha256(b"onetwo"),
        "md5": hashlib.md5(b"onetwo", usedforsecurity=False).hexdigest(),
    }


def test_the_digest_of_nothing_is_that_of_nothing(part: Part) -> None:
    assert part.digests()["sha256"] == sha256(b"")


def test_bytes_of_an_earlier_process_are_taken_in(part: Part) -> None:
    append(part, b"before the kill, ")
    later = Part(part.path)
    append(later, b"after it")
    assert later.digests() == {"sha256": sha256(b"before the kill, after it")}


def test_bytes_that_another_program_wrote_are_taken_in(part: Part) -> None:
    part.begin(JOURNAL)
    part.path.write_bytes(b"by another client")
    assert part.digests()["sha256"] == sha256(b"by another client")


def test_a_second_opening_goes_on_at_the_end(part: Part) -> None:
    append(part, b"one")
    append(part, b"two")
    assert part.path.read_bytes() == b"onetwo"


@given(st.lists(st.tuples(st.binary(max_size=50), st.booleans()), max_size=12))
def test_any_order_of_appending_and_reopening_gives_the_digest_of_the_file(pieces: list[tuple[bytes, bool]]) -> None:
    with TemporaryDirectory() as folder:
        part = Part(Path(folder) / "file.part")
        for chunk, anew in pieces:
            part = Part(part.path) if anew else part
            append(part, chunk)
        whole = b"".join(chunk for chunk, _ in pieces)
        assert part.size == len(whole)
        assert part.digests() == {"sha256": sha256(whole)}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"url": 1, "validator": null}', b'{"url": "x"}', b"\xff\xfe"])
def test_a_journal_that_says_nothing_is_none(part: Part, text: bytes) -> None:
    part.begin(JOURNAL)
    part.path.with_name("file.part.json").write_bytes(text)
    assert part.journal is None


def test_discarding_removes_bytes_and_journal(part: Part, tmp_path: Path) -> None:
    part.begin(JOURNAL)
    append(part, b"bytes")
    part.discard()
    part.discard()
    assert (part.size, part.journal) == (0, None)
    assert not list((tmp_path / "downloads").iterdir())


def test_finishing_keeps_the_bytes_only(part: Part) -> None:
    part.begin(JOURNAL)
    append(part, b"bytes")
    assert part.finish() == part.path
    assert [path.name for path in part.path.parent.iterdir()] == ["file.part"]


class Narrow(io.RawIOBase):
    """A file that takes only so many bytes at a time, as the system may do with any file."""

    def __init__(self, file: io.FileIO, width: int) -> None:
        self._file, self._width = file, width

    def tell(self) -> int:
        return self._file.tell()

    def write(self, content: Buffer) -> int:
        return self._file.write(memoryview(content)[: self._width])


def test_a_chunk_that_is_written_piece_by_piece_is_written_whole(part: Part) -> None:
    content = noise(1000)
    part.begin(JOURNAL)
    with part.path.open("ab", buffering=0) as file:
        part.append(Narrow(file, 300), content)  # type: ignore[arg-type]
    assert part.path.read_bytes() == content
    assert part.digests()["sha256"] == sha256(content)


def test_a_full_disk_is_an_error_and_what_was_written_is_still_a_prefix(part: Part) -> None:
    # A process may write files of so many bytes only: the last write is first cut short, then refused.
    script = (
        "import resource, sys; from pathlib import Path; from cvl.download.part import Part\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "part, content = Part(Path(sys.argv[1])), bytes(range(250)) * 4\n"
        "with part.open() as file:\n"
        "    part.append(file, content)\n"
        "    try: part.append(file, content)\n"
        "    except OSError as error: print(error.errno)\n"
    )
    package = str(Path(cvl.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script, str(part.path)],
        env=os.environ | {"PYTHONPATH": package},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{errno.EFBIG}\n"
    assert part.path.read_bytes() == (bytes(range(250)) * 8)[:1500]

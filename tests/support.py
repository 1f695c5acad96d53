"""What tests share that are about the command line: running it as a process, and telling what a folder holds."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cvl

_PERSONAL = ("CVL_", "HF_", "TTY_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
_TIMEOUT = 120


@dataclass(frozen=True)
class Done:
    """What became of a command: its exit code, and all that it wrote to the two streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[Any]:
        """Every line of stdout, each of which must be JSON."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def json(self) -> Any:
        """The only line of stdout, which must be JSON."""
        (value,) = self.lines
        return value


class Cvl:
    """The command line, run as a process of its own with an environment that is not the tester's.

    Args:
        folder: where it runs; programs, home and caches that it sees lie there too.
        environment: variables on top of the plain ones.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        home = folder / "home"
        home.mkdir(exist_ok=True)
        plain = {name: value for name, value in os.environ.items() if not is_personal(name)}
        package = str(Path(cvl.__file__).parent.parent)
        own = {"PYTHONPATH": package, "HOME": str(home), "XDG_CACHE_HOME": str(home), "HF_HOME": str(home)}
        self.environment = plain | own | dict(environment)

    def __call__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Done:
        """Run `cvl ARGUMENTS` to its end. Whatever happens, it must not end with a traceback."""
        return self._run([sys.executable, "-m", "cvl", *map(str, arguments)], env)

    def typed(self, line: str, env: Mapping[str, str] | None = None) -> Done:
        """Run a line as a user types it, such as `cvl fetch coco`, through a shell that finds `cvl` on its path."""
        return self._run(
            ["bash", "-c", line], {"PATH": f"{self._programs()}:{self.environment['PATH']}"} | dict(env or {})
        )

    def python(self, code: str, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
        """Run Python code with the same environment."""
        return self._run([sys.executable, "-c", code, *arguments], env)

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Begin `cvl ARGUMENTS` in a process group of its own, so that it can be interrupted."""
        return subprocess.Popen(
            [sys.executable, "-m", "cvl", *map(str, arguments)],
            env=self.environment | dict(env or {}),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _run(self, command: list[str], env: Mapping[str, str] | None) -> Done:
        done = subprocess.run(
            command,
            env=self.environment | dict(env or {}),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def _programs(self) -> Path:
        programs = self.folder / "programs"
        if not programs.exists():
            programs.mkdir()
            program = programs / "cvl"
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cvl "$@"\n')
            program.chmod(0o755)
        return programs


def is_personal(name: str) -> bool:
    """Whether a variable is a wish of the tester's that would change what a command does or how it looks."""
    return name.startswith(_PERSONAL) or name.upper().endswith("_PROXY")


@dataclass(frozen=True)
class Trace:
    """What changes when a file is written, or replaced by one of the same content."""

    inode: int
    mtime_ns: int
    size: int


def traces(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, Trace]:
    """Every file and link below `folder` with its trace, except those whose path is one of `without`."""
    found = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in without:
            status = path.lstat()
            found[name] = Trace(status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` with the digest of its content, and every link with its target."""
    return {path.relative_to(folder).as_posix(): _content(path) for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _content(path: Path) -> str:
    return f"-> {path.readlink()}" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()

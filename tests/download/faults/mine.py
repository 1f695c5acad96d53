"""A source of the test's own: published on the stand-in, described by a manifest, fetched by the real command."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fetching import names_below, noise, sha256
from support import Cvl, Done

from cvl.demo.internet import Exchange, Fault, FaultKind, Internet
from cvl.demo.miniature.publish import Publisher
from cvl.root import Root

MIB = 1 << 20
CONTENT = noise(12 * MIB)
DIGEST = sha256(CONTENT)
URL = "https://host.example/mine.bin"
MIRROR = "https://mirror.example/mine.bin"
HUB = "hf://datasets/owner/name/mine.bin"
CDN = "https://cdn-lfs.huggingface.co/*"
CONNECTIONS = 4
WISHES = ("--connections", str(CONNECTIONS), "--timeout", "1", "--retries", "3")
SLACK = CONNECTIONS * MIB
"""What may be fetched again: the issue allows 1 MiB a connection."""
FOREVER = 10_000
_PATIENCE = 60.0


@dataclass(frozen=True)
class Mine:
    """The source `mine` and all that it takes to fetch it.

    Args:
        site: where it is published.
        internet: the stand-in that serves `site`.
        cvl: the command line.
        root: the tree.
        manifests: the folder of its manifest.
        started: every process that `start` began.
    """

    site: Publisher
    internet: Internet
    cvl: Cvl
    root: Root
    manifests: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def landed(self) -> Path:
        """Where the file must be in the end."""
        return self.root.at("data/mine/mine.bin")

    def publish(self, content: bytes = CONTENT, *, url: str = URL, also: str | None = None, **keys: Any) -> None:
        """Put the file on the internet, at one address or at two, and write its manifest.

        It names size and digest of `content`; `keys` are further keys of the file, and None takes one away.
        """
        for each in filter(None, (url, also)):
            self.site.put(each, content, name="mine.bin")
        known = {"size": len(content), "sha256": sha256(content), "path": "data/mine/mine.bin"}
        mirrors = {"mirrors": [{"url": also}]} if also else {}
        self.describe(**{"name": "mine.bin", "url": url} | known | mirrors | keys)

    def describe(self, **file: Any) -> None:
        """Write a manifest of one file with these keys; those that are None are left out."""
        lines = [f"{key} = {_toml(value)}" for key, value in file.items() if value is not None]
        (self.manifests / "mine.toml").write_text("\n".join(['title = "mine"', "[[files]]", *lines, ""]))

    def fault(self, kind: FaultKind, times: int = 1, *, pattern: str = URL, **more: Any) -> None:
        """Let something go wrong at the source's address."""
        self.internet.inject(Fault(pattern, kind, times, **more))

    def fetch(self, *options: str | Path, env: Mapping[str, str] | None = None) -> Done:
        """`cvl fetch mine` to its end."""
        return self.cvl("fetch", "mine", *WISHES, *options, env=env)

    def start(self, *options: str | Path) -> subprocess.Popen[str]:
        """`cvl fetch mine`, to be interrupted."""
        self.started.append(self.cvl.start("fetch", "mine", *WISHES, *options))
        return self.started[-1]

    def fetch_under(self, command: str, *options: str) -> Done:
        """`cvl fetch mine` to its end, started by a line of the shell that ends in `exec`, such as `nice`."""
        return self.cvl.typed(" ".join((command, "cvl", "fetch", "mine", *WISHES, *options)))

    def exchanges(self, pattern: str = URL, method: str = "GET") -> list[Exchange]:
        """The answers to requests of one method for urls that a glob matches."""
        return [
            each for each in self.internet.exchanges if each.method == method and fnmatchcase(each.url, f"{pattern}*")
        ]

    def statuses(self, pattern: str = URL) -> list[int]:
        """The statuses of the answers to GET."""
        return [int(each.status) for each in self.exchanges(pattern)]

    def sent(self, pattern: str = "*") -> int:
        """Body bytes that were sent."""
        return self.internet.body_bytes(pattern)

    def assert_whole(self, content: bytes = CONTENT) -> None:
        """The file is here, identical, and nothing is left of the way there."""
        assert sha256(self.landed.read_bytes()) == sha256(content)
        assert self.kept() == []

    def assert_nothing_landed(self) -> None:
        """Nothing that a training might read is here."""
        assert names_below(self.root.at("data/mine")) == []
        assert names_below(self.root.archives) == []

    def assert_little_again(self, pattern: str = "*", *, beyond: int = len(CONTENT)) -> None:
        """Of the file little was sent twice."""
        assert self.sent(pattern) <= beyond + SLACK

    def kept(self) -> list[str]:
        """What is kept of the file on its way."""
        return [*names_below(self.root.downloads), *names_below(self.root.archives)]


def assert_told(done: Done, *words: str, hint: str = "") -> None:
    """A fetch has failed and says so in these words, with a hint that has those."""
    assert (done.code, "failed: " in done.stderr) == (1, True), done
    assert_says(done.stderr, *words, hint=hint)


def assert_says(text: str, *words: str, hint: str = "") -> None:
    """All these words are in a text, and there is a hint that has those."""
    missing = [word for word in words if word.lower() not in text.lower()]
    assert not missing, f"{missing} not in: {text}"
    _, found, said = text.partition("hint: ")
    assert found, f"no hint in: {text}"
    assert hint.lower() in said.lower(), f"{hint} not in the hint of: {text}"


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened while `process` runs."""
    deadline = time.monotonic() + _PATIENCE
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def send(process: subprocess.Popen[str], wish: signal.Signals) -> None:
    """What a terminal or a scheduler does: the whole process group is told."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, wish)


def finish(process: subprocess.Popen[str], within: float = _PATIENCE) -> Done:
    """Wait for the end of a process, at most so many seconds; one that does not end is killed, and a failure."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        send(process, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"it did not end within {within:.0f} s: {out}{err}") from None
    assert "Traceback" not in err, err
    return Done(process.returncode, out, err)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'

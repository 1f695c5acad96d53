"""Scenarios of one large file: from a plain server, from one that is slow per connection, from the hub, from Drive."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from nginx import Exchange, Nginx

from contest import peers
from contest.contender import Contender, Scenario, ours, then_sha256sum, within
from contest.contents import one_file, write_manifest, write_noise
from contest.cost import Cost
from contest.sizes import Sizes
from cvl.demo.internet import Internet

_NAME = "big.bin"


@dataclass(frozen=True)
class Published:
    """The file, as it lies on the server's disk."""

    path: Path
    size: int
    sha256: str

    def manifest(self, folder: Path, url: str) -> Path:
        """A folder of manifests with a source `bench`, which brings the file from `url`."""
        known = {"name": _NAME, "path": f"data/bench/{_NAME}", "size": self.size, "sha256": self.sha256}
        return write_manifest(folder, url=url, **known)

    def scenario(self, title: str, contenders: Sequence[Contender]) -> Scenario:
        """A scenario in which all bring this file."""
        return Scenario(title, self.size, 1, contenders, one_file(self.size, self.sha256))


def _publish(path: Path, size: int) -> Published:
    return Published(path, size, write_noise(path, size))


@contextmanager
def big(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """One file from nginx."""
    file = _publish(folder / "served" / _NAME, sizes.big)
    with Nginx(file.path.parent) as server:
        url = f"{server.url}/{_NAME}"
        contenders = [ours(file.manifest(folder / "manifests", url)), _aria2c(file, url, 16), _curl(file, url)]
        yield file.scenario("one file from nginx, SHA-256 checked by each", contenders)


@contextmanager
def limited(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """One file from an nginx whose connections give so many bytes a second and no more, however they are used."""
    file = _publish(folder / "served" / _NAME, sizes.limited)
    with Nginx(file.path.parent, pace=sizes.limit) as server:
        url, count = f"{server.url}/{_NAME}", sizes.connections
        mine = ours(file.manifest(folder / "manifests", url), f"--connections={count}")
        contenders = [replace(mine, connections=count), _aria2c(file, url, count)]
        title = f"one file at {sizes.limit / 1e6:.0f} MB/s a connection, {count} connections"
        yield replace(file.scenario(title, contenders), note=partial(_share, server, file.size / sizes.limit))


@contextmanager
def hub(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """One file of a repository on a stand-in of the hub, by the hub's own program and by ours."""
    file = _publish(folder / "internet" / "hub" / "datasets" / "bench" / "big" / _NAME, sizes.remote)
    with Internet(folder / "internet") as internet:
        # It digests its files when it is asked for the first time.
        urlopen(f"{internet.url}/api/datasets/bench/big/revision/main").read()
        manifests = file.manifest(folder / "manifests", f"hf://datasets/bench/big/{_NAME}")
        both = [ours(manifests), _then_checked("hf download", _hf, file)]
        contenders = [within({"HF_ENDPOINT": internet.url}, each) for each in both]
        yield file.scenario("one file from a stand-in of the hub, in Python", contenders)


@contextmanager
def drive(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """One file of a stand-in of Google Drive, by gdown and by ours, which uses gdown to get there."""
    file_id = "1BenchmarkOfFetching"
    file = _publish(folder / "internet" / "drive" / file_id / _NAME, sizes.remote)
    with Internet(folder / "internet") as internet:
        manifests = file.manifest(folder / "manifests", f"gdrive://{file_id}")
        both = [ours(manifests), _then_checked("gdown", partial(_gdown, file_id), file)]
        contenders = [within(internet.environment(), each) for each in both]
        yield file.scenario("one file from a stand-in of Drive, in Python and with TLS", contenders)


def _aria2c(file: Published, url: str, count: int) -> Contender:
    options = [f"-x{count}", f"-s{count}", f"--checksum=sha-256={file.sha256}"]

    def command(folder: Path) -> list[str]:
        return ["aria2c", *options, "-d", str(folder), "-o", _NAME, url]

    return Contender(
        f"aria2c -x{count} -s{count} --checksum", command, connections=count, absent=peers.absent("aria2c")
    )


def _curl(file: Published, url: str) -> Contender:
    def command(folder: Path) -> list[str]:
        return then_sha256sum(["curl", "-sSf", "-o", str(folder / _NAME), url], folder / _NAME, file.sha256)

    return Contender("curl, then sha256sum", command, absent=peers.absent("curl"))


def _then_checked(name: str, words: Callable[[Path], list[str]], file: Published) -> Contender:
    """A program that checks no digest, followed by one that does. `words` is the command that leaves a given file."""

    def command(folder: Path) -> list[str]:
        return then_sha256sum(words(folder / _NAME), folder / _NAME, file.sha256)

    return Contender(f"{name}, then sha256sum", command, absent=peers.absent(name.split()[0]))


def _hf(result: Path) -> list[str]:
    asked = ["download", "bench/big", _NAME, "--repo-type", "dataset", "--local-dir", str(result.parent)]
    return [*_program("hf"), *asked]


def _gdown(file_id: str, result: Path) -> list[str]:
    return [*_program("gdown"), file_id, "-O", str(result)]


def _program(name: str) -> list[str]:
    return [peers.program(name) or name]


def _share(server: Nginx, wanted: float, contender: Contender, cost: Cost) -> Mapping[str, float]:
    """Which share of (connections × limit) a run had, and how many connections it had open at once.

    Args:
        wanted: seconds that one connection takes at the limit.
    """
    exchanges = server.exchanges
    server.forget()
    return {
        "share": wanted / (contender.connections * cost.seconds),
        "connections_at_once": most_at_once(exchanges),
    }


def most_at_once(exchanges: Sequence[Exchange]) -> int:
    """How many connections were open at once at most, each from its first exchange to its last."""
    ids = {exchange.connection for exchange in exchanges}
    spans = [[each for each in exchanges if each.connection == number] for number in ids]
    begins = sorted(min(each.began for each in span) for span in spans)
    ends = sorted(max(each.ended for each in span) for span in spans)
    # One that begins as another ends stands beside it: the log's clock has milliseconds.
    return max(number - bisect_left(ends, begin) for number, begin in enumerate(begins, start=1))

"""Scenarios of lists of many small files: all to be fetched, and all here already."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nginx import Directives, Nginx

from contest import peers
from contest.contender import Contender, Scenario, ours
from contest.contents import all_pictures, write_manifest, write_pictures
from contest.cost import FailedRunError, cost_of
from contest.sizes import Sizes

_LIST = "list.json"
_INTO = "data/bench/images"
_LINKS = 60_000
"""Names that one file may have: ext4 allows 65,000."""


@contextmanager
def small(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """Every file of a list."""
    total, digests = write_pictures(folder / "served" / "images", sizes.pictures, sizes.picture)
    with Nginx(folder / "served") as server:
        urls = {str(number): f"{server.url}/images/{number}.jpg" for number in range(1, sizes.pictures + 1)}
        manifests = _publish_list(folder, server.url, urls.items(), sizes.picture)
        listed = folder / "urls.txt"
        listed.write_text("".join(f"{url}\n" for url in urls.values()))
        contenders = [ours(manifests), _aria2c(listed), _img2dataset(listed)]
        title = f"files of {total / sizes.pictures / 1000:.0f} kB from nginx, out of a list without digests"
        yield Scenario(title, total, sizes.pictures, contenders, all_pictures(digests), per_file=True)


@contextmanager
def ledger(folder: Path, sizes: Sizes) -> Iterator[Scenario]:
    """A list of which everything is here: what the re-run costs that finds nothing to do."""
    write_pictures(folder / "served", 1, 500)
    tree = folder / "tree"
    # Whatever the list names is the same picture.
    with Nginx(folder / "served", Directives(server="location /images/ { rewrite ^ /1.jpg break; }")) as server:
        keys = [f"{number:010d}" for number in range(sizes.rows)]
        urls = ((key, f"{server.url}/images/P/{key}.01._SCLZZZZZZZ_.jpg") for key in keys)
        manifests = _publish_list(folder, server.url, urls, 500)
        _fill(tree / _INTO, keys, (folder / "served" / "1.jpg").read_bytes())
        contender = _settled(ours(manifests, tree=tree), folder)
        check = _all_here(tree / _INTO, sizes.rows)
        yield Scenario("rows of a list, all done: the re-run", 0, sizes.rows, [contender], check, per_file=True)


def _publish_list(folder: Path, url: str, urls: Iterable[tuple[str, str]], size: int) -> Path:
    """Puts the list where it is served; returns a folder of manifests with a source that is this list."""
    entries = {key: {"title": f"Book {key}", "imageURL": address} for key, address in urls}
    (folder / "served" / _LIST).write_text(json.dumps(entries))
    into = {"into": _INTO, "url_field": "imageURL", "count": len(entries), "approximate_size": size}
    file = {"name": f"bench-{_LIST}", "url": f"{url}/{_LIST}", "path": f"data/bench/{_LIST}", "expand": into}
    return write_manifest(folder / "manifests", **file)


def _aria2c(listed: Path) -> Contender:
    def command(folder: Path) -> list[str]:
        return ["aria2c", "-j32", "-i", str(listed), "-d", str(folder)]

    return Contender("aria2c -j32", command, absent=peers.absent("aria2c"))


def _img2dataset(listed: Path) -> Contender:
    # The bytes as they came: it would decode and encode every picture anew.
    options = ["--output_format=files", "--resize_mode=no", "--disable_all_reencoding=True"]

    def command(folder: Path) -> list[str]:
        return [str(peers.img2dataset()), f"--url_list={listed}", f"--output_folder={folder / 'out'}", *options]

    missing = "" if peers.img2dataset().exists() else "img2dataset is not installed"
    return Contender("img2dataset", command, absent=missing)


def _fill(folder: Path, keys: list[str], picture: bytes) -> None:
    """A file for every key, hard links for the most part."""
    folder.mkdir(parents=True)
    for start in range(0, len(keys), _LINKS):
        first, *rest = (folder / f"{key}.jpg" for key in keys[start : start + _LINKS])
        first.write_bytes(picture)
        for path in rest:
            path.hardlink_to(first)


def _settled(contender: Contender, folder: Path) -> Contender:
    """The contender, whose first run brings the list and enters what is here; absent if that fails."""
    try:
        cost_of(contender.command(folder), folder, contender.environment)
    except FailedRunError as error:
        return replace(contender, absent=str(error))
    return contender


def _all_here(images: Path, count: int) -> Callable[[Path], None]:
    """A check that all files are here still."""

    def check(_folder: Path) -> None:
        found = sum(1 for _ in images.iterdir())
        if found != count:
            raise FailedRunError(f"expected {count} files in {images}, found {found}")

    return check

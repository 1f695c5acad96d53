from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cvl.demo.internet import Internet

TOMORROW = datetime.now(UTC) + timedelta(days=1)
SHARDS = [f"sa_{number:06d}.tar" for number in range(4)]


@pytest.fixture
def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    (tmp_path / "signed").mkdir()
    for name in SHARDS:
        (tmp_path / "signed" / name).write_bytes(name.encode() * 100)
    with Internet(tmp_path) as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        yield internet


def test_a_link_is_good_until_its_expiry(internet: Internet) -> None:
    link = internet.signed_link(SHARDS[1], TOMORROW)
    assert httpx.get(link).content == SHARDS[1].encode() * 100
    assert httpx.get(link, headers={"Range": "bytes=0-3"}).status_code == 206


def test_the_expiry_stands_in_the_link_as_hexadecimal_seconds(internet: Internet) -> None:
    link = httpx.URL(internet.signed_link(SHARDS[0], datetime(2026, 2, 14, 7, 31, 52, tzinfo=UTC)))
    assert link.host == "scontent.xx.fbcdn.net"
    assert link.path == f"/m1/v/{SHARDS[0]}"
    assert dict(link.params) == {"oe": "699024E8", "_nc_sid": "x"}


def test_without_a_good_expiry_the_link_is_refused(internet: Internet) -> None:
    past = internet.signed_link(SHARDS[0], datetime.now(UTC) - timedelta(seconds=1))
    cut_by_a_shell = past.split("?")[0]
    for link in (past, cut_by_a_shell, f"{cut_by_a_shell}?oe=&_nc_sid=x", f"{cut_by_a_shell}?oe=soon"):
        reply = httpx.get(link)
        assert (reply.status_code, reply.text) == (403, "URL signature expired")


def test_other_points_of_presence_serve_the_same_files(internet: Internet) -> None:
    link = internet.signed_link(SHARDS[0], TOMORROW).replace("scontent.xx.", "scontent.fra3-1.")
    assert httpx.get(link).status_code == 200


def test_a_good_link_to_no_file_gets_404(internet: Internet) -> None:
    assert httpx.get(internet.signed_link("sa_999999.tar", TOMORROW)).status_code == 404


def test_the_list_has_a_row_a_file_and_two_rows_that_are_no_shards(internet: Internet) -> None:
    header, *rows = internet.links_file(TOMORROW).splitlines()
    links = dict(row.split("\t") for row in rows)
    assert header == "file_name\tcdn_link"
    assert links.keys() == {*SHARDS, "sa_images_ids.txt", "sa_co_gold.tar"}
    assert [httpx.get(links[name]).status_code for name in SHARDS] == [200] * len(SHARDS)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_rows_of_the_list_are_not_sorted(internet: Internet, tmp_path: Path, count: int) -> None:
    for name in SHARDS[count:]:
        (tmp_path / "signed" / name).unlink()
    names = [row.split("\t")[0] for row in internet.links_file(TOMORROW).splitlines()[1:]]
    shards = [name for name in names if name in SHARDS]
    assert len(shards) == count
    assert shards != sorted(shards)


def test_the_list_of_a_folder_without_shards_has_no_shards(tmp_path: Path) -> None:
    with Internet(tmp_path / "nothing") as internet:
        assert len(internet.links_file(TOMORROW).splitlines()) == 3

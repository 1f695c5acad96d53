from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.demo.internet.exchange import CHUNK, Data, FilePart, Request
from cvl.demo.internet.resource import Resource, Span, UnsatisfiableRangeError, parse_range

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def resource(tmp_path: Path) -> Resource:
    path = tmp_path / "images.zip"
    path.write_bytes(CONTENT)
    return Resource.of(path)


def ask(**headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "http://host/images.zip", named)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-99", Span(0, 99)),
        ("bytes=100-", Span(100, 999)),
        ("bytes=-10", Span(990, 999)),
        ("bytes=-5000", Span(0, 999)),
        ("bytes=990-5000", Span(990, 999)),
        ("Bytes = 0 - 0", Span(0, 0)),
    ],
)
def test_a_single_range_is_cut_to_the_file(header: str, span: Span) -> None:
    assert parse_range(header, 1000) == span


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=-", "lines=0-9", "bytes=0-9,20-29", "bytes=a-b", ""])
def test_a_range_that_servers_ignore_means_the_whole_file(header: str) -> None:
    assert parse_range(header, 1000) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=1000-", 1000), ("bytes=-0", 1000), ("bytes=0-", 0)])
def test_a_range_outside_of_the_file_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, size)


@given(st.integers(0, 1200), st.integers(0, 1200), st.integers(1, 1000))
def test_a_range_names_the_same_bytes_as_a_slice(first: int, last: int, size: int) -> None:
    content = bytes(index % 251 for index in range(size))
    try:
        span = parse_range(f"bytes={first}-{last}", size)
    except UnsatisfiableRangeError:
        assert content[first:] == b""
    else:
        assert span is None if last < first else content[first : last + 1] == content[span.first : span.last + 1]  # type: ignore[union-attr]


def test_a_reply_to_a_range_says_which_bytes_of_how_many_come(resource: Resource) -> None:
    reply = resource.render(ask(range="bytes=10-19"))
    assert reply.status == 206
    assert reply.headers["Content-Range"] == "bytes 10-19/1024"
    assert b"".join(reply.body.chunks()) == CONTENT[10:20]


def test_an_unsatisfiable_range_gets_416_with_the_size(resource: Resource) -> None:
    reply = resource.render(ask(range="bytes=2000-"))
    assert reply.status == 416
    assert reply.headers["Content-Range"] == "bytes */1024"


def test_a_range_on_head_is_ignored(resource: Resource) -> None:
    assert resource.render(Request("HEAD", "http://host/", {"range": "bytes=0-1"})).status == 200


def test_if_range_with_the_current_tag_or_date_gets_the_part(resource: Resource) -> None:
    for validator in (resource.etag, resource.modified):
        assert resource.render(ask(range="bytes=5-", if_range=validator)).status == 206


def test_if_range_with_another_tag_or_date_gets_the_whole_file(resource: Resource) -> None:
    for validator in ('"other"', f"W/{resource.etag}", "Thu, 01 Jan 1970 00:00:00 GMT"):
        reply = resource.render(ask(range="bytes=5-", if_range=validator))
        assert (reply.status, reply.body.size) == (200, len(CONTENT))


def test_a_rewritten_file_has_another_tag(resource: Resource) -> None:
    resource.path.write_bytes(CONTENT[::-1])
    assert Resource.of(resource.path).etag != resource.etag


def test_the_content_type_follows_the_name(tmp_path: Path) -> None:
    kinds = {
        "a.zip": "application/zip",
        "a.json": "application/json",
        "a.jpg": "image/jpeg",
        "a": "application/octet-stream",
    }
    for name, kind in kinds.items():
        (tmp_path / name).touch()
        assert Resource.of(tmp_path / name).whole().headers["Content-Type"] == kind


def test_bodies_come_in_bounded_chunks_and_more_than_once(tmp_path: Path) -> None:
    content = bytes(CHUNK + 17)
    (tmp_path / "big").write_bytes(content)
    for body in (Data(content), FilePart(tmp_path / "big", 0, len(content))):
        for _ in range(2):
            assert [len(chunk) for chunk in body.chunks()] == [CHUNK, 17]

"""Lists as they are read. What a whole fetch makes of them is in test_expand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cvl.download.lists.listing import check_case, differing_in_case, host_of, read_list
from cvl.errors import AnnotationError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.json"


def test_addresses_come_by_key_in_the_order_of_the_list(path: Path) -> None:
    path.write_text('{"b": {"n": [1, {}], "url": "http://h/\\u00e9"}, "a": {"url": "", "title": "x"}}')
    assert list(read_list(path, "url").items()) == [("b", "http://h/é"), ("a", "")]


def test_of_a_key_that_comes_twice_the_last_entry_counts(path: Path) -> None:
    path.write_text('{"a": {"url": "http://h/1"}, "a": {"url": "http://h/2"}}')
    assert read_list(path, "url") == {"a": "http://h/2"}


def test_an_address_may_have_any_name(path: Path) -> None:
    path.write_text('{"a": {"image url": "http://h/1", "url": 5}}')
    assert read_list(path, "image url") == {"a": "http://h/1"}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe{}", b'{"a": {"url": "\xff"}}', b'{"a": {"url": "cut'])
def test_what_is_no_json_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match="is not a JSON object of entries"):
        read_list(path, "url")


@pytest.mark.parametrize("key", ["k" * 251, "é" * 126])
def test_a_key_that_is_too_long_for_a_file_s_name_is_refused(path: Path, key: str) -> None:
    path.write_text(json.dumps({"a": {"url": "http://h/1"}, key: {"url": "http://h/1"}}))
    with pytest.raises(AnnotationError, match=r"cannot be a file's name: expected at most 250 bytes, found 25[12]"):
        read_list(path, "url")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://h.example/a", "h.example"),
        ("HTTPS://User@H.Example:8080", "h.example"),
        ("http://h.example?a/b", "h.example"),
        ("http://[::1]:80/a", "::1"),
        ("http:///a", None),
        ("http://", None),
        ("http://[::1/a", None),
        ("ftp://h.example/a", None),
        ("h.example/a", None),
        ("", None),
    ],
)
def test_the_host_of_an_address(url: str, host: str | None) -> None:
    assert host_of(url) == host


def test_the_first_keys_that_differ_only_in_case_are_named() -> None:
    assert differing_in_case(["a", "b", "B", "A"]) == ("b", "B")
    assert differing_in_case(["a", "b", "c"]) is None


def test_this_disk_tells_cases_apart_and_is_left_as_it_was(tmp_path: Path) -> None:
    check_case(["a", "A"], tmp_path)
    assert list(tmp_path.iterdir()) == []

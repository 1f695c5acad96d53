"""What servers say is told apart: the file, not there, not for us, not now; and when to come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvl.download.transport.answers import check_status, looks_like_html, retry_after
from cvl.errors import GoneError, RefusedError, TransferError

URL = "https://host.example/file"


@pytest.mark.parametrize("status", [200, 206])
def test_a_file_or_a_part_of_it_passes(status: int) -> None:
    check_status(status, {}, URL)


@pytest.mark.parametrize(
    ("status", "kind", "phrase"),
    [
        (404, GoneError, "Not Found"),
        (410, GoneError, "Gone"),
        (401, RefusedError, "Unauthorized"),
        (403, RefusedError, "Forbidden"),
        (451, RefusedError, "Unavailable For Legal Reasons"),
        (204, TransferError, "No Content"),
        (302, TransferError, "Found"),
        (400, TransferError, "Bad Request"),
        (429, TransferError, "Too Many Requests"),
        (500, TransferError, "Internal Server Error"),
        (503, TransferError, "Service Unavailable"),
    ],
)
def test_every_other_status_is_an_error_of_its_kind(status: int, kind: type[TransferError], phrase: str) -> None:
    with pytest.raises(TransferError) as caught:
        check_status(status, {}, URL)
    assert type(caught.value) is kind
    assert str(caught.value) == f"{URL}: the server says {status} {phrase}"


def test_a_proxy_that_wants_credentials_is_told_from_the_server() -> None:
    with pytest.raises(RefusedError, match=r"the proxy asks for credentials \(407") as caught:
        check_status(407, {}, URL)
    assert "HTTPS_PROXY" in (caught.value.hint or "")


def test_a_status_that_nobody_knows_is_told_by_its_number() -> None:
    with pytest.raises(TransferError, match=r"the server says 799$"):
        check_status(799, {}, URL)


@pytest.mark.parametrize(("status", "overload"), [(429, True), (503, True), (500, False), (502, False), (400, False)])
def test_a_server_that_asks_for_less_is_heard(status: int, overload: bool) -> None:
    with pytest.raises(TransferError) as caught:
        check_status(status, {"retry-after": "7"}, URL)
    assert caught.value.overload is overload
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("120", 120.0), (" 7 ", 7.0)])
def test_a_number_is_so_many_seconds(text: str, seconds: float) -> None:
    assert retry_after({"retry-after": text}) == seconds


def test_a_date_is_the_seconds_until_then() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert retry_after({"retry-after": later}) == pytest.approx(3600, abs=60)


def test_a_date_that_has_passed_is_now() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-5",
        "1.5",
        "²",
        "Wed, 21 Oct 2015 07:28:00 -0000",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 +99999999999999999999",
    ],
)
def test_what_cannot_be_read_asks_for_nothing(text: str) -> None:
    assert retry_after({"retry-after": text}) is None
    assert retry_after({}) is None


@given(st.text())
def test_no_header_whatever_breaks_us(text: str) -> None:
    seconds = retry_after({"retry-after": text})
    assert seconds is None or seconds >= 0


@given(
    st.from_regex(
        r"(Mon, )?[0-9]{1,3} (Jan|Dec) [0-9]{1,6} [0-9]{1,3}:[0-9]{2}:[0-9]{2} [+-][0-9]{1,25}", fullmatch=True
    )
)
def test_no_date_whatever_breaks_us(text: str) -> None:
    seconds = retry_after({"retry-after": text})
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    "head",
    [b"<!DOCTYPE html>", b"\r\n\t <!doctype HTML>", b"<html lang='en'>", b"<HEAD>", b'<?xml version="1.0"?><Error/>'],
)
def test_a_page_is_known_by_its_beginning(head: bytes) -> None:
    assert looks_like_html(head)
    assert looks_like_html(head + bytes(5000))


@pytest.mark.parametrize("head", [b"", b"PK\x03\x04", b"text on <html>", b"{}", b"<svg>", b" " * 600 + b"<html>"])
def test_a_file_is_no_page(head: bytes) -> None:
    assert not looks_like_html(head)

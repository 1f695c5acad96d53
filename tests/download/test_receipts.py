from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cvl.download.receipts import VERSION, Receipt, read_receipt, write_receipt
from cvl.root import Root

RECEIPT = Receipt(
    url="https://host.example/images.zip",
    size=10,
    sha256="0" * 64,
    recipe='{"into":"data/mine"}',
    folder="data/mine",
    members=["a.jpg", "sub/b.jpg"],
    bytes=20,
)


def changed(**changes: Any) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(RECEIPT) | changes)


def test_what_is_written_is_read_again(tree: Root) -> None:
    write_receipt(tree, "images.zip", RECEIPT)
    assert read_receipt(tree, "images.zip") == RECEIPT
    assert [path.name for path in tree.receipts.iterdir()] == ["images.zip.json"]


def test_there_is_none_before(tree: Root) -> None:
    assert read_receipt(tree, "images.zip") is None
    assert not tree.path.exists()


def test_a_newer_receipt_takes_the_place_of_the_older(tree: Root) -> None:
    write_receipt(tree, "images.zip", RECEIPT)
    newer = msgspec.structs.replace(RECEIPT, size=11, mtime_ns=5)
    write_receipt(tree, "images.zip", newer)
    assert read_receipt(tree, "images.zip") == newer


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", changed(version=VERSION + 1), changed(size="ten"), changed(members=None)],
    ids=["empty", "cut", "list", "binary", "version", "text for a number", "no members"],
)
def test_a_receipt_that_cannot_be_read_proves_nothing(tree: Root, content: bytes) -> None:
    write_receipt(tree, "images.zip", RECEIPT)
    (tree.receipts / "images.zip.json").write_bytes(content)
    assert read_receipt(tree, "images.zip") is None


def test_a_receipt_of_one_download_is_not_that_of_another(tree: Root) -> None:
    write_receipt(tree, "gqa-images.zip", RECEIPT)
    assert read_receipt(tree, "vg-images.zip") is None

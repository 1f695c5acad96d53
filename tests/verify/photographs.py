"""Real photographs for tests of decoders, as scikit-image ships them, in the forms that data sets have."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

from PIL import Image


def folder() -> Path:
    """Where scikit-image has its pictures. The package itself is not loaded: that takes a second."""
    spec = find_spec("skimage")
    assert spec is not None, "scikit-image is not installed: pip install -e '.[dev]'"
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def photograph(name: str = "rocket.jpg") -> bytes:
    """The bytes of one of scikit-image's own files."""
    return (folder() / name).read_bytes()


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    """A portrait of an astronaut in another format."""
    stream = io.BytesIO()
    with Image.open(folder() / "astronaut.png") as picture:
        picture.convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def zeroed(data: bytes, count: int = 500) -> bytes:
    """The same bytes with zeros in the middle, as a broken disk or a broken transfer leaves them."""
    middle = len(data) // 2
    return data[:middle] + bytes(count) + data[middle + count :]

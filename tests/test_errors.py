"""The tree of errors: what its first lines draw is what the code holds."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from cvl import errors
from cvl.errors import CvlError, ManifestError, TransferError

CLASSES = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, CvlError)}
DRAWN = re.findall(r"^([│├└─ ]*)(\w+) +(\d+)  ", inspect.getdoc(errors) or "", flags=re.MULTILINE)


def test_every_error_is_drawn_with_its_exit_code() -> None:
    assert {name: int(code) for _, name, code in DRAWN} == {name: kind.exit_code for name, kind in CLASSES.items()}


def test_the_drawing_has_the_shape_of_the_classes() -> None:
    line: list[str] = []
    for indent, name, _ in DRAWN:
        line[len(indent) // 4 :] = [name]
        parents = [kind.__name__ for kind in reversed(CLASSES[name].__mro__) if kind.__name__ in CLASSES]
        assert parents == line


def test_exit_codes_are_those_that_the_help_names() -> None:
    codes = (errors.EXIT_DONE, errors.EXIT_FAILED, errors.EXIT_USAGE, errors.EXIT_PROBLEMS, errors.EXIT_CANCELLED)
    assert codes == (0, 1, 2, 3, 130)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"ManifestError"}))
def test_an_error_carries_its_message_and_its_hint(name: str) -> None:
    kind = CLASSES[name]
    assert (str(kind("what happened")), kind("x").hint) == ("what happened", None)
    assert kind("x", hint="cvl fetch coco").hint == "cvl fetch coco"


def test_a_manifest_error_names_the_file_the_key_and_the_mend() -> None:
    error = ManifestError(Path("own/mine.toml"), "files.url", "`x` has no scheme", mend="use https://")
    assert str(error) == "own/mine.toml: files.url: `x` has no scheme"
    assert (error.file, error.key, error.mend, error.hint) == (
        Path("own/mine.toml"),
        "files.url",
        "use https://",
        "use https://",
    )


def test_a_transfer_error_may_know_when_to_come_back() -> None:
    assert TransferError("x").retry_after is None
    assert TransferError("x", retry_after=30.0).retry_after == 30.0

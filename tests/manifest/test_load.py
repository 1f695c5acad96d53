from __future__ import annotations

from pathlib import Path

import pytest

from cvl.errors import EXIT_USAGE, ManifestError
from cvl.manifest import Source
from cvl.manifest.load import load


def refused(path: Path) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        load(path, Source)
    assert caught.value.file == path
    assert caught.value.exit_code == EXIT_USAGE
    return caught.value


def test_a_file_that_is_not_there_is_refused_with_the_systems_word(tmp_path: Path) -> None:
    error = refused(tmp_path / "mine.toml")
    assert str(error) == f"{tmp_path / 'mine.toml'}: whole file: cannot be read: No such file or directory"
    assert error.mend == "check that it is a file that you may read"


def test_a_folder_that_is_called_like_a_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.mkdir()
    assert "cannot be read: Is a directory" in str(refused(path))


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"title = T", "line 1, column 9"),
        (b'title = "T"\ntitle = "U"', "Cannot overwrite a value"),
        (b'title = "T"\n[[files]\n', "line 2"),
        (b'title = "\xff"', "can't decode byte 0xff"),
    ],
)
def test_what_is_not_toml_is_refused_with_the_place(tmp_path: Path, content: bytes, where: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    error = refused(path)
    assert (error.key, error.mend) == ("whole file", "see docs/manifests.md")
    assert "is not TOML: " in str(error)
    assert where in str(error)


def test_a_misspelt_key_is_told_before_the_missing_one_that_it_causes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[files]]\nnmae = "mine.zip"')
    assert (refused(path).key, refused(path).mend) == ("files[0].nmae", "did you mean `name`?")


def test_the_cause_is_kept_for_those_who_look_for_it(tmp_path: Path) -> None:
    assert isinstance(refused(tmp_path / "mine.toml").__cause__, FileNotFoundError)

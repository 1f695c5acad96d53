from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

import cvl
from cvl.train import provenance


def test_it_names_what_has_a_part_in_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/cvl", "train", "--stage", "1", "--root", "my tree"])
    provenance.write(tmp_path / "provenance.json", {"stage": 1})
    written = json.loads((tmp_path / "provenance.json").read_text())
    assert written["stage"] == 1
    assert written["command"] == "cvl train --stage 1 --root 'my tree'"
    assert written["versions"]["cvl"] == cvl.__version__
    assert {"python", "torch", "transformers"} <= set(written["versions"])
    assert written["written"].endswith("+00:00")


def test_digests_are_of_the_files_content_and_absent_files_have_none(tmp_path: Path) -> None:
    (tmp_path / "coco.toml").write_bytes(b"title")
    found = provenance.digests({"sources/coco": tmp_path / "coco.toml", "cvl.lock": tmp_path / "cvl.lock"})
    assert found == {"sources/coco": hashlib.sha256(b"title").hexdigest()}


def test_libraries_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_LIBRARIES", ("torch", "no-such-library"))
    assert set(provenance.versions()) == {"cvl", "python", "torch"}

"""Checkpoints made of the golden folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import TRAINED, copy
from huggingface_hub import close_session

from cvl.demo.internet import Internet
from cvl.train.checkpoint.published import import_published


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden checkpoint in our format. Not to be changed."""
    folder = tmp_path_factory.mktemp("ours") / "golden"
    import_published(TRAINED, folder)
    return folder


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The golden checkpoint as the published trainer saved it, to be changed."""
    return copy(TRAINED, tmp_path / "trained")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a hub's models, `ORGANISATION/NAME/FILE`, which this process finds at the usual address."""
    models = tmp_path / "internet/hub/models"
    models.mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with Internet(tmp_path / "internet") as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        close_session()
        yield models
        close_session()

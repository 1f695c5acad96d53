"""Repositories: what is brought of them, and the hub's refusals in our words."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import ENCODER, TRAINED, copy, files
from httpx2 import ConnectError

from cvl.errors import GoneError, RefusedError, TransferError, UsageError
from cvl.train.checkpoint.hub import fetch_repository

NAME = "ORG/Encoder"


@pytest.fixture
def repository(hub: Path) -> Path:
    return copy(ENCODER, hub / NAME)


def test_a_repository_comes_with_what_a_checkpoint_needs(repository: Path) -> None:
    for extra in ("README.md", "training_args.bin", "pytorch_model.bin", "runs/events.out"):
        (repository / extra).parent.mkdir(exist_ok=True)
        (repository / extra).write_bytes(b"x" * 2000)
    assert files(fetch_repository(NAME)) == files(ENCODER)


def test_pickled_weights_are_brought_where_there_are_no_others(repository: Path) -> None:
    (repository / "model.safetensors").rename(repository / "pytorch_model-00001-of-00001.bin")
    assert "pytorch_model-00001-of-00001.bin" in files(fetch_repository(NAME))


def test_a_tower_in_the_repository_of_its_model_comes_along_in_whatever_form(hub: Path) -> None:
    model = copy(TRAINED, hub / "ORG/Trained")
    (model / "checkpoint-500").mkdir()
    (model / "checkpoint-500/model.safetensors").touch()
    assert files(fetch_repository("ORG/Trained")) == files(TRAINED)


def test_what_is_in_the_cache_serves_when_the_hub_must_not_be_asked(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch_repository(NAME)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch_repository(NAME) == folder
    with pytest.raises(RefusedError, match="ORG/Other is not in the cache, and the hub cannot be asked") as caught:
        fetch_repository("ORG/Other")
    assert "HF_HUB_OFFLINE" in str(caught.value.hint)


def test_a_name_that_no_repository_can_have_is_wrong_usage(hub: Path) -> None:
    with pytest.raises(UsageError, match="'some/deep/folder' is neither a folder nor a repository"):
        fetch_repository("some/deep/folder")


def test_a_repository_that_does_not_exist_is_gone(hub: Path) -> None:
    with pytest.raises(GoneError, match="ORG/Absent: the hub has no such repository") as caught:
        fetch_repository("ORG/Absent")
    assert "HF_TOKEN" in str(caught.value.hint)


def test_a_gated_repository_says_what_to_do_and_opens_to_a_token(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".gated").touch()
    with pytest.raises(RefusedError, match="asks you to accept its terms") as caught:
        fetch_repository(NAME)
    assert "HF_TOKEN" in str(caught.value.hint)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert files(fetch_repository(NAME)) == files(ENCODER)


@pytest.mark.parametrize("failure", [ConnectError("no route to host"), OSError("the cache is not writable")])
def test_a_hub_that_cannot_be_reached_is_a_failed_transfer(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise failure

    # The library itself tries for half a minute before it says so.
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", fail)
    with pytest.raises(TransferError, match=f"{NAME}: {failure}") as caught:
        fetch_repository(NAME)
    assert "HF_ENDPOINT" in str(caught.value.hint)

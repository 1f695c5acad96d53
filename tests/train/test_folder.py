from __future__ import annotations

from pathlib import Path

import pytest

from cvl.errors import UsageError
from cvl.root import Root
from cvl.train.folder import StageFolder, stage_folder, step_of


@pytest.fixture
def folder(tmp_path: Path) -> StageFolder:
    return stage_folder(Root(tmp_path), "7b-768", 2)


def saved(folder: StageFolder, *steps: int) -> None:
    for step in steps:
        path = folder.path / f"checkpoint-{step}"
        path.mkdir(parents=True)
        (path / "model.safetensors").write_bytes(b"weights")


def test_a_stage_lies_under_its_runs_name(tmp_path: Path, folder: StageFolder) -> None:
    assert folder.path == tmp_path / "checkpoints/7b-768/stage2"
    assert not folder.path.exists()


def test_a_checkpoint_counts_only_once_it_is_whole(folder: StageFolder) -> None:
    assert folder.checkpoint() is None
    saved(folder, 500)
    assert folder.checkpoint() is None
    folder.mark_complete(500)
    assert folder.checkpoint() == folder.path / "checkpoint-500"


def test_steps_are_compared_as_numbers(folder: StageFolder) -> None:
    saved(folder, 500, 1000)
    for step in (1000, 500):
        (folder.path / f"checkpoint-{step}" / "complete").touch()
    found = folder.checkpoint()
    assert found is not None
    assert step_of(found) == 1000


def test_the_one_before_goes_only_when_the_next_is_whole(folder: StageFolder) -> None:
    saved(folder, 500)
    folder.mark_complete(500)
    saved(folder, 1000)
    assert folder.checkpoint() == folder.path / "checkpoint-500"
    folder.mark_complete(1000)
    assert [path.name for path in folder.path.iterdir()] == ["checkpoint-1000"]


def test_what_was_being_written_when_the_run_ended_is_removed(folder: StageFolder) -> None:
    saved(folder, 500, 1000)
    folder.mark_complete(500)
    folder.remove_incomplete()
    assert [path.name for path in folder.path.iterdir()] == ["checkpoint-500"]


def test_a_done_stage_keeps_the_model_and_what_tells_of_it(folder: StageFolder) -> None:
    saved(folder, 500)
    folder.start.mkdir()
    for path in (folder.path / "model.safetensors", folder.log, folder.provenance):
        path.write_text("{}")
    folder.tidy()
    assert {path.name for path in folder.path.iterdir()} == {"model.safetensors", "log.jsonl", "provenance.json"}
    assert folder.is_done


def test_a_folder_of_another_name_is_left_alone(folder: StageFolder) -> None:
    (folder.path / "checkpoint-best").mkdir(parents=True)
    folder.remove_incomplete()
    folder.tidy()
    assert (folder.path / "checkpoint-best").is_dir()


def done(folder: StageFolder, what: str) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.provenance.write_text(what)


def test_a_restart_removes_what_was_there_once_it_has_begun_well(folder: StageFolder) -> None:
    done(folder, "old")
    with folder.anew():
        assert not folder.path.exists()
        folder.path.mkdir()
    assert not folder.is_done
    assert [path.name for path in folder.path.parent.iterdir()] == ["stage2"]


def test_a_restart_that_fails_puts_back_what_was_there(folder: StageFolder) -> None:
    def fail() -> None:
        with folder.anew():
            done(folder, "half")
            raise ValueError("a mistake")

    done(folder, "old")
    with pytest.raises(ValueError, match="a mistake"):
        fail()
    assert folder.provenance.read_text() == "old"


def test_a_restart_that_was_killed_is_undone_by_the_next_run(folder: StageFolder) -> None:
    done(folder, "old")
    folder.path.rename(folder.path.with_name(".stage2.before"))
    done(folder, "half")
    with folder.held():
        assert folder.provenance.read_text() == "old"


def test_a_restart_of_what_is_not_there_is_no_error(folder: StageFolder) -> None:
    with folder.anew():
        folder.path.mkdir(parents=True)
    assert not folder.is_done


def test_the_trained_model_appears_when_all_of_it_is_written(folder: StageFolder) -> None:
    folder.path.mkdir(parents=True)
    (folder.path / "model.safetensors").write_text("old")
    with folder.finished() as unfinished:
        for name in ("config.json", "model.safetensors", "tokenizer.model"):
            (unfinished / name).write_text("new")
        assert (folder.path / "model.safetensors").read_text() == "old"
        assert not (folder.path / "config.json").exists()
    assert {path.name: path.read_text() for path in folder.path.iterdir()} == {
        "config.json": "new",
        "model.safetensors": "new",
        "tokenizer.model": "new",
    }


def test_what_was_half_written_is_of_no_matter(folder: StageFolder) -> None:
    def fail() -> None:
        with folder.finished() as unfinished:
            (unfinished / "model.safetensors").write_text("half")
            raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        fail()
    with folder.finished() as unfinished:
        (unfinished / "config.json").write_text("new")
    assert [path.name for path in folder.path.iterdir()] == ["config.json"]


def test_one_run_holds_the_folder_and_then_another(folder: StageFolder) -> None:
    with folder.held(), pytest.raises(UsageError, match="another cvl is training in") as caught, folder.held():
        pass
    assert caught.value.exit_code == 2
    with folder.held():
        # Nothing is created in it by holding it, so that it can still be cleared.
        assert not folder.path.exists()


def test_a_run_that_fails_holds_nothing(folder: StageFolder) -> None:
    with pytest.raises(ValueError, match="a mistake"), folder.held():
        raise ValueError("a mistake")
    with folder.held():
        pass


def test_start_weights_can_be_put_together_anew(folder: StageFolder) -> None:
    folder.start.mkdir(parents=True)
    (folder.start / "config.json").touch()
    saved(folder, 500)
    folder.remove_start()
    assert [path.name for path in folder.path.iterdir()] == ["checkpoint-500"]

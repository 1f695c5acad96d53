"""`cvl train`, `cvl chat` and `cvl export` as they are typed: what they print, and how they end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bench import PATIENCE, Typed, changed, command_line, folder_of, losses, weights
from PIL import Image
from support import Cvl
from workshop import GOLDEN, Workshop

from cvl.demo.internet import Internet
from cvl.train.checkpoint.published import open_published

PUBLISHED = GOLDEN / "model/golden_ckpt"

# Laid over Python's own search: what these packages are called is not found.
WITHOUT = """
import sys
from importlib.machinery import PathFinder
found = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {names} else found(name, path, target)
PathFinder.find_spec = find_spec
"""


@pytest.fixture(scope="module")
def checkpoint(journey: Workshop) -> Path:
    return folder_of(journey, "tiny", 3).path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.jpg"
    Image.new("RGB", (70, 50), (200, 30, 30)).save(path)
    return path


@pytest.mark.parametrize("package", ["torch", "transformers"])
@pytest.mark.parametrize("line", ["train --stage 1 --model tiny", "chat somewhere", "export somewhere there"])
def test_without_the_train_extra_it_says_how_to_install_it(
    workshop: Workshop, tmp_path: Path, line: str, package: str
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(WITHOUT.format(names={package}))
    cvl = command_line(workshop, tmp_path)
    done = cvl(*line.split(), env={"PYTHONPATH": f"{tmp_path / 'hidden'}:{cvl.environment['PYTHONPATH']}"})
    assert (done.code, done.stdout) == (2, "")
    command = line.partition(" ")[0]
    assert done.stderr == (
        f"error: cvl {command} needs {package}, which is not installed\n\nhint: pip install 'cvl[train]'\n"
    )


def test_deepspeed_is_needed_only_for_zero(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(WITHOUT.format(names={"deepspeed"}))
    cvl = command_line(workshop, tmp_path)
    hidden = {"PYTHONPATH": f"{tmp_path / 'hidden'}:{cvl.environment['PYTHONPATH']}"}
    line = "train --stage 1 --model tiny --set deepspeed="
    done = cvl(*f"{line}zero2".split(), env=hidden)
    assert done.code == 2
    assert done.stderr.startswith("error: cvl train needs deepspeed, which is not installed")
    done = cvl(*f"{line}none".split(), env=hidden)
    assert done.code == 0, done.stderr


@pytest.mark.parametrize(
    ("line", "problem", "hint"),
    [
        ("--stage 4", "there is no stage 4", "stages are 1, 2 and 3"),
        ("--stage 1 --model huge", "there is no model called `huge`", "models: 7b-1024, 7b-1536, 7b-768, tiny"),
        (
            "--stage 1 --model tiny --set learning_rat=1",
            "a stage has no `learning_rat`",
            "did you mean `learning_rate`?",
        ),
        ("--stage 1 --model tiny --set epochs=0", "document.epochs: ", "docs/manifests.md"),
        ("--stage 1 --model tiny --name ../mine", "`../mine` is no name for a run", "the name of a folder"),
        ("--stage 1 --model tiny --name .", "`.` is no name for a run", "the name of a folder"),
        ("--stage 1 --model tiny --processes 3", "a global batch of 8 cannot be shared out", "use 2 or 4 processes"),
        ("--stage 1 --model tiny --hostfile nowhere", "there is no hostfile at nowhere", "HOST slots=GPUS"),
        ("--stage 2 --model tiny", "stage 1 of tiny is not trained", "cvl train --stage 1 --model tiny\n"),
        ("--stage 3 --model tiny --from nowhere", "there is no checkpoint at nowhere", "ORGANISATION/NAME"),
        ("--stage 1", "the start weights of 7b-768 are not here", None),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(
    typed: Typed, workshop: Workshop, line: str, problem: str, hint: str | None
) -> None:
    if hint is None:
        shutil.rmtree(workshop.root.at("models"))
        hint = "cvl fetch vicuna convnext"
    done = typed(workshop, "train", *line.split())
    assert (done.code, done.stdout) == (2, "")
    told, _, hinted = done.stderr.partition("\n\nhint: ")
    assert problem in told
    assert hint in hinted


def test_a_tree_that_is_not_there_is_refused(typed: Typed, workshop: Workshop) -> None:
    shutil.rmtree(workshop.root.data)
    done = typed(workshop, "train", "--stage", "1", "--model", "tiny")
    assert done.code == 2
    assert "there is no tree at" in done.stderr


def test_a_run_says_what_it_is_about_to_do_and_what_became_of_it(typed: Typed, workshop: Workshop) -> None:
    workshop.picture(7).write_bytes(b"<html></html>")
    done = typed(workshop, "train", "--stage", "1", "--model", "tiny", "--seed", "3", "--set", "max_grad_norm=1")
    assert done.code == 0
    stage = folder_of(workshop, "tiny", 1)
    found = losses(stage)
    assert done.stdout == (
        f"trained: {stage.path}: 5 steps, loss {found[-1]:.4f}\n"
        "1 records left out: their pictures cannot be read, see damaged.jsonl there\n"
    )
    told = done.stderr.splitlines()
    assert told[0] == "putting the start weights together: vicuna-7b-v1.5 and LAION-CLIP-ConvNeXt-Large-512"
    assert "Stage 1: Tiny, Tiny" in told
    assert "seed: 3, the stage says 42" in told
    assert "max_grad_norm: 1.0, the stage says 0.0" in told
    steps = [line for line in told if line.startswith("step ")]
    assert [line.split("  ")[:2] for line in steps] == [
        [f"step {number} of 5", f"loss {loss:.4f}"] for number, loss in enumerate(found, 1)
    ]
    # The skip list is kept, but no report: nobody asked for one.
    assert workshop.root.skiplist.is_file()
    assert not workshop.root.report.exists()


def test_a_run_tells_scripts_everything_in_lines_of_json(typed: Typed, workshop: Workshop) -> None:
    done = typed(workshop, "train", "--stage", "1", "--model", "tiny", "--name", "mine", "--json")
    assert done.code == 0
    note, briefing, *steps, trained = done.lines
    assert note == {"note": "putting the start weights together: vicuna-7b-v1.5 and LAION-CLIP-ConvNeXt-Large-512"}
    assert briefing["briefing"]["batching"] == {"processes": 1, "micro": 4, "accumulation": 2}
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5]
    folder = str(folder_of(workshop, "mine", 1).path)
    assert trained == {"folder": folder, "steps": 5, "loss": steps[-1]["loss"], "damaged": 0, "already": False}
    again = typed(workshop, "train", "--stage", "1", "--model", "tiny", "--name", "mine", "--json")
    assert again.json == {"folder": folder, "steps": 0, "loss": None, "damaged": 0, "already": True}


def test_a_done_stage_is_not_trained_again(typed: Typed, journey: Workshop) -> None:
    done = typed(journey, "train", "--stage", "2", "--model", "tiny")
    assert (done.code, done.stdout) == (0, f"trained already: {folder_of(journey, 'tiny', 2).path}\n")


def test_a_loss_that_is_no_number_ends_the_run_with_1(typed: Typed, workshop: Workshop) -> None:
    done = typed(workshop, "train", "--stage", "1", "--model", "tiny", "--set", "learning_rate=1e30")
    assert (done.code, done.stdout) == (1, "")
    assert "error: the loss is nan at step 3 of 5" in done.stderr
    assert "hint: begin anew, --restart, with a smaller --set learning_rate" in done.stderr
    assert not folder_of(workshop, "tiny", 1).is_done
    line = ("train", "--stage", "1", "--model", "tiny")
    assert typed(workshop, *line, "--restart").code == 0


def test_fast_decode_is_a_setting_of_the_run(typed: Typed, workshop: Workshop) -> None:
    done = typed(workshop, "train", "--stage", "1", "--model", "tiny", "--fast-decode")
    assert done.code == 0
    provenance = json.loads(folder_of(workshop, "tiny", 1).provenance.read_text())
    assert provenance["settings"]["fast_decode"] is True


def test_inspection_shows_samples_and_trains_nothing(typed: Typed, workshop: Workshop) -> None:
    line = ("train", "--stage", "1", "--model", "tiny", "--inspect", "2")
    shown = typed(workshop, *line)
    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout.count("A chat between a curious user") == 2
    assert shown.stdout.count("⟦") == 2
    samples = typed(workshop, *line, "--json").json
    assert [sample["annotation"] for sample in samples] == ["tiny", "tiny"]
    for sample in samples:
        assert f"tiny, record {sample['record']}" in shown.stdout
    assert not workshop.root.checkpoints.exists()


@pytest.mark.parametrize("form", ["convllava", "hf"])
def test_a_trained_stage_is_exported_in_both_forms(
    typed: Typed, journey: Workshop, checkpoint: Path, tmp_path: Path, form: str
) -> None:
    target = tmp_path / form
    done = typed(journey, "export", checkpoint, target, "--format", form)
    assert done.code == 0
    assert done.stdout == f"exported, read again and compared: {target}\n"
    expected = weights(checkpoint)
    if form == "hf":
        assert changed(expected, weights(target)) == set()
        return
    assert "mm_vision_tower" in done.stderr
    pieces = open_published(target).source.pieces
    assert changed(expected, {piece.name: piece.tensor() for piece in pieces}) == set()


def test_an_export_may_have_another_precision(
    typed: Typed, journey: Workshop, checkpoint: Path, tmp_path: Path
) -> None:
    done = typed(journey, "export", checkpoint, tmp_path / "half", "--format", "hf", "--precision", "bf16", "--json")
    assert done.json == {"folder": str(tmp_path / "half"), "format": "hf", "remarks": []}
    assert {tensor.dtype for tensor in weights(tmp_path / "half").values()} == {torch.bfloat16}


def test_an_export_writes_over_nothing(typed: Typed, journey: Workshop, checkpoint: Path, picture: Path) -> None:
    done = typed(journey, "export", checkpoint, picture.parent)
    assert (done.code, done.stdout) == (2, "")
    assert f"{picture.parent} is there already" in done.stderr
    assert picture.is_file()


def test_what_is_no_checkpoint_is_not_exported(typed: Typed, journey: Workshop, tmp_path: Path) -> None:
    done = typed(journey, "export", journey.root.data, tmp_path / "out")
    assert (done.code, done.stdout) == (1, "")
    assert "config.json is missing" in done.stderr
    assert not (tmp_path / "out").exists()


def test_one_question_has_one_answer(typed: Typed, journey: Workshop, checkpoint: Path, picture: Path) -> None:
    line = ("chat", checkpoint, "--image", picture, "What is this?", "--max-new-tokens", "8")
    done = typed(journey, *line)
    assert done.code == 0
    assert done.stdout.endswith("\n")
    said = typed(journey, *line, "--json").json
    assert said["question"] == "What is this?"
    assert said["answer"] == done.stdout.strip()


def test_a_picture_that_cannot_be_read_ends_the_chat(
    typed: Typed, journey: Workshop, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "page.jpg").write_text("<html></html>")
    done = typed(journey, "chat", checkpoint, "--image", tmp_path / "page.jpg", "What is this?")
    assert (done.code, done.stdout) == (1, "")
    assert "page.jpg" in done.stderr


def test_a_chat_without_a_question_answers_line_by_line(
    typed: Typed, journey: Workshop, checkpoint: Path, picture: Path
) -> None:
    line = ("chat", checkpoint, "--image", picture, "--max-new-tokens", "6", "--json")
    done = typed(journey, *line, stdin="What is this?\n\n   \nAnd its colour?\n")
    assert [said["question"] for said in done.lines] == ["What is this?", "And its colour?"]
    # The second answer depends on what was said before.
    alone = typed(journey, *line, stdin="What is this?\n").json
    assert alone == done.lines[0]
    assert typed(journey, *line, stdin="").stdout == ""


def test_a_chat_as_a_process_prompts_on_stderr_and_answers_on_stdout(
    journey: Workshop, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    cvl = command_line(journey, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "cvl", "chat", checkpoint, "--image", picture, "--max-new-tokens", "6"],
        env=cvl.environment,
        input="What is this?\nAnd its colour?\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "> > > ")
    assert len(done.stdout.splitlines()) == 2


def test_stage_3_starts_from_a_published_checkpoint_of_the_hub(workshop: Workshop, tmp_path: Path) -> None:
    """In the form that the hub has: the language model's repository names another one for the vision tower."""
    models = tmp_path / "internet/hub/models/ConvLLaVA"
    shutil.copytree(PUBLISHED, models / "Pretrain", ignore=shutil.ignore_patterns("vision_tower"))
    shutil.copytree(PUBLISHED / "vision_tower", models / "Tower")
    config = json.loads((models / "Pretrain/config.json").read_text())
    (models / "Pretrain/config.json").write_text(json.dumps(config | {"mm_vision_tower": "ConvLLaVA/Tower"}))
    with Internet(tmp_path / "internet") as internet:
        cvl = Cvl(tmp_path, command_line(workshop, tmp_path).environment | internet.environment())
        done = cvl("train", "--stage", "3", "--model", "tiny", "--from", "ConvLLaVA/Pretrain", "--json")
    assert done.code == 0, done.stderr
    briefing = next(line for line in done.lines if "briefing" in line)["briefing"]
    assert briefing["start"] == "the published checkpoint ConvLLaVA/Pretrain"
    # The tower is where the config says, so there is nothing to mend.
    assert [note for note in briefing["notes"] if "pixels" not in note] == []
    before = {piece.name: piece.tensor() for piece in open_published(PUBLISHED).source.pieces}
    moved = changed(before, weights(folder_of(workshop, "tiny", 3).path))
    assert moved == {name for name in before if name.startswith(("projector.", "language_model."))}

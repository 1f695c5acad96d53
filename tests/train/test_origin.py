from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bench import MODEL, Told, changed, folder_of, train_here, weights
from workshop import GOLDEN, Workshop

from cvl.errors import CheckpointError, UsageError
from cvl.manifest import Catalog, load_catalog
from cvl.train.checkpoint.published import import_published
from cvl.train.job import Job
from cvl.train.origin import Origin, make, origin_of

PUBLISHED = GOLDEN / "model/golden_ckpt"


@pytest.fixture
def catalog(workshop: Workshop) -> Catalog:
    return load_catalog(workshop.manifests)


def job(catalog: Catalog, stage: int, name: str = MODEL, **more: str) -> Job:
    return replace(Job(stage, catalog.stages[stage], MODEL, name), **more)  # type: ignore[arg-type]


def test_stage_1_starts_from_the_two_parts_of_the_models_manifest(workshop: Workshop, catalog: Catalog) -> None:
    origin = origin_of(catalog, workshop.root, job(catalog, 1))
    at = workshop.root.at
    assert origin.parts == (at("models/vicuna-7b-v1.5"), at("models/LAION-CLIP-ConvNeXt-Large-512"))
    assert origin.folder == folder_of(workshop, MODEL, 1).start
    assert origin.has_to_be_made
    assert not origin.folder.parent.exists()


@pytest.mark.parametrize(
    ("gone", "command"),
    [
        (["vicuna-7b-v1.5"], "cvl fetch vicuna"),
        (["LAION-CLIP-ConvNeXt-Large-512"], "cvl fetch convnext"),
        (["vicuna-7b-v1.5", "LAION-CLIP-ConvNeXt-Large-512"], "cvl fetch vicuna convnext"),
    ],
)
def test_start_weights_that_are_not_here_come_with_the_command_that_brings_them(
    workshop: Workshop, catalog: Catalog, gone: list[str], command: str
) -> None:
    for name in gone:
        shutil.rmtree(workshop.root.at(f"models/{name}"))
    with pytest.raises(UsageError, match="the start weights of tiny are not here") as caught:
        origin_of(catalog, workshop.root, job(catalog, 1))
    assert caught.value.hint == command


@pytest.mark.parametrize(
    ("stage", "name", "command"),
    [
        (2, MODEL, "cvl train --stage 1 --model tiny"),
        (
            3,
            "mine",
            "cvl train --stage 2 --model tiny --name mine, "
            "or begin from a published one: --from ConvLLaVA/ConvLLaVA-pretrain-128",
        ),
    ],
)
def test_a_stage_before_that_is_not_trained_comes_with_the_command_that_trains_it(
    workshop: Workshop, catalog: Catalog, stage: int, name: str, command: str
) -> None:
    # A folder is not enough: it may be of a run that was stopped.
    folder_of(workshop, name, stage - 1).path.mkdir(parents=True)
    with pytest.raises(UsageError, match=f"stage {stage - 1} of {name} is not trained") as caught:
        origin_of(catalog, workshop.root, job(catalog, stage, name))
    assert caught.value.hint == command


def test_a_stage_starts_from_the_one_before_of_the_same_run(workshop: Workshop, catalog: Catalog) -> None:
    before = folder_of(workshop, "mine", 2)
    before.path.mkdir(parents=True)
    before.provenance.write_text("{}")
    (before.path / "config.json").write_text('{"model_type": "convllava"}')
    origin = origin_of(catalog, workshop.root, job(catalog, 3, "mine"))
    assert (origin.folder, origin.has_to_be_made) == (before.path, False)
    assert origin.text == "stage 2 of mine"


def test_a_named_checkpoint_of_ours_is_used_in_place(workshop: Workshop, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/config.json").write_text('{"model_type": "convllava"}')
    named = str(tmp_path / "ours")
    assert origin_of(catalog, workshop.root, job(catalog, 3, start=named)) == Origin(
        f"the checkpoint at {named}", tmp_path / "ours"
    )


@pytest.mark.parametrize("named", [str(PUBLISHED), "ConvLLaVA/ConvLLaVA-pretrain-768"])
def test_a_published_one_is_put_into_our_format_for_the_run(workshop: Workshop, catalog: Catalog, named: str) -> None:
    origin = origin_of(catalog, workshop.root, job(catalog, 3, start=named, vision_tower="ORG/TOWER"))
    assert (origin.published, origin.vision_tower) == (named, "ORG/TOWER")
    assert origin.folder == folder_of(workshop, MODEL, 3).start
    assert origin.has_to_be_made


@pytest.mark.parametrize("named", ["nowhere", "./nowhere/else", "/nowhere/else", "~/else", "a/b/c"])
def test_a_checkpoint_that_is_not_there_is_the_users_mistake(workshop: Workshop, catalog: Catalog, named: str) -> None:
    with pytest.raises(UsageError, match="there is no checkpoint at") as caught:
        origin_of(catalog, workshop.root, job(catalog, 3, start=named))
    assert "ORGANISATION/NAME" in str(caught.value.hint)


def test_a_folder_that_holds_something_else_is_no_checkpoint(
    workshop: Workshop, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="holds no checkpoint"):
        origin_of(catalog, workshop.root, job(catalog, 3, start=str(workshop.root.data)))


def test_start_weights_are_written_in_the_runs_precision(workshop: Workshop, catalog: Catalog) -> None:
    origin = origin_of(catalog, workshop.root, job(catalog, 1))
    scripts = catalog.stages[1].scripts.model_copy(update={"precision": "bf16"})
    assert make(origin, catalog.models[MODEL], catalog.stages[1].model_copy(update={"scripts": scripts})) == ()
    assert not origin.has_to_be_made
    assert {tensor.dtype for tensor in weights(origin.folder).values()} == {torch.bfloat16}


def test_a_published_checkpoint_that_is_damaged_is_told_of(
    workshop: Workshop, catalog: Catalog, tmp_path: Path
) -> None:
    shutil.copytree(PUBLISHED, tmp_path / "broken")
    (tmp_path / "broken/model.safetensors").unlink()
    origin = origin_of(catalog, workshop.root, job(catalog, 3, start=str(tmp_path / "broken")))
    with pytest.raises(CheckpointError):
        make(origin, catalog.models[MODEL], catalog.stages[3])
    assert origin.has_to_be_made


def test_stage_3_starts_from_a_published_checkpoint_and_says_what_it_mended(workshop: Workshop, tmp_path: Path) -> None:
    told = Told()
    done = train_here(workshop, 3, start=PUBLISHED, told=told)
    assert told.notes == [f"putting the start weights together: the published checkpoint {PUBLISHED}"]
    mended, size = told.brief.notes
    assert "the trained one in vision_tower/ is taken" in mended
    assert "was trained at 256 pixels, this run trains at 128: --model names another size" in size
    provenance = json.loads((done.folder / "provenance.json").read_text())
    assert provenance["notes"] == [mended]
    assert provenance["start"] == f"the published checkpoint {PUBLISHED}"

    import_published(PUBLISHED, tmp_path / "ours")
    before, after = weights(tmp_path / "ours"), weights(done.folder)
    different = changed(before, after)
    assert different == {name for name in before if name.startswith(("projector.", "language_model."))}


def test_it_starts_from_the_same_checkpoint_in_our_format_just_the_same(workshop: Workshop, tmp_path: Path) -> None:
    import_published(PUBLISHED, tmp_path / "ours", dtype=torch.float32)
    published = train_here(workshop, 3, name="published", start=PUBLISHED)
    ours = train_here(workshop, 3, name="ours", start=tmp_path / "ours")
    assert changed(weights(published.folder), weights(ours.folder)) == set()
    # It is the user's, and stays.
    assert (tmp_path / "ours/config.json").is_file()


def test_a_stage_cannot_start_from_the_folder_that_it_writes(workshop: Workshop, catalog: Catalog) -> None:
    train_here(workshop, 1)
    for place in (folder_of(workshop, MODEL, 1).path, folder_of(workshop, MODEL, 1).path / "tensorboard"):
        with pytest.raises(UsageError, match="a stage cannot start from the folder that it writes"):
            origin_of(catalog, workshop.root, job(catalog, 1, start=str(place)))


def test_a_run_that_is_not_at_its_end_is_no_checkpoint(workshop: Workshop, catalog: Catalog) -> None:
    unfinished = folder_of(workshop, "mine", 2)
    unfinished.path.mkdir(parents=True)
    unfinished.run.write_text("{}")
    with pytest.raises(UsageError, match="is not trained to its end"):
        origin_of(catalog, workshop.root, job(catalog, 3, start=str(unfinished.path)))

"""What each stage changes, and what it leaves beside its weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from bench import changed, command_line, folder_of, logged, losses, train_here, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from workshop import RECORDS, Workshop

from cvl.errors import UsageError
from cvl.manifest import load_catalog, override
from cvl.root import Root
from cvl.train.checkpoint.start import assemble_start

EARLY = r"vision_tower\.(embeddings|encoder\.stages\.[01])\."
MIDDLE = r"vision_tower\.encoder\.stages\.[23]\."
FIFTH = r"vision_tower\.encoder\.stages\.4\."
PROJECTOR = r"projector\."
WORDS = r"language_model\."
HEAD = r"language_model\.lm_head\."


def like(names: object, *patterns: str) -> set[str]:
    """The names that begin like one of these."""
    assert isinstance(names, dict | set)
    return {name for name in names if re.match("|".join(patterns), name)}


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory, journey: Workshop) -> dict[str, Tensor]:
    """The weights that stage 1 began with, put together anew."""
    folder = tmp_path_factory.mktemp("start") / "start"
    return weights(assembled(journey.root, journey.manifests, folder, seed=42))


def assembled(root: Root, manifests: Path, folder: Path, seed: int) -> Path:
    assemble_start(
        root.at("models/vicuna-7b-v1.5"),
        root.at("models/LAION-CLIP-ConvNeXt-Large-512"),
        folder,
        load_catalog(manifests).models["tiny"],
        max_length=128,
        seed=seed,
    )
    return folder


@pytest.fixture(scope="session")
def trained(journey: Workshop) -> list[dict[str, Tensor]]:
    """The weights after each of the three stages."""
    return [weights(folder_of(journey, "tiny", stage).path) for stage in (1, 2, 3)]


def test_stage_1_changes_exactly_the_fifth_stage_and_the_projector(
    start: dict[str, Tensor], trained: list[dict[str, Tensor]]
) -> None:
    assert changed(start, trained[0]) == like(start, FIFTH, PROJECTOR)
    assert like(start, FIFTH)
    assert len(like(start, PROJECTOR)) == 4


def test_stage_2_changes_exactly_the_tower_from_its_third_stage_on_projector_and_language_model(
    trained: list[dict[str, Tensor]],
) -> None:
    assert changed(trained[0], trained[1]) == like(trained[0], MIDDLE, FIFTH, PROJECTOR, WORDS)


def test_stage_3_changes_exactly_projector_and_language_model(trained: list[dict[str, Tensor]]) -> None:
    assert changed(trained[1], trained[2]) == like(trained[1], PROJECTOR, WORDS)


def test_the_published_stage_1_changes_the_head_as_well(journey: Workshop, start: dict[str, Tensor]) -> None:
    done = train_here(journey, 1, "train=+lm_head", name="published", restart=True)
    assert changed(start, weights(done.folder)) == like(start, FIFTH, PROJECTOR, HEAD)


def test_what_rests_stays_bit_for_bit_in_bf16_too(journey: Workshop, tmp_path: Path) -> None:
    start = str(folder_of(journey, "tiny", 2).path)
    line = "train --stage 3 --model tiny --name half --restart --set precision=bf16 --set deepspeed=zero2 --from"
    done = command_line(journey, tmp_path)(*line.split(), start)
    assert done.code == 0, done.stderr
    before = {name: tensor.bfloat16() for name, tensor in weights(folder_of(journey, "tiny", 2).path).items()}
    after = weights(folder_of(journey, "half", 3).path)
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    assert changed(before, after) == like(before, PROJECTOR, WORDS)


def test_bf16_alone_would_round_steps_away_and_is_refused(journey: Workshop) -> None:
    with pytest.raises(UsageError, match="bf16 without ZeRO") as caught:
        train_here(journey, 1, "precision=bf16", name="coarse")
    assert "--set deepspeed=zero2" in str(caught.value.hint)


def test_the_loss_falls(journey: Workshop) -> None:
    first, last = losses(folder_of(journey, "tiny", 2)), losses(folder_of(journey, "tiny", 3))
    assert last[-1] < first[0] - 1


def test_the_log_has_a_line_a_step(journey: Workshop) -> None:
    lines = logged(folder_of(journey, "tiny", 1))
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert {line["steps"] for line in lines} == {5}
    assert lines[-1]["epoch"] == 1
    # It rises for one step and falls as a cosine does.
    rates = [line["learning_rate"] for line in lines]
    assert rates == [pytest.approx(1e-3 * share, rel=1e-5) for share in (0, 1, 0.853553, 0.5, 0.146447)]
    assert all(line["records_per_second"] > 0 for line in lines)


def test_tensorboard_has_the_same_losses(journey: Workshop) -> None:
    stage = folder_of(journey, "tiny", 1)
    events = EventAccumulator(str(stage.tensorboard))
    events.Reload()
    scalars = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert scalars == [(line["step"], pytest.approx(line["loss"])) for line in logged(stage)]


def test_a_done_stage_holds_the_model_and_what_tells_of_it_and_nothing_else(journey: Workshop) -> None:
    stage = folder_of(journey, "tiny", 1)
    assert {path.name for path in stage.path.iterdir()} == {
        "config.json",
        "generation_config.json",
        "log.jsonl",
        "model.safetensors",
        "preprocessor_config.json",
        "provenance.json",
        "run.json",
        "special_tokens_map.json",
        "tensorboard",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    }
    config = json.loads((stage.path / "config.json").read_text())
    assert (config["model_type"], config["resolution"], config["max_length"]) == ("convllava", 128, 128)
    assert config["text_config"]["use_cache"] is True
    picture = json.loads((stage.path / "preprocessor_config.json").read_text())
    assert picture["crop_size"] == {"height": 128, "width": 128}


def test_provenance_names_everything_that_made_the_numbers(journey: Workshop) -> None:
    stage = folder_of(journey, "tiny", 2)
    told = json.loads(stage.provenance.read_text())
    assert (told["stage"], told["model"], told["command"]) == (2, "tiny", "cvl train --stage 2 --model tiny")
    assert told["start"] == "stage 1 of tiny"
    assert told["settings"]["learning_rate"] == 1e-3
    assert told["settings"]["seed"] == 42
    assert told["learning_rates"] == {"vision_tower.": 1e-3, "projector.": 1e-3, "language_model.": 1e-3}
    assert told["batch"] == {"processes": 1, "micro": 4, "accumulation": 2}
    assert told["data"] == [{"name": "tiny", "records": RECORDS, "pictures": 32, "skipped": {}, "remarks": {}}]
    assert told["damaged"] == 0
    assert told["loss"] == logged(stage)[-1]["loss"]
    assert {"cvl", "python", "torch", "transformers", "accelerate", "deepspeed"} <= set(told["versions"])
    assert re.fullmatch(r"[0-9a-f]{64}", told["manifests"]["sources/tiny"])
    assert {"stages/stage2", "models/tiny"} <= set(told["manifests"])
    assert told["lock"] is None


def test_provenance_knows_the_lock_where_there_is_one(journey: Workshop) -> None:
    journey.root.lock.write_text("{}")
    done = train_here(journey, 1, name="locked", restart=True)
    assert re.fullmatch(r"[0-9a-f]{64}", json.loads((done.folder / "provenance.json").read_text())["lock"])
    journey.root.lock.unlink()


def test_a_done_stage_is_not_trained_again(journey: Workshop) -> None:
    stage = folder_of(journey, "tiny", 2)
    before = stage.provenance.stat()
    again = train_here(journey, 2)
    assert (again.already, again.steps, again.loss, again.damaged) == (True, 0, None, 0)
    assert stage.provenance.stat() == before


def test_a_done_stage_is_not_taken_for_another(journey: Workshop) -> None:
    with pytest.raises(
        UsageError, match=r"stage 2 of tiny is trained already, with learning_rate 0\.001, not 0\.01"
    ) as caught:
        train_here(journey, 2, "learning_rate=1e-2")
    assert "--name NEW" in str(caught.value.hint)
    with pytest.raises(UsageError, match="trained already, with start stage 1 of tiny, not the checkpoint at"):
        train_here(journey, 2, start=folder_of(journey, "tiny", 1).path)


def test_restart_forgets_a_done_stage(journey: Workshop) -> None:
    first = train_here(journey, 1, name="again")
    before = weights(first.folder)
    second = train_here(journey, 1, "seed=7", name="again", restart=True)
    assert not second.already
    # Another seed has another fifth stage to begin with; the encoder that is here stays.
    assert changed(before, weights(second.folder)) == like(before, FIFTH, PROJECTOR)


def test_the_same_run_gives_the_same_weights(journey: Workshop, trained: list[dict[str, Tensor]]) -> None:
    done = train_here(journey, 1, name="same", restart=True)
    assert changed(trained[0], weights(done.folder)) == set()


def test_the_projectors_rate_is_its_own(journey: Workshop, start: dict[str, Tensor]) -> None:
    done = train_here(journey, 1, "projector_learning_rate=1e-12", name="slow", restart=True)
    after = weights(done.folder)

    def moved(pattern: str) -> float:
        return max((after[name] - start[name]).abs().max().item() for name in like(start, pattern))

    assert moved(PROJECTOR) < 1e-9
    assert moved(FIFTH) > 1e-4
    rates = json.loads((done.folder / "provenance.json").read_text())["learning_rates"]
    assert rates == {"vision_tower.": 1e-3, "projector.": 1e-12, "language_model.": 1e-3}


def test_the_towers_rate_is_its_own(journey: Workshop) -> None:
    before = weights(folder_of(journey, "tiny", 1).path)
    after = {}
    for name, rate in (("crawl", "1e-9"), ("walk", "1e-4")):
        done = train_here(journey, 2, f"vision_tower_learning_rate={rate}", name=name, start=before_stage_2(journey))
        after[name] = weights(done.folder)

    def moved(name: str, pattern: str) -> float:
        return max((after[name][key] - before[key]).abs().max().item() for key in like(before, pattern))

    assert moved("crawl", FIFTH) < 1e-7
    assert 1e-5 < moved("walk", FIFTH) < 1e-3
    assert moved("crawl", WORDS) == pytest.approx(moved("walk", WORDS), rel=0.2)


def before_stage_2(shop: Workshop) -> Path:
    return folder_of(shop, "tiny", 1).path


def test_a_change_of_this_run_does_not_reach_the_manifest(journey: Workshop) -> None:
    stage = load_catalog(journey.manifests).stages[1]
    assert override(stage, ["epochs=2"]).document.epochs == 2
    assert load_catalog(journey.manifests).stages[1] == stage

"""The published layout: a trainer's folder, a pair of repositories, and what is wrong with either."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from folders import ENCODER, LLM, TRAINED, change, copy, files, loaded, read, same, tensors
from safetensors.torch import save_file

from cvl.errors import CheckpointError, GoneError, UsageError
from cvl.train.checkpoint.published import import_published, is_published, open_published
from cvl.train.model import ConvLlava

NAMES_ANOTHER = (
    "config.json names golden/model/base_convnext as the vision tower, since the published trainer records the one "
    "that it began with; the trained one in vision_tower/ is taken"
)


def name_tower(folder: Path, tower: object) -> None:
    change(folder / "config.json", lambda entries: entries.update(mm_vision_tower=str(tower)))


def as_published(content: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Our tensors under the published names: language model and projector, vision tower."""
    names = {
        name: name.replace("projector.", "model.mm_projector.").removeprefix("language_model.") for name in content
    }
    words = {names[name]: tensor for name, tensor in content.items() if not name.startswith("vision_tower.")}
    tower = {name.removeprefix("vision_tower."): t for name, t in content.items() if name.startswith("vision_tower.")}
    return words, tower


def test_every_tensor_of_a_trainers_folder_is_read_bit_for_bit(ours: Path) -> None:
    words, tower = as_published(tensors(ours))
    assert same(words, tensors(TRAINED))
    assert same(tower, tensors(TRAINED / "vision_tower"))


def test_what_was_read_is_a_whole_checkpoint_of_ours(ours: Path) -> None:
    model, report = loaded(ConvLlava, ours)
    assert not any(report.values())
    config = model.config
    assert (config.resolution, config.max_length, config.projector) == (256, 2048, "mlp2x_gelu")
    assert config.text_config.rope_parameters["rope_theta"] == 10000.0
    assert not hasattr(config.text_config, "mm_hidden_size")
    assert {"tokenizer.model", "tokenizer_config.json", "preprocessor_config.json"} < files(ours)


def test_the_trained_tower_counts_and_not_the_one_that_training_began_with(tmp_path: Path) -> None:
    assert import_published(TRAINED, tmp_path / "ours") == (NAMES_ANOTHER,)


def test_a_config_that_names_the_right_tower_needs_no_word(trained: Path, tmp_path: Path) -> None:
    name_tower(trained, trained / "vision_tower")
    assert import_published(trained, tmp_path / "ours") == ()


@pytest.mark.parametrize("form", ["safetensors", "sharded"])
def test_the_tower_may_lie_there_in_any_form(form: str, trained: Path, ours: Path, tmp_path: Path) -> None:
    tower = trained / "vision_tower"
    content = tensors(tower)
    (tower / "pytorch_model.bin").unlink()
    if form == "safetensors":
        save_file(content, tower / "model.safetensors")
    else:
        weight_map = {name: f"pytorch_model-{index % 2}.bin" for index, name in enumerate(content)}
        for file in set(weight_map.values()):
            torch.save({name: content[name] for name in content if weight_map[name] == file}, tower / file)
        (tower / "pytorch_model.bin.index.json").write_text(f'{{"weight_map": {weight_map}}}'.replace("'", '"'))
    import_published(trained, tmp_path / "ours")
    assert same(tensors(tmp_path / "ours"), tensors(ours))


@pytest.mark.parametrize("place", ["absolute", "in the folder", "below the current folder"])
def test_a_tower_that_lies_elsewhere_is_found_where_the_config_says(
    place: str, trained: Path, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = (trained if place == "in the folder" else tmp_path) / "tower"
    shutil.move(trained / "vision_tower", elsewhere)
    name_tower(trained, elsewhere if place == "absolute" else "tower")
    if place == "below the current folder":
        monkeypatch.chdir(tmp_path)
    assert import_published(trained, tmp_path / "ours") == ()
    assert same(tensors(tmp_path / "ours"), tensors(ours))


def test_the_user_may_say_where_the_tower_lies(trained: Path, ours: Path, tmp_path: Path) -> None:
    shutil.move(trained / "vision_tower", tmp_path / "tower")
    assert import_published(trained, tmp_path / "ours", vision_tower=tmp_path / "tower") == ()
    assert same(tensors(tmp_path / "ours"), tensors(ours))


def test_a_tower_of_another_width_is_refused_and_both_are_named(trained: Path, tmp_path: Path) -> None:
    shutil.rmtree(trained / "vision_tower")
    name_tower(trained, ENCODER)
    with pytest.raises(CheckpointError) as caught:
        import_published(trained, tmp_path / "ours")
    assert str(ENCODER) in str(caught.value)
    assert "is 64 wide, but the projector wants 128 (mm_hidden_size)" in str(caught.value)
    assert "--vision-tower" in str(caught.value.hint)
    assert not (tmp_path / "ours").exists()


def test_a_tower_that_is_nowhere_is_asked_for(trained: Path, hub: Path, tmp_path: Path) -> None:
    shutil.rmtree(trained / "vision_tower")
    with pytest.raises(
        CheckpointError, match=r"has no vision_tower/ with weights, .* names golden/model/base"
    ) as caught:
        open_published(trained)
    assert "--vision-tower" in str(caught.value.hint)
    name_tower(trained, "ORG/Gone")
    with pytest.raises(CheckpointError, match="ORG/Gone: the hub has no such repository"):
        open_published(trained)


def test_a_pair_of_repositories_is_read_from_the_hub(hub: Path, ours: Path, tmp_path: Path) -> None:
    pretrain = copy(TRAINED, hub / "ORG/Pretrain-256")
    shutil.move(pretrain / "vision_tower", hub / "ORG/Tower-256")
    change(
        pretrain / "config.json", lambda entries: entries.update(model_type="llava", mm_vision_tower="ORG/Tower-256")
    )
    torch.save(tensors(pretrain), pretrain / "pytorch_model.bin")
    (pretrain / "model.safetensors").unlink()
    assert import_published("ORG/Pretrain-256", tmp_path / "ours") == ()
    assert same(tensors(tmp_path / "ours"), tensors(ours))


def test_another_repository_may_be_named_for_the_tower(hub: Path, trained: Path, ours: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "vision_tower", hub / "ORG/Tower")
    shutil.rmtree(trained / "vision_tower")
    import_published(trained, tmp_path / "ours", vision_tower="ORG/Tower")
    assert same(tensors(tmp_path / "ours"), tensors(ours))


def test_a_repository_that_is_not_there_is_gone(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(GoneError, match="ORG/Absent: the hub has no such repository"):
        import_published("ORG/Absent", tmp_path / "ours")


def test_tensors_may_be_written_in_another_type(tmp_path: Path) -> None:
    import_published(TRAINED, tmp_path / "ours", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in tensors(tmp_path / "ours").values()} == {torch.bfloat16}
    assert read(tmp_path / "ours/config.json")["dtype"] == "bfloat16"


def test_published_checkpoints_are_told_from_all_else(ours: Path, tmp_path: Path) -> None:
    assert is_published(TRAINED)
    assert not any(is_published(folder) for folder in (ours, LLM, ENCODER, TRAINED / "vision_tower", tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llava", "text_config": {}}')
    assert not is_published(tmp_path)


def test_another_model_is_no_published_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"base_llm is no published ConvLLaVA: .* names no mm_vision_tower"):
        import_published(LLM, tmp_path / "ours")


@pytest.mark.parametrize(
    ("key", "value"), [("mm_vision_select_layer", -2), ("mm_use_im_start_end", True), ("mm_patch_merge_type", "unpad")]
)
def test_relatives_that_compute_something_else_are_refused(
    key: str, value: object, trained: Path, tmp_path: Path
) -> None:
    change(trained / "config.json", lambda entries: entries.update({key: value}))
    with pytest.raises(CheckpointError, match=f"the checkpoint has {key} = {value!r}, expected"):
        import_published(trained, tmp_path / "ours")


def test_the_resolution_is_what_the_preprocessor_makes(trained: Path, tmp_path: Path) -> None:
    crop = trained / "vision_tower/preprocessor_config.json"
    change(crop, lambda entries: entries.update(crop_size=512))
    import_published(trained, tmp_path / "ours")
    assert read(tmp_path / "ours/config.json")["resolution"] == 512
    change(crop, lambda entries: entries.update(crop_size={"height": 100, "width": 100}))
    with pytest.raises(UsageError, match="a resolution of 100 pixels"):
        import_published(trained, tmp_path / "other")
    change(crop, lambda entries: entries.pop("crop_size"))
    with pytest.raises(CheckpointError, match="names no crop_size"):
        import_published(trained, tmp_path / "other")


def test_a_projector_that_is_missing_is_named(trained: Path, tmp_path: Path) -> None:
    content = {name: tensor for name, tensor in tensors(trained).items() if "mm_projector.2" not in name}
    save_file(content, trained / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"trained: tensors are missing: projector.2.bias, projector.2.weight"):
        import_published(trained, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()

from __future__ import annotations

import pytest

from cvl.errors import ManifestError, UsageError
from cvl.manifest import Stage, load_catalog, override, settings


@pytest.fixture(scope="module")
def stage() -> Stage:
    return load_catalog().stages[2]


@pytest.mark.parametrize(
    ("change", "table", "value"),
    [
        ("learning_rate=1e-5", "document", 1e-5),
        ("batch_size=64", "document", 64),
        ("max_grad_norm=1", "scripts", 1),
        ("precision=fp32", "scripts", "fp32"),
        ('precision="fp32"', "scripts", "fp32"),
        ("adam_betas=[0.9, 0.95]", "scripts", (0.9, 0.95)),
        ("activation_checkpointing=false", "scripts", False),
        ("vision_tower_learning_rate=2e-6", "scripts", 2e-6),
        ("workers=0", "run", 0),
        ("bad_records=skip", "run", "skip"),
    ],
)
def test_a_key_of_any_table_is_set_and_all_else_stays(stage: Stage, change: str, table: str, value: object) -> None:
    key = change.partition("=")[0]
    changed = override(stage, [change])
    assert getattr(getattr(changed, table), key) == value
    before, after = settings(stage), settings(changed)
    assert {name for name in before if before[name] != after[name]} == {key}


def test_the_published_first_stage_is_one_change_away() -> None:
    first = load_catalog().stages[1]
    assert override(first, ["train=+lm_head"]).train == (*first.train, "lm_head")


@pytest.mark.parametrize(
    ("change", "data"),
    [
        ("data=llava665k", ["llava665k"]),
        ("data=lcs, vflan", ["lcs", "vflan"]),
        ("data=+lcs,-vflan", ["-vflan", "+lcs"]),
        ("data=+vflan", []),
        ("data=-nothing", []),
    ],
)
def test_a_list_is_replaced_or_joined_or_left(stage: Stage, change: str, data: list[str]) -> None:
    before = list(stage.data)
    expected = [name for name in before if f"-{name}" not in data] if "+" in change or "-" in change else data
    expected += [name[1:] for name in data if name[0] == "+"]
    # What joins again stands at the end, once.
    assert sorted(override(stage, [change]).data) == sorted(expected)


def test_later_changes_win(stage: Stage) -> None:
    assert override(stage, ["epochs=2", "epochs=3"]).document.epochs == 3


def test_no_change_is_the_same_stage(stage: Stage) -> None:
    assert override(stage, []) == stage


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("learning_rat=1", "learning_rate"),
        ("title=Mine", "a stage has:"),
        ("starts_from=weights", "a stage has:"),
        ("learning_rate", "--set learning_rate=VALUE"),
        ("=3", "a stage has:"),
    ],
)
def test_what_is_no_setting_is_refused_with_the_nearest(stage: Stage, change: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        override(stage, [change])
    assert change in str(caught.value)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("learning_rate=0", "document.learning_rate"),
        ("learning_rate=fast", "document.learning_rate"),
        ("deepspeed=zero9", "scripts.deepspeed"),
        ("train=everything", "train"),
        ("train=", "train"),
        ("train=-projector,-language_model,-vision_tower.stage3,-vision_tower.stage4,-vision_tower.stage5", "train"),
        ("seed=-1", "scripts.seed"),
        ("max_skipped=2", "run.max_skipped"),
    ],
)
def test_a_value_that_a_stage_cannot_have_is_refused_like_in_a_manifest(stage: Stage, change: str, key: str) -> None:
    with pytest.raises(ManifestError) as caught:
        override(stage, [change])
    assert caught.value.key.startswith(key)
    assert caught.value.file == f"--set {change}"
    assert caught.value.mend

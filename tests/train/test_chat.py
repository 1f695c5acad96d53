from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import folder_of
from PIL import Image
from safetensors.torch import load_file, save_file
from workshop import GOLDEN, Workshop

from cvl.errors import CheckpointError, ImageError, UsageError
from cvl.root import Root
from cvl.train import chat as chatting
from cvl.train.chat import Chat, Decoding, open_chat
from cvl.train.samples.conversation import SYSTEM

PUBLISHED = GOLDEN / "model/golden_ckpt"
SHORT = Decoding(max_new_tokens=12)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "ShareGPT4V")


@pytest.fixture(scope="module")
def checkpoint(journey: Workshop) -> str:
    return str(folder_of(journey, "tiny", 3).path)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (70, 50), (200, 30, 30)).save(path)
    return path


@pytest.fixture
def talk(root: Root, checkpoint: str, picture: Path) -> Chat:
    return open_chat(root, checkpoint, picture)


def ask(chat: Chat, text: str, decoding: Decoding = SHORT) -> tuple[str, list[str]]:
    pieces: list[str] = []
    return chat.ask(text, decoding, pieces.append), pieces


def prompts(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The ids that the model is given from here on."""
    given: list[torch.Tensor] = []
    model: Any = chat.model
    generate = model.generate

    def remember(input_ids: torch.Tensor, **more: Any) -> Any:
        given.append(input_ids)
        return generate(input_ids=input_ids, **more)

    monkeypatch.setattr(model, "generate", remember)
    return given


def test_the_answer_comes_in_pieces_as_it_is_found(talk: Chat) -> None:
    answer, pieces = ask(talk, "What is this?")
    assert answer
    assert len(pieces) > 1
    assert "".join(pieces).strip() == answer
    assert "USER" not in answer
    assert "</s>" not in answer


def test_the_likeliest_words_are_the_same_each_time(root: Root, checkpoint: str, picture: Path) -> None:
    first, second = (ask(open_chat(root, checkpoint, picture), "What is this?")[0] for _ in range(2))
    assert first == second


def test_drawn_words_follow_from_the_seed(root: Root, checkpoint: str, picture: Path) -> None:
    def drawn(seed: int) -> str:
        return ask(open_chat(root, checkpoint, picture), "What is this?", Decoding(12, 2.0, seed))[0]

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


def test_an_answer_is_no_longer_than_asked(talk: Chat) -> None:
    given = ask(talk, "What is this?", Decoding(max_new_tokens=3))[0]
    assert len(talk.tokenizer(given)["input_ids"]) <= 5


def test_the_picture_is_in_the_prompt_and_makes_a_difference(
    root: Root, checkpoint: str, talk: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_picture = prompts(talk, monkeypatch)
    ask(talk, "What is this?")
    assert int((with_picture[0] == -200).sum()) == 4
    assert talk.pixels is not None
    assert talk.pixels.shape == (1, 3, 128, 128)

    blank = open_chat(root, checkpoint, None)
    without = prompts(blank, monkeypatch)
    ask(blank, "What is this?")
    assert int((without[0] == -200).sum()) == 0
    assert blank.pixels is None

    def logits(chat: Chat, ids: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = chat.model(input_ids=ids, pixel_values=chat.pixels).logits[0, -1]
        return found

    assert not torch.allclose(logits(talk, with_picture[0]), logits(blank, without[0]), atol=1e-3)


def test_what_was_said_is_part_of_the_next_question(talk: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    given = prompts(talk, monkeypatch)
    first = ask(talk, "What is this?")[0]
    second = ask(talk, "And its colour?")[0]
    assert talk.history == [("What is this?", first), ("And its colour?", second)]
    text = str(talk.tokenizer.decode([token for token in given[1][0].tolist() if token != -200]))
    assert text.startswith(f"<s> {SYSTEM}")
    assert text.index("What is this?") < text.index("ASSISTANT:") < text.index("And its colour?")
    assert text.endswith("USER: And its colour? ASSISTANT:")
    # The picture is there once, before the first question.
    assert int((given[1] == -200).sum()) == 4


def test_more_than_the_model_can_read_is_refused(talk: Chat) -> None:
    reach = talk.model.config.text_config.max_position_embeddings
    with pytest.raises(UsageError, match=f"longer than the {reach:,} tokens"):
        ask(talk, "word " * reach)
    assert talk.history == []
    assert ask(talk, "What is this?")[0]


def test_a_published_checkpoint_is_put_into_our_format_once(
    root: Root, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(open_chat(root, str(PUBLISHED), picture), "What is this?")[0]
    (imported,) = (root.checkpoints / ".imported").iterdir()
    assert imported.name.startswith("golden_ckpt-")
    monkeypatch.setattr(chatting, "import_published", None)
    assert ask(open_chat(root, str(PUBLISHED), picture), "What is this?")[0] == first


def test_two_published_checkpoints_of_one_name_are_kept_apart(root: Root, tmp_path: Path) -> None:
    for place in ("one", "two"):
        shutil.copytree(PUBLISHED, tmp_path / place / "ckpt")
        open_chat(root, str(tmp_path / place / "ckpt"), None)
    assert len(list((root.checkpoints / ".imported").iterdir())) == 2


def test_a_published_checkpoint_that_has_changed_is_read_anew(root: Root, tmp_path: Path) -> None:
    shutil.copytree(PUBLISHED, tmp_path / "ckpt")
    first = open_chat(root, str(tmp_path / "ckpt"), None).model
    weights = load_file(tmp_path / "ckpt/model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, tmp_path / "ckpt/model.safetensors")
    second = open_chat(root, str(tmp_path / "ckpt"), None).model
    norms = [model.language_model.model.norm.weight for model in (first, second)]
    assert torch.equal(norms[0] + 1, norms[1])


def test_another_tower_makes_another_model(root: Root, tmp_path: Path) -> None:
    tower = tmp_path / "tower"
    shutil.copytree(PUBLISHED / "vision_tower", tower)
    name = "encoder.stages.0.layers.0.dwconv.bias"
    weights = torch.load(tower / "pytorch_model.bin", weights_only=True)
    weights[name] += 1
    torch.save(weights, tower / "pytorch_model.bin")
    models = [open_chat(root, str(PUBLISHED), None, place).model for place in (None, str(tower))]
    biases = [dict(model.named_parameters())[f"vision_tower.{name}"] for model in models]
    assert torch.equal(biases[0] + 1, biases[1])


@pytest.mark.parametrize("named", ["nowhere", "a/b/c", "./nowhere/at/all"])
def test_a_checkpoint_that_is_not_there_is_the_users_mistake(root: Root, named: str) -> None:
    with pytest.raises(UsageError, match=f"there is no checkpoint at {named}") as caught:
        open_chat(root, named, None)
    assert "ORGANISATION/NAME" in str(caught.value.hint)


def test_a_folder_that_holds_something_else_is_told_of(root: Root, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        open_chat(root, str(tmp_path), None)


def test_a_picture_that_cannot_be_read_is_told_before_the_model_is(
    root: Root, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatting, "ConvLlava", None)
    (tmp_path / "page.jpg").write_text("<html></html>")
    for name in ("page.jpg", "absent.jpg"):
        with pytest.raises(ImageError, match=name):
            open_chat(root, checkpoint, tmp_path / name)

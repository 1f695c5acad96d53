"""How pictures and words come together, the loss, and what of it has gradients."""

# mypy: allow-untyped-calls

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from golden_model import Batch, gradient
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from cvl.errors import UsageError
from cvl.train.model import ConvLlava, ConvLlavaConfig
from cvl.train.model.modeling import positions, select, token_loss

PICTURE = -200
TOKENS = 4


def sequence(*parts: int | tuple[int, int]) -> torch.Tensor:
    """Ids in a row; a pair stands for an id and how often it is repeated."""
    return torch.tensor([id_ for part in parts for id_ in ([part] if isinstance(part, int) else [part[0]] * part[1])])


def pictures(number: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, 3, 128, 128, generator=torch.Generator().manual_seed(seed))


def embedded(model: ConvLlava, ids: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """What the language model is given."""
    seen: list[torch.Tensor] = []
    hook = model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    model(input_ids=ids, pixel_values=pixels)
    hook.remove()
    return seen[0]


def test_visual_tokens_take_the_places_of_the_picture_ids_in_order(small: ConvLlava) -> None:
    ids = torch.stack([sequence(1, (PICTURE, 4), 5, 6), sequence(1, 7, 8, (PICTURE, 4))])
    pixels = pictures(2)
    rows, features = embedded(small, ids, pixels), small.encode_pictures(pixels)
    words = small.get_input_embeddings()
    assert torch.equal(rows[0], torch.cat([words(ids[0, :1]), features[0], words(ids[0, 5:])]))
    assert torch.equal(rows[1], torch.cat([words(ids[1, :3]), features[1]]))


def test_a_picture_that_is_cut_off_with_its_row_takes_the_first_of_its_tokens(small: ConvLlava) -> None:
    ids = torch.stack([sequence(1, 9, 9, 9, (PICTURE, 2)), sequence(1, (PICTURE, 4), 5)])
    pixels = pictures(2)
    rows, features = embedded(small, ids, pixels), small.encode_pictures(pixels)
    assert torch.equal(rows[0, 4:], features[0, :2])
    assert torch.equal(rows[1, 1:5], features[1])


def test_a_row_may_have_several_pictures_and_another_none(small: ConvLlava) -> None:
    ids = torch.stack(
        [sequence(1, (PICTURE, 4), 5, (PICTURE, 3)), sequence(1, (7, 8)), sequence(1, (PICTURE, 4), (5, 4))]
    )
    pixels = pictures(3)
    rows, features = embedded(small, ids, pixels), small.encode_pictures(pixels)
    assert torch.equal(rows[0, 1:5], features[0])
    assert torch.equal(rows[0, 6:], features[1, :3])
    assert torch.equal(rows[2, 1:5], features[2])


@pytest.mark.parametrize(("counts", "number"), [([4, 4], 1), ([4, 4], 3), ([4], 2), ([5], 1), ([8], 1)])
def test_pictures_and_their_places_must_match(counts: list[int], number: int) -> None:
    with pytest.raises(UsageError, match=f"{number} pictures of 4 tokens each for {sum(counts)} picture tokens"):
        select(torch.zeros(number, TOKENS, 8), counts)


def test_places_without_pictures_are_refused(small: ConvLlava) -> None:
    with pytest.raises(UsageError, match="4 picture tokens in input_ids, but no pixel_values"):
        small(input_ids=sequence(1, (PICTURE, 4))[None])


def test_nothing_to_read_is_refused(small: ConvLlava) -> None:
    with pytest.raises(UsageError, match="neither input_ids nor inputs_embeds"):
        small()


def test_ready_embeddings_may_take_the_place_of_ids(small: ConvLlava) -> None:
    ids = sequence(1, 5, 6, 7)[None]
    ready = small.get_input_embeddings()(ids)
    assert torch.equal(small(inputs_embeds=ready).logits, small(input_ids=ids).logits)


def test_a_text_only_batch_reads_as_the_language_model_alone(small: ConvLlava) -> None:
    ids = sequence(1, 5, 6, 7)[None]
    alone = small.language_model(input_ids=ids).logits
    assert torch.equal(small(input_ids=ids).logits, alone)
    assert torch.equal(small(input_ids=ids, pixel_values=torch.zeros(1, 3, 128, 128)).logits, alone)


def test_a_text_only_batch_gives_tower_and_projector_gradients_of_zero(small: ConvLlava) -> None:
    ids = sequence(1, 5, 6, 7)[None]
    small.train()(input_ids=ids, labels=ids, pixel_values=pictures(1)).loss.backward()
    for part in (small.vision_tower, small.projector):
        assert all(parameter.grad is not None for parameter in part.parameters())
        assert not any(gradient(parameter).any() for parameter in part.parameters())
    assert gradient(small.language_model.lm_head.weight).any()


def test_a_picture_gives_every_part_a_gradient(small: ConvLlava) -> None:
    ids = sequence(1, (PICTURE, 4), 5, 6)[None]
    labels = ids.masked_fill(ids == PICTURE, -100)
    small.train()(input_ids=ids, labels=labels, pixel_values=pictures(1)).loss.backward()
    assert all(gradient(parameter).any() for parameter in small.vision_tower.parameters())
    assert all(gradient(parameter).any() for parameter in small.projector.parameters())


def test_checkpointing_the_whole_model_gives_the_same_gradients(small: ConvLlava) -> None:
    ids = sequence(1, (PICTURE, 4), 5, 6)[None]
    inputs = {"input_ids": ids, "labels": ids.masked_fill(ids == PICTURE, -100), "pixel_values": pictures(1)}
    small.train()(**inputs).loss.backward()
    plain = {name: gradient(parameter).clone() for name, parameter in small.named_parameters()}
    small.zero_grad()
    getattr(small, "activation_checkpointing_enable", small.gradient_checkpointing_enable)()
    small(**inputs).loss.backward()
    assert all(torch.equal(gradient(parameter), plain[name]) for name, parameter in small.named_parameters())


def test_padding_on_the_left_gives_the_logits_of_padding_on_the_right(published: ConvLlava, batch: Batch) -> None:
    lengths = batch.attention_mask.sum(dim=1).tolist()
    shifted = {
        name: torch.stack([row.roll(row.shape[0] - length, 0) for row, length in zip(tensor, lengths, strict=True)])
        for name, tensor in batch.inputs().items()
        if name != "pixel_values"
    }
    with torch.no_grad():
        output = published(**shifted, pixel_values=batch.pixel_values)
    for logits, expected, length in zip(output.logits, batch.logits, lengths, strict=True):
        assert (logits[-length:] - expected[:length]).abs().max() < 1e-4
    assert abs(output.loss.item() - batch.loss) < 1e-5


def test_positions_are_counted_from_the_first_real_token() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]], dtype=torch.bool)
    assert positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_the_loss_of_one_batch_is_the_mean_over_its_labelled_tokens() -> None:
    logits, labels = torch.randn(2, 5, 11), torch.tensor([[1, -100, 3, 4, -100], [2, 2, -100, -100, 9]])
    targets = labels[:, 1:].flatten()
    expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets, ignore_index=-100)
    torch.testing.assert_close(token_loss(logits, labels), expected)


def test_the_loss_of_micro_batches_adds_up_to_the_mean_over_all_tokens() -> None:
    logits, labels = torch.randn(4, 6, 11), torch.randint(0, 11, (4, 6))
    labels[0, 2:] = -100
    counted = (labels[:, 1:] != -100).sum()
    whole = token_loss(logits, labels)
    parts = [token_loss(logits[i : i + 1], labels[i : i + 1], counted) for i in range(4)]
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(token_loss(logits, labels, int(counted)), whole)


@pytest.mark.parametrize("counted", [None, 0, 3])
def test_a_batch_without_labels_has_a_loss_of_zero(counted: int | None) -> None:
    logits = torch.randn(1, 1, 11, requires_grad=True)
    loss = token_loss(logits, torch.tensor([[-100]]), counted)
    loss.backward()
    assert loss.item() == 0
    assert not gradient(logits).any()


def test_the_loss_is_worked_out_in_float32() -> None:
    logits, labels = torch.randn(1, 9, 11).bfloat16(), torch.randint(0, 11, (1, 9))
    assert token_loss(logits, labels).dtype == torch.float32
    torch.testing.assert_close(token_loss(logits, labels), token_loss(logits.float(), labels))


def test_a_batch_that_is_learned_from_fills_no_cache(small: ConvLlava) -> None:
    ids = sequence(1, 5, 6)[None]
    assert small(input_ids=ids, labels=ids).past_key_values is None
    assert small(input_ids=ids).past_key_values is not None


def test_a_saved_model_loads_through_every_auto_class_bit_for_bit(small: ConvLlava, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    for auto in (ConvLlava, AutoModelForCausalLM, AutoModelForImageTextToText):
        loaded = auto.from_pretrained(tmp_path)
        assert type(loaded) is ConvLlava
        assert loaded.state_dict().keys() == small.state_dict().keys()
        assert all(
            torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), small.state_dict().values(), strict=True)
        )
    assert type(AutoConfig.from_pretrained(tmp_path)) is ConvLlavaConfig


def test_importing_the_package_is_enough_to_register_the_model() -> None:
    code = (
        "import cvl.train.model; from transformers import AutoConfig;"
        "print(type(AutoConfig.for_model('convllava')).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "ConvLlavaConfig"


def test_attention_is_torchs_own_and_another_kind_may_be_named(small: ConvLlava, tmp_path: Path) -> None:
    assert small.language_model.config._attn_implementation == "sdpa"
    small.save_pretrained(tmp_path)
    eager = ConvLlava.from_pretrained(tmp_path, attn_implementation="eager")
    assert eager.language_model.config._attn_implementation == "eager"


def test_input_and_output_embeddings_are_two(small: ConvLlava) -> None:
    assert small.get_input_embeddings().weight is not small.get_output_embeddings().weight
    new = torch.nn.Linear(32, 64, bias=False)
    small.set_output_embeddings(new)
    assert small.get_output_embeddings() is new
    words = torch.nn.Embedding(64, 32)
    small.set_input_embeddings(words)
    assert small.get_input_embeddings() is words

"""Answers: with a cache and without, alone and in a padded batch, the same words."""

# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from golden_model import Batch

from cvl.train.model import ConvLlava

NEW = 12


@pytest.fixture(scope="module")
def prompts(batch: Batch) -> list[torch.Tensor]:
    """The prompts of the golden batch up to where the first answer begins; the third has no picture."""
    starts = (batch.labels != -100).int().argmax(dim=1).tolist()
    return [ids[:start] for ids, start in zip(batch.input_ids, starts, strict=True)]


def picture_of(batch: Batch, prompts: list[torch.Tensor], row: int) -> torch.Tensor | None:
    before = sum(bool((ids == -200).any()) for ids in prompts[:row])
    return batch.pixel_values[before : before + 1] if (prompts[row] == -200).any() else None


def greedy(model: ConvLlava, ids: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    """The next words, however often the end of the answer comes."""
    # transformers writes the model as a second `self` in its annotations.
    generate = cast(Any, model).generate
    output: torch.Tensor = generate(input_ids=ids, do_sample=False, max_new_tokens=NEW, min_new_tokens=NEW, **kwargs)
    return output[:, ids.shape[1] :]


def by_hand(model: ConvLlava, ids: torch.Tensor, pixels: torch.Tensor | None) -> torch.Tensor:
    """The likeliest word after word, each from a forward pass over everything before it."""
    row = ids[None]
    with torch.no_grad():
        for _ in range(NEW):
            logits = model(input_ids=row, pixel_values=pixels).logits[:, -1]
            logits[:, model.generation_config.eos_token_id] = -torch.inf
            row = torch.cat([row, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return row[:, len(ids) :]


@pytest.mark.parametrize("row", range(4))
def test_with_and_without_a_cache_the_answer_is_that_of_plain_forward_passes(
    published: ConvLlava, batch: Batch, prompts: list[torch.Tensor], row: int
) -> None:
    ids, pixels = prompts[row][None], picture_of(batch, prompts, row)
    expected = by_hand(published, prompts[row], pixels)
    assert torch.equal(greedy(published, ids, pixel_values=pixels, use_cache=True), expected)
    assert torch.equal(greedy(published, ids, pixel_values=pixels, use_cache=False), expected)


def test_answers_in_a_batch_padded_on_the_left_are_those_of_each_prompt_alone(
    published: ConvLlava, batch: Batch, prompts: list[torch.Tensor]
) -> None:
    length = max(len(ids) for ids in prompts)
    ids = torch.stack([torch.nn.functional.pad(row, (length - len(row), 0)) for row in prompts])
    mask = torch.stack([torch.arange(length) >= length - len(row) for row in prompts])
    answers = greedy(published, ids, attention_mask=mask, pixel_values=batch.pixel_values)
    for row, answer in enumerate(answers):
        alone = greedy(published, prompts[row][None], pixel_values=picture_of(batch, prompts, row))
        assert torch.equal(answer[None], alone)


def test_the_tower_runs_once_an_answer(published: ConvLlava, batch: Batch, prompts: list[torch.Tensor]) -> None:
    calls: list[int] = []
    hook = published.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    greedy(published, prompts[0][None], pixel_values=picture_of(batch, prompts, 0))
    hook.remove()
    assert len(calls) == 1


def test_the_first_step_works_out_logits_for_the_last_token_only(
    published: ConvLlava, batch: Batch, prompts: list[torch.Tensor]
) -> None:
    shapes: list[torch.Size] = []
    head = published.get_output_embeddings()
    hook = head.register_forward_hook(lambda _module, _inputs, output: shapes.append(output.shape))
    greedy(published, prompts[0][None], pixel_values=picture_of(batch, prompts, 0))
    hook.remove()
    assert {shape[1] for shape in shapes} == {1}

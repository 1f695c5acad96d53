"""ConvLLaVA as a transformers model: forward, loss and generation."""

# transformers annotates few of its constructors.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationMixin,
    PreTrainedModel,
)
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutputWithPast

from cvl.errors import UsageError
from cvl.train.model.configuration import ConvLlavaConfig
from cvl.train.model.vision import Block, VisionTower

IGNORED = -100


def projector(config: ConvLlavaConfig) -> nn.Sequential:
    """A projector from the encoder's width to the language model's: Linear, GELU, Linear."""
    width = config.get_text_config().hidden_size
    return nn.Sequential(nn.Linear(config.vision_config.hidden_sizes[-1], width), nn.GELU(), nn.Linear(width, width))


def fresh_projector(config: ConvLlavaConfig, seed: int) -> dict[str, Tensor]:
    """The tensors of a projector that nobody has trained, by their names in it (`0.weight`...).

    They are initialised as in the published code, by torch's own means: uniform, from the fan in. The same seed gives
    the same tensors, and the process's own random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        return projector(config).state_dict()


class ConvLlava(PreTrainedModel, GenerationMixin):
    """A vision tower, a projector and a language model that reads the projected features among its words.

    Wherever `config.image_token_index` stands in `input_ids`, the next visual token of the sample's picture goes. A
    text-only batch may bring a picture all the same: the tower then runs, changes nothing, and its parameters get
    gradients of zero, which every rank needs when another rank's batch has pictures.

    `generate` takes the pictures for its first step. It returns the prompt's ids too, picture tokens among them,
    and cannot use processors that look the prompt's ids up (repetition penalty).
    """

    config: ConvLlavaConfig
    config_class = ConvLlavaConfig
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # The language model's own are added when it is made. (Annotated as transformers does it, which has no ClassVar.)
    _no_split_modules: set[str] | list[str] | None = ["Block"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: ConvLlavaConfig) -> None:
        super().__init__(config)
        self.vision_tower = VisionTower(config.vision_config)
        self.projector = projector(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Block) and module.layer_scale_parameter is not None:
            init.constant_(module.layer_scale_parameter, self.config.vision_config.layer_scale_init_value)

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embedding."""
        return cast("nn.Module", self.language_model.get_input_embeddings())

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put another token embedding into the language model."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        return cast("nn.Module", self.language_model.get_output_embeddings())

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Put another head onto the language model."""
        self.language_model.set_output_embeddings(value)

    def encode_pictures(self, pixel_values: Tensor) -> Tensor:
        """What the language model sees of the pictures: (P, tokens, hidden) from (P, 3, H, W)."""
        return cast("Tensor", self.projector(self.vision_tower(pixel_values)))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, the cache if one is used, and the loss if there are labels.

        Args:
            input_ids: (B, L), pictures already expanded to one id for each visual token. A picture whose end was
                cut off with its row takes the first of its tokens.
            pixel_values: (P, 3, H, W), one for each picture that has a token in `input_ids`, in their order; any
                number of pictures if `input_ids` has no picture token at all.
            attention_mask: (B, L), or (B, past + L) with a cache; zero or False is padding, on either side.
            position_ids: (B, L); counted from the mask if not given.
            labels: (B, L), -100 where nothing is to be learned.
            logits_to_keep: how many of the last positions get logits; 0 is all of them.
            kwargs: `inputs_embeds` in place of `input_ids` (which then must hold no pictures), `num_items_in_batch`
                for the loss (see `token_loss`), and what else the language model takes: `past_key_values`,
                `use_cache`, `output_hidden_states`.

        Raises:
            UsageError: picture tokens and pictures do not match.
        """
        counted = kwargs.pop("num_items_in_batch", None)
        if labels is not None:
            # Nobody goes on from a batch that is learned from.
            kwargs.setdefault("use_cache", False)
        embeddings = kwargs.pop("inputs_embeds", None)
        if embeddings is None:
            embeddings = self._embed(input_ids, pixel_values)
        # A cache of fixed size brings a mask of four dimensions, with positions of its own.
        if attention_mask is not None and attention_mask.ndim == 2:
            length = embeddings.shape[1]
            # The published code pads with zeros after the embedding, so that padding is the same whatever its id.
            embeddings = embeddings.masked_fill(~attention_mask[:, -length:, None].bool(), 0)
            position_ids = positions(attention_mask)[:, -length:] if position_ids is None else position_ids
        output: CausalLMOutputWithPast = self.language_model(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            position_ids=position_ids,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        if labels is not None and output.logits is not None:
            output.loss = token_loss(output.logits, labels, counted)
        return output

    def _embed(self, input_ids: Tensor | None, pixel_values: Tensor | None) -> Tensor:
        """(B, L, hidden): words through the embedding, pictures through tower and projector."""
        if input_ids is None:
            raise UsageError("neither input_ids nor inputs_embeds")
        places = input_ids == self.config.image_token_index
        embeddings: Tensor = self.get_input_embeddings()(input_ids.masked_fill(places, 0))
        counts = places.sum(dim=1).tolist()
        if pixel_values is None:
            if any(counts):
                raise UsageError(f"{sum(counts)} picture tokens in input_ids, but no pixel_values")
            return embeddings
        features = select(self.encode_pictures(pixel_values), counts)
        return embeddings.masked_scatter(places.unsqueeze(-1), features.to(embeddings.dtype))


def select(features: Tensor, counts: list[int]) -> Tensor:
    """The visual tokens that have a place, in the order of the places: (sum of counts, hidden).

    Args:
        features: (P, tokens, hidden).
        counts: picture tokens in each row of the batch. Only the last picture of a row may lack tokens.

    Raises:
        UsageError: the counts need more or fewer pictures than there are. No picture tokens at all fit any number
            of pictures: nothing is selected, and the graph still leads to the features.
    """
    pictures, tokens, _ = features.shape
    flat = features.flatten(0, 1)
    if not any(counts):
        return flat[:0]
    needed = [-(-count // tokens) for count in counts]
    if sum(needed) != pictures:
        raise UsageError(
            f"{pictures} pictures of {tokens} tokens each for {sum(counts)} picture tokens in input_ids, "
            f"expected {sum(needed)}"
        )
    if all(count % tokens == 0 for count in counts):
        return flat
    starts = [tokens * sum(needed[:row]) for row in range(len(counts))]
    return torch.cat([flat[start : start + count] for start, count in zip(starts, counts, strict=True)])


def positions(attention_mask: Tensor) -> Tensor:
    """Each token's position, (B, L), counted from the first real token of its row; 0 for what is before it."""
    first = attention_mask.long().argmax(dim=-1, keepdim=True)
    return (torch.arange(attention_mask.shape[-1], device=first.device) - first).clamp(min=0)


def token_loss(logits: Tensor, labels: Tensor, counted: Tensor | int | None = None) -> Tensor:
    """The cross entropy of the next token, in float32.

    Args:
        logits: (B, L, vocabulary); of position i they predict label i + 1.
        labels: (B, L), -100 where nothing is to be learned.
        counted: labelled tokens of the whole global batch. Given, the loss is the sum over this batch divided by
            it, so that gradients of micro batches add up to the mean over all tokens. If not, it is the mean over
            this batch's labelled tokens, which is what the published code computes; 0 if there are none, where the
            published code gets NaN.
    """
    targets = labels[:, 1:].to(logits.device)
    total = functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    if counted is None:
        counted = (targets != IGNORED).sum()
    return total / torch.as_tensor(counted, device=total.device).clamp(min=1)


AutoConfig.register(ConvLlavaConfig.model_type, ConvLlavaConfig, exist_ok=True)
AutoModelForCausalLM.register(ConvLlavaConfig, ConvLlava, exist_ok=True)
AutoModelForImageTextToText.register(ConvLlavaConfig, ConvLlava, exist_ok=True)

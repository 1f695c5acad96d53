"""What a ConvLLaVA is made of: the config.json of our checkpoints."""

# transformers annotates few of its constructors.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any, ClassVar, cast

from transformers import AutoConfig, ConvNextConfig, PreTrainedConfig

from cvl.errors import UsageError

PICTURE_TOKEN = -200


def stride(encoder: ConvNextConfig) -> int:
    """Pixels along one side of the square that becomes one visual token: each stage after the first halves the map."""
    return cast("int", encoder.patch_size) << (encoder.num_stages - 1)


class ConvLlavaConfig(PreTrainedConfig):
    """The sizes of one model.

    Args:
        text_config: the language model's config, of any LLaMA-family type; a plain LLaMA where none is given.
        vision_config: the encoder's config, all of its stages counted.
        projector: the projector's kind; the paper's is the only one.
        image_token_index: the id that stands in `input_ids` wherever a visual token goes. It is in no vocabulary.
        resolution: side of the square pictures that the model is trained on, in pixels, a multiple of the stride.
        max_length: the longest sequence of one sample, visual tokens included.

    Raises:
        UsageError: the projector is of another kind, or the resolution is no multiple of the stride.
    """

    model_type = "convllava"
    sub_configs: ClassVar[dict[str, Any]] = {"text_config": AutoConfig, "vision_config": ConvNextConfig}

    # Given as a config, as the dict that a file holds, or not at all; always a config once this object is made.
    text_config: Any = None
    vision_config: Any = None
    projector: str = "mlp2x_gelu"
    image_token_index: int = PICTURE_TOKEN
    resolution: int = 768
    max_length: int = 2048
    # Neither the published models nor Vicuna share a matrix between the input and the output embeddings.
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.text_config, PreTrainedConfig):
            entries = dict(self.text_config or {})
            self.text_config = AutoConfig.for_model(entries.pop("model_type", "llama"), **entries)
        if not isinstance(self.vision_config, PreTrainedConfig):
            self.vision_config = ConvNextConfig(**(self.vision_config or {}))
        super().__post_init__(**kwargs)
        if self.projector != "mlp2x_gelu":
            raise UsageError(f"no projector of kind {self.projector!r}, expected 'mlp2x_gelu'")
        self.check_resolution(self.resolution)

    @property
    def stride(self) -> int:
        """Pixels along one side of the square that becomes one visual token: 64 with five stages."""
        return stride(self.vision_config)

    @property
    def visual_tokens(self) -> int:
        """Tokens that one picture takes: 144 at 768 pixels, 256 at 1024, 576 at 1536."""
        return (self.resolution // self.stride) ** 2

    def check_resolution(self, side: int) -> None:
        """Does nothing if pictures of this side, in pixels, fall into whole visual tokens.

        Raises:
            UsageError: they do not.
        """
        if side <= 0 or side % self.stride:
            below = side // self.stride * self.stride
            near = f"{below} or {below + self.stride}" if below else f"{self.stride}"
            raise UsageError(
                f"a resolution of {side} pixels, expected a multiple of {self.stride}",
                hint=f"take {near}",
            )

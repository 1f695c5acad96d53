"""The vision tower: transformers' ConvNeXt with a fifth stage, and nothing after its last block."""

# transformers annotates few of its constructors.
# mypy: allow-untyped-calls

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import ConvNextConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.convnext.modeling_convnext import (
    ConvNextEmbeddings,
    ConvNextLayer,
    ConvNextLayerNorm,
    ConvNextStage,
)

from cvl.errors import UsageError
from cvl.train.model.configuration import stride

NORM_EPSILON = 1e-6  # of every norm in ConvNeXt; config.layer_norm_eps belongs to the final norm, which is not here


class Block(GradientCheckpointingLayer, ConvNextLayer):
    """transformers' ConvNeXt block, which recomputes its activations when the model's checkpointing is on.

    The checkpoint is not reentrant: where neither the input nor a parameter needs a gradient, autograd saves
    nothing and recomputes nothing, so frozen blocks cost what they cost without it.
    """


class Stage(nn.Module):
    """One stage: a 2x2 downsampling, but for the first stage, and its blocks. Parameters are named as in ConvNeXt.

    Args:
        config: the whole encoder's config.
        before: width of the stage before, None in the first one.
        width: width of this stage.
        drop_path: rate of stochastic depth, a number a block.
    """

    def __init__(self, config: ConvNextConfig, before: int | None, width: int, drop_path: list[float]) -> None:
        super().__init__()
        self.downsampling_layer = nn.ModuleList()
        if before is not None:
            self.downsampling_layer.append(ConvNextLayerNorm(before, eps=NORM_EPSILON, data_format="channels_first"))
            self.downsampling_layer.append(nn.Conv2d(before, width, kernel_size=2, stride=2))
        self.layers = nn.ModuleList(Block(config, width, rate) for rate in drop_path)

    def forward(self, features: Tensor) -> Tensor:
        """The stage's features, (P, width, side/2, side/2) but for the first stage, which keeps the side."""
        for part in (*self.downsampling_layer, *self.layers):
            features = part(features)
        return features


class Encoder(nn.Module):
    """The stages, as many as the config says, one after the other."""

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        depths, widths = list(config.depths or ()), list(config.hidden_sizes or ())
        # On the CPU even where the model is made without memory, on the meta device.
        rates = torch.linspace(0, config.drop_path_rate, sum(depths), device="cpu").split(depths)
        self.stages = nn.ModuleList(
            Stage(config, before, width, rate.tolist())
            for before, width, rate in zip([None, *widths], widths, rates, strict=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """The last stage's features, (P, width, side, side)."""
        for stage in self.stages:
            features = stage(features)
        return features


class VisionTower(nn.Module):
    """Pictures to visual tokens. Parameter names are those of ConvNextModel without its final norm.

    A plain module and not a PreTrainedModel: transformers would otherwise make the output of its first layer
    require a gradient when activation checkpointing is on, and a frozen tower would be trained for nothing.
    """

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        self.stride = stride(config)
        self.embeddings = ConvNextEmbeddings(config)
        self.encoder = Encoder(config)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """The last stage's features, row by row of the picture.

        Args:
            pixel_values: (P, 3, H, W), H and W multiples of the stride, of any floating type.

        Returns:
            (P, H / stride * W / stride, width) in the tower's own type.

        Raises:
            UsageError: the sides are no multiples of the stride.
        """
        height, width = pixel_values.shape[-2:]
        if height % self.stride or width % self.stride:
            raise UsageError(f"pictures of {width} x {height} pixels, expected multiples of {self.stride}")
        weight = self.embeddings.patch_embeddings.weight
        # Channels last, a block's norm and linear layers, which work on the last dimension, need no copies. The
        # convolutions follow their input, so that the weights may stay as ZeRO-3 gathers them.
        pixels = pixel_values.to(dtype=weight.dtype, memory_format=torch.channels_last)
        features: Tensor = self.encoder(self.embeddings(pixels))
        return features.permute(0, 2, 3, 1).flatten(1, 2)


def fresh_stage(config: ConvNextConfig, index: int, seed: int) -> dict[str, Tensor]:
    """The tensors of a stage that nobody has trained, named as in the tower (`encoder.stages.4...`).

    They are initialised as the published code does it, which appends a bare ConvNextStage to a loaded encoder:
    torch's own initialisation of convolutions and linear layers (uniform, from the fan in), norms at one and zero,
    and layer scales at `config.layer_scale_init_value`; not transformers' normal distribution. The same seed gives
    the same tensors, and the process's own random state is left as it was.
    """
    widths, depths = config.hidden_sizes or (), config.depths or ()
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        stage = ConvNextStage(config, widths[index - 1], widths[index], depth=depths[index])
    return {f"encoder.stages.{index}.{name}": tensor for name, tensor in stage.state_dict().items()}

"""Forward and backward of the 7B presets on one GPU, in bf16 with random weights: memory and speed.

    python benchmarks/gpu_step.py
    python benchmarks/gpu_step.py --model 7b-1536 --stage 3 --batch 8

For each preset and each stage's set of parameters that learn, with activations computed anew in the backward pass as in
training. The optimizer's step and its states are left out: ZeRO spreads them over the GPUs of a run. Every sample has
one picture; tokens are counted with the picture's. Prints a table, and then the same as one line of JSON.
"""

# transformers annotates few of its constructors.
# mypy: allow-untyped-calls

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import ConvNextConfig, LlamaConfig

from cvl.manifest import Catalog, Model, load_catalog
from cvl.train.model import ConvLlava, ConvLlavaConfig
from cvl.train.parts import freeze_all_but
from cvl.train.trainer import enable_checkpointing

NO_GPU = 2
LEARNT = 0.5
"""The share of the text that is answers."""


@dataclass(frozen=True)
class Sizes:
    """The parts of a model that its preset does not say: of LAION's ConvNeXt-L and Vicuna-7B, or of a miniature."""

    depths: tuple[int, ...] = (3, 3, 27, 3)
    widths: tuple[int, ...] = (192, 384, 768, 1536)
    fifth_depth: int = 6
    fifth_width: int = 3072
    vocabulary: int = 32000
    hidden: int = 4096
    feed_forward: int = 11008
    layers: int = 32
    heads: int = 32


MINIATURE = Sizes((1, 1, 1, 1), (8, 12, 16, 24), 1, 32, 128, 32, 48, 2, 4)


@dataclass(frozen=True)
class Plan:
    """What is measured, with what: the same for every row.

    Args:
        batch: samples in a step.
        text: tokens of a sample's text.
        steps: how many are timed, after two that are not.
    """

    sizes: Sizes
    device: torch.device
    batch: int
    text: int
    steps: int


@dataclass(frozen=True)
class Row:
    """One preset and stage.

    Args:
        learning: parameters that learn.
        peak: bytes of GPU memory that tensors took at most; None without a GPU.
        seconds: of a step, the median; None if the memory did not suffice.
    """

    model: str
    resolution: int
    stage: int
    batch: int
    tokens: int
    learning: int
    peak: int | None = None
    seconds: float | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """Of text and pictures together."""
        return self.batch * self.tokens / self.seconds if self.seconds else None

    @property
    def pictures_per_second(self) -> float | None:
        """Samples a second, each of which has one."""
        return self.batch / self.seconds if self.seconds else None


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints. Returns 2 on a machine without a GPU, where only `--tiny` works."""
    catalog = load_catalog()
    options = _options(catalog, arguments)
    if not options.tiny and not torch.cuda.is_available():
        print("no GPU that torch can use; --tiny measures a miniature on the CPU", file=sys.stderr)  # noqa: T201
        return NO_GPU
    device = torch.device("cpu" if options.tiny else "cuda")
    plan = Plan(MINIATURE if options.tiny else Sizes(), device, options.batch, options.text, options.steps)
    _print(HEADER)
    rows = []
    for row in measure(catalog, options.model, options.stage, plan):
        _print(line_of(row))
        rows.append(row)
    _print(json.dumps({"device": _name(device), "torch": torch.__version__, "rows": [_entry(row) for row in rows]}))
    return 0


def _options(catalog: Catalog, arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Forward and backward of the 7B presets on one GPU.")
    presets = sorted(catalog.models, key=lambda name: catalog.models[name].resolution)
    parser.add_argument("--model", nargs="+", choices=presets, default=presets, help="presets")
    parser.add_argument("--stage", nargs="+", type=int, choices=sorted(catalog.stages), default=sorted(catalog.stages))
    parser.add_argument("--batch", type=int, default=8, help="samples in a step")
    parser.add_argument("--text", type=int, default=256, help="tokens of text in a sample")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--tiny", action="store_true", help="a miniature on the CPU, to see that this works")
    return parser.parse_args(arguments)


def measure(catalog: Catalog, models: list[str], stages: list[int], plan: Plan) -> Iterator[Row]:
    """A row for each preset and stage. Presets differ in resolution only, so all of them are one model's."""
    model = build(catalog.models[models[0]], plan)
    for name in models:
        resolution = catalog.models[name].resolution
        model.config.resolution = resolution
        batch = samples(model.config, plan)
        for stage in stages:
            freeze_all_but(model, catalog.stages[stage].train)
            learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
            tokens = batch["input_ids"].shape[1]
            peak, seconds = _steps(model, batch, plan)
            yield Row(name, resolution, stage, plan.batch, tokens, learning, peak, seconds)


def build(preset: Model, plan: Plan) -> ConvLlava:
    """A model with random weights in bf16, made on the device, with activation checkpointing on."""
    sizes = plan.sizes
    tower = ConvNextConfig(
        num_stages=5,
        depths=[*sizes.depths, sizes.fifth_depth],
        hidden_sizes=[*sizes.widths, sizes.fifth_width],
        image_size=preset.resolution,
    )
    text = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.feed_forward,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        max_position_embeddings=4096,
        use_cache=False,
    )
    config = ConvLlavaConfig(text_config=text, vision_config=tower, resolution=preset.resolution)
    torch.manual_seed(0)
    with plan.device:
        model: ConvLlava = ConvLlava._from_config(config, dtype=torch.bfloat16)
    enable_checkpointing(model)
    model.train()
    return model


def samples(config: ConvLlavaConfig, plan: Plan) -> dict[str, Tensor]:
    """A batch of random pictures, each with random text behind it, whose second half is learnt."""
    generator = torch.Generator(plan.device).manual_seed(0)
    shape = (plan.batch, plan.text)
    text = torch.randint(3, plan.sizes.vocabulary, shape, generator=generator, device=plan.device)
    pictures = torch.full((plan.batch, config.visual_tokens), config.image_token_index, device=plan.device)
    ids = torch.cat([text[:, :1], pictures, text[:, 1:]], dim=1)
    labels = ids.clone()
    labels[:, : ids.shape[1] - int(plan.text * LEARNT)] = -100
    side = config.resolution
    pixels = torch.randn(plan.batch, 3, side, side, generator=generator, device=plan.device)
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": torch.ones_like(ids, dtype=torch.bool),
        "pixel_values": pixels,
    }


def _steps(model: ConvLlava, batch: dict[str, Tensor], plan: Plan) -> tuple[int | None, float | None]:
    """The peak memory and the median seconds of a step; no seconds if the memory does not suffice."""
    on_gpu = plan.device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        times = [_step(model, batch, plan.device) for _ in range(2 + plan.steps)][2:]
    except torch.cuda.OutOfMemoryError:
        times = []
    model.zero_grad(set_to_none=True)
    return torch.cuda.max_memory_allocated() if on_gpu else None, statistics.median(times) if times else None


def _step(model: ConvLlava, batch: dict[str, Tensor], device: torch.device) -> float:
    model.zero_grad(set_to_none=True)
    _finish(device)
    began = time.perf_counter()
    loss = model(**batch).loss
    loss.backward()
    _finish(device)
    return time.perf_counter() - began


def _finish(device: torch.device) -> None:
    """Waits until the GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


HEADER = "model     stage  batch  tokens  parameters that learn  peak memory   s/step   tokens/s  pictures/s"


def line_of(row: Row) -> str:
    """The row as a line of the table under `HEADER`."""
    peak = f"{row.peak / 2**30:.1f} GiB" if row.peak is not None else "-"
    start = f"{row.model:8}  {row.stage:5}  {row.batch:5}  {row.tokens:6}  {row.learning:21,}  {peak:>11}"
    if row.seconds is None:
        return f"{start}  out of memory"
    return f"{start}  {row.seconds:7.3f}  {row.tokens_per_second:9,.0f}  {row.pictures_per_second:10.2f}"


def _entry(row: Row) -> dict[str, Any]:
    speeds = {"tokens_per_second": row.tokens_per_second, "pictures_per_second": row.pictures_per_second}
    return asdict(row) | speeds


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else "CPU"


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())

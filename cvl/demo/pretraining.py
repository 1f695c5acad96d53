"""The miniature encoder's pre-training: it learns to tell which figure, of which colour, is where.

The real encoder comes with eyes: LAION trained it on two billion captioned pictures. The miniature's stages are too
short to teach it seeing from nothing, so it gets its eyes here, from scenes of its own, none of which is held out.
"""

# torch and transformers annotate few of their functions.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional
from transformers import ConvNextConfig, get_cosine_schedule_with_warmup

from cvl.demo.miniature.pictures import draw
from cvl.demo.miniature.scenes import BACKGROUNDS, COLORS, SHAPES, Scene, training_scenes
from cvl.demo.miniature.weights import (
    IMAGE_MEAN,
    IMAGE_STD,
    MINIATURE_ENCODER,
    EncoderSize,
    draw_tensor,
    encoder_config,
    encoder_shapes,
)
from cvl.files import write_atomically
from cvl.train.model.vision import VisionTower

QUADRANTS = {"upper left": (0,), "upper right": (1,), "lower left": (2,), "lower right": (3,), "center": (0, 1, 2, 3)}
"""The quarters of a picture, row by row, that a figure at each place is seen in."""

CLASSES = (1 + len(SHAPES), 1 + len(COLORS), len(BACKGROUNDS))
"""What is told of each quarter: the shape and the colour of its figure, 0 for none, and the picture's ground."""


@dataclass(frozen=True)
class Course:
    """How long and how fast the encoder learns.

    Args:
        scenes: different pictures.
        epochs: how often it sees each.
        learning_rate: AdamW's, at its highest; it falls by a cosine.
        warmup: the share of the steps in which it rises.
        resolution: side of the square pictures, in pixels.
        seed: of the layer that tells, and of the order of the pictures.
    """

    scenes: int = 4000
    epochs: int = 4
    batch_size: int = 16
    learning_rate: float = 4e-3
    warmup: float = 0.03
    resolution: int = 128
    seed: int = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute in one thread: those of so small a model would wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pretrain_encoder(
    target: Path, say: Callable[[str], None], course: Course | None = None, size: EncoderSize = MINIATURE_ENCODER
) -> None:
    """Writes a trained encoder as a safetensors file, under the names that transformers gives its tensors.

    Args:
        say: is told how far it is, after each epoch.
    """
    course = course or Course()
    tower, head = _fresh(size, course.seed)
    scenes = training_scenes("pretraining", course.scenes)
    squares, truths = _squares(scenes, course.resolution), torch.tensor([truth(scene) for scene in scenes])
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=course.learning_rate, weight_decay=0)
    steps = course.epochs * -(-course.scenes // course.batch_size)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(course.warmup * steps), steps)
    for epoch in range(course.epochs):
        right = []
        for batch in _batches(course, epoch):
            loss, correct = _grade(head(quarters(tower(_normalised(squares[batch])))), truths[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            right.append(correct)
        say(f"epoch {epoch + 1} of {course.epochs}: {torch.cat(right).float().mean():.1%} of figures told right")
    write_atomically(target, save(_tensors(tower, size), metadata={"format": "pt"}))


def truth(scene: Scene) -> list[list[int]]:
    """For each quarter of the picture the numbers of its shape, its colour and the ground, as in `CLASSES`."""
    ground = BACKGROUNDS.index(scene.background)
    told = [[0, 0, ground] for _ in range(4)]
    for figure in scene.figures:
        for quadrant in QUADRANTS[figure.place]:
            told[quadrant] = [1 + SHAPES.index(figure.shape), 1 + COLORS.index(figure.color), ground]
    return told


def quarters(features: Tensor) -> Tensor:
    """The normalised features of each quarter of a picture: (P, 4, width) from (P, tokens, width)."""
    side = round(features.shape[1] ** 0.5) // 2
    normal: Tensor = functional.layer_norm(features, features.shape[-1:])
    cells: Tensor = normal.unflatten(1, (2, side, 2, side))
    return cells.mean((2, 4)).flatten(1, 2)


def _grade(logits: Tensor, truths: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and for each quarter that shows a figure whether its shape and colour are told right."""
    parts = logits.split(CLASSES, dim=-1)
    losses = [
        functional.cross_entropy(part.flatten(0, 1), truths[..., kind].flatten()) for kind, part in enumerate(parts)
    ]
    shape, color, _ = (part.argmax(-1) == truths[..., kind] for kind, part in enumerate(parts))
    return torch.stack(losses).mean(), (shape & color)[truths[..., 0] > 0]


def _fresh(size: EncoderSize, seed: int) -> tuple[VisionTower, nn.Linear]:
    """The encoder as it is drawn, and a layer that tells what its features say."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = VisionTower(ConvNextConfig.from_dict(encoder_config(size)))
        head = nn.Linear(size.widths[-1], sum(CLASSES))
    tower.load_state_dict({name: torch.from_numpy(draw_tensor(name, shape)) for name, shape in _shapes(size).items()})
    return tower, head


def _shapes(size: EncoderSize) -> dict[str, tuple[int, ...]]:
    """The tensors that the vision tower has of an encoder's: all but the final norm's."""
    return {name: shape for name, shape in encoder_shapes(size).items() if not name.startswith("layernorm.")}


def _tensors(tower: VisionTower, size: EncoderSize) -> dict[str, Tensor]:
    """All that a published encoder has: the trained tensors, and the final norm as it was drawn."""
    trained = tower.state_dict()
    return {
        name: trained[name].contiguous() if name in trained else torch.from_numpy(draw_tensor(name, shape))
        for name, shape in encoder_shapes(size).items()
    }


def _squares(scenes: Sequence[Scene], side: int) -> Tensor:
    """The scenes' pictures with bars in the mean colour, uint8 of shape (scenes, side, side, 3)."""
    red, green, blue = (int(mean * 255) for mean in IMAGE_MEAN)
    padded = (ImageOps.pad(draw(scene), (side, side), Image.Resampling.BICUBIC, (red, green, blue)) for scene in scenes)
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in padded]))


def _normalised(squares: Tensor) -> Tensor:
    """Pixel values of shape (P, 3, side, side)."""
    values = (squares / 255 - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)
    return values.permute(0, 3, 1, 2)


def _batches(course: Course, epoch: int) -> Iterator[Tensor]:
    """The numbers of the scenes of each batch, in random order."""
    generator = torch.Generator().manual_seed(course.seed + epoch)
    yield from torch.randperm(course.scenes, generator=generator).split(course.batch_size)

"""Stage and model manifests: what each of the three stages trains, on what, and the sizes of the model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from cvl.manifest.fields import Frozen, TreePath

Trainable = Literal[
    "vision_tower",
    "vision_tower.embeddings",
    "vision_tower.stage1",
    "vision_tower.stage2",
    "vision_tower.stage3",
    "vision_tower.stage4",
    "vision_tower.stage5",
    "projector",
    "language_model",
    "lm_head",
]
"""A part of the model that a stage may train. `language_model` is all of it, `lm_head` its last layer alone."""


class Document(Frozen):
    """The document's table of hyperparameters, to the digit."""

    learning_rate: PositiveFloat
    batch_size: PositiveInt
    epochs: PositiveInt
    warmup_ratio: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    optimizer: Literal["adamw"]


class Scripts(Frozen):
    """What the document leaves to the published training scripts and to their libraries' defaults.

    Args:
        schedule: of the learning rate after warm-up.
        adam_betas: AdamW's, transformers' default.
        adam_epsilon: AdamW's, transformers' default.
        max_length: tokens of a sample, the picture's included.
        max_grad_norm: gradient clipping; 0 is none, as published.
        precision: of weights and activations.
        deepspeed: the ZeRO stage; `none` is plain data parallelism.
        image_aspect_ratio: how a picture becomes a square.
        group_by_modality_length: whether batches hold samples of like length and modality.
        activation_checkpointing: whether activations are computed anew in the backward pass, to save memory.
        vision_tower_learning_rate: None is the stage's.
        projector_learning_rate: None is the stage's.
        seed: of the order of records and of parts that begin fresh; 42 is transformers' default.
    """

    schedule: Literal["cosine"] = "cosine"
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: PositiveFloat = 1e-8
    max_length: PositiveInt = 2048
    max_grad_norm: float = Field(default=0.0, ge=0)
    precision: Literal["bf16", "fp32"] = "bf16"
    deepspeed: Literal["none", "zero2", "zero3"]
    image_aspect_ratio: Literal["pad"] = "pad"
    group_by_modality_length: bool = True
    activation_checkpointing: bool = True
    vision_tower_learning_rate: PositiveFloat | None = None
    projector_learning_rate: PositiveFloat | None = None
    seed: int = Field(default=42, ge=0, lt=2**32)


class Run(Frozen):
    """How a run is carried out: choices of cvl's own, which change nothing that the model learns from.

    Args:
        micro_batch: at most so many records a device at once; what the global batch needs beyond that is accumulated.
        workers: processes a device that prepare records.
        save_every: optimizer steps between two checkpoints to resume from.
        log_every: optimizer steps between two lines of the log.
        bad_records: `mend` reads them in a stated way where there is one, `skip` leaves them out, `error` refuses.
        max_skipped: a run refuses to begin if more than this share of the records had to be left out.
        fast_decode: JPEGs much larger than needed are decoded at a smaller scale, which changes pixels slightly.
    """

    micro_batch: PositiveInt = 16
    workers: int = Field(default=4, ge=0)
    save_every: PositiveInt = 500
    log_every: PositiveInt = 1
    bad_records: Literal["mend", "skip", "error"] = "mend"
    max_skipped: float = Field(default=0.05, ge=0, le=1)
    fast_decode: bool = False


class Stage(Frozen):
    """One of the three stages.

    Args:
        title: as the document calls it.
        starts_from: start weights, or the stage before.
        train: the parts whose parameters change.
        data: the names of the instruction files, in the order in which they are joined.
    """

    title: str
    starts_from: Literal["weights", "stage1", "stage2"]
    train: tuple[Trainable, ...] = Field(min_length=1)
    data: tuple[str, ...]
    document: Document
    scripts: Scripts
    run: Run = Run()


class Part(Frozen):
    """Start weights of one part of the model: the source that brings them and the folder where they land."""

    source: str
    path: TreePath


class FifthStage(Frozen):
    """The stage that ConvLLaVA appends to the encoder: `blocks` ConvNeXt blocks of `width` channels."""

    blocks: PositiveInt
    width: PositiveInt


class Model(Frozen):
    """One size of the model.

    Args:
        title: what it is.
        resolution: side of the square picture in pixels, a multiple of 64.
        projector: how visual tokens become the language model's.
        conversation: the prompt's template.
    """

    title: str
    resolution: int = Field(gt=0, multiple_of=64)
    language_model: Part
    vision_tower: Part
    fifth_stage: FifthStage
    projector: Literal["mlp2x_gelu"] = "mlp2x_gelu"
    conversation: Literal["v1"] = "v1"

    @property
    def visual_tokens(self) -> int:
        """Tokens that one picture becomes: (resolution / 64)², for a stride of 64 over five stages."""
        return (self.resolution // 64) ** 2

"""transformers' Trainer, with the order of records and the groups of parameters that the stages ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from cvl.manifest import Stage
from cvl.train.batch import Batching
from cvl.train.company import TIMEOUT
from cvl.train.folder import StageFolder
from cvl.train.samples.mix import Mix
from cvl.train.samples.sampler import GroupedSampler
from cvl.train.workers import heed_only_the_run
from cvl.train.zero import zero_config


def arguments(stage: Stage, folder: StageFolder, batch: Batching) -> TrainingArguments:
    """The stage's settings in transformers' words. From here on models are made in pieces, under ZeRO-3."""
    document, scripts, run = stage.document, stage.scripts, stage.run
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder.path),
        per_device_train_batch_size=batch.micro,
        gradient_accumulation_steps=batch.accumulation,
        # All epochs are one to the Trainer: their orders of records are one, see `order_of`.
        num_train_epochs=1,
        learning_rate=document.learning_rate,
        weight_decay=document.weight_decay,
        warmup_steps=document.warmup_ratio,
        lr_scheduler_type=scripts.schedule,
        optim="adamw_torch",
        adam_beta1=scripts.adam_betas[0],
        adam_beta2=scripts.adam_betas[1],
        adam_epsilon=scripts.adam_epsilon,
        max_grad_norm=scripts.max_grad_norm,
        bf16=scripts.precision == "bf16",
        tf32=True if on_gpu else None,
        seed=scripts.seed,
        deepspeed=zero_config(scripts),
        use_cpu=not on_gpu,
        ddp_timeout=int(TIMEOUT.total_seconds()),
        ddp_find_unused_parameters=False,
        logging_steps=run.log_every,
        # A loss that is no number is to be seen, not smoothed over.
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=run.save_every,
        # `Checkpoints` removes old ones, once the new one is known to be whole.
        save_total_limit=None,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=run.workers,
        dataloader_pin_memory=on_gpu,
        accelerator_config={"split_batches": False, "dispatch_batches": False, "use_seedable_sampler": False},
    )


def order_of(mix: Mix, stage: Stage, batch: Batching) -> GroupedSampler:
    """The records of all epochs in their order: the same on every process, and again when the run goes on."""
    scripts = stage.scripts
    return GroupedSampler(
        mix.lengths(),
        batch.size,
        batch.micro,
        scripts.seed,
        epochs=stage.document.epochs,
        by_modality=scripts.group_by_modality_length,
    )


def rates(stage: Stage) -> dict[str, float]:
    """The peak learning rate of each group of parameters, by the beginning of their names."""
    rate, scripts = stage.document.learning_rate, stage.scripts
    return {
        "vision_tower.": scripts.vision_tower_learning_rate or rate,
        "projector.": scripts.projector_learning_rate or rate,
        "language_model.": rate,
    }


class StageTrainer(Trainer):
    """A Trainer that takes records in a given order, and gives each part of the model its learning rate."""

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        dataset: Dataset[Any],
        order: GroupedSampler,
        stage: Stage,
        **kwargs: Any,
    ) -> None:
        self._dataset = dataset
        self._order = order
        self._rates = rates(stage)
        self._unwrapped = model
        super().__init__(model=model, args=args, train_dataset=dataset, **kwargs)
        # It would print every log a second time, to stdout.
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The records in the given order, a micro-batch at a time, of which each process has its share."""
        loader: DataLoader[Any] = DataLoader(
            self._dataset,
            batch_size=self.args.train_batch_size,
            sampler=self._order,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            worker_init_fn=heed_only_the_run,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def create_optimizer(self, model: PreTrainedModel | None = None) -> torch.optim.Optimizer:
        """torch's AdamW over the parameters that learn, in groups by part and by whether weights decay."""
        if self.optimizer is None:
            chosen = model or self._unwrapped
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, chosen)
            groups = parameter_groups(
                chosen, self._rates, self.args.weight_decay, set(self.get_decay_parameter_names(chosen))
            )
            self.optimizer = kind(groups, **options)
        return self.optimizer

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Leaves the model out of checkpoints to resume from where DeepSpeed writes its own pieces of it."""
        if not self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)

    def weights(self, model: PreTrainedModel) -> dict[str, torch.Tensor]:
        """The model's tensors; whole on the process that leads, and possibly none elsewhere."""
        if self.is_deepspeed_enabled and is_deepspeed_zero3_enabled():
            # A collective: every process holds a piece of each tensor.
            gathered: dict[str, torch.Tensor] = self.accelerator.get_state_dict(self.model_wrapped)
            return gathered or {}
        return model.state_dict() if self.is_world_process_zero() else {}


def parameter_groups(
    model: torch.nn.Module, rates: Mapping[str, float], weight_decay: float, decaying: set[str]
) -> list[dict[str, Any]]:
    """The parameters that learn, in one group for each part that has any, with decay and without."""
    groups = []
    for prefix, rate in rates.items():
        learning = [
            (name, parameter)
            for name, parameter in model.named_parameters()
            if name.startswith(prefix) and parameter.requires_grad
        ]
        for decays in (True, False):
            chosen = [parameter for name, parameter in learning if (name in decaying) is decays]
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": weight_decay if decays else 0.0})
    return groups


def enable_checkpointing(model: PreTrainedModel) -> None:
    """Computes activations anew in the backward pass, by whichever name the installed transformers has for it."""
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable({"use_reentrant": False})
    else:
        model.gradient_checkpointing_enable({"use_reentrant": False})

"""One stage from its settings to its trained model: the story of a run, told once by every process of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.utils.tensorboard import SummaryWriter
from transformers import TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback

from cvl.errors import Cancelled, UsageError
from cvl.files import write_atomically
from cvl.manifest import Catalog, Model, Stage, settings
from cvl.root import Root
from cvl.train import provenance
from cvl.train.batch import Batching, batching
from cvl.train.briefing import briefing, data_rows
from cvl.train.callbacks import Checkpoints, Log, StopInTime, signals_to
from cvl.train.checkpoint.model import Source, write_into
from cvl.train.checkpoint.weights import piece_of
from cvl.train.company import company, meet
from cvl.train.folder import StageFolder, stage_folder, step_of
from cvl.train.job import Job
from cvl.train.libraries import quiet
from cvl.train.model.modeling import ConvLlava
from cvl.train.origin import Origin, make, origin_of
from cvl.train.parts import freeze_all_but
from cvl.train.progress import Briefing, Listener, Silent, Trained
from cvl.train.ranks import ALONE, Rank
from cvl.train.samples.collate import Collator
from cvl.train.samples.damage import DamageLog
from cvl.train.samples.dataset import SampleDataset
from cvl.train.samples.mix import Mix, read_mix
from cvl.train.samples.pictures import Preprocessing
from cvl.train.samples.sampler import GroupedSampler
from cvl.train.samples.tokens import load_tokenizer
from cvl.train.trainer import StageTrainer, arguments, enable_checkpointing, order_of, rates

_FREE = frozenset({"workers", "save_every", "log_every", "max_skipped"})
"""Settings that may change when a run goes on: none of them changes a number."""


def train(
    catalog: Catalog, root: Root, job: Job, *, rank: Rank | None, prepare: Callable[[], None], listener: Listener
) -> Trained:
    """Trains one stage, or goes on with it; returns at once where it is done.

    Args:
        rank: which process of the run this is; None for a process alone.
        prepare: is called once, by the process that leads, before anything is read.
        listener: is told by the process that leads.

    Raises:
        UsageError: the data, the start weights or the settings are not what they have to be; told before any step.
        Cancelled: the run was asked to stop; it has saved a checkpoint and goes on when it is started again.
        CvlError: the loss is no number.
    """
    own = rank or ALONE
    listener = listener if own.leads else Silent()
    folder = stage_folder(root, job.name, job.number)
    if folder.is_done and not job.restart:
        return Trained(folder.path, 0, None, len(DamageLog(folder.damaged).read()), already=True)
    batch = batching(job.stage.document.batch_size, own.processes, job.stage.run.micro_batch)
    origin = origin_of(catalog, root, job)
    quiet()
    with folder.held() if own.leads else nullcontext(), company(own, job.stage.scripts):
        # The data first: nothing is removed or put together for a run that cannot begin.
        mix = _read_data(catalog, root, job, own, prepare)
        notes = _start_weights(catalog, job, origin, folder, own, listener)
        # Only now, because what puts start weights together needs whole tensors.
        args = arguments(job.stage, folder, batch)
        return _Run(catalog, root, job, origin, folder, mix, batch, args, own, notes).to_the_end(listener)


@dataclass(frozen=True)
class _Run:
    """A run whose processes have met, and whose data and start weights are here."""

    catalog: Catalog
    root: Root
    job: Job
    origin: Origin
    folder: StageFolder
    mix: Mix
    batch: Batching
    args: TrainingArguments
    rank: Rank
    notes: tuple[str, ...]

    @property
    def model(self) -> Model:
        return self.catalog.models[self.job.model]

    def to_the_end(self, listener: Listener) -> Trained:
        stage = self.job.stage
        tokenizer = load_tokenizer(self.origin.folder, stage.scripts.max_length)
        order = order_of(self.mix, stage, self.batch)
        begun = self._begin()
        model = self._load()
        damage = DamageLog(self.folder.damaged)
        trainer = self._trainer(
            model, SampleDataset(self.mix, tokenizer, self._preprocessing()), order, damage, begun, listener
        )
        listener.briefing(self._brief(model, len(order) // self.batch.size, begun))
        stop = StopInTime()
        trainer.add_callback(stop)
        with signals_to(stop):
            trainer.train(resume_from_checkpoint=str(begun) if begun else None)
            if stop.asked and trainer.state.global_step < trainer.state.max_steps:
                steps = f"{trainer.state.global_step} of {trainer.state.max_steps}"
                hint = "run the same command again to go on"
                raise Cancelled(f"stopped after step {steps}; a checkpoint is saved", hint=hint)
            # After the last step a wish to stop comes too late: what is trained is saved.
            return self._finish(trainer, model, damage)

    def _begin(self) -> Path | None:
        """The checkpoint to go on from. Refuses to go on with what would not be the same run."""
        checkpoint = self.folder.checkpoint()
        if self.rank.leads:
            facts = msgspec.json.encode(_facts(self.job, self.origin, self.batch, self.mix), order="sorted")
            if checkpoint is not None:
                _compare(msgspec.json.decode(self.folder.run.read_bytes()), msgspec.json.decode(facts), self.folder)
            else:
                self.folder.log.unlink(missing_ok=True)
                self.folder.damaged.unlink(missing_ok=True)
            self.folder.remove_incomplete()
            write_atomically(self.folder.run, msgspec.json.format(facts, indent=2) + b"\n")
        meet()
        return checkpoint

    def _load(self) -> ConvLlava:
        precision = torch.bfloat16 if self.job.stage.scripts.precision == "bf16" else torch.float32
        model = ConvLlava.from_pretrained(self.origin.folder, dtype=precision)
        model.config.resolution = self.model.resolution
        model.config.max_length = self.job.stage.scripts.max_length
        model.config.use_cache = False
        freeze_all_but(model, self.job.stage.train)
        if self.job.stage.scripts.activation_checkpointing:
            enable_checkpointing(model)
        return model

    def _trainer(
        self,
        model: ConvLlava,
        dataset: SampleDataset,
        order: GroupedSampler,
        damage: DamageLog,
        begun: Path | None,
        listener: Listener,
    ) -> StageTrainer:
        stage = self.job.stage
        collator = Collator(
            visual_tokens=self.model.visual_tokens,
            max_length=stage.scripts.max_length,
            pad_id=model.generation_config.pad_token_id,
            resolution=self.model.resolution,
            on_damaged=damage,
        )
        log = Log(self.folder, listener, self.batch.size, stage.document.epochs)
        callbacks = [log, *self._tensorboard(begun), Checkpoints(self.folder)]
        return StageTrainer(model, self.args, dataset, order, stage, data_collator=collator, callbacks=callbacks)

    def _tensorboard(self, begun: Path | None) -> list[TensorBoardCallback]:
        """Keeps the log for TensorBoard too; steps that are about to be taken again are dropped there."""
        if not self.rank.leads:
            return []
        again = step_of(begun) + 1 if begun else None
        return [TensorBoardCallback(SummaryWriter(str(self.folder.tensorboard), purge_step=again))]

    def _preprocessing(self) -> Preprocessing:
        found = Preprocessing.from_folder(self.origin.folder)
        return Preprocessing(self.model.resolution, found.mean, found.std, self.job.stage.run.fast_decode)

    def _brief(self, model: ConvLlava, steps: int, checkpoint: Path | None) -> Briefing:
        return briefing(
            model,
            self.mix,
            self.job.stage,
            self.batch,
            number=self.job.number,
            title=self.model.title,
            start=self.origin.text,
            resumed=step_of(checkpoint) if checkpoint else 0,
            steps=steps,
            notes=self.notes,
        )

    def _finish(self, trainer: StageTrainer, model: ConvLlava, damage: DamageLog) -> Trained:
        # A collective: under ZeRO-3 every process holds a piece of each tensor.
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        if self.rank.leads:
            self._save(model, weights)
            provenance.write(self.folder.provenance, self._provenance(damage, losses))
            self.folder.tidy()
        meet()
        return Trained(self.folder.path, trainer.state.max_steps, losses[-1] if losses else None, len(damage.read()))

    def _save(self, model: ConvLlava, weights: dict[str, torch.Tensor]) -> None:
        """Writes the trained model with all that it takes to use it."""
        model.config.use_cache = True
        pieces = [piece_of(name, tensor) for name, tensor in weights.items()]
        start = self.origin.folder
        write_into(self.folder.path, Source(model.config, pieces, start, start, str(self.folder.path)))

    def _provenance(self, damage: DamageLog, losses: list[float]) -> dict[str, Any]:
        origins = {name: Path(path) for name, path in self.catalog.origins.items()}
        return {
            "stage": self.job.number,
            "model": self.job.model,
            "start": self.origin.text,
            "notes": self.notes,
            "settings": settings(self.job.stage),
            "learning_rates": rates(self.job.stage),
            "batch": self.batch,
            "loss": losses[-1] if losses else None,
            "data": data_rows(self.mix),
            "damaged": len(damage.read()),
            "manifests": provenance.digests(origins),
            "lock": provenance.digests({"cvl.lock": self.root.lock}).get("cvl.lock"),
        }


def _read_data(catalog: Catalog, root: Root, job: Job, rank: Rank, prepare: Callable[[], None]) -> Mix:
    """The records of the run, looked at once for all processes."""
    if rank.leads:
        prepare()
    meet()
    mix = read_mix(catalog, root, job.number, bad_records=job.stage.run.bad_records)
    _refuse_holes(mix, job.stage, job.number)
    return mix


def _start_weights(
    catalog: Catalog, job: Job, origin: Origin, folder: StageFolder, rank: Rank, listener: Listener
) -> tuple[str, ...]:
    """Puts together what the run starts from, once for all processes; returns what was mended on the way."""
    notes: tuple[str, ...] = ()
    if rank.leads:
        if job.restart:
            folder.clear()
        elif folder.checkpoint() is None:
            # Whatever was put together before, it may have been for other settings.
            folder.remove_start()
        if origin.has_to_be_made:
            listener.note(f"putting the start weights together: {origin.text}")
            notes = make(origin, catalog.models[job.model], job.stage)
        folder.path.mkdir(parents=True, exist_ok=True)
    meet()
    return notes


def _refuse_holes(mix: Mix, stage: Stage, number: int) -> None:
    skipped = sum(count for part in mix.parts for count in part.skipped.values())
    share = skipped / max(1, skipped + len(mix))
    if not len(mix):
        raise UsageError(f"stage {number} has no record to train on", hint=f"cvl verify-layout --stage {number}")
    if share > stage.run.max_skipped:
        raise UsageError(
            f"{skipped:,} of {skipped + len(mix):,} records would be left out, more than {stage.run.max_skipped:.1%}",
            hint=f"`cvl verify-layout --stage {number}` says why; --set max_skipped={share + 0.005:.2f} goes on",
        )


def _facts(job: Job, origin: Origin, batch: Batching, mix: Mix) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    fixed = {key: value for key, value in settings(job.stage).items() if key not in _FREE}
    records = {part.name: len(part.numbers) for part in mix.parts}
    return {"model": job.model, "start": origin.text, "processes": batch.processes, "records": records} | fixed


def _compare(before: dict[str, Any], now: dict[str, Any], folder: StageFolder) -> None:
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        key = changed[0]
        raise UsageError(
            f"{folder.path} holds an unfinished run with another {key}: {before.get(key)} there, {now[key]} now",
            hint="run it with the same settings to go on, or add --restart to forget it",
        )

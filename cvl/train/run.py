"""One stage from its settings to its trained model: the story of a run, told once by every process of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
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
from cvl.train.briefing import Beginning, briefing, data_rows
from cvl.train.callbacks import Checkpoints, DamageBrake, Log, StopInTime, signals_to
from cvl.train.checkpoint.layout import read_config
from cvl.train.checkpoint.model import Source, write_into
from cvl.train.checkpoint.weights import piece_of
from cvl.train.company import company, led
from cvl.train.folder import StageFolder, read_facts, stage_folder, step_of
from cvl.train.job import Job
from cvl.train.libraries import plain_errors, quiet
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
        return _already(catalog, root, job, folder, own)
    batch = batching(job.stage.document.batch_size, own.processes, job.stage.run.micro_batch)
    _refuse_coarse_weights(job.stage)
    origin = origin_of(catalog, root, job)
    quiet()
    with company(own, job.stage.scripts), ExitStack() as held, plain_errors(job.stage.run.micro_batch):
        led(own, lambda: held.enter_context(folder.held()))
        # The data first: nothing is removed or put together for a run that cannot begin.
        led(own, lambda: _look_at_data(catalog, root, job, prepare))
        notes = led(own, lambda: _start_weights(catalog, job, origin, folder, listener)) or ()
        mix = read_mix(catalog, root, job.number, bad_records=job.stage.run.bad_records)
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
        led(self.rank, self._write_down)
        return self.folder.checkpoint()

    def _write_down(self) -> None:
        """Notes what the run is begun with, or holds it against what it was begun with."""
        facts = _facts(self.job, self.origin) | {
            "processes": self.batch.processes,
            "records": {part.name: len(part.numbers) for part in self.mix.parts},
        }
        facts = _plain(facts)
        if self.folder.checkpoint() is not None:
            _compare(read_facts(self.folder) or {}, facts, self.job)
        else:
            self.folder.log.unlink(missing_ok=True)
            self.folder.damaged.unlink(missing_ok=True)
        self.folder.remove_incomplete()
        write_atomically(self.folder.run, msgspec.json.format(msgspec.json.encode(facts, order="sorted"), indent=2))

    def _load(self) -> ConvLlava:
        precision = torch.bfloat16 if self.job.stage.scripts.precision == "bf16" else torch.float32
        model = ConvLlava.from_pretrained(self.origin.folder, dtype=precision, device_map=self._device_map)
        model.config.resolution = self.model.resolution
        model.config.max_length = self.job.stage.scripts.max_length
        model.config.use_cache = False
        freeze_all_but(model, self.job.stage.train)
        if self.job.stage.scripts.activation_checkpointing:
            enable_checkpointing(model)
        return model

    @property
    def _device_map(self) -> dict[str, int] | None:
        """Each process's GPU: its tensors need not pass through the memory of a node that has many processes."""
        if torch.cuda.is_available() and self.job.stage.scripts.deepspeed != "zero3":
            return {"": torch.cuda.current_device()}
        return None

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
        brake = DamageBrake(damage, self.batch.size, stage.run.max_skipped)
        callbacks = [log, *self._tensorboard(begun), brake, Checkpoints(self.folder)]
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
        beginning = Beginning(self.origin.text, step_of(checkpoint) if checkpoint else 0, steps, self._remarks())
        return briefing(model, self.model, self.mix, self.job, self.batch, beginning)

    def _remarks(self) -> tuple[str, ...]:
        """What was mended, and what a user may not have meant."""
        trained = read_config(self.origin.folder).resolution
        if trained == self.model.resolution:
            return self.notes
        other = f"{self.origin.text} was trained at {trained} pixels, this run trains at {self.model.resolution}"
        return (*self.notes, f"{other}: --model names another size")

    def _finish(self, trainer: StageTrainer, model: ConvLlava, damage: DamageLog) -> Trained:
        weights = trainer.weights(model)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        led(self.rank, lambda: self._save(model, weights, damage, losses))
        return Trained(self.folder.path, trainer.state.max_steps, losses[-1] if losses else None, len(damage.read()))

    def _save(self, model: ConvLlava, weights: dict[str, torch.Tensor], damage: DamageLog, losses: list[float]) -> None:
        """Writes the trained model with all that it takes to use it, then what it was trained from."""
        model.config.use_cache = True
        pieces = [piece_of(name, tensor) for name, tensor in weights.items()]
        start = self.origin.folder
        with self.folder.finished() as unfinished:
            write_into(unfinished, Source(model.config, pieces, start, start, str(self.folder.path)))
        provenance.write(self.folder.provenance, self._provenance(damage, losses))
        self.folder.tidy()

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


def _already(catalog: Catalog, root: Root, job: Job, folder: StageFolder, rank: Rank) -> Trained:
    """Says that the stage is done, unless something else was asked for than what was done."""
    before = read_facts(folder) or {}
    asked = _plain(_facts(job, origin_of(catalog, root, job) if job.start is not None else None))
    key = next((key for key, value in asked.items() if before.get(key) != value), None)
    if key is not None:
        raise UsageError(
            f"stage {job.number} of {job.name} is trained already, with {key} {before.get(key)}, not {asked[key]}",
            hint="--name NEW keeps it and trains another, --restart trains it anew",
        )
    if rank.leads:
        # A run that was killed in its very last moment left these.
        folder.tidy()
    return Trained(folder.path, 0, None, len(DamageLog(folder.damaged).read()), already=True)


def _refuse_coarse_weights(stage: Stage) -> None:
    if stage.scripts.precision == "bf16" and stage.scripts.deepspeed == "none":
        # AdamW's steps at 2e-5 are smaller than what bf16 can add to a weight.
        hint = "--set deepspeed=zero2 keeps weights in full precision beside, or --set precision=fp32"
        raise UsageError("bf16 without ZeRO would round most steps away", hint=hint)


def _look_at_data(catalog: Catalog, root: Root, job: Job, prepare: Callable[[], None]) -> None:
    """Lets the tree be verified and the indexes be built; refuses data with too many holes, or that nobody verified."""
    prepare()
    number, bound = job.number, job.stage.run.max_skipped
    mix = read_mix(catalog, root, number, bad_records=job.stage.run.bad_records)
    skipped = sum(mix.skipped.values())
    share = skipped / max(1, skipped + len(mix))
    if not len(mix):
        raise UsageError(f"stage {number} has no record to train on", hint=f"cvl verify-layout --stage {number}")
    if mix.unverified:
        hint = f"cvl verify-layout --stage {number}"
        raise UsageError(f"nobody could note which pictures of {', '.join(mix.unverified)} are missing", hint=hint)
    if share > bound:
        raise UsageError(
            f"{skipped:,} of {skipped + len(mix):,} records would be left out, more than {bound:.1%}",
            hint=f"`cvl verify-layout --stage {number}` says why; --set max_skipped={share + 0.005:.2f} goes on",
        )


def _start_weights(
    catalog: Catalog, job: Job, origin: Origin, folder: StageFolder, listener: Listener
) -> tuple[str, ...]:
    """Puts together what the run starts from; returns what was mended on the way."""
    with folder.anew() if job.restart else nullcontext():
        if folder.checkpoint() is None:
            # Whatever was put together before, it may have been for other settings.
            folder.remove_start()
        notes: tuple[str, ...] = ()
        if origin.has_to_be_made:
            listener.note(f"putting the start weights together: {origin.text}")
            notes = make(origin, catalog.models[job.model], job.stage)
        folder.path.mkdir(parents=True, exist_ok=True)
    return notes


def _facts(job: Job, origin: Origin | None) -> dict[str, Any]:
    """What must be the same for a run to go on, as far as it is asked for."""
    start = {"start": origin.text} if origin is not None else {}
    fixed = {key: value for key, value in settings(job.stage).items() if key not in _FREE}
    return {"model": job.model} | start | fixed


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts as they are read again."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(facts))
    return plain


def _compare(before: dict[str, Any], now: dict[str, Any], job: Job) -> None:
    changed = next((key for key in now if before.get(key) != now[key]), None)
    if changed is None:
        return
    unfinished = f"stage {job.number} of {job.name} is unfinished, and was begun with"
    if changed == "records":
        counts = before.get(changed) or {}
        name = next(name for name in {**counts, **now[changed]} if counts.get(name) != now[changed].get(name))
        raise UsageError(
            f"{unfinished} {counts.get(name, 0):,} records of {name}; now there are {now[changed].get(name, 0):,}",
            hint=f"`cvl verify-layout --stage {job.number}` says what is missing; --restart begins with what is here",
        )
    raise UsageError(
        f"{unfinished} {changed} {before.get(changed)}, not {now[changed]}",
        hint="run it with the same settings to go on, or add --restart to forget it",
    )

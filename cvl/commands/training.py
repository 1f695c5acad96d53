"""The commands of the training half: train, chat, export."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cvl import options
from cvl.errors import UsageError

if TYPE_CHECKING:
    import torch

    from cvl.manifest import Catalog, Stage
    from cvl.root import Root
    from cvl.train.job import Job


def train(
    stage: options.Trained,
    model: options.Model = options.DEFAULT_MODEL,
    name: options.Name = None,
    start: options.Start = None,
    vision_tower: options.VisionTower = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    fast_decode: options.FastDecode = False,
    processes: options.Ranks = None,
    hostfile: options.Hostfile = None,
    restart: options.Restart = False,
    inspect: options.Inspect = None,
    root: options.Root = options.DEFAULT_ROOT,
    manifests: options.Manifests = None,
    as_json: options.Json = False,
) -> None:
    """Train one stage, from what the stage before left or from a published checkpoint. Stopped, it resumes.

    cvl train --stage 1

    cvl train --stage 3 --from ConvLLaVA/ConvLLaVA-pretrain-768

    On many nodes: --hostfile HOSTS, or under `srun` or `torchrun` with one task a GPU.
    """
    from cvl.manifest import load_catalog
    from cvl.output.console import print_json
    from cvl.root import Root
    from cvl.train.ranks import rank_of

    catalog = load_catalog(manifests)
    changes = [*(settings or []), *([f"seed={seed}"] if seed is not None else [])]
    chosen = _stage(catalog, stage, [*changes, *(["fast_decode=true"] if fast_decode else [])])
    catalog = catalog.with_stage(stage, chosen)
    if model not in catalog.models:
        raise UsageError(f"there is no model called `{model}`", hint=f"models: {', '.join(catalog.models)}")
    zero = ("deepspeed",) if chosen.scripts.deepspeed != "none" else ()
    require("train", "torch", "transformers", "accelerate", "tensorboard", *zero)
    from cvl.train.job import Job

    job = Job(stage, chosen, model, _named(name or model), start, vision_tower, restart)
    if inspect is not None:
        from cvl.output.training import print_inspected
        from cvl.train.inspect import inspect as look

        samples = look(catalog, Root(root), job, inspect)
        print_json(samples) if as_json else print_inspected(samples)
        return
    if processes is not None and hostfile is not None:
        raise UsageError(
            "--processes is for this machine alone", hint="the slots of the hostfile say how many there are"
        )
    if rank_of(os.environ) is None and (hostfile is not None or _processes(processes) > 1):
        raise typer.Exit(_launched(chosen, _processes(processes), hostfile))
    _run(catalog, Root(root), job, as_json=as_json)


def _launched(stage: Stage, processes: int, hostfile: Path | None) -> int:
    """The same command in a process for each device; its exit code."""
    from cvl.train.batch import batching
    from cvl.train.launch import launch, launch_on_hosts

    if hostfile is not None:
        return launch_on_hosts(sys.argv[1:], hostfile)
    # Refused once, before every process would.
    batching(stage.document.batch_size, processes, stage.run.micro_batch)
    return launch(sys.argv[1:], processes)


def _run(catalog: Catalog, root: Root, job: Job, *, as_json: bool) -> None:
    """This process's part of the run."""
    from cvl.output.console import print_json
    from cvl.output.progress import reporter
    from cvl.output.training import listener, print_trained
    from cvl.train.ranks import ALONE, rank_of
    from cvl.train.run import train as train_stage
    from cvl.verify.verify import verify

    rank = rank_of(os.environ)

    def prepare() -> None:
        with reporter(as_json=False) as report:
            verify(catalog, root, job.number, report, remember=False)

    with listener(as_json=as_json) as told:
        trained = train_stage(catalog, root, job, rank=rank, prepare=prepare, listener=told)
    if (rank or ALONE).leads:
        print_json(trained) if as_json else print_trained(trained)


def chat(
    checkpoint: options.Checkpoint,
    prompt: options.Prompt = None,
    image: options.Image = None,
    vision_tower: options.VisionTower = None,
    max_new_tokens: options.MaxNewTokens = 512,
    temperature: options.Temperature = 0.0,
    root: options.Root = options.DEFAULT_ROOT,
    as_json: options.Json = False,
) -> None:
    """Ask a trained model about a picture; without a PROMPT, ask and answer until the input ends.

    cvl chat ShareGPT4V/checkpoints/7b-768/stage3 --image photo.jpg "What is on the table?"
    """
    require("chat", "torch", "transformers")
    from cvl.output.console import print_json
    from cvl.output.training import print_piece, questions
    from cvl.root import Root
    from cvl.train.chat import Decoding, open_chat

    talk = open_chat(Root(root), checkpoint, image, vision_tower)
    decoding = Decoding(max_new_tokens, temperature)
    for text in [prompt] if prompt is not None else questions():
        answer = talk.ask(text, decoding, _nothing if as_json else print_piece)
        print_json({"question": text, "answer": answer}) if as_json else print_piece("\n")


def export(
    checkpoint: options.Checkpoint,
    target: options.Target,
    form: options.FormOption = options.Form.CONVLLAVA,
    precision: options.PrecisionOption = None,
    as_json: options.Json = False,
) -> None:
    """Write a checkpoint in another form, reload it and compare it: only then is it done.

    cvl export ShareGPT4V/checkpoints/7b-768/stage3 ConvLLaVA-mine --format convllava
    """
    require("export", "torch", "transformers")
    from cvl.output.console import print_json
    from cvl.output.training import print_exported
    from cvl.train.checkpoint.export import export as write

    remarks = write(Path(checkpoint), target, form.value, _dtype(precision))
    print_json({"folder": target, "format": form, "remarks": remarks}) if as_json else print_exported(target, remarks)


def _dtype(precision: options.Precision | None) -> torch.dtype | None:
    import torch

    kinds = {options.Precision.BF16: torch.bfloat16, options.Precision.FP32: torch.float32}
    return kinds[precision] if precision is not None else None


def _stage(catalog: Catalog, number: int, changes: list[str]) -> Stage:
    from cvl.manifest import override

    if number not in catalog.stages:
        raise UsageError(f"there is no stage {number}", hint="stages are 1, 2 and 3")
    return override(catalog.stages[number], changes)


def _named(run: str) -> str:
    if run != Path(run).name or run.startswith("."):
        raise UsageError(f"`{run}` is no name for a run", hint="--name becomes the name of a folder")
    return run


def _processes(asked: int | None) -> int:
    if asked is not None:
        return asked
    from cvl.train.launch import devices

    return devices()


def require(command: str, *packages: str, extra: str = "train") -> None:
    """Refuses before any work where the train extra is not installed."""
    from importlib.util import find_spec

    absent = [package for package in packages if find_spec(package) is None]
    if absent:
        hint = f"pip install 'cvl[{extra}]'"
        raise UsageError(f"cvl {command} needs {absent[0]}, which is not installed", hint=hint)


def _nothing(_text: str) -> None:
    pass

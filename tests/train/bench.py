"""Stages trained for tests: by the command line, or in this process, which takes a second instead of six."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import torch
from safetensors.torch import load_file
from support import Cvl, Done
from torch import Tensor
from workshop import Workshop

from cvl.events import silent
from cvl.manifest import load_catalog, override
from cvl.train.folder import StageFolder, stage_folder
from cvl.train.job import Job
from cvl.train.progress import Briefing, Silent, Step, Trained
from cvl.train.run import train as train_stage
from cvl.verify.verify import verify

Typed = Callable[..., Done]
"""Runs `cvl ARGUMENTS` on a tree in this process: see the fixture `typed`."""

MODEL = "tiny"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
"""For names of runs that each worker of pytest-xdist has one of."""

ZERO = ("zero2", "zero3")
STEPS = 10
EPOCHS = "epochs=2"
"""Of the runs that have ten steps."""

PATIENCE = 120.0
"""Seconds that a process may take, on a machine that has much else to do."""


@dataclass
class Told(Silent):
    """A listener that remembers, and does something at a step if asked to."""

    notes: list[str] = field(default_factory=list)
    briefings: list[Briefing] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    at: Mapping[int, Callable[[], None]] = field(default_factory=dict)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def briefing(self, briefing: Briefing) -> None:
        self.briefings.append(briefing)

    def step(self, step: Step) -> None:
        self.steps.append(step)
        self.at.get(step.step, lambda: None)()

    @property
    def brief(self) -> Briefing:
        """The only briefing."""
        (briefing,) = self.briefings
        return briefing


def train_here(
    shop: Workshop,
    stage: int,
    *changes: str,
    name: str = MODEL,
    start: str | Path | None = None,
    restart: bool = False,
    told: Told | None = None,
) -> Trained:
    """What `cvl train --stage STAGE --model tiny --name NAME --set CHANGES…` does, in this process."""
    catalog = load_catalog(shop.manifests)
    chosen = override(catalog.stages[stage], changes)
    catalog = catalog.with_stage(stage, chosen)
    job = Job(stage, chosen, MODEL, name, str(start) if start is not None else None, None, restart)

    def prepare() -> None:
        verify(catalog, shop.root, stage, silent, remember=False)

    return train_stage(catalog, shop.root, job, rank=None, prepare=prepare, listener=told or Told())


def command_line(shop: Workshop, folder: Path) -> Cvl:
    """The command line as a process of one thread, which runs in `folder` and works on this tree."""
    own = {"CVL_ROOT": str(shop.root.path), "CVL_MANIFESTS": str(shop.manifests), "OMP_NUM_THREADS": "1"}
    return Cvl(folder, own)


def ten_steps(shop: Workshop, zero: str, processes: int, name: str) -> list[str]:
    """The arguments for a stage 2 of ten steps: of the three it is the one in which most parts learn."""
    line = f"train --stage 2 --model {MODEL} --name {name} --processes {processes} --set {EPOCHS}"
    return [*line.split(), "--set", f"deepspeed={zero}", "--from", str(folder_of(shop, MODEL, 1).path)]


def zero_run(shop: Workshop, zero: str, processes: int) -> StageFolder:
    """Where the fixture `zero_runs` has trained its stage 2."""
    return folder_of(shop, f"{zero}-on-{processes}", 2)


def folder_of(shop: Workshop, name: str, stage: int) -> StageFolder:
    return stage_folder(shop.root, name, stage)


def weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint of ours."""
    return {
        name: tensor for path in sorted(folder.glob("model*.safetensors")) for name, tensor in load_file(path).items()
    }


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """The names of the tensors that differ in any bit."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def logged(folder: StageFolder) -> list[dict[str, Any]]:
    """The lines of a stage's log."""
    return [json.loads(line) for line in folder.log.read_text().splitlines()]


def losses(folder: StageFolder) -> list[float]:
    return [line["loss"] for line in logged(folder)]


def wait_for_step(process: Popen[str], step: int) -> None:
    """Reads what `cvl train --json` says until it has taken this step."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("step", 0) >= step:
            return
    raise AssertionError(f"the run ended before step {step}: {process.stderr.read() if process.stderr else ''}")


def signal_all(process: Popen[str], number: signal.Signals) -> None:
    """Sends a signal to a command and to every process that it has started, all of their groups included."""
    for member in list(_family(process.pid)):
        if os.getpgid(member) == member:
            os.killpg(member, number)


def _family(process: int) -> Iterator[int]:
    yield process
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        yield from _family(int(child))


def finish(process: Popen[str]) -> Done:
    """What became of a command that was begun."""
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return Done(process.returncode, out, err)

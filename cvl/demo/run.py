"""`cvl demo`: the whole journey on the miniature, by the real commands, against the stand-in on loopback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cvl.demo.internet import Internet
from cvl.demo.manifests import MODEL, write_manifests
from cvl.demo.miniature import build_world
from cvl.demo.miniature.world import check_place
from cvl.demo.questions import Question, draw_questions
from cvl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from cvl.output.screen import Screen
from cvl.parallel import cores
from cvl.root import Root

DATA = (
    "cvl sources",
    "cvl fetch coco sam --shards 0-50",
    "cvl fetch ocrvqa --alternative urls",
    "cvl convert ocrvqa",
    "cvl fetch all",
    "cvl verify-layout",
    "cvl status",
)
"""What a user types to fill the disk, in the order of the journey."""

STAGES = (1, 2, 3)
PROCESSES = 2
"""Between which a training of the miniature is shared, where there are as many cores. More only wait for each other."""

POINTS = 30
"""By how many points of a hundred a model has to do better with the picture than without, to have learnt to see."""


@dataclass(frozen=True)
class Journey:
    """How far the demo goes.

    Args:
        seeds: of the runs that are trained; none is the data half alone.
        record: where what is shown is kept as an SVG picture.
        as_json: whether every command is run with `--json` and has stdout for itself.
    """

    seeds: Sequence[int] = (0,)
    record: Path | None = None
    as_json: bool = False


def training(seed: int, name: str, processes: int = 1) -> Iterator[str]:
    """What a user types to train, from the first stage to the last."""
    for stage in STAGES:
        yield f"cvl train --stage {stage} --model {MODEL} --name {name} --seed {seed} --processes {processes}"


def run_demo(folder: Path, journey: Journey) -> int:
    """Walk the journey in `folder`; returns the exit code of the first command that fails, or 0.

    The miniature's internet is drawn into `folder/internet`, the tree grows in `folder/ShareGPT4V`. What is there
    already is used. A model that does no better with the picture than without is a failure.

    Raises:
        UsageError: `folder/internet` holds something else.
    """
    screen = Screen(record=journey.record is not None, stderr=journey.as_json)
    check_place(folder / "internet")
    trained = folder / "encoder.safetensors"
    if journey.seeds and not trained.exists() and Root(folder / "ShareGPT4V").data.exists():
        problem = f"{folder} was filled for the data half alone: its start weights cannot see"
        raise UsageError(problem, hint="name another folder to train in")
    screen.say(f"The miniature of every source, drawn and packed as the real ones are: {folder / 'internet'}")
    if journey.seeds:
        _train_encoder(screen, trained)
    encoder = trained if trained.exists() else None
    world = build_world(folder / "internet", encoder=encoder)
    write_manifests(folder / "manifests", world)
    root = Root(folder / "ShareGPT4V")
    root.path.mkdir(parents=True, exist_ok=True)
    shell = _Shell(screen, os.environ | _settings(folder, root), " --json" if journey.as_json else "")
    with Internet(world.folder) as internet:
        root.sam_links.write_text(internet.links_file(datetime.now(UTC) + timedelta(days=30)), encoding="utf-8")
        screen.say(f"Every host is played by this machine, at {internet.url}; nothing leaves it.")
        code = shell.online(internet.environment()).walk(DATA)
    if code == EXIT_DONE:
        screen.tree(root.data)
        code = _train(shell, folder, root, journey.seeds)
    if journey.record is not None:
        screen.save(journey.record)
    return code


def _train_encoder(screen: Screen, path: Path) -> None:
    """Makes the encoder that training starts from, unless it is there; the real one was trained by others as well."""
    if path.exists():
        return
    from cvl.demo.pretraining import one_thread, pretrain_encoder  # noqa: PLC0415 - seconds of torch, not needed again

    screen.say("The miniature's encoder learns to see, as LAION's did before ConvLLaVA began:")
    path.parent.mkdir(parents=True, exist_ok=True)
    with one_thread():
        pretrain_encoder(path, screen.say)


def _train(shell: _Shell, folder: Path, root: Root, seeds: Sequence[int]) -> int:
    """Trains a model from each seed and questions it about pictures that it has never seen."""
    questions = draw_questions(folder / "unseen") if seeds else ()
    failed = False
    for seed in seeds:
        name = f"{MODEL}-{seed}"
        checkpoint = root.checkpoints / name / f"stage{STAGES[-1]}"
        first = questions[0]
        asked = f"cvl chat {_typed(checkpoint)} --image {_typed(first.image)} {shlex.quote(first.plain)}"
        code = shell.walk([*training(seed, name, min(PROCESSES, cores())), asked])
        if code:
            return code
        failed |= not _examine(shell.screen, checkpoint, questions)
    return EXIT_FAILED if failed else EXIT_DONE


def _examine(screen: Screen, checkpoint: Path, questions: Sequence[Question]) -> bool:
    """Whether the model answers better when it sees."""
    from cvl.demo.exam import sit_exam  # noqa: PLC0415 - seconds of torch that the data half does not need

    exam = sit_exam(checkpoint, questions)
    screen.say(f"{len(questions)} questions about pictures that it has never seen:")
    screen.table(("question about", "asked", "right with the picture", "right with it blanked out"), exam.rows())
    points = 100 * (exam.seen - exam.blanked)
    wanted = f"{points:.0f} points better with the picture; {POINTS} were wanted"
    screen.say(wanted if points >= POINTS else f"{wanted}: it has not learnt to see")
    return points >= POINTS


def _settings(folder: Path, root: Root) -> dict[str, str]:
    return {
        "CVL_ROOT": str(root.path),
        "CVL_MANIFESTS": str(folder / "manifests"),
        # The user's own token and caches stay out of it.
        "HF_HOME": str(folder / "home"),
        # So small a model's threads would wait for each other most of the time.
        "OMP_NUM_THREADS": "1",
    }


def _typed(path: Path) -> str:
    return shlex.quote(str(path))


@dataclass(frozen=True)
class _Shell:
    """Runs commands as processes of their own, each printed before."""

    screen: Screen
    environment: dict[str, str]
    options: str

    def online(self, environment: dict[str, str]) -> _Shell:
        """The same, with what leads it to the stand-in."""
        return _Shell(self.screen, self.environment | environment, self.options)

    def walk(self, commands: Sequence[str]) -> int:
        """Runs one after the other, as long as they end well; returns the last one's exit code."""
        for command in commands:
            self.screen.command(command + self.options)
            code = self._run(command + self.options)
            if code:
                return code
        return EXIT_DONE

    def _run(self, command: str) -> int:
        """One command; its output goes to the terminal, or to the picture."""
        sys.stdout.flush()
        arguments = [sys.executable, "-m", "cvl", *shlex.split(command)[1:]]
        if not self.screen.records:
            return subprocess.run(arguments, env=self.environment, check=False).returncode
        environment = self.environment | self.screen.environment()
        done = subprocess.run(
            arguments, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.screen.output(done.stdout.rstrip("\n"))
        return done.returncode

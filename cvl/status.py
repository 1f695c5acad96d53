"""Where the whole journey stands: sources, conversions, the last verification, the stages."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cvl.annotations.place import last_report
from cvl.download.lock import Lock
from cvl.download.plan import Action, Step, plan
from cvl.download.select import Request, select
from cvl.download.survey import survey
from cvl.manifest import STAGES, Catalog
from cvl.root import Root
from cvl.train.folder import read_facts, stage_folder
from cvl.verify.verify import read_report


@dataclass(frozen=True)
class SourceStatus:
    """How much of one source is here.

    Args:
        name: of the source.
        files: remote files of it that the stages need; all that it has, for sources of no stage.
        here: how many of them have landed in the tree.
        bytes: of all its remote files, as far as known.
        bytes_here: of those that have landed or have begun to come, as far as known.
        stages: that read it.
    """

    name: str
    files: int
    here: int
    bytes: int
    bytes_here: int
    stages: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether every file of it has landed."""
        return self.here == self.files


@dataclass(frozen=True)
class StageStatus:
    """How far one stage is.

    Args:
        number: 1, 2 or 3.
        title: as the document calls it.
        verified: what the last verification said of its data; None if nobody asked.
        trained: the runs that have done it.
        begun: the runs that have begun it and not done it.
    """

    number: int
    title: str
    verified: bool | None
    trained: tuple[str, ...]
    begun: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """Where the whole journey stands.

    Args:
        root: of the tree.
        sources: by name.
        stages: all three.
        verified_at: when the last verification ended, UTC.
        problems: how many it found.
        next_command: what to type next.
    """

    root: str
    sources: tuple[SourceStatus, ...]
    stages: tuple[StageStatus, ...]
    verified_at: datetime | None
    problems: int
    next_command: str


def source_status(catalog: Catalog, root: Root, names: tuple[str, ...] = ()) -> tuple[SourceStatus, ...]:
    """How much of each source is here; of all sources if none is named. Writes nothing and asks no network.

    Raises:
        UsageError: there is no source of that name.
    """
    for name in names:
        catalog.source(name)
    steps = _steps(catalog, root, names or tuple(catalog.sources))
    reads = {stage: set(catalog.stage_sources(stage)) for stage in STAGES}
    reads[1] |= set(catalog.weight_sources(Request().model))
    return tuple(_source(name, steps, reads) for name in (names or catalog.sources))


def status(catalog: Catalog, root: Root) -> Status:
    """Where the journey stands, and what to type next. Writes nothing and asks no network."""
    sources = source_status(catalog, root)
    path = last_report(root)
    report = read_report(path)
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC) if report is not None else None
    ready = dict(report.stages) if report is not None else {}
    stages = tuple(_stage(catalog, root, number, ready.get(number)) for number in STAGES)
    problems = len(report.problems) if report is not None else 0
    return Status(str(root.path), sources, stages, at, problems, _next(root, sources, stages, problems))


def _steps(catalog: Catalog, root: Root, names: tuple[str, ...]) -> tuple[Step, ...]:
    """What a fetch of `names` would do: of the stages' sources only what the stages need, of others all."""
    lock = Lock(root.lock)
    wanted = select(catalog, Request(names=("all",)))
    others = tuple(name for name in catalog.sources if name not in wanted.sources)
    remotes = wanted.remotes + (select(catalog, Request(names=others)).remotes if others else ())
    pinned = replace(wanted, remotes=tuple(lock.pin(remote) for remote in remotes if remote.source in names))
    return plan(pinned, survey(root, catalog, pinned), jobs=1).steps


def _source(name: str, steps: tuple[Step, ...], reads: dict[int, set[str]]) -> SourceStatus:
    own = [step for step in steps if step.remote.source == name]
    here = [step for step in own if step.action is Action.KEEP]
    known = sum(step.remote.expected_bytes or step.found.bytes for step in own)
    left = sum(step.transfer_bytes or 0 for step in own)
    stages = tuple(stage for stage, names in reads.items() if name in names)
    return SourceStatus(name, len(own), len(here), known, known - left, stages)


def _stage(catalog: Catalog, root: Root, number: int, verified: bool | None) -> StageStatus:
    folders = {name: stage_folder(root, name, number) for name in _runs(root)}
    trained = tuple(name for name, folder in folders.items() if folder.is_done)
    begun = tuple(name for name, folder in folders.items() if folder.run.is_file() and not folder.is_done)
    return StageStatus(number, catalog.stages[number].title, verified, trained, begun)


def _runs(root: Root) -> list[str]:
    """The names of all runs that are here."""
    if not root.checkpoints.is_dir():
        return []
    return sorted(path.name for path in root.checkpoints.iterdir() if path.is_dir() and path.name[0] != ".")


def _next(root: Root, sources: tuple[SourceStatus, ...], stages: tuple[StageStatus, ...], problems: int) -> str:
    absent = [source.name for source in sources if source.stages and not source.complete]
    if absent:
        return f"cvl fetch {' '.join(absent)}"
    if problems or not all(stage.verified for stage in stages):
        return "cvl verify-layout"
    return _next_training(root, stages)


def _next_training(root: Root, stages: tuple[StageStatus, ...]) -> str:
    """The first stage that the run which is the furthest has not done, or a question to what it trained."""
    done = [name for stage in stages for name in stage.trained]
    begun = [name for stage in stages for name in stage.begun]
    name = max(done, key=done.count) if done else begun[0] if begun else None
    if name is None:
        return "cvl train --stage 1"
    # A run may have begun at a later stage, from a published checkpoint.
    first = next(stage.number for stage in stages if name in (*stage.trained, *stage.begun))
    for stage in stages[first - 1 :]:
        if name not in stage.trained:
            return " ".join(["cvl train --stage", str(stage.number), *_options(root, name)])
    return f"cvl chat {shlex.quote(str(stage_folder(root, name, len(stages)).path))} --image PICTURE"


def _options(root: Root, name: str) -> list[str]:
    """How a run's model and name are said again."""
    begun = (read_facts(stage_folder(root, name, number)) for number in STAGES)
    facts: dict[str, object] = next((facts for facts in begun if facts), {})
    model = str(facts.get("model", name))
    options = ["--model", shlex.quote(model)] if model != Request().model else []
    return [*options, "--name", shlex.quote(name)] if name != model else options

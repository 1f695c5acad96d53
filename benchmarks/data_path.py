"""Preparing samples, one worker: our way against the straightforward published one, with the same result.

    python benchmarks/data_path.py
    python benchmarks/data_path.py --keep-memory

Each way has a worker process of its own, as it would have in training, and the two take turns in one run: what slows
this machine down slows both. A sample is read from a JPEG and a conversation to pixels, ids and labels. Both ways'
results are compared to the bit before anything is timed; with `--fast-decode` they differ, and by how much is said.
The ratio is the median over the turns of (time of the published way / time of ours). Prints a line for each case, and
then the same as one line of JSON.

Our way keeps the memory that a picture needs for the next one (`cvl.memory`). With `--keep-memory` the
published way is given that too, which shows how much of the difference it makes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from natural_pictures import draw
from numpy.typing import NDArray
from published_way import PublishedWay

from cvl.memory import keep_memory
from cvl.train.samples.conversation import prompt_of
from cvl.train.samples.pictures import Preprocessing, open_picture, pixel_values
from cvl.train.samples.tokens import encode, load_tokenizer

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
TOKENIZER = Path(__file__).parent.parent / "tests" / "data" / "golden" / "tokenizer"
PICTURES = 3
"""How many are prepared in a turn."""

RECORD = {
    "id": "1",
    "image": "picture.jpg",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is in the middle of the picture?"},
        {"from": "gpt", "value": "A red ellipse that covers a part of a grey rectangle, in front of soft clouds."},
        {"from": "human", "value": "And what is to the left of it?"},
        {"from": "gpt", "value": "Three smaller rectangles; the lowest of them is nearly black."},
        {"from": "human", "value": "Does anything touch the border?\nAnswer the question using a single word."},
        {"from": "gpt", "value": "Yes"},
    ],
}

Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Way = Callable[[Path, dict[str, Any]], Any]
MakeWay = Callable[["Case", argparse.Namespace], Way]


@dataclass(frozen=True)
class Case:
    """What is prepared: JPEGs of a size for a resolution, and how much faster than the published way we mean to be."""

    width: int
    height: int
    resolution: int
    target: float
    fast_decode: bool = False

    def __str__(self) -> str:
        flag = " --fast-decode" if self.fast_decode else ""
        return f"{self.width}×{self.height} to {self.resolution}{flag}"


CASES = (
    Case(640, 480, 768, 2.0),
    Case(1500, 2250, 768, 2.0),
    Case(640, 480, 1536, 1.5),
    Case(1500, 2250, 1536, 1.5),
    Case(1500, 2250, 768, 3.0, fast_decode=True),
)
TINY = (Case(96, 64, 64, 0), Case(100, 150, 64, 0), Case(200, 300, 64, 0, fast_decode=True))


@dataclass(frozen=True)
class Result:
    """What came out for one case.

    Args:
        published, ours: samples a second, from the median time.
        ratio: median over the turns of how many times faster ours was.
        mean_difference, max_difference: of the pixels, in grey levels of 255 where the picture is; 0 if bit-equal.
    """

    published: float
    ours: float
    ratio: float
    mean_difference: float
    max_difference: float


def main() -> int:
    """Runs the cases. Returns 1 if a result that must be bit-equal is not, else 0."""
    arguments = _arguments()
    cases = TINY if arguments.tiny else CASES
    results = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        _worker(_published, arguments) as published,
        _worker(_ours, arguments) as ours,
    ):
        for case in cases:
            results[case] = measure(case, Path(folder), published, ours, arguments.turns)
            _show(case, results[case])
    print(json.dumps([asdict(case) | asdict(result) for case, result in results.items()]))  # noqa: T201
    return int(any(result.max_difference and not case.fast_decode for case, result in results.items()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Preparing samples: our way against the published one.")
    parser.add_argument("--turns", type=int, default=21, help="turns of each way for a case")
    parser.add_argument("--tiny", action="store_true", help="small pictures, to see that this works")
    parser.add_argument("--keep-memory", action="store_true", help="let the published way keep its memory as ours does")
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="a folder with a Llama tokenizer")
    return parser.parse_args()


def measure(case: Case, folder: Path, published: Worker, ours: Worker, turns: int) -> Result:
    """The two ways, taking turns over the same files.

    Raises:
        ValueError: they do not agree on the ids or the labels.
    """
    paths = [folder / f"{case.width}x{case.height}-{number}.jpg" for number in range(PICTURES)]
    for seed, path in enumerate(paths):
        if not path.exists():
            path.write_bytes(draw(case.width, case.height, seed))
    levels = np.concatenate(
        [_difference(case, *(worker(case, path) for worker in (published, ours))) for path in paths]
    )
    times = []
    for turn in range(turns):
        # Neither is always the one that finds the machine as the other left it.
        order = (published, ours) if turn % 2 else (ours, published)
        seconds = {worker: sum(worker.seconds(case, path) for path in paths) for worker in order}
        times.append((seconds[published], seconds[ours]))
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    ratio = statistics.median(theirs / mine for theirs, mine in times)
    return Result(PICTURES / medians[0], PICTURES / medians[1], ratio, float(levels.mean()), float(levels.max()))


def _difference(case: Case, published: Arrays, ours: Arrays) -> NDArray[np.float32]:
    """How far the pixels are apart in grey levels, flat, the bars left out; exactly 0 where they are equal."""
    for name, theirs, mine in zip(("ids", "labels"), published[1:], ours[1:], strict=True):
        if not np.array_equal(theirs, mine):
            raise ValueError(f"{case}: the {name} differ: published {theirs}, ours {mine}")
    apart: NDArray[np.float32] = np.abs(published[0] - ours[0]) * np.array(STD, np.float32)[:, None, None] * 255
    side = max(case.width, case.height)
    rows, columns = (case.resolution * (side - length) // (2 * side) for length in (case.height, case.width))
    return apart[:, rows : case.resolution - rows, columns : case.resolution - columns].ravel()


def _published(case: Case, arguments: argparse.Namespace) -> Way:
    if arguments.keep_memory:
        keep_memory()
    return PublishedWay(case.resolution, load_tokenizer(arguments.tokenizer))


def _ours(case: Case, arguments: argparse.Namespace) -> Way:
    how = Preprocessing(case.resolution, MEAN, STD, case.fast_decode)
    tokenizer = load_tokenizer(arguments.tokenizer)

    def prepare(path: Path, record: dict[str, Any]) -> Arrays:
        tokens = encode(tokenizer, prompt_of(record))
        return pixel_values(open_picture(path, how), how), tokens.input_ids, tokens.labels

    return prepare


@dataclass(frozen=True)
class Worker:
    """A process that prepares samples in one way, seen from outside."""

    connection: Connection

    def __call__(self, case: Case, path: Path) -> Arrays:
        """The sample."""
        return cast("Arrays", self._ask(case, path, timed=False))

    def seconds(self, case: Case, path: Path) -> float:
        """How long the sample took."""
        return cast("float", self._ask(case, path, timed=True))

    def _ask(self, case: Case, path: Path, *, timed: bool) -> object:
        self.connection.send((case, path, timed))
        return self.connection.recv()


@contextmanager
def _worker(make: MakeWay, arguments: argparse.Namespace) -> Iterator[Worker]:
    """A fresh process, of which nothing is forked: the memory of one way shall not be what the other left behind."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, make, arguments), daemon=True)
    process.start()
    there.close()
    try:
        yield Worker(here)
    finally:
        here.close()
        process.join()


def _serve(connection: Connection, make: MakeWay, arguments: argparse.Namespace) -> None:
    """Prepares what is asked for, until nobody asks any more."""
    torch.set_num_threads(1)  # as a DataLoader does in its workers
    ways: dict[Case, Way] = {}
    with suppress(EOFError):
        while True:
            case, path, timed = connection.recv()
            if case not in ways:
                ways[case] = make(case, arguments)
            began = time.perf_counter()
            sample = ways[case](path, RECORD)
            elapsed = time.perf_counter() - began
            connection.send(elapsed if timed else tuple(map(np.asarray, sample)))
            # Gone before the next one is made, as a DataLoader's are.
            del sample


def _show(case: Case, result: Result) -> None:
    equal = "bit-equal"
    if result.max_difference:
        equal = f"off by {result.mean_difference:.2f} levels on average, {result.max_difference:.0f} at most"
    print(  # noqa: T201
        f"{case!s:34} published {result.published:6.1f}/s   ours {result.ours:6.1f}/s   "
        f"{result.ratio:5.2f}x (meant: {case.target}x)   {equal}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
